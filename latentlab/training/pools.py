"""Scenes with what a training needs of them, computed once and kept in a file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..clip import Encoder
from ..io.atomic import atomic_write
from ..models.emoji import encode_latents, text_tokens
from .curriculum import for_decoder
from .drawings import Sprites
from .loop import bfloat16_pays
from .rendering import Renderer
from .scenes import Scene

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC


def built_once(path: Path, build: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, ...]:
    """Read the tensors of a file, which is built and written where it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            torch.save(tuple(build()), part)
    tensors: tuple[Tensor, ...] = torch.load(path, weights_only=True)
    return tensors


def drawn(render: Renderer, scenes: Sequence[Scene]) -> Tensor:
    """The decoder's scenes as pictures, varied where their facts ask for it: (B, 3, 64, 64)."""
    pictures = render(list(scenes), 64)
    rows = [k for k, scene in enumerate(scenes) if scene.facts.get("varied")]
    if rows:
        seed = zlib.crc32(scenes[rows[0]].caption.encode())
        pictures[rows] = render([scenes[k] for k in rows], 64, vary=torch.Generator().manual_seed(seed))
    return pictures


class Pool(NamedTuple):
    """Scenes with all inputs of the decoder's and the prior's losses, computed once and kept in half precision.

    Encoding a picture costs half as much as a training step on it, so every picture is used several times.
    """

    x_0: Tensor  # (N, C, H, W)
    z_i: Tensor  # (N, D)
    z_t: Tensor  # (N, D)
    text: Tensor  # (N, L, W), zero where there is no token
    mask: Tensor  # (N, L)
    varied: Tensor  # (N,), whether the drawing was changed in ways that its caption does not mention

    @staticmethod
    @torch.no_grad()
    def build(
        sprites: Sprites, encoder: Encoder, autoencoder: AutoencoderDC | None, *, first: int, count: int, side: int
    ) -> Pool:
        """Encode the scenes of the seeds first .. first + count; x_0 are pictures of `side` pixels, or latents."""
        render, fast = Renderer(sprites, encoder.device), bfloat16_pays(encoder.device)
        parts: list[tuple[Tensor, ...]] = []
        for start in range(first, first + count, 256):
            scenes = [for_decoder(s, sprites) for s in range(start, min(start + 256, first + count))]
            pictures = drawn(render, scenes)
            with torch.autocast(encoder.device.type, torch.bfloat16, enabled=fast):
                if autoencoder is None:
                    x_0 = F.avg_pool2d(pictures, 64 // side)
                else:
                    x_0 = encode_latents(autoencoder, pictures)
            z_t, states, mask = text_tokens(encoder, [s.caption for s in scenes])
            z_i = encoder.encode_image(pictures)
            varied = torch.tensor([s.facts.get("varied", False) for s in scenes])
            parts.append((x_0.half(), z_i.half(), z_t.half(), (states * mask[..., None]).half(), mask, varied))
        return Pool(*(torch.cat(column) for column in zip(*parts)))

    @staticmethod
    def cached(
        path: Path,
        sprites: Sprites,
        encoder: Encoder,
        autoencoder: AutoencoderDC | None,
        *,
        first: int,
        count: int,
        side: int,
    ) -> Pool:
        """Read the pool from a file, or `build` it and write the file."""
        size = {"first": first, "count": count, "side": side}
        return Pool(*built_once(path, lambda: Pool.build(sprites, encoder, autoencoder, **size)))
