"""The miniature's upsampler: diffusers' UNet2DModel adds the detail that an enlarged picture lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..diffusion import abar_at, cosine_abar, to_eps

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel

DETAIL = 12.0  # scales the detail that a large picture has over its bicubic enlargement to about unit variance


class EmojiUpsampler:
    """UNet2DModel on [x_t, bicubic small picture], which takes blocks of pixels as channels and predicts v.

    A block becomes one pixel of the small picture: 4x4 blocks for 64 -> 256 cost as much as 2x2 blocks for 64 -> 128.

    x_0 is the detail that the bicubic picture lacks, at about unit variance (Li et al. 2021, SRDiff), and not the large
    picture itself, so that a small network spends nothing on what the small picture shows already.
    """

    # One step gives the mean of the possible details; more steps add grain that no drawing has (MODEL_CARD.md).
    abar = cosine_abar()
    steps: int | Sequence[int] = 1

    def __init__(self, network: UNet2DModel, low: int) -> None:
        self.network, self.low = network, low
        # The activations of four pictures fit a CPU's caches; in a batch of 32 a picture takes nearly twice as long.
        self.max_batch_size = 4 if network.device.type == "cpu" else 32
        self.high: int = network.config["sample_size"] * block_side(network)

    def eps(self, x_t: Tensor, t: int, pixels: Tensor) -> Tensor:
        v = upsampler_v(self.network, x_t, torch.full((len(x_t),), t, device=x_t.device), pixels)
        return to_eps(v, x_t, abar_at(self.abar, t), "v")

    def to_pixels(self, x_0: Tensor, pixels: Tensor) -> Tensor:
        return (bicubic(pixels, self.high) + x_0 / DETAIL).clamp(-1, 1)


def bicubic(pixels: Tensor, side: int) -> Tensor:
    """Pictures (B, 3, H, W) resized to (B, 3, side, side) by bicubic interpolation."""
    return F.interpolate(pixels, (side, side), mode="bicubic")


def upsampler_v(network: UNet2DModel, x_t: Tensor, t: Tensor, low: Tensor) -> Tensor:
    """One evaluation of the upsampler's network: (B, 3, H, W)."""
    side = block_side(network)
    v = network(F.pixel_unshuffle(torch.cat([x_t, bicubic(low, x_t.shape[-1])], 1), side), t).sample
    return F.pixel_shuffle(v, side)


def block_side(network: UNet2DModel) -> int:
    """The side of the blocks of pixels that the upsampler's network takes as channels."""
    return math.isqrt(network.config["out_channels"] // 3)
