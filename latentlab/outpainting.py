"""Outpainting: a canvas larger than the picture, painted through overlapping windows of the picture's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .errors import UserError

SIDES = ("left", "right", "top", "bottom")
LARGEST = 4  # times the picture's area


class Canvas(NamedTuple):
    """A canvas in half sides of the picture: its height and width, the picture's place, and the windows in order."""

    height: int
    width: int
    top: int
    left: int
    windows: tuple[tuple[int, int], ...]


def canvas(sides: Sequence[str]) -> Canvas:
    """The canvas that grows by half a picture on each of the sides, painted through windows as large as the picture.

    Each window holds at least a quarter that is painted already.

    Raises:
        UserError: a side that there is not, or a canvas of more than four times the picture's area.
    """
    top, left, bottom, right = 0, 0, 2, 2
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
    height, width = bottom - top, right - left
    if height * width > 4 * LARGEST:
        raise UserError(
            f"the canvas would grow to {height * width / 4:g} times the picture's area: at most {LARGEST} times can be "
            "painted, so grow on fewer sides, then crop the result and go on from there"
        )
    return Canvas(height, width, -top, -left, tuple((row - top, column - left) for row, column in corners))
