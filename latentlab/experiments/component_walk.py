"""A walk along single principal components or features of z_i."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.dictionary import Dictionary
from ..analysis.intervals import mean
from ..analysis.pca import Directions
from ..errors import UserError
from ..latents import Latent
from .base import Progress, Result, experiment, size
from .inversion import InversionResult, Pictures, ensure_inverted
from .stages import check_traversal, cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure

SHOWN = 4  # components or features, where none are named


def _ends(
    lab: Lab, directions: Directions | Dictionary, components: Sequence[int], captions: Sequence[str]
) -> tuple[str, ...]:
    """The two captions that fall and rise most along each component; "" without a vocabulary."""
    if not captions:
        return ("",) * len(components)

    def words(end: Sequence[tuple[str, float]]) -> str:
        return ", ".join(caption for caption, _ in end[:2])

    named = directions.name(lab.encoder.encode_text(captions), captions)
    return tuple(f"{words(named[c].falling)} … {words(named[c].rising)}" for c in components)


@dataclass(frozen=True, repr=False, kw_only=True)
class ComponentWalkResult(Result):
    """One picture moved along single components, a row each.

    Args:
        inverted: the picture and its latents.
        pixels: (C, S, 3, H, W), upsampled where the lab can.
        components: C. sigmas: S, in standard deviations of the component, or multiples of a feature's strength.
        names: C, the words for each component's two ends, if a vocabulary was given.
        kind, unit: what a direction and its distances are called: component and σ, or feature and ×.
    """

    inverted: InversionResult
    pixels: Tensor
    components: tuple[int, ...]
    sigmas: tuple[float, ...]
    names: tuple[str, ...]
    kind: str = "component"
    unit: str = "σ"

    def figure(self) -> Figure:
        from ..plotting import rows

        labels = [f"{c}: {name}".strip(": ") for c, name in zip(self.components, self.names)]
        titles = [f"{s:+g} {self.unit}" if s else f"0 {self.unit}" for s in self.sigmas]
        return rows(dict(zip(labels, self.pixels)), titles=titles, wide_labels=any(self.names))

    def summary(self) -> str:
        ends = [name.replace(", ", " and ").replace(" … ", " to ") for name in self.names]
        named = [f"{self.kind} {c} goes from {end}" for c, end in zip(self.components, ends) if end]
        meaning = f" To CLIP, {', '.join(named)}." if named else ""
        cosines = [float(row["value"]) for row in self.table]
        reach = f"{max(map(abs, self.sigmas)):g} {self.unit}"
        return (
            f"Moved along one {self.kind} by up to {reach}, z_i gives pictures whose cosines to the moved z_i are "
            f"{min(cosines):.2f} to {max(cosines):.2f}.{meaning}"
        )


@experiment(
    ComponentWalkResult,
    page="pca",
    task="walk",
    command="pca walk",
    figures=(),
    stages=("first stage", "inversion", "decoder", "upsampler"),
    images=lambda a: size(a["components"] or SHOWN) * size(a["sigmas"]),
)
def walk_components(
    lab: Lab,
    picture: Pictures,
    directions: Directions | Dictionary,
    *,
    components: Sequence[int] | None = None,
    sigmas: Sequence[float] = (-4, -2, 0, 2, 4),
    captions: Sequence[str] = (),
    steps: int = 25,
    guidance: float = 1.0,
    preview_every: int = 5,
) -> Iterator[Progress | ComponentWalkResult]:
    """Move a picture's z_i along single principal components or features, x_T fixed.

    z_i + σ_c s e_c, with s in standard deviations of the component over the fitted set, or in mean strengths of the
    feature; 0 reconstructs.

    Args:
        picture: (1, 3, H, W) in [-1, 1], or what `invert` returned, or latents.
        directions: principal components, or a dictionary of features.
        components: which, from 0; by default the first four components, or the picture's four strongest features.
        captions: a vocabulary to name the components' ends by.

    Raises:
        UserError: more than one picture, a component that was not fitted, or components of another CLIP.
    """
    if (components is not None and not len(components)) or not sigmas:
        raise UserError("components and sigmas each want at least one value")
    check_traversal(lab, directions, components or (0,), sigmas)
    inversion = yield from ensure_inverted(lab, picture, steps=steps, preview_every=preview_every)
    if len(inversion) != 1:
        raise UserError(f"{len(inversion)} pictures: this walk is of one; pass pixels[:1]")
    components = directions.leading(inversion.latent.z_i, SHOWN) if components is None else components
    z_i = torch.cat([directions.traverse(inversion.latent.z_i, c, sigmas) for c in components])
    latent = Latent(z_i, inversion.bipartite.x_T.expand(len(z_i), -1, -1, -1))
    pixels = yield from sample_images(
        lab, latent, steps=inversion.steps, guidance=guidance, preview_every=preview_every
    )
    grid = (len(components), len(sigmas))
    likeness = cosine(lab.encoder.encode_image(pixels), z_i).view(grid)
    table = [
        mean(likeness[i, j : j + 1], quantity="cosine of the picture to the moved z_i", component=c, sigma=s)
        for i, c in enumerate(components)
        for j, s in enumerate(sigmas)
    ]
    pixels = yield from upsample_images(lab, pixels, [0] * len(pixels))
    yield ComponentWalkResult(
        inverted=inversion,
        pixels=pixels.unflatten(0, grid),
        components=tuple(components),
        sigmas=tuple(sigmas),
        names=_ends(lab, directions, components, captions),
        kind=directions.kind,
        unit=directions.unit,
        table=tuple(table),
    )
