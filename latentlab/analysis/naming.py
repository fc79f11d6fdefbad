"""Words for directions of CLIP's space: the captions that go most with and against each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import UserError
from ..slerp import normalize
from .covariance import rows

ROUNDING = 1e-6  # of float32, in unit vectors and cosines


@dataclass(frozen=True)
class Name:
    """A direction in words.

    Args:
        component: which, from 0.
        rising, falling: captions that go with it and against it, each with its cosine, the strongest first.
    """

    component: int
    rising: tuple[tuple[str, float], ...]
    falling: tuple[tuple[str, float], ...]


def name_directions(directions: Tensor, z_t: Tensor, captions: Sequence[str], *, top: int = 5) -> tuple[Name, ...]:
    """The captions of a vocabulary that go most with and against each direction.

    cos(ẑ_t - mean ẑ_t, u_k), the mean taken over the vocabulary: texts lie apart from pictures in CLIP's space
    (Liang et al. 2022, "Mind the gap"), so the pictures' own mean would leave the gap between the two in every
    score. The vocabulary should therefore be of the same things as the pictures. The cosine, since a projection
    would name every direction after the captions that are farthest from the others.

    Args:
        directions: (K, D), the unit vectors u_k in float64.
        z_t: (V, D), of any length.
        captions: V of them.
        top: at most so many captions on either side; only such as have that sign.

    Returns:
        K names.

    Raises:
        UserError: captions and z_t of different numbers, another D, not finite, fewer than two different z_t, or
            top below 1.
    """
    z = normalize(rows(z_t, "z_t", directions.shape[1]))
    if len(captions) != len(z):
        raise UserError(f"len(captions) is {len(captions)}, len(z_t) is {len(z)}: give one embedding for each caption")
    if top < 1:
        raise UserError(f"top is {top}: give how many captions to name, from 1")
    centred = z - z.mean(0) if len(z) else z
    apart = centred.norm(dim=1, keepdim=True) > ROUNDING  # what is nearer has no direction
    if not apart.any():
        raise UserError(f"of {len(captions)} z_t no two differ, so they name nothing: give two captions that do")
    cosine = directions @ (normalize(centred) * apart).T  # (K, V)
    pairs = ((_strongest(captions, row, top), _strongest(captions, row, top, -1)) for row in cosine)
    return tuple(Name(k, rising, falling) for k, (rising, falling) in enumerate(pairs))


def _strongest(captions: Sequence[str], cosine: Tensor, top: int, sign: int = 1) -> tuple[tuple[str, float], ...]:
    order = (sign * cosine).argsort(descending=True, stable=True)[:top].tolist()
    return tuple((captions[v], cosine[v].item()) for v in order if sign * cosine[v] > ROUNDING)
