"""CLIP: image -> z_i, text -> z_t, and zero-shot probabilities. Only this module imports open_clip."""

from __future__ import annotations

import difflib
import hashlib
import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .captions import FUNCTION_WORDS, CaptionCheck
from .emoji_names import name_emoji
from .errors import UserError
from .io import images
from .slerp import normalize

# Sentences around a label, over which its embedding is averaged (Radford et al. 2021, section 3.1.4).
TEMPLATES = ("{}", "a picture of {}", "a drawing of {}", "{} on a white background", "{} on blue")
FITS = ("model", *images.FITS)  # ways to make a picture square
MAX_BATCH_SIZE = 64  # the largest number of pictures encoded at once, which bounds memory


class Encoder:
    """An open_clip model as image -> z_i and text -> z_t, in its own scale (not normalised).

    Args:
        name: an open_clip architecture, or "local-dir:PATH" / "hf-hub:OWNER/NAME".
        pretrained: its tag (`open_clip.list_pretrained()`); None for the two prefixes, which bring their weights.

    Embeddings are float32 or better whatever the model computes in, so that small changes keep their precision.

    Raises:
        UserError: open_clip has no such model or tag, or its weights cannot be fetched or read.
    """

    _last_classes: tuple[tuple[Any, ...], Tensor] | None = None  # of `zero_shot`, after what they depend on
    sure_above = 0.5  # the probability from which on a first label counts as a sure answer

    def __init__(
        self,
        name: str,
        pretrained: str | None = None,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check(name, pretrained)
        self.name = _public_name(name, pretrained)
        self.model, self.tokenizer = _create(name, pretrained)
        self.model.eval().requires_grad_(False).to(device, dtype)
        self.preprocess_cfg = config = self.model.visual.preprocess_cfg
        self.mean = torch.tensor(config["mean"], device=device, dtype=dtype).view(1, 3, 1, 1)
        self.std = torch.tensor(config["std"], device=device, dtype=dtype).view(1, 3, 1, 1)
        size = self.model.visual.image_size
        self.image_size: int = size if isinstance(size, int) else size[0]
        self.device, self.dtype = torch.device(device), dtype

    def square(self, image: Image.Image) -> Image.Image:
        """A picture sized by the model's own preprocessing, which crops it, squashes it or pads it to `image_size`."""
        for resize in self._sizing:
            image = resize(image)
        return image

    @cached_property
    def _sizing(self) -> list[Any]:
        """Those of open_clip's own transforms that come before the picture becomes a tensor."""
        from open_clip import transform

        stock = transform.image_transform_v2(transform.PreprocessCfg(**self.preprocess_cfg), is_train=False)
        return [*takewhile(lambda step: not isinstance(step, transform.MaybeConvertMode), stock.transforms)]

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to z_i (B, D); pictures are squashed to the model's size, so `square` them before."""
        return torch.cat([self._encode(some) for some in pixels.split(MAX_BATCH_SIZE)])

    def _encode(self, pixels: Tensor) -> Tensor:
        pixels = images.resize(pixels.to(self.device, torch.float32), self.image_size).to(self.dtype)
        return _precise(self.model.encode_image(((pixels + 1) / 2 - self.mean) / self.std))

    @torch.no_grad()
    def encode_text(self, captions: str | Sequence[str]) -> Tensor:
        """B captions, or a single one, to z_t (B, D)."""
        return _precise(self.model.encode_text(self.tokens(captions)))

    def tokens(self, captions: str | Sequence[str]) -> Tensor:
        """B captions, or a single one, to token ids (B, L), cut at the context's length."""
        return self.tokenizer([self._named(c) for c in ([captions] if isinstance(captions, str) else captions)]).to(
            self.device
        )

    @torch.no_grad()
    def zero_shot(self, pixels: Tensor, labels: Sequence[str], templates: Sequence[str] = ("{}",)) -> Tensor:
        """`probabilities` of the labels: (B, labels).  The embeddings of the last labels are kept for the next call."""
        key = (tuple(labels), tuple(templates), self._weight_versions())
        if self._last_classes is None or self._last_classes[0] != key:
            self._last_classes = (key, class_embeddings(self, labels, templates))
        return classify(self, pixels, self._last_classes[1])

    def _weight_versions(self) -> tuple[int, ...]:
        """A number for each weight, which grows when the weight is changed in place."""
        networks = (part for part in vars(self).values() if isinstance(part, torch.nn.Module))
        return tuple(weight._version for network in networks for weight in network.parameters())

    @property
    def scale(self) -> float:
        """The learned factor on cosines, 1 / temperature."""
        return float(self.model.logit_scale.exp())

    def check_caption(self, caption: str) -> CaptionCheck:
        """Which words of a caption the model does not know, and where it truncates the caption.

        Raises:
            UserError: the caption is empty.
        """
        if not caption.strip():
            raise UserError("the caption is empty: say what the picture shows, like “a red apple”")
        caption = self._named(caption)
        words, unknown = self._words(caption)
        near = (tuple(difflib.get_close_matches(word, self.vocabulary, 3, cutoff=0.7)) for word in unknown)
        nothing = bool(unknown) and set(words) <= FUNCTION_WORDS.union(unknown)
        return CaptionCheck(tuple(unknown), tuple(near), self._truncated(caption), nothing)

    @property
    def _word_level(self) -> Any:
        """The tokenizer's backend if its tokens are words, otherwise None: a byte-pair tokenizer knows every word."""
        backend: Any = getattr(getattr(self.tokenizer, "tokenizer", None), "backend_tokenizer", None)
        return backend if type(getattr(backend, "model", None)).__name__ == "WordLevel" else None

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The words of a tokenizer whose tokens are words, sorted; () if it knows every word."""
        if self._word_level is None:
            return ()
        return tuple(sorted(word for word in self._word_level.get_vocab() if not word.startswith("[")))

    def _named(self, caption: str) -> str:
        """The caption with emoji characters in words, for a tokenizer whose tokens are words."""
        backend = self._word_level
        return caption if backend is None else name_emoji(caption, lambda w: backend.token_to_id(w) is not None)

    def _words(self, caption: str) -> tuple[list[str], list[str]]:
        """The words of a caption as a word-level tokenizer splits them, and those of them that it lacks."""
        backend = self._word_level
        if backend is None:
            return [], []
        text = backend.normalizer.normalize_str(self.tokenizer.clean_fn(caption))
        words = list(dict.fromkeys(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)))
        return words, [word for word in words if backend.token_to_id(word) is None]

    def _truncated(self, caption: str) -> str | None:
        words, width = caption.split(), self.tokenizer.context_length
        if not self._overflows(caption, width):
            return None
        count = bisect_left(range(1, len(words) + 1), True, key=lambda k: self._overflows(" ".join(words[:k]), width))
        return " ".join(words[:count])

    def _overflows(self, caption: str, width: int) -> bool:
        """Whether one more place would be used: the last token is the end token, so compare with a longer context."""
        longer, empty = self.tokenizer([caption, ""], context_length=width + 1)  # an empty caption ends in padding
        return bool(longer[-1] != empty[-1])

    def fingerprint(self) -> str:
        """Twelve digits that tell these weights from others of the same architecture, from a part of every tensor."""
        return digest(self.model.state_dict())

    def as_setting(self) -> dict[str, str]:
        """The name and the fingerprint, by which a result records the encoder."""
        return {"name": self.name, "weights": self.fingerprint()}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Twelve digits of a part of every tensor, by name."""
    sha256 = hashlib.sha256()
    for name, tensor in tensors.items():
        sha256.update(name.encode() + tensor.flatten()[:1024].double().cpu().numpy().tobytes())
    return sha256.hexdigest()[:12]


def _public_name(name: str, pretrained: str | None) -> str:
    """The name that a result records; for a folder only its last part, since its path is private to the user."""
    if name.startswith("local-dir:"):
        return Path(name.removeprefix("local-dir:")).name
    return f"{name}:{pretrained}" if pretrained else name


def _precise(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _check(name: str, pretrained: str | None) -> None:
    """Refuse a model or a tag that open_clip does not have, before anything is fetched."""
    import open_clip

    if name.startswith("local-dir:"):
        config = Path(name.removeprefix("local-dir:")) / "open_clip_config.json"
        if not config.is_file():
            raise UserError(f"{config} is not there: give a folder in open_clip's layout, config and weights")
        return
    if name.startswith("hf-hub:"):
        return
    if (name, pretrained) not in open_clip.list_pretrained():
        tags = [tag for model, tag in open_clip.list_pretrained() if model == name]
        if tags:
            raise UserError(f"{name} has no weights called {pretrained!r}: give one of {', '.join(tags)}")
        near = difflib.get_close_matches(name, open_clip.list_models(), 4)
        raise UserError(f"open_clip has no model {name!r}; near names: {', '.join(near) or 'none'}")
    trained = open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu", False)
    if trained and not open_clip.get_model_config(name).get("quick_gelu", False):
        raise UserError(f"{pretrained}'s weights of {name} were trained with QuickGELU: give {name}-quickgelu")


def _create(name: str, pretrained: str | None) -> tuple[Any, Any]:
    """The model and its tokenizer, fetched where they are not cached."""
    import open_clip

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # open_clip logs what it raises as well
    try:
        model = open_clip.create_model(name, pretrained=pretrained, require_pretrained=True)
        return model, open_clip.get_tokenizer(name)
    except Exception as error:  # of the hub's client and its transport, of safetensors, of torch
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if name.startswith("local-dir:"):
            raise UserError(f"{name.removeprefix('local-dir:')} can't be loaded by open_clip ({first})") from error
        whole = f"{name}:{pretrained}" if pretrained else name
        raise UserError(
            f"open_clip's {whole} is not cached and can't be fetched ({first}): with a network, `latentlab fetch "
            f"{whole}`, or give a local copy, local-dir:FOLDER"
        ) from error
    finally:
        logging.disable(before)


def square(encoder: Any, image: Image.Image, fit: str = "model") -> Image.Image:
    """A picture as a square of the encoder's size.

    Args:
        fit: "model" for the model's own preprocessing, or one of `images.FITS` as in `images.square`.

    Raises:
        UserError: another fit.
    """
    if fit not in FITS:
        raise UserError(f"fit is {fit!r}: give 'model', 'crop', 'pad' or 'subject'")
    return encoder.square(image) if fit == "model" else images.square(image, encoder.image_size, fit=fit)


@torch.no_grad()
def probe(encoder: Any) -> Tensor:
    """z_i (D,) of one fixed picture, by which one CLIP is recognised in any precision and from any library."""
    ramp = torch.linspace(-1, 1, encoder.image_size).expand(encoder.image_size, -1)
    return encoder.encode_image(torch.stack([ramp, ramp.T, -ramp])[None])[0].float().cpu()


def local(folder: Path, **options: Any) -> Encoder:
    """The encoder in a folder with open_clip_config.json, its weights and its tokenizer."""
    return Encoder(f"local-dir:{folder}", **options)


def class_embeddings(encoder: Encoder, labels: Sequence[str], templates: Sequence[str] = TEMPLATES) -> Tensor:
    """ẑ_t of each label, averaged over prompt templates and normalised again: (labels, D)."""
    z_t = torch.stack([normalize(encoder.encode_text([t.format(x) for x in labels])) for t in templates])
    return normalize(z_t.mean(0))


@torch.no_grad()
def classify(encoder: Encoder, pixels: Tensor, classes: Tensor) -> Tensor:
    """`probabilities` of pictures (B, 3, H, W): (B, L)."""
    return probabilities(encoder, encoder.encode_image(pixels), classes.to(pixels.device))


def probabilities(encoder: Encoder, z_i: Tensor, classes: Tensor) -> Tensor:
    """Zero-shot probabilities: softmax over classes of s ẑ_i·ẑ_t, s being the learned scale.  Radford et al. 2021.

    Args:
        z_i: (..., D). classes: (L, D), from `class_embeddings`.

    Returns:
        (..., L).
    """
    return (encoder.scale * normalize(z_i) @ classes.T).softmax(-1)
