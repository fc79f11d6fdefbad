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
LONG = 12  # cubics from which on those of a curve are short, so that half as many pieces do
TOGETHER = 2**16  # distances from pixels to pieces that are computed at once
TILE = 8  # side of the squares of pixels for which the strokes near them are searched


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
    chains, radii = pieces(curves * size), widths * (size / 2)
    tiles = _tiles(size, radii)  # (T, TILE², 2)
    touched = touches(chains, radii, tiles, closed=closed).flip(1)  # (B, K, T), the top first
    batch, stroke, tile = touched.nonzero(as_tuple=True)  # N strokes in tiles
    row = (batch + 1) * touched.shape[1] - 1 - stroke
    layer = (touched.cumsum(1) - 1)[batch, stroke, tile]
    depth = int(layer.amax()) + 1 if len(layer) else 1
    place = (batch * len(tiles) + tile) * depth + layer
    shape = len(curves) * len(tiles), depth
    alpha = coverage(chains, radii, row, tiles[tile], closed=closed)  # (N, TILE²)
    alpha = alpha.new_zeros(shape[0] * depth, TILE**2).index_copy(0, place, alpha).unflatten(0, shape)
    inks = colours.new_zeros(shape[0] * depth, 3).index_copy(0, place, colours.flatten(0, 1)[row]).unflatten(0, shape)
    through = (1 - alpha).cumprod(1)  # what shows through a stroke and all above it
    above = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], 1)
    painted, left = (_untiled(part, len(curves), size) for part in (inks.mT @ (above - through), through[:, -1:]))
    return painted + paper * left


def pieces(curves: Tensor) -> Chains:
    """Each stroke's cubics as straight pieces: (B, K, M, 4, 2) to M · SEGMENTS pieces a stroke, half for M ≥ LONG."""
    count = SEGMENTS if curves.shape[2] < LONG else SEGMENTS // 2
    t = torch.linspace(0, 1, count + 1, device=curves.device, dtype=curves.dtype)
    basis = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)  # Bernstein's
    vertices = basis @ curves  # (B, K, M, SEGMENTS + 1, 2)
    starts = vertices[..., :-1, :].flatten(2, 3)
    return Chains(starts, vertices[..., 1:, :].flatten(2, 3) - starts)


def coverage(chains: Chains, radii: Tensor, row: Tensor, pixels: Tensor, *, closed: bool = False) -> Tensor:
    """α of N strokes, each in pixels of its own: (N, P).

    The nearest piece is searched for without a gradient, and only the distance to it is differentiated, since the
    gradient of a minimum is that of the piece where it is attained; and only near a stroke's edge, where α changes.

    Args:
        radii: (B, K), half of the widths, in pixels.
        row: (N,), which stroke, counted through the batch.
        pixels: (N, P, 2), their centres.
    """
    own, radius = Chains(*(part.detach().flatten(0, 1)[row] for part in chains)), radii.flatten().index_select(0, row)
    nearest, squared = _nearest(own, pixels)
    filled = inside(own, pixels) if closed else torch.zeros_like(squared, dtype=torch.bool)
    near = (squared < (radius[:, None] + REACH) ** 2).flatten().nonzero()[:, 0]
    which = near // squared.shape[1]
    piece = row[which] * own.starts.shape[1] + nearest.flatten()[near]
    start, edge = (part.flatten(0, 2).index_select(0, piece) for part in chains)
    distance, radius = _distance(pixels.flatten(0, 1)[near] - start, edge), radius.index_select(0, which)
    if closed:
        values = torch.sigmoid(SHARPNESS * (radius + torch.where(filled.flatten()[near], distance, -distance)))
    else:
        values = torch.sigmoid(SHARPNESS * (radius + distance)) + torch.sigmoid(SHARPNESS * (radius - distance)) - 1
    alpha = filled.to(radii).flatten().clamp(max=OPAQUE)
    return alpha.index_copy(0, near, values.clamp(0, OPAQUE)).view_as(squared)


def touches(chains: Chains, radii: Tensor, tiles: Tensor, *, closed: bool = False) -> Tensor:
    """Whether a stroke may cover a part of a tile (T, TILE², 2): (B, K, T)."""
    centres = tiles.mean(1).expand(radii.numel(), -1, -1)
    flat = Chains(*(part.detach().flatten(0, 1) for part in chains))
    _, squared = _nearest(flat, centres)
    near = squared < (radii.detach().flatten()[:, None] + REACH + TILE / 2**0.5) ** 2
    if closed:  # a tile far from the edge is as its centre is
        near |= inside(flat, centres)
    return near.unflatten(0, radii.shape)


def _tiles(size: int, like: Tensor) -> Tensor:
    """The centres of pixels as x, y, tile by tile, with tiles beyond the right and lower edge where they overlap it."""
    count = -(-size // TILE)
    line = torch.arange(count * TILE, device=like.device, dtype=like.dtype) + 0.5
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(count, TILE, count, TILE, 2)
    return grid.transpose(1, 2).reshape(count**2, TILE**2, 2)


def _untiled(values: Tensor, batch: int, size: int) -> Tensor:
    """Values (B · T, C, TILE²) of tiles as pictures: (B, C, size, size)."""
    count, channels = -(-size // TILE), values.shape[1]
    grid = values.view(batch, count, count, channels, TILE, TILE).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(batch, channels, count * TILE, count * TILE)[..., :size, :size]


def _distance(offset: Tensor, edge: Tensor) -> Tensor:
    """The distance of points to straight pieces, from the offset (N, 2) of each point to the piece's start: (N,)."""
    along = (offset * edge).sum(-1) / edge.square().sum(-1).clamp_min(1e-12)
    gap = offset - along.clamp(0, 1)[..., None] * edge
    return (gap.square().sum(-1) + 1e-8).sqrt()


@torch.no_grad()
def _nearest(chains: Chains, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The index of the piece (N, V, 2) that is nearest to each pixel (N, P, 2), and its squared distance: (N, P)."""
    x, y = (part.contiguous() for part in pixels.unbind(-1))
    nearest = torch.zeros(x.shape, dtype=torch.long, device=x.device)
    least = torch.full_like(x, torch.inf)
    together = max(1, TOGETHER // max(1, x.numel()))
    for first in range(0, chains.starts.shape[1], together):
        some = slice(first, first + together)
        (x0, y0), (dx, dy) = (part[:, some].permute(2, 1, 0)[..., None] for part in chains)  # (G, N, 1)
        length = (dx * dx + dy * dy).clamp_min(1e-12)
        across, down = x - x0, y - y0  # (G, N, P)
        t = torch.addcmul(across * (dx / length), down, dy / length).clamp_(0, 1)
        squared = across.addcmul_(t, dx, value=-1).square_().add_(down.addcmul_(t, dy, value=-1).square_())
        best, piece = squared.min(0) if len(squared) > 1 else (squared[0], 0)
        nearest = torch.where(best < least, piece + first, nearest)
        torch.minimum(least, best, out=least)
    return nearest, least


@torch.no_grad()
def inside(chains: Chains, pixels: Tensor) -> Tensor:
    """Whether a pixel (N, P, 2) is inside its closed chain by the even-odd rule: (N, P)."""
    x, y = pixels.unbind(-1)
    odd = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
    for start, edge in zip(chains.starts.unbind(1), chains.edges.unbind(1)):  # (N, 2)
        (x0, y0), (dx, dy) = start[..., None].unbind(1), edge[..., None].unbind(1)  # (N, 1)
        crosses = (y0 <= y) != (y0 + dy <= y)
        odd ^= crosses & (x < x0 + (y - y0) * dx / torch.where(dy == 0, 1, dy))
    return odd
