"""Boxes and arrows as SVG in one style, whose colours follow the reader's light or dark scheme."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import UserError
from ..io.atomic import atomic_write

HEIGHT = 28  # of a box
HEADS = {(1, 0): "m-5-4l5 4l-5 4", (-1, 0): "m5-4l-5 4l5 4", (0, 1): "m-4-5l4 5l4-5", (0, -1): "m-4 5l4-5l4 5"}
NAMES = {True: "lit", False: "dim"}
STYLE = """
.sheet{fill:#ffffff} text{font:13px system-ui,sans-serif;fill:#52525b;text-anchor:middle}
.note{font-size:11.5px} path{fill:none;stroke:#a1a1aa;stroke-width:1.5} rect{fill:#f4f4f5;stroke:#a1a1aa}
.lit rect{fill:#4338ca;stroke:#4338ca} .lit text{fill:#ffffff;font-weight:600} path.lit{stroke:#4338ca;stroke-width:2}
@media (prefers-color-scheme:dark){.sheet{fill:#18181b} text{fill:#c4c4cc} path{stroke:#71717a}
rect{fill:#27272a;stroke:#71717a} .lit rect{fill:#818cf8;stroke:#818cf8} .lit text{fill:#18181b}
path.lit{stroke:#818cf8}}
"""


Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A box of a diagram.

    Args:
        label: an underscore lowers what follows, as in z_i.
        x, y, width: of its upper left corner, in pixels.
        meaning: one sentence without its full stop.
    """

    label: str
    x: float
    y: float
    width: float
    meaning: str = ""


@dataclass(frozen=True, repr=False)
class Diagram:
    """Boxes, arrows between them, and notes.

    Args:
        title: what it shows.
        size: width and height in pixels.
        boxes: by name.
        edges: from box to box, straight, or along points whose lines are horizontal or vertical.
        notes: x, y of the middle, and a text.
        lit: the names of the boxes at hand.
    """

    title: str
    size: tuple[float, float]
    boxes: dict[str, Box]
    edges: tuple[tuple[str, str, *tuple[Point, ...]], ...]
    notes: tuple[tuple[float, float, str], ...] = ()
    lit: frozenset[str] = field(default_factory=frozenset)

    def __repr__(self) -> str:
        return f"Diagram({self.title})"

    def with_lit(self, *names: str) -> Diagram:
        """The same diagram with other boxes lit.

        Raises:
            UserError: it has no box of a name.
        """
        if unknown := sorted(set(names) - self.boxes.keys()):
            raise UserError(f"“{self.title}” has no box {', '.join(unknown)}: give some of {', '.join(self.boxes)}")
        return replace(self, lit=frozenset(names))

    def edges_svg(self) -> str:
        """The arrows; those between lit boxes are lit."""
        return "".join(
            f'<path d="{arrow(points or between(self.boxes[start], self.boxes[end]))}" '
            f'class="{NAMES[{start, end} <= self.lit]}"/>'
            for start, end, *points in self.edges
        )

    def svg(self) -> str:
        """The whole diagram as a file of its own."""
        width, height = self.size
        boxes = "".join(
            f'<g class="{NAMES[name in self.lit]}"><title>{html.escape(box.meaning or box.label)}</title>'
            f"{box_svg(box)}</g>"
            for name, box in self.boxes.items()
        )
        notes = "".join(
            f'<text class="note" x="{x:g}" y="{y:g}">{subscripts(text)}</text>' for x, y, text in self.notes
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -10 {width + 20:g} {height + 20:g}" '
            f'width="{width + 20:g}" height="{height + 20:g}" role="img"><title>{html.escape(self.title)}</title>'
            f'<style>{STYLE}</style><rect class="sheet" x="-10" y="-10" width="100%" height="100%" rx="8" '
            f'stroke="none" style="stroke:none"/>{self.edges_svg()}{boxes}{notes}</svg>'
        )

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path: str | Path) -> Path:
        """Write the SVG file."""
        with atomic_write(path) as file:
            file.write_text(self.svg() + "\n", "utf-8")
        return Path(path)


def box_svg(box: Box) -> str:
    """A box with its label, without what surrounds it."""
    return (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{box.x + box.width / 2:g}" y="{box.y + 18.5:g}" text-anchor="middle">{subscripts(box.label)}</text>'
    )


def subscripts(label: str) -> str:
    """A label with what follows an underscore lowered: z_i, x_T, x_t-1."""
    lowered = r'<tspan dy="3" font-size="9.5">\1</tspan><tspan dy="-3">&#8203;</tspan>'
    return re.sub(r"_([\w-]+)", lowered, html.escape(label))


def between(start: Box, end: Box) -> tuple[Point, Point]:
    """The straight arrow from a box to another in its row, or above or below it; it ends 2 pixels before that."""
    if start.y == end.y:
        y = start.y + HEIGHT / 2
        if start.x < end.x:
            return (start.x + start.width, y), (end.x - 2, y)
        return (start.x, y), (end.x + end.width + 2, y)
    x = max(start.x, end.x) / 2 + min(start.x + start.width, end.x + end.width) / 2
    if start.y < end.y:
        return (x, start.y + HEIGHT), (x, end.y - 2)
    return (x, start.y), (x, end.y + HEIGHT + 2)


def arrow(points: Sequence[Point]) -> str:
    """A path of SVG through points, with a head in the direction of its last line."""
    (x_0, y_0), (x_1, y_1) = points[-2:]
    direction = ((x_1 > x_0) - (x_1 < x_0), (y_1 > y_0) - (y_1 < y_0))
    first, *others = (f"{x:g} {y:g}" for x, y in points)
    return f"M{first}" + "".join(f"L{point}" for point in others) + HEADS[direction]
