"""Seeded noise: each sample has a seed of its own, so that it is the same alone and in any batch."""

from __future__ import annotations

import operator
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from .diffusion import Decoder
from .errors import UserError


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds as plain integers.

    Raises:
        UserError: there are none, or they are no integers.
    """
    try:
        integers = () if isinstance(seeds, str) else tuple(operator.index(s) for s in seeds)
    except TypeError:
        integers = ()
    if not integers:
        raise UserError(f"seeds is {seeds!r}: give one integer for each picture, at least one, like [0, 1, 2]")
    return integers


class SeededNoise:
    """Standard normal noise with a generator for each sample, so that sample k is the same alone and in any batch.

    Args:
        seeds: one integer a sample.
        shape: of one sample's noise.
        stream: what the noise is for; different streams of one seed are independent.

    Raises:
        UserError: seeds that are no integers, or none.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        *,
        stream: str = "x_T",
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        # A hash and not a sum: torch's CPU generator keeps the lower 32 bits of a seed and drops the rest.
        hashes = [zlib.crc32(f"{stream} {s}".encode()) for s in checked_seeds(seeds)]
        self.generators = [torch.Generator().manual_seed(h) for h in hashes]
        self.shape, self.device, self.dtype = tuple(shape), device, dtype or torch.float32

    def __call__(self) -> Tensor:
        """The next draw of every sample: (B, *shape)."""
        rows = [torch.randn(self.shape, generator=g) for g in self.generators]
        return torch.stack(rows).to(self.device, self.dtype)


def draw_x_T(
    decoder: Decoder, seeds: Sequence[int], *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Tensor:
    """x_T for the seeds: (B, C, H, W)."""
    return SeededNoise(seeds, decoder.shape, device=device, dtype=dtype)()
