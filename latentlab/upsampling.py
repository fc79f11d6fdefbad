"""x_0 -> large image: a diffusion model conditioned on the small picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .diffusion import abar_at, ddim_step, levels
from .errors import UserError
from .noise import SeededNoise


class Upsampler(Protocol):
    """A denoiser of large pictures, conditioned on small ones."""

    abar: Tensor  # (T,)
    low: int  # side of the small picture
    high: int  # side of the large one
    max_batch_size: int  # the largest number of pictures enlarged at once, which bounds memory
    steps: int | Sequence[int]  # how many steps, or which times, it was made for

    def eps(self, x_t: Tensor, t: int, pixels: Tensor) -> Tensor:
        """The noise in x_t (B, 3, high, high), conditioned on the small pictures (B, 3, low, low)."""

    def to_pixels(self, x_0: Tensor, pixels: Tensor) -> Tensor:
        """The large pictures: x_0 itself, or what it adds to the small ones."""


@torch.no_grad()
def upsample(
    upsampler: Upsampler, pixels: Tensor, *, seeds: Sequence[int], steps: int | Sequence[int] | None = None
) -> Tensor:
    """Enlarge pictures.  Ramesh et al. 2022, section 2.1: 27 and 15 DDIM steps, no text.

    Args:
        pixels: (B, 3, low, low) in [-1, 1].
        seeds: B integers.
        steps: None takes the upsampler's own number.

    Returns:
        (B, 3, high, high) in [-1, 1].

    Raises:
        UserError: pictures of another size, or another number of seeds.
    """
    side = upsampler.low
    if pixels.shape[1:] != (3, side, side) or len(seeds) != len(pixels):
        raise UserError(
            f"pixels are {tuple(pixels.shape)} with {len(seeds)} seeds, this upsampler wants (B, 3, {side}, {side}) "
            f"and B seeds: images.resize(pixels, {side})"
        )
    times = levels(upsampler.abar, upsampler.steps if steps is None else steps)
    size = upsampler.max_batch_size
    chunks = [slice(k, k + size) for k in range(0, len(pixels), size)]
    return torch.cat([_upsample(upsampler, pixels[rows], seeds[rows], times) for rows in chunks])


def _upsample(upsampler: Upsampler, pixels: Tensor, seeds: Sequence[int], times: Sequence[int]) -> Tensor:
    shape = (3, upsampler.high, upsampler.high)
    x_t = SeededNoise(seeds, shape, stream="upsampler", device=pixels.device, dtype=pixels.dtype)()
    for t, t_next in itertools.pairwise(times):
        eps = upsampler.eps(x_t, t, pixels)
        x_t = ddim_step(x_t, eps, abar_at(upsampler.abar, t), abar_at(upsampler.abar, t_next))
    return upsampler.to_pixels(x_t, pixels)
