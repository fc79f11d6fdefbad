"""Guidance by CLIP: the predicted noise, corrected by the gradient of CLIP's logit of a caption."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .diffusion import Conditioning, Decoder, abar_at, ddim_step, evaluate
from .errors import UserError
from .slerp import normalize


class ImageEncoder(Protocol):
    """The image side of a CLIP, differentiable."""

    @property
    def scale(self) -> float:
        """The learned factor on cosines."""

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to z_i (B, D)."""


@runtime_checkable
class NoisedEncoder(Protocol):
    """The image side of a CLIP that was trained on noised states, differentiable."""

    @property
    def scale(self) -> float:
        """The learned factor on cosines."""

    def encode_noised(self, x_t: Tensor, t: int) -> Tensor:
        """States (B, C, H, W) at a time to z_i (B, D)."""


@dataclass(frozen=True, repr=False)
class ClipGuidance:
    """The captions that CLIP guides towards, and how hard.

    Args:
        encoder: the CLIP that judges the predicted x_0 as a picture, or a noised CLIP that judges x_t itself.
        z_t: (1 or B, D), the captions' embeddings.
        scale: s; 0 changes nothing, and 1 weighs CLIP's own logit once.

    Raises:
        UserError: a scale that is negative or not finite.
    """

    encoder: ImageEncoder | NoisedEncoder
    z_t: Tensor
    scale: float

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise UserError(f"the scale of guidance by CLIP is {self.scale}: give 0 for none, or more, like 1")

    def __repr__(self) -> str:
        return f"ClipGuidance(z_t {tuple(self.z_t.shape)}, scale {self.scale:g})"

    def expand(self, count: int) -> ClipGuidance:
        """One caption repeated `count` times; as many captions as that stay as they are."""
        if len(self.z_t) not in (1, count):
            raise UserError(f"{len(self.z_t)} captions guide {count} pictures: give one z_t for all, or one each")
        return ClipGuidance(self.encoder, self.z_t.expand(count, -1), self.scale)

    def score(self, z_i: Tensor, rows: slice) -> Tensor:
        """CLIP's logits τ ẑ_i·ẑ_t of embeddings and the captions of these rows: (B,)."""
        z_i, z_t = normalize(z_i), normalize(self.z_t[rows])
        return self.encoder.scale * (z_i * z_t.to(z_i)).sum(-1)


@torch.no_grad()
def clip_guided(
    decoder: Decoder, x_t: Tensor, t: int, cond: Conditioning, guidance: float, clip: ClipGuidance | None
) -> Tensor:
    """`diffusion.evaluate`, guided by CLIP as well where `clip` is not None.

    eps' = eps - s √(1-a) ∇_{x_t} τ ẑ_i·ẑ_t.  Nichol et al. 2021 (GLIDE), section 2.4.  A noised CLIP gives z_i(x_t, t),
    as there, and the gradient goes through it and the first stage alone.  A plain CLIP gives z_i(x̂_0), of the predicted
    x_0 as a picture.  The gradient then goes through the encoder, the first stage and the
    decoder's network, so that x̂_0 moves by s Cov[x_0 | x_t] times the gradient at x̂_0: far while x_0 is uncertain,
    and not at all at the end.  This is Bayes's rule for the density p(x_0) exp(s τ ẑ_i·ẑ_t), to first order.

    Args:
        x_t: (B, C, H, W).
        cond: B rows.
        guidance: classifier-free, of the noise that is corrected; 1 disables it.
        clip: None or B captions.

    Returns:
        eps (B, C, H, W).
    """
    eps = evaluate(decoder, x_t, t, cond, guidance)
    if clip is None or clip.scale == 0:
        return eps
    size = max(1, decoder.max_batch_size // 4)  # what backpropagation keeps needs memory, too
    chunks = [slice(k, k + size) for k in range(0, len(x_t), size)]
    gradient = torch.cat([_gradient(decoder, x_t[k], eps[k], t, cond[k], guidance, clip, k) for k in chunks])
    return eps - clip.scale * math.sqrt(1 - abar_at(decoder.abar, t)) * gradient


def _gradient(
    decoder: Decoder,
    x_t: Tensor,
    eps: Tensor,
    t: int,
    cond: Conditioning,
    guidance: float,
    clip: ClipGuidance,
    rows: slice,
) -> Tensor:
    """∇_{x_t} of the score, by the chain rule a network at a time: they may take turns in a GPU's memory."""
    encoder, a = clip.encoder, abar_at(decoder.abar, t)
    if isinstance(encoder, NoisedEncoder):
        ones = torch.ones(len(x_t), device=x_t.device)
        return _pulled_back(lambda x: clip.score(encoder.encode_noised(x, t), rows), x_t, ones)

    def predict(x: Tensor) -> Tensor:
        return ddim_step(x, decoder.eps(x, t, cond, guidance), a, 1.0)

    x_0 = ddim_step(x_t, eps, a, 1.0)
    pixels = decoder.to_pixels(x_0)
    by_pixels = _pulled_back(
        lambda p: clip.score(encoder.encode_image(p), rows), pixels, torch.ones(len(pixels), device=pixels.device)
    )
    return _pulled_back(predict, x_t, _pulled_back(decoder.to_pixels, x_0, by_pixels))


def _pulled_back(function: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient at the function's input from that at its output."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        output = function(x)
        return torch.autograd.grad(output, x, gradient.to(output))[0]
