"""Feature pictures: what CLIP draws for a direction of z_i, beside what the decoder makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..analysis.dictionary import Dictionary
from ..analysis.intervals import mean
from ..analysis.pca import Directions
from ..ascent import Objective
from ..errors import UserError
from ..io import images
from ..latents import Latent
from ..noise import draw_x_T
from .base import Progress, Result, experiment, size
from .drawing_stages import climb, new_canvas, pictures_a_step
from .stages import check_same_clip, cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class FeatureVisualisationResult(Result):
    """Two pictures of each direction and sign, a row each.

    Args:
        pixels: (R, 3, H, W), drawn by CLIP. decoded: (R, 3, H', W'), from μ ± s u and one x_T; 0 rows of a CLIP alone.
        drawn_cosines, decoded_cosines: (R,), of z_i - μ and ± u.
        components, signs: R, of each row.
    """

    pixels: Tensor
    decoded: Tensor
    drawn_cosines: Tensor
    decoded_cosines: Tensor
    components: tuple[int, ...]
    signs: tuple[int, ...]

    def figure(self) -> Figure:
        from ..plotting import rows

        side = max(self.pixels.shape[-1], self.decoded.shape[-1] if len(self.decoded) else 0)
        named = {"drawn by CLIP": images.resize(self.pixels, side)}
        if len(self.decoded):
            named["decoded"] = images.resize(self.decoded, side)
        titles = [f"{'+' if sign > 0 else '-'} {c}" for c, sign in zip(self.components, self.signs)]
        return rows(named, titles=titles)

    def summary(self) -> str:
        drawn = self.drawn_cosines
        reached = f"{drawn.min():.2f} to {drawn.max():.2f}"
        sentence = f"CLIP's own pictures of {len(drawn)} directions have cosines of {reached} to them"
        if not len(self.decoded):
            return f"{sentence}."
        decoded = self.decoded_cosines
        return f"{sentence}, and those that the decoder makes {decoded.min():.2f} to {decoded.max():.2f}."


def _evaluated(canvas: str, rows: int, views: int) -> int:
    return rows + pictures_a_step(canvas, rows, views)


@experiment(
    FeatureVisualisationResult,
    page="",
    command="pca draw",
    figures=(),
    stages=("canvas", "decoder", "upsampler"),
    images=lambda a: _evaluated(a["canvas"], size(a["components"]) * len(a["signs"]), a["views"]),
)
def visualise(
    lab: Lab,
    directions: Directions | Dictionary | Tensor,
    *,
    components: Sequence[int] = (0, 1),
    signs: Sequence[int] = (1, -1),
    sigma: float = 4.0,
    canvas: str = "fourier",
    strokes: int = 24,
    steps: int = 60,
    views: int = 4,
    decoder_steps: int = 25,
    guidance: float = 1.0,
    seed: int = 0,
    preview_every: int = 5,
) -> Iterator[Progress | FeatureVisualisationResult]:
    """Optimise a picture for a direction of z_i, and decode the same direction.  Olah et al. 2017.

    The optimisation maximises cos(z_i(view) - μ, ± u); the decoder gets μ ± s u, with s in the direction's unit.

    Args:
        directions: principal components, a dictionary of features, or directions (N, D), with μ = 0.
        components: which, from 0.
        signs: 1 for the direction itself, -1 for its opposite.
        sigma: s, in standard deviations of a component, or mean strengths of a feature.
        canvas, strokes, steps, views: of the climb, as in `draw`.
        decoder_steps, guidance: of the decoder; a lab without one only draws.

    Raises:
        UserError: a direction that there is not, other signs, components of another CLIP, or what `draw` refuses.
    """
    if not components or not signs or not set(signs) <= {1, -1}:
        raise UserError(f"components are {list(components)} and signs {list(signs)}: give one or more, signs 1 or -1")
    if not isinstance(directions, Tensor):
        check_same_clip(lab, directions)
    rows = [(c, sign) for c in components for sign in signs]
    centre, targets = _targets(lab, directions, rows, sigma)
    objective = Objective((targets - centre)[:, None], (1.0,), centre)
    sheet = new_canvas(lab, canvas, start="noise", seeds=[seed] * len(rows), strokes=strokes)
    drawn = yield from climb(lab, sheet, objective, steps=steps, views=views, preview_every=preview_every)
    pixels, decoded = drawn.pixels, drawn.pixels[:0]
    if lab.has_decoder:
        x_T = draw_x_T(lab.require_decoder(), [seed], device=lab.device).expand(len(rows), -1, -1, -1)
        params: dict[str, Any] = {"steps": decoder_steps, "guidance": guidance, "preview_every": preview_every}
        decoded = yield from sample_images(lab, Latent(targets.to(x_T), x_T), **params)
    cosines = [_cosines(lab, part, targets, centre) for part in (pixels, decoded)]
    if len(decoded):
        decoded = yield from upsample_images(lab, decoded, [seed] * len(decoded))
    yield FeatureVisualisationResult(
        pixels=pixels,
        decoded=decoded,
        drawn_cosines=cosines[0],
        decoded_cosines=cosines[1],
        components=tuple(c for c, _ in rows),
        signs=tuple(sign for _, sign in rows),
        table=_table(rows, *cosines),
        notes=drawn.notes,
    )


def _targets(
    lab: Lab, directions: Directions | Dictionary | Tensor, rows: Sequence[tuple[int, int]], sigma: float
) -> tuple[Tensor, Tensor]:
    """μ (D,) and μ ± s u of each row (R, D), on the lab's device."""
    if isinstance(directions, Tensor):
        if directions.ndim != 2 or not all(0 <= c < len(directions) for c, _ in rows):
            raise UserError(f"directions are {tuple(directions.shape)}: give (N, D), and components below N")
        own = directions.to(lab.device)
        return torch.zeros_like(own[0]), torch.stack([sign * own[c] for c, sign in rows])
    centre = directions.mean.float()
    moved = [directions.traverse(centre[None], c, [sign * sigma])[0] for c, sign in rows]
    return centre.to(lab.device), torch.stack(moved).to(lab.device)


@torch.no_grad()
def _cosines(lab: Lab, pixels: Tensor, targets: Tensor, centre: Tensor) -> Tensor:
    """Of each picture's z_i - μ and its direction: (R,)."""
    if not len(pixels):
        return targets.new_zeros(0)
    return cosine(lab.encoder.encode_image(pixels) - centre, targets - centre).cpu()


def _table(rows: Sequence[tuple[int, int]], drawn: Tensor, decoded: Tensor) -> tuple[dict, ...]:
    table = []
    for name, values in (("cosine of the drawing", drawn), ("cosine of the decoded picture", decoded)):
        for (component, sign), value in zip(rows, values[:, None]):
            table.append(mean(value, quantity=name, component=component, sign=sign))
    return tuple(table)
