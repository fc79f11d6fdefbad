"""A checkpoint's own CLIP, through transformers, with the methods of `clip.Encoder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ..clip import MAX_BATCH_SIZE, Encoder, digest
from ..errors import UserError
from ..io import images
from .offload import LARGE

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

# Every CLIP of OpenAI and LAION standardises pixels by these; a checkpoint's config may leave them out.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SCALE = 100.0  # towers come without their logit scale, which training clips at 100 (Radford et al. 2021, section 2.5)


class Tokens:
    """A transformers tokenizer called like open_clip's."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self.tokenizer, self.context_length = tokenizer, min(tokenizer.model_max_length, 77)

    def __call__(self, captions: Sequence[str], context_length: int | None = None) -> Tensor:
        return self.padded(captions, context_length)[0]

    def padded(self, captions: Sequence[str], context_length: int | None = None) -> tuple[Tensor, Tensor]:
        """Token ids (B, L), and a mask of the tokens that are not padding, the end token among them."""
        length = context_length or self.context_length
        encoding = self.tokenizer(
            list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return encoding.input_ids, encoding.attention_mask.bool()


class Towers(Encoder):
    """CLIPVisionModelWithProjection and CLIPTextModelWithProjection: image -> z_i and text -> z_t, in CLIP's scale.

    Embeddings are float32 in whatever precision the towers compute, so that the samplers keep their precision.

    Args:
        image: the image tower.
        text: the text tower, or a function that loads an `Encoder` of the same CLIP when z_t is first needed:
            a checkpoint whose own text tower ends before the projection has no z_t.
        tokenizer: of the text tower.
        processor: preprocessor_config.json of the image tower.
    """

    def __init__(
        self,
        image: CLIPVisionModelWithProjection,
        text: CLIPTextModelWithProjection | Callable[[], Encoder],
        tokenizer: CLIPTokenizer,
        processor: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        self.image, self.text, self.tokenizer = image, text, Tokens(tokenizer)
        self.device, self.dtype = torch.device(device), image.dtype
        sizes = image.config.image_size, image.config.projection_dim  # annotated as optional
        self.image_size, self.width = cast("tuple[int, int]", sizes)
        self.preprocess_cfg = {"size": self.image_size}  # cropped, bicubic, as every CLIP of OpenAI and LAION
        mean, std = processor.get("image_mean", MEAN), processor.get("image_std", STD)
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))
        self.name = f"{type(image).__name__} ({self.width}-d)"

    def fingerprint(self) -> str:
        """As an `Encoder`'s, of the small weights: the large ones may be waiting for their turn on the device."""
        towers = [tower for tower in (self.image, self.text) if isinstance(tower, nn.Module)]
        small = [(name, weight) for tower in towers for name, weight in tower.named_parameters()]
        return digest({f"{k} {name}": w for k, (name, w) in enumerate(small) if w.numel() < LARGE})

    @property
    def scale(self) -> float:
        return SCALE

    @cached_property
    def other(self) -> Encoder:
        """The encoder that z_t comes from where this checkpoint has no projection of its own."""
        return self.text()

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to z_i (B, D); any size, resized to the model's."""
        sized = (
            images.resize(some.to(self.device, torch.float32), self.image_size) for some in pixels.split(MAX_BATCH_SIZE)
        )
        return torch.cat([self.embed(((some + 1) / 2 - self.mean) / self.std) for some in sized])

    def embed(self, standardised: Tensor) -> Tensor:
        """Standardised pixels (B, 3, size, size) to z_i (B, D)."""
        return self.image(pixel_values=standardised.to(self.dtype)).image_embeds.float()

    def encode_text(self, captions: str | Sequence[str]) -> Tensor:
        """B captions, or a single one, to z_t (B, D).

        Raises:
            UserError: z_t comes from another encoder, which can't be loaded or has another width.
        """
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not isinstance(self.text, nn.Module):
            z_t = self.other.encode_text(captions).to(self.device, torch.float32)
            if z_t.shape[-1] != self.width:
                raise UserError(f"z_t has width {z_t.shape[-1]} and z_i {self.width}: take both from one CLIP")
            return z_t
        return self.states(captions)[0]

    @torch.no_grad()
    def states(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """The text tower's output: z_t (B, D), last states (B, L, W), a mask (B, L) of real tokens."""
        assert isinstance(self.text, nn.Module)  # priors and decoders that call this come with their text tower
        ids, mask = self.tokenizer.padded(captions)
        output = self.text(ids.to(self.device))
        return output.text_embeds.float(), output.last_hidden_state.float(), mask.to(self.device)

    def _overflows(self, caption: str, width: int) -> bool:
        return bool(self.tokenizer.padded([caption], width + 1)[1].all())


def pack(states: Tensor, mask: Tensor) -> Tensor:
    """States (B, L, W) with the mask (B, L) as one more channel: (B, L, W + 1)."""
    return torch.cat([states, mask[..., None].to(states)], -1)


def unpack(packed: Tensor) -> tuple[Tensor, Tensor]:
    """The states and the mask that `pack` joined."""
    return packed[..., :-1], packed[..., -1] > 0.5
