"""The figures of CLIP's own drawings: canvases with and without views, and abstraction by the number of strokes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import experiments, plotting
from ..errors import UserError
from ..experiments import Progress, Result
from ..experiments.stages import forward_progress
from ..io import images
from .drawings import Drawn, drawing

if TYPE_CHECKING:
    from ..models import Lab
    from .inputs import Inputs

CANVASES = ("strokes", "pixels", "fourier", "latents")
VIEWS = (0, 4)
STROKES = (4, 8, 16, 32, 64, 128)
STEPS = 60


@dataclass(frozen=True, repr=False, kw_only=True)
class DrawingSweep(Result):
    """Drawings of one caption over a sweep, whose table has the rows of all of them.

    Args:
        pixels: (N, 3, H, W). points: N, the place of each in the sweep.
    """

    pixels: Tensor
    points: tuple[dict[str, Any], ...]

    def summary(self) -> str:
        """The cosines of each point, of the picture itself and over views."""
        parts = [
            f"{', '.join(f'{value} {name}' if name != 'canvas' else value for name, value in point.items())}: "
            f"{self.value('cosine', **point):.2f} and {self.value('cosine over views', **point):.2f}"
            for point in self.points
        ]
        return f"Cosine of the picture itself, and over random views: {'; '.join(parts)}."


def swept(lab: Lab, caption: str, points: Sequence[dict[str, Any]]) -> Generator[Progress, None, DrawingSweep]:
    """`yield from` this: one drawing for each point, without those that the lab refuses."""
    pixels, table, kept, notes = [], [], [], []
    for point in points:
        try:
            stream = experiments.draw.stream(lab, caption, steps=STEPS, preview_every=0, **point)
            result = yield from forward_progress(stream)
        except UserError as error:
            notes.append(str(error))
            continue
        pixels.append(images.resize(result.pixels, 256))
        table += [{**point, **row} for row in result.table]
        kept.append(point)
    settings = {**result.settings, "sweep": kept}
    return DrawingSweep(
        pixels=torch.cat(pixels),
        points=tuple(kept),
        table=tuple(table),
        settings=settings,
        notes=tuple(dict.fromkeys(notes)),
    )


@drawing(
    "canvases",
    "What CLIP draws by itself",
    "One caption on four canvases. Above, CLIP sees the picture itself at each step; below, four random views of it.",
)
def canvases(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    (caption,) = inputs.things(1)
    sweep = yield from swept(lab, caption, [{"canvas": c, "views": v} for v in VIEWS for c in CANVASES])
    rows = {f"{v} views": sweep.pixels[[k for k, p in enumerate(sweep.points) if p["views"] == v]] for v in VIEWS}
    names = list(dict.fromkeys(point["canvas"] for point in sweep.points))
    yield Drawn(sweep, [("canvases", plotting.rows(rows, titles=names, heading=caption))])


@drawing(
    "abstraction",
    "Abstraction by the number of strokes",
    "One caption in more and more strokes. Frans et al. 2021, CLIPDraw.",
)
def abstraction(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    (caption,) = inputs.things(1)
    sweep = yield from swept(lab, caption, [{"strokes": count} for count in STROKES])
    titles = [f"{count} strokes" for count in STROKES]
    yield Drawn(sweep, [("strokes", plotting.rows({caption: sweep.pixels}, titles=titles))])
