"""Bézier curves to pixels, differentiable in points, widths and colours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .errors import UserError

SHARPNESS = 5.0  # of an edge, per pixel: the logistic filter that is nearest to the average over a pixel
REACH = 2.5  # pixels beyond a stroke's edge, where its coverage has fallen below 1e-5
OPAQUE = 1 - 1e-6  # so that no product of what shows through is 0, whose gradient takes torch far longer
SEGMENTS = 8  # straight pieces of each cubic


class Chains(NamedTuple):
    """Chains of straight pieces: `starts` (B, K, V, 2) and `edges` (B, K, V, 2) from each start to its end."""

    starts: Tensor
    edges: Tensor


def rasterise(
    curves: Tensor, widths: Tensor, colours: Tensor, paper: Tensor, size: int, *, closed: bool = False
) -> Tensor:
    """Strokes painted one over another: c = Σ_k c_k α_k Π_{j>k} (1 - α_j) + paper Π_j (1 - α_j).

    α is the coverage of a pixel, the stroke's profile smoothed by a logistic filter, a function of the distance d to
    the curve alone: α = σ(s (w/2 + d)) + σ(s (w/2 - d)) - 1, and σ(s (w/2 + d)) inside a closed shape, d being negative
    outside.  CLIPDraw (Frans et al. 2021) takes diffvg's box filter (Li et al. 2020) instead.

    Args:
        curves: (B, K, M, 4, 2), K strokes of M cubic Béziers each, x and y in fractions of the side, y downwards.
        widths: (B, K), in fractions of the side.
        colours: (B, K, 3) in [-1, 1].
        paper: (B or 1, 3, H or 1, W or 1) in [-1, 1]; a picture must have the size.
        closed: fill each stroke, whose last point should be its first.

    Returns:
        (B, 3, size, size) in [-1, 1].

    Raises:
        UserError: curves of another shape, or none.
    """
    if curves.ndim != 5 or curves.shape[-2:] != (4, 2) or not curves[:1].numel():
        raise UserError(f"curves are {tuple(curves.shape)}, wanted (B, K, M, 4, 2) with at least one stroke")
    alpha = coverage(pieces(curves * size), widths * size, size, closed=closed).flip(1)  # (B, K, P), the top first
    through = (1 - alpha).cumprod(1)  # what shows through a stroke and all above it
    above = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], 1)
    painted = (colours.flip(1).mT @ (above - through)).unflatten(2, (size, size))
    return painted + paper * through[:, -1:].unflatten(2, (size, size))


def pieces(curves: Tensor) -> Chains:
    """Each stroke's cubics as straight pieces: (B, K, M, 4, 2) to M · SEGMENTS pieces a stroke."""
    t = torch.linspace(0, 1, SEGMENTS + 1, device=curves.device, dtype=curves.dtype)
    basis = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)  # Bernstein's
    vertices = basis @ curves  # (B, K, M, SEGMENTS + 1, 2)
    starts = vertices[..., :-1, :].flatten(2, 3)
    return Chains(starts, vertices[..., 1:, :].flatten(2, 3) - starts)


def coverage(chains: Chains, widths: Tensor, size: int, *, closed: bool = False) -> Tensor:
    """α of each stroke in each pixel: (B, K, size²); widths (B, K) in pixels.

    The nearest piece is searched for without a gradient, and only the distance to it is differentiated, since the
    gradient of a minimum is that of the piece where it is attained; and only near a stroke's edge, where α changes.
    """
    pixels = _centres(size, widths)
    nearest, squared = _nearest(chains, pixels)
    filled = inside(chains, pixels) if closed else torch.zeros_like(squared, dtype=torch.bool)
    alpha = filled.to(widths).flatten()
    near = (squared < (widths[..., None] / 2 + REACH) ** 2).flatten().nonzero()[:, 0]
    stroke, pixel = near // len(pixels), near % len(pixels)
    start, edge = (part.flatten(0, 1)[stroke, nearest.flatten()[near]] for part in chains)
    distance, half = _distance(pixels[pixel] - start, edge), widths.flatten()[stroke] / 2
    if closed:
        values = torch.sigmoid(SHARPNESS * (half + torch.where(filled.flatten()[near], distance, -distance)))
    else:
        values = torch.sigmoid(SHARPNESS * (half + distance)) + torch.sigmoid(SHARPNESS * (half - distance)) - 1
    return alpha.index_put((near,), values.clamp(0, OPAQUE)).view(*widths.shape, -1).clamp(max=OPAQUE)


def _centres(size: int, like: Tensor) -> Tensor:
    line = torch.arange(size, device=like.device, dtype=like.dtype) + 0.5
    return torch.cartesian_prod(line, line).flip(1)  # (P, 2) as x, y


def _distance(offset: Tensor, edge: Tensor) -> Tensor:
    """The distance of points to straight pieces, from the offset (N, 2) of each point to the piece's start: (N,)."""
    along = (offset * edge).sum(-1) / edge.square().sum(-1).clamp_min(1e-12)
    gap = offset - along.clamp(0, 1)[..., None] * edge
    return (gap.square().sum(-1) + 1e-8).sqrt()


@torch.no_grad()
def _nearest(chains: Chains, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The index of the piece that is nearest to each pixel, and its squared distance: (B, K, P) each."""
    x, y = pixels.unbind(-1)
    nearest = torch.zeros(*chains.starts.shape[:2], len(pixels), dtype=torch.long, device=pixels.device)
    least = torch.full(nearest.shape, torch.inf, dtype=pixels.dtype, device=pixels.device)
    for k, (start, edge) in enumerate(zip(chains.starts.unbind(2), chains.edges.unbind(2))):  # (B, K, 2)
        (x0, y0), (dx, dy) = start[..., None].unbind(2), edge[..., None].unbind(2)  # (B, K, 1)
        length = (dx * dx + dy * dy).clamp_min(1e-12)
        across, down = x - x0, y - y0  # (B, K, P)
        t = torch.addcmul(across * (dx / length), down, dy / length).clamp_(0, 1)
        squared = across.addcmul_(t, dx, value=-1).square_().add_(down.addcmul_(t, dy, value=-1).square_())
        nearest.masked_fill_(squared < least, k)
        torch.minimum(least, squared, out=least)
    return nearest, least


@torch.no_grad()
def inside(chains: Chains, pixels: Tensor) -> Tensor:
    """Whether a pixel is inside each closed chain by the even-odd rule: (B, K, P)."""
    x, y = pixels.unbind(-1)
    odd = torch.zeros(*chains.starts.shape[:2], len(pixels), dtype=torch.bool, device=pixels.device)
    for start, edge in zip(chains.starts.unbind(2), chains.edges.unbind(2)):  # (B, K, 2)
        (x0, y0), (dx, dy) = start[..., None].unbind(2), edge[..., None].unbind(2)  # (B, K, 1)
        crosses = (y0 <= y) != (y0 + dy <= y)
        odd ^= crosses & (x < x0 + (y - y0) * dx / torch.where(dy == 0, 1, dy))
    return odd
