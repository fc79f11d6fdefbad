"""Edits of the bipartite latent (z_i, x_T): interpolation between two pictures, and text diffs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .errors import UserError
from .latents import Latent
from .slerp import normalize, slerp


def interpolate(
    a: Latent, b: Latent, theta: Tensor | Sequence[float] | float, *, noise: Tensor | str = "slerp"
) -> Latent:
    """Interpolate between two pictures, a row for each theta.

    z_θ = slerp(z_i1, z_i2, θ), its length going linearly from |z_i1| to |z_i2|; x_T likewise, so that the ends
    reconstruct the two pictures, or one x_T for the whole path.  Ramesh et al. 2022, section 3.2.

    Args:
        a, b: one row each: z_i (1, D), x_T (1, C, H, W).
        theta: (T,), fractions of the arc, 0 at a, 1 at b.
        noise: "slerp", or the x_T (1, C, H, W) to hold fixed: another one is another path.

    Returns:
        T rows.

    Raises:
        UserError: more than one row, latents of two models, theta outside 0 to 1, or opposite ends.
    """
    for name, latent in (("a", a), ("b", b)):
        if len(latent) != 1:
            raise UserError(f"{name} has {len(latent)} rows, wanted one: {name}[0]")
    if a.z_i.shape != b.z_i.shape or a.x_T.shape != b.x_T.shape:
        raise UserError(f"a is {a} and b is {b}, wanted the same shapes: invert both pictures with one model")
    theta = fractions(theta)
    z_i = _arc(a.z_i, b.z_i, theta)
    if isinstance(noise, Tensor):
        if noise.shape != a.x_T.shape:
            raise UserError(f"noise is {tuple(noise.shape)}, wanted {tuple(a.x_T.shape)}: noise.draw_x_T(decoder, [0])")
        return Latent(z_i, noise.to(a.x_T).expand(len(theta), -1, -1, -1))
    if noise != "slerp":
        raise UserError(
            f"noise is {noise!r}: give 'slerp', or the x_T to hold fixed, like noise.draw_x_T(decoder, [0])"
        )
    return Latent(z_i, _arc(a.x_T, b.x_T, theta))


class Traversable(Protocol):
    """Principal components, or a dictionary of features."""

    def traverse(self, z_i: Tensor, direction: int, distances: Sequence[float], /) -> Tensor: ...


def move(z_i: Tensor, moves: Sequence[tuple[Traversable, int, float]]) -> Tensor:
    """Move one z_i along several components and features at once: z_i + Σ_k σ_k s_k e_k.

    Args:
        z_i: (1, D).
        moves: the components or the dictionary, which of its directions, and the distance σ along it, as their
            `traverse` takes them.

    Returns:
        (1, D).

    Raises:
        UserError: as for `traverse`.
    """
    return z_i + sum((d.traverse(z_i, k, [distance]) - z_i for d, k, distance in moves), torch.zeros_like(z_i))


def text_diff(latent: Latent, z_t0: Tensor, z_t: Tensor, theta: Tensor | Sequence[float] | float) -> Latent:
    """Turn z_i towards what changes between two captions; keep x_T.

    z_d = norm(z_t - z_t0), z_theta = slerp(z_i, z_d, theta).  Ramesh et al. 2022, section 3.3.

    Args:
        latent: z_i (B, D), x_T (B, C, H, W).
        z_t0, z_t: (1 or B, D), captions of the image as it is and as wanted.
        theta: (T,), fractions of the angle from z_i to z_d, 0 to 1; the paper goes to 0.25-0.50.

    Returns:
        B x T rows, all thetas of the first latent first: row b T + k is latent b at theta k.  The same x_T; z_i turned,
        its length kept.

    Raises:
        UserError: the two captions have one embedding, so there is no direction; embeddings of another shape; theta
            outside 0 to 1; or a z_i that is opposite to z_d.
    """
    rows, width = latent.z_i.shape
    for name, z in (("z_t0", z_t0), ("z_t", z_t)):
        if z.shape not in ((1, width), (rows, width)):
            raise UserError(
                f"{name} is {tuple(z.shape)}, wanted (1 or {rows}, {width}) for z_i {tuple(latent.z_i.shape)}: encode "
                "the captions with the CLIP that encoded the picture"
            )
    theta = fractions(theta)
    z_d = direction(z_t0, z_t).to(latent.z_i.device)
    z_i = _arc(latent.z_i, z_d * _exact(latent.z_i).norm(dim=-1, keepdim=True), theta)  # of one length all the way
    return Latent(z_i, latent.x_T.repeat_interleave(len(theta), 0))


def direction(z_t0: Tensor, z_t: Tensor) -> Tensor:
    """z_d = norm(z_t - z_t0), (1 or B, D), of length 1.  Ramesh et al. 2022, section 3.3.

    Raises:
        UserError: the two captions have one embedding.
    """
    change = _exact(z_t) - _exact(z_t0)
    # One caption encoded twice, in batches of other sizes, comes out equal but for the last digits.
    if (change.norm(dim=-1) <= 16 * torch.finfo(z_t.dtype).eps * _exact(z_t).norm(dim=-1)).any():
        raise UserError(
            "z_t0 and z_t are one embedding, so there is no direction from one caption to the other: give captions "
            "that say different things"
        )
    return normalize(change)


def _arc(a: Tensor, b: Tensor, theta: Tensor) -> Tensor:
    """slerp of whole rows, (B, ...) twice to (B T, ...), all thetas of the first row first."""
    flat_a, flat_b = (_exact(x).flatten(1).unsqueeze(1) for x in (a, b))  # (B, 1, N)
    turned = slerp(flat_a, flat_b, theta.view(-1, 1).to(flat_a))  # (B, T, N)
    return turned.reshape(-1, *a.shape[1:]).to(a.dtype)


def _exact(x: Tensor) -> Tensor:
    """At least float32: half precision has too few digits for angles."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def spaced(count: int, last: float) -> list[float]:
    """`count` equally spaced fractions from 0 to the last, rounded to six digits.

    >>> spaced(3, 0.4)
    [0.0, 0.2, 0.4]
    """
    return [round(theta, 6) for theta in torch.linspace(0, last, max(int(count), 0), dtype=torch.float64).tolist()]


def fractions(theta: Tensor | Sequence[float] | float) -> Tensor:
    """(T,) in float64.

    Raises:
        UserError: none, not (T,), or one outside 0 to 1.
    """
    thetas = torch.as_tensor(theta, dtype=torch.float64, device="cpu")
    if thetas.ndim > 1 or not thetas.numel():
        raise UserError(f"theta is {tuple(thetas.shape)}, wanted a number or (T,): torch.linspace(0, 1, 7)")
    if not ((thetas >= 0) & (thetas <= 1)).all():
        raise UserError(f"theta is {thetas.tolist()}, wanted fractions of the arc, from 0 to 1")
    return thetas.reshape(-1)
