"""Interpolation: from one picture to another, through CLIP's latent space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ..analysis.intervals import mean
from ..edits import fractions, spaced
from ..edits import interpolate as between
from ..errors import UserError
from ..io import images
from ..latents import Latent
from ..noise import checked_seeds, draw_x_T
from ..slerp import angle
from .base import Progress, Result, experiment, size
from .inversion import InversionResult, Pictures, ensure_inverted
from .stages import sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class InterpolationResult(Result):
    """Paths between two pictures, a row each.

    Args:
        ends: the two pictures and their latents.
        pixels: (K, T, 3, H, W), upsampled where the lab can.
        thetas: T, fractions of the arc.
        seeds: of the paths whose x_T is held fixed; empty when x_T is interpolated too.
    """

    ends: InversionResult
    pixels: Tensor
    thetas: tuple[float, ...]
    seeds: tuple[int, ...]

    def figure(self) -> Figure:
        from ..plotting import rows

        labels = [f"x_T of seed {s}" for s in self.seeds] or ["x_T turns too"]
        return rows(dict(zip(labels, self.pixels)), titles=[f"θ = {t:.3g}" for t in self.thetas])

    def summary(self) -> str:
        steps = self.value("unevenness of steps")
        ends = "x_T turns with z_i"
        if self.seeds:
            ends = "x_T is held fixed, so the ends need not reconstruct the pictures"
        elif any(row["quantity"] == "PSNR of the ends" for row in self.table):
            ends = f"The ends reconstruct the pictures at {self.value('PSNR of the ends'):.1f} dB"
        return f"{ends}; the steps' lengths in CLIP's space have a standard deviation of {steps:.0%} of their mean."

    def save_animation(self, path: str | Path, *, row: int = 0, milliseconds: int = 120) -> Path:
        """One path as a GIF or WebP that goes there and back, without end.

        Raises:
            UserError: another suffix than .gif or .webp.
        """
        frames = images.to_pil(self.pixels[row])
        return images.save_animation(frames + frames[-2:0:-1], path, milliseconds=milliseconds)


def _checked_thetas(thetas: int | Sequence[float]) -> list[float]:
    """The fractions of the arc, refused before the inversion if one is outside 0..1 or there are fewer than two."""
    thetas = spaced(int(thetas), 1) if isinstance(thetas, int | Integral) else [float(t) for t in thetas]
    if len(thetas) < 2:
        raise UserError(f"{len(thetas)} frames: an interpolation has two or more")
    fractions(thetas)
    return thetas


def _path_rows(z: Tensor, arc: Tensor) -> list[dict]:
    """How even and how long the paths of the frames' z (K, T, D) are."""
    turns = angle(z[:, 1:], z[:, :-1])  # (K, T - 1)
    return [
        mean(turns.std(1, correction=0) / turns.mean(1).clamp_min(1e-9), quantity="unevenness of steps"),
        mean(turns.sum(1) / arc, quantity="length of path over arc"),
    ]


@experiment(
    InterpolationResult,
    page="interpolate",
    command="interpolate",
    figures=("4",),
    stages=("first stage", "inversion", "decoder", "upsampler"),
    images=lambda a: size(a["thetas"]) * max(1, len(a["seeds"])),
)
def interpolate(
    lab: Lab,
    pictures: Pictures,
    *,
    thetas: int | Sequence[float] = 9,
    seeds: Sequence[int] = (),
    steps: int = 25,
    guidance: float = 1.0,
    preview_every: int = 5,
) -> Iterator[Progress | InterpolationResult]:
    """Turn z_i from one picture to another.  Ramesh et al. 2022, section 3.2, figure 4.

    z_θ = slerp(z_i1, z_i2, θ).  x_T is turned in the same way, so that both ends reconstruct; or held fixed, one path
    for each of `seeds`: there are infinitely many.

    Args:
        pictures: (2, 3, H, W) in [-1, 1], or what `invert` returned, or latents.
        thetas: how many frames, or the fractions of the arc themselves.
        seeds: none turns x_T too.
        steps: of the inversion and the way back; what was inverted before keeps its own.
        guidance: of the way back; above 1 the ends no longer reconstruct.

    Raises:
        UserError: not two pictures, fewer than two frames, θ outside 0..1, or z_i that are equal or opposite.
    """
    thetas = _checked_thetas(thetas)
    seeds = checked_seeds(seeds) if len(seeds) else ()
    inversion = yield from ensure_inverted(lab, pictures, steps=steps, preview_every=preview_every)
    if len(inversion) != 2:
        raise UserError(f"{len(inversion)} pictures: an interpolation is between two; pass pixels[:2]")
    arc = angle(inversion.latent.z_i[:1], inversion.latent.z_i[1:])
    if arc < 1e-4:
        raise UserError("the two pictures have one z_i, so there is no way between them: give two that differ")
    held = draw_x_T(lab.require_decoder(), seeds, device=lab.device).split(1) if seeds else ["slerp"]
    a, b = inversion.bipartite[0], inversion.bipartite[1]
    paths = Latent.stack(between(a, b, thetas, noise=kind) for kind in held)
    pixels = yield from sample_images(lab, paths, steps=inversion.steps, guidance=guidance, preview_every=preview_every)
    grid = (len(held), len(thetas))
    z = lab.encoder.encode_image(pixels).unflatten(0, grid)
    table = _path_rows(z, arc)
    inverted = inversion.spent > 0  # latents are given without a picture to compare with
    if not seeds and (thetas[0], thetas[-1]) == (0, 1) and inverted.any():
        ends = images.psnr(inversion.original, pixels[[0, -1]])[inverted.to(pixels.device)]
        table.append(mean(ends, quantity="PSNR of the ends"))
    pixels = yield from upsample_images(lab, pixels, [0] * len(pixels))
    yield InterpolationResult(
        ends=inversion,
        pixels=pixels.unflatten(0, grid),
        thetas=tuple(thetas),
        seeds=seeds,
        table=tuple(table),
    )
