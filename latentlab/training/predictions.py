"""What the decoder predicts of training pictures in one evaluation, with the frayed edges that its results have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..diffusion import Conditioning, abar_at, ddim_step
from ..noise import SeededNoise

if TYPE_CHECKING:
    from ..models.emoji import EmojiDecoder

LATEST = 300  # up to this time one evaluation predicts the picture well enough


@torch.no_grad()
def predicted_x0(decoder: EmojiDecoder, pixels: Tensor, captions: Sequence[str], t: int, seed: int) -> Tensor:
    """Predict x_0 from the pictures' x_t, with their z_i and captions: (B, C, H, W)."""
    x_0 = decoder.to_x0(pixels)
    noise = SeededNoise(range(seed, seed + len(x_0)), decoder.shape, stream="frays", device=x_0.device)()
    x_t = ddim_step(x_0, noise, 1.0, abar_at(decoder.abar, t))
    cond = Conditioning(decoder.encoder.encode_image(pixels), decoder.encode_prompt(captions))
    return ddim_step(x_t, decoder.eps(x_t, t, cond), abar_at(decoder.abar, t), 1.0)
