"""Outpainting: a canvas larger than what the decoder paints at once, painted through overlapping square windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from .errors import UserError

SIDES = ("left", "right", "top", "bottom")
LARGEST = 4  # times a window's area


class Canvas(NamedTuple):
    """A canvas in half sides of a window: its height and width, the picture's place, and the windows in order."""

    height: int
    width: int
    top: int
    left: int
    windows: tuple[tuple[int, int], ...]


def canvas(sides: Sequence[str], height: int = 2, width: int = 2) -> Canvas:
    """The canvas that grows by half a window on each of the sides.

    Each window holds at least a quarter that is painted already.

    Args:
        height, width: of the picture, in half sides of a window.

    Raises:
        UserError: a side that there is not, or a canvas of more than four times a window's area.
    """
    top, left, bottom, right = 0, 0, height, width
    corners = []
    for side in sides:
        if side not in SIDES:
            raise UserError(f"grow is {side!r}: give one of {', '.join(SIDES)}, or several")
        if side in ("left", "right"):
            left, right = left - (side == "left"), right + (side == "right")
            column = left if side == "left" else right - 2
            corners += [(row, column) for row in range(top, bottom - 1)]
        else:
            top, bottom = top - (side == "top"), bottom + (side == "bottom")
            row = top if side == "top" else bottom - 2
            corners += [(row, column) for column in range(left, right - 1)]
    if sides and (bottom - top) * (right - left) > 4 * LARGEST:
        raise UserError(
            f"the canvas would grow to {(bottom - top) * (right - left) / 4:g} times the picture's area: at most "
            f"{LARGEST} times can be painted, so grow on fewer sides, then crop the result and go on from there"
        )
    return Canvas(bottom - top, right - left, -top, -left, tuple((row - top, column - left) for row, column in corners))


def windows(mask: Tensor, side: int) -> list[tuple[int, int]]:
    """The windows through which a part of a canvas is painted: the rows and columns of their corners, in pixels.

    Where one window can hold all that is masked, it has the masked part in its middle, as far as the canvas allows.
    Otherwise they overlap by half, and the one with most of the mask comes first.

    Args:
        mask: (H, W), True somewhere, both sides at least `side`.
    """
    spans = [mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()]
    rows, columns = (_starts(int(span[0]), int(span[-1]) + 1, length, side) for span, length in zip(spans, mask.shape))
    counts = {(r, c): int(mask[r : r + side, c : c + side].sum()) for r in rows for c in columns}
    return sorted((corner for corner, count in counts.items() if count), key=lambda corner: -counts[corner])


def _starts(low: int, high: int, length: int, side: int) -> list[int]:
    """Where windows of that side start that cover low to high of the length."""
    if high - low <= side:
        return [min(max((low + high - side) // 2, 0), length - side)]
    return [min(start, length - side) for start in range(low, high - side // 2, side // 2)]
