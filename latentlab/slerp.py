"""Directions and angles, for interpolation in CLIP's space."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import UserError


def normalize(z: Tensor) -> Tensor:
    """z / |z| along the last dimension; a zero vector stays zero."""
    return z / z.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(z.dtype).tiny ** 0.5)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle between a and b in radians, exact for small and for nearly opposite ones.

    2 atan2(|â - b̂|, |â + b̂|)  (Kahan), where arccos(â·b̂) would lose half of the digits.

    Args:
        a, b: (..., D), any lengths.

    Returns:
        (...), 0 to pi.
    """
    a, b = normalize(a), normalize(b)
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))


def slerp(a: Tensor, b: Tensor, theta: Tensor | float) -> Tensor:
    """Turn from a to b along the great circle, the length going linearly from |a| to |b|.

    slerp(a, b, θ) = sin((1-θ)ω)/sin ω · â + sin(θω)/sin ω · b̂.  Ramesh et al. 2022, section 3.2.

    Args:
        a, b: (..., D), broadcast against one another.
        theta: fraction of the arc, 0 at a, 1 at b; a number or a tensor that broadcasts against (..., 1).

    Returns:
        (..., D).

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
    tensor([0.7071, 0.7071])

    Raises:
        UserError: a and b point in opposite directions, so that no arc is the shortest; or one of them is zero.
    """
    length_a, length_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    if not (length_a.all() and length_b.all()):
        raise UserError("slerp of a zero vector, which has no direction: give two vectors of non-zero length")
    omega = angle(a, b).unsqueeze(-1)  # (..., 1)
    if (torch.pi - omega < 1e-3).any():
        raise UserError("slerp between opposite directions (180°): no arc is the shortest; go through a third point")
    theta = torch.as_tensor(theta, dtype=a.dtype, device=a.device)
    # sin(x)/sin(ω) tends to x/ω, so equal directions need no case of their own: sinc is smooth at 0.
    weight_a = (1 - theta) * torch.sinc((1 - theta) * omega / torch.pi) / torch.sinc(omega / torch.pi)
    weight_b = theta * torch.sinc(theta * omega / torch.pi) / torch.sinc(omega / torch.pi)
    direction = weight_a * normalize(a) + weight_b * normalize(b)
    return direction * torch.lerp(length_a, length_b, theta)
