"""A lab with closed-form answers: the data are Gaussian, so that the noise and x_T have exact formulas.

x_0 ~ N(μ(z_i), s²) in every pixel.  Then E[eps | x_t] and the whole probability-flow path have formulas, with which the
numerical results of the rest of the library can be compared.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ..captions import CaptionCheck
from ..clip import Encoder
from ..diffusion import Conditioning, abar_at, cosine_abar, guided
from ..errors import UserError
from ..io import images
from ..prior import PriorConditioning
from .lab import Lab

if TYPE_CHECKING:
    from .dalle import Dalle

D, SIDE = 12, 8  # an embedding is the mean colour of the four quarters, with 3 channels for every quarter


class ToyEncoder(Encoder):
    """z_i is the mean colour of the four quarters; z_t are four colours drawn from the caption's hash."""

    image_size, scale, vocabulary = SIDE, 10.0, ()

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def square(self, image: Image.Image) -> Image.Image:
        return images.square(image, SIDE)

    def encode_image(self, pixels: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(pixels.to(self.device), 2).flatten(1)

    def encode_text(self, captions: str | Sequence[str]) -> Tensor:
        captions = [captions] if isinstance(captions, str) else captions
        seeds = [zlib.crc32(caption.encode()) for caption in captions]
        rows = [torch.rand(D, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in seeds]
        return torch.stack(rows).to(self.device)

    def as_setting(self) -> dict[str, str]:
        return {"name": "toy", "weights": ""}

    def check_caption(self, caption: str) -> CaptionCheck:
        if not caption.strip():
            raise UserError("the caption is empty: say what the picture shows")
        return CaptionCheck()


class ToyPrior:
    """z_i equals z_t."""

    abar, width, max_batch_size = cosine_abar(), D, 4096

    def __init__(self, encoder: ToyEncoder) -> None:
        self.encoder = encoder

    def encode_prompt(self, prompts: Sequence[str]) -> PriorConditioning:
        z_t = self.encoder.encode_text(prompts)
        return PriorConditioning(z_t, z_t[:, None])

    def x_0(self, x_t: Tensor, t: int, cond: PriorConditioning, guidance: float = 1.0) -> Tensor:
        return cond.z_t

    def to_z_i(self, x_0: Tensor) -> Tensor:
        return x_0


class ToyDecoder:
    """The exact denoiser of x_0 ~ N(μ(z_i), s²), where μ paints every quarter in its mean colour.

    Args:
        spread: s.
        abar: (T,), a cosine schedule by default.
        colours: τ, the standard deviation of the colours over all z_i: without z_i (the null condition, z_i = 0) the
            answer is that of all pictures together, x_0 ~ N(0, s² I + τ² 𝟙𝟙ᵀ) in every quarter.
    """

    shape, image_size, max_batch_size = (3, SIDE, SIDE), SIDE, 4096

    def __init__(self, spread: float = 0.3, abar: Tensor | None = None, colours: float = 0.5) -> None:
        self.spread, self.colours = spread, colours
        self.abar = cosine_abar() if abar is None else abar

    def to_x0(self, pixels: Tensor) -> Tensor:
        return images.resize(pixels, SIDE)

    def to_pixels(self, x_0: Tensor) -> Tensor:
        return x_0.clamp(-1, 1)

    def encode_prompt(self, prompts: Sequence[str]) -> None:
        return None

    def mean(self, z_i: Tensor) -> Tensor:
        """μ(z_i): (B, D) to (B, 3, SIDE, SIDE)."""
        return z_i.view(-1, 3, 2, 2).repeat_interleave(SIDE // 2, 2).repeat_interleave(SIDE // 2, 3)

    def eps(self, x_t: Tensor, t: int, cond: Conditioning, guidance: float = 1.0) -> Tensor:
        """E[eps | x_t] = √(1-a) Σ⁻¹ (x_t - √a μ), Σ = (a s² + 1 - a) I, and for the null condition a τ² 𝟙𝟙ᵀ more."""
        a, pixels = abar_at(self.abar, t), (SIDE // 2) ** 2
        own = a * self.spread**2 + 1 - a
        common = 1 - own / (own + a * pixels * self.colours**2)  # of a quarter's mean, along which 𝟙𝟙ᵀ adds

        def predict(x: Tensor, cond: Conditioning) -> Tensor:
            change = x - math.sqrt(a) * self.mean(cond.z_i)
            null = (cond.z_i == 0).all(1).view(-1, 1, 1, 1)
            quarters = self.mean(torch.nn.functional.adaptive_avg_pool2d(change, 2).flatten(1))
            return math.sqrt(1 - a) * (change - null * common * quarters) / own

        return guided(predict, x_t, cond, Conditioning(torch.zeros_like(cond.z_i)), guidance)

    def exact_x_t(self, x_0: Tensor, z_i: Tensor, t: int) -> Tensor:
        """The point at time t of the probability-flow path through x_0: x_t = √a μ + (x_0 - μ) √(a s² + 1 - a) / s."""
        a, mean = abar_at(self.abar, t), self.mean(z_i)
        return math.sqrt(a) * mean + (x_0 - mean) * math.sqrt(a * self.spread**2 + 1 - a) / self.spread


def load(name: str, *, device: torch.device) -> Lab:
    """The lab with closed-form answers."""
    encoder = ToyEncoder(device)
    return Lab(name, encoder, ToyPrior(encoder), ToyDecoder(), load_dalle=cache(partial(_load_dalle, encoder)))


def _load_dalle(encoder: ToyEncoder) -> Dalle:
    from .toy_dalle import ToyDalle  # diffusers, for which the toy need not wait

    return ToyDalle(encoder)
