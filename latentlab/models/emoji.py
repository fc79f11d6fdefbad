"""The embedded miniature: open_clip's CLIP, diffusers' PriorTransformer and SD3Transformer2DModel, an upsampler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..clip import Encoder, local
from ..diffusion import Conditioning, abar_at, cosine_abar, guided, to_eps
from ..errors import UserError
from ..io import images
from ..prior import PriorConditioning
from ..slerp import normalize
from .attention import MergedAttention, merged
from .causal_prior import CaptionCache
from .emoji_files import sure_above, verify, weights_folder
from .emoji_upsampler import EmojiUpsampler
from .lab import Lab
from .noised_clip import NoisedClip

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from diffusers.models.transformers.prior_transformer import PriorTransformer
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

    from .autoregressive_prior import AutoregressivePrior
    from .dalle import Dalle

N = TypeVar("N", bound=nn.Module)

Z_TOKENS = 4  # extra context tokens that z_i is projected to, as in Ramesh et al. 2022, section 2.1


def text_tokens(encoder: Encoder, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """The output of CLIP's text tower: z_t (B, D), its last states (B, L, W), a mask (B, L) of real tokens."""
    ids = encoder.tokens(captions)
    return *text_states(encoder.model, ids), ids != 0


def text_states(clip: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """z_t (B, D) of token ids (B, L), and the last states of all tokens (B, L, W)."""
    outputs = clip.text.forward_intermediates(ids, indices=1, normalize_intermediates=True, output_fmt="NLC")
    return outputs["text_features"], outputs["text_intermediates"][-1]


def context(z_i: Tensor, text: Tensor) -> Tensor:
    """z_i and the caption as one sequence for the decoder's `context_embedder`.

    The embedder is a single linear map.  The caption's tokens and every one of the four z_i tokens fill a block of
    their own in its input, so that it acts as five linear maps.

    Args:
        z_i: (B, D). text: (B, L, W).

    Returns:
        (B, 4 + L, W + 4 D).
    """
    batch, width = z_i.shape
    blocks = z_i.new_zeros(batch, Z_TOKENS, Z_TOKENS, width)
    blocks[:, range(Z_TOKENS), range(Z_TOKENS)] = z_i[:, None]
    image = F.pad(blocks.flatten(2), (text.shape[-1], 0))  # (B, 4, W + 4 D)
    return torch.cat([image, F.pad(text, (0, Z_TOKENS * width))], 1)


def scaled(z_i: Tensor) -> Tensor:
    """z_i at unit variance, √D ẑ_i, as the networks want it; the null z_i = 0 stays 0."""
    return normalize(z_i) * z_i.shape[-1] ** 0.5


class EmojiPrior:
    """diffusers' PriorTransformer on a causal mask, predicting the standardised z_i."""

    abar, max_batch_size = cosine_abar(), 256

    def __init__(self, network: PriorTransformer, encoder: Encoder) -> None:
        self.network, self.encoder = network, encoder
        self.width: int = network.config["embedding_dim"]

    def encode_prompt(self, prompts: Sequence[str]) -> PriorConditioning:
        return prior_conditioning(self.encoder, prompts)

    def x_0(self, x_t: Tensor, t: int, cond: PriorConditioning, guidance: float = 1.0) -> Tensor:
        cache = cond.cache.setdefault("captions", CaptionCache())

        def predict(x: Tensor, cond: PriorConditioning) -> Tensor:
            time = torch.full((len(x),), t, device=x.device)
            return predict_x0(self.network, x, time, cond.z_t, cond.tokens, cache=cache)

        null = PriorConditioning(torch.zeros_like(cond.z_t), torch.zeros_like(cond.tokens))
        return guided(predict, x_t, cond, null, guidance)

    def to_z_i(self, x_0: Tensor) -> Tensor:
        return self.network.post_process_latents(x_0)


@torch.no_grad()
def prior_conditioning(encoder: Encoder, prompts: Sequence[str]) -> PriorConditioning:
    """What both priors of the miniature see of prompts."""
    z_t, states, mask = text_tokens(encoder, prompts)
    return PriorConditioning(z_t, prior_tokens(states, mask, z_t.shape[1]))


def prior_tokens(states: Tensor, mask: Tensor, width: int) -> Tensor:
    """Text states padded to the prior's width, the mask as one more channel: (B, L, W) and (B, L) to (B, L, width)."""
    masked = states * mask[..., None]
    return torch.cat([F.pad(masked, (0, width - 1 - states.shape[-1])), mask[..., None].to(states)], -1)


def predict_x0(
    network: PriorTransformer, x_t: Tensor, t: Tensor, z_t: Tensor, tokens: Tensor, **options: Any
) -> Tensor:
    """One evaluation of the prior's network, with options for its forward: (B, D)."""
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return network(x_t, t, scaled(z_t), tokens, mask, **options).predicted_image_embedding


class EmojiDecoder:
    """SD3Transformer2DModel in the latents of an autoencoder, or in pixels when there is none.

    z_i enters twice, as in the paper: added to the timestep embedding, and as four tokens beside the caption's.
    """

    abar, max_batch_size = cosine_abar(), 64

    def __init__(self, network: SD3Transformer2DModel, autoencoder: AutoencoderDC | None, encoder: Encoder) -> None:
        network.set_attn_processor(MergedAttention())  # type: ignore[arg-type]  # diffusers lists its own classes alone
        self.network, self.autoencoder, self.encoder = network, autoencoder, encoder
        side: int = network.config["sample_size"]
        self.shape: tuple[int, int, int] = (network.config["in_channels"], side, side)
        self.image_size: int = side if autoencoder is None else side * autoencoder.spatial_compression_ratio
        self.empty = torch.zeros(1, encoder.tokenizer.context_length, encoder.model.text.width, device=encoder.device)

    @torch.no_grad()
    def to_x0(self, pixels: Tensor) -> Tensor:
        pixels = images.resize(pixels, self.image_size)
        return pixels if self.autoencoder is None else encode_latents(self.autoencoder, pixels)

    def to_pixels(self, x_0: Tensor) -> Tensor:
        if self.autoencoder is not None:
            x_0 = self.autoencoder.decode(x_0 / self.autoencoder.config["scaling_factor"]).sample
        return x_0.clamp(-1, 1)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> Tensor:
        _, states, mask = text_tokens(self.encoder, prompts)
        return states * mask[..., None]

    def eps(self, x_t: Tensor, t: int, cond: Conditioning, guidance: float = 1.0) -> Tensor:
        empty = self.empty.expand(len(x_t), -1, -1)
        full = Conditioning(scaled(cond.z_i), empty if cond.text is None else cond.text, cond.known)
        null = Conditioning(torch.zeros_like(cond.z_i), empty, cond.known)

        def predict(x: Tensor, cond: Conditioning) -> Tensor:
            time = torch.full((len(x),), t, device=x.device)
            assert cond.text is not None  # both conditionings above have text
            text, count = merged(cond.text)
            inputs = self.channels(x, cond), context(cond.z_i, text), cond.z_i, time
            return self.network(*inputs, joint_attention_kwargs={"count": count}).sample

        return to_eps(guided(predict, x_t, full, null, guidance), x_t, abar_at(self.abar, t), "v")

    def channels(self, x_t: Tensor, cond: Conditioning) -> Tensor:
        """What the network reads: x_t itself."""
        return x_t


def encode_latents(autoencoder: AutoencoderDC, pixels: Tensor) -> Tensor:
    """The first stage's latents of pictures (B, 3, H, W), scaled to a variance near 1: (B, C, h, w)."""
    latents: Tensor = autoencoder.encode(pixels).latent
    return latents * autoencoder.config["scaling_factor"]


def load(name: str, *, device: torch.device) -> Lab:
    """The miniature that comes with the package."""
    return load_folder(weights_folder(), name=name, device=device)


def load_folder(folder: Path, *, name: str = "emoji", device: torch.device) -> Lab:
    """A lab from a folder that has the layout of the shipped one.

    Raises:
        UserError: a file is missing, damaged or not finite.
    """
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
    from diffusers.models.unets.unet_2d import UNet2DModel

    from .causal_prior import CausalPrior

    problems = verify(folder)
    if problems:
        raise UserError("the embedded weights can't be used: " + "; ".join(problems))
    encoder = local(folder / "clip", device=device)
    encoder.sure_above = sure_above(folder) or encoder.sure_above
    has_autoencoder, has_upsampler = ((folder / part).is_dir() for part in ("autoencoder", "upsampler"))
    autoencoder = _network(AutoencoderDC, folder / "autoencoder", device) if has_autoencoder else None
    decoder = EmojiDecoder(_network(SD3Transformer2DModel, folder / "decoder", device), autoencoder, encoder)
    prior = EmojiPrior(_network(CausalPrior, folder / "prior", device), encoder)
    unet = _network(UNet2DModel, folder / "upsampler", device) if has_upsampler else None
    upsampler = None if unet is None else EmojiUpsampler(unet, decoder.image_size)
    digest = hashlib.sha256((folder / "MANIFEST.json").read_bytes()).hexdigest()[:12]
    return Lab(name, encoder, prior, decoder, upsampler, digest, **_words(folder), **_loaders(folder, prior, decoder))


def _network(kind: type[N], folder: Path, device: torch.device) -> N:
    """A diffusers network in single precision, frozen."""
    network: N = cast("Any", kind).from_pretrained(folder, torch_dtype=torch.float32)
    return network.eval().requires_grad_(False).to(device)


def _words(folder: Path) -> dict[str, Any]:
    """The lists of words that come with the encoder, by the names of the lab's attributes."""
    labels = folder / "clip" / "labels.json"
    words = json.loads(labels.read_text("utf-8")) if labels.is_file() else {}
    return {name: tuple(listed) for name, listed in words.items()}


def _loaders(folder: Path, prior: EmojiPrior, decoder: EmojiDecoder) -> dict[str, Any]:
    """Functions that load, when first called, the networks that only some experiments need; None if one is missing."""
    autoencoder, encoder = decoder.autoencoder, decoder.encoder

    def at_first_call(load: Callable[..., Any], *arguments: Any, needs: Sequence[str]) -> Callable[[], Any] | None:
        complete = all((folder / part).is_dir() for part in needs)
        return cache(partial(load, *arguments)) if complete else None

    second, inpainting = "autoregressive-prior", "inpainting"
    load_dalle = at_first_call(_load_dalle, folder, autoencoder, encoder, needs=("dvae", "dalle"))
    return {
        "noised_clip": NoisedClip.load(folder / "noised-clip", encoder, autoencoder),
        "load_dalle": None if autoencoder is None else load_dalle,
        "load_autoregressive_prior": at_first_call(_load_second_prior, folder / second, prior, needs=(second,)),
        "load_inpainting": at_first_call(_load_inpainting, folder / inpainting, decoder, needs=(inpainting,)),
    }


def _load_dalle(folder: Path, autoencoder: AutoencoderDC, encoder: Encoder) -> Dalle:
    from .dalle import load_dalle  # transformers, for which a lab that draws otherwise need not wait

    return load_dalle(folder, autoencoder, encoder)


def _load_second_prior(folder: Path, prior: EmojiPrior) -> AutoregressivePrior | None:
    from . import autoregressive_prior  # transformers as well

    return autoregressive_prior.load(folder, prior.encoder, prior.encode_prompt)


def _load_inpainting(folder: Path, decoder: EmojiDecoder) -> EmojiDecoder:
    from . import inpainter  # which imports this module

    return inpainter.load(folder, decoder)
