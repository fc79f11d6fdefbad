"""Variations: one picture's two latents, decoded with fresh noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.intervals import mean, mean_of_pairs
from ..errors import UserError
from ..latents import Latent
from ..noise import checked_seeds
from .base import Progress, Result, experiment, size
from .inversion import InversionResult, Pictures, ensure_inverted
from .stages import cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class VariationResult(Result):
    """Variations of one picture, a row for each η.

    Args:
        inverted: the picture and its latents.
        pixels: (E, N, 3, H, W), upsampled where the lab can.
        spread: (E, H, W), standard deviation of the samples' pixels, averaged over colours: where they differ.
        etas: E. seeds: N.
    """

    inverted: InversionResult
    pixels: Tensor
    spread: Tensor
    etas: tuple[float, ...]
    seeds: tuple[int, ...]

    def figure(self) -> Figure:
        from ..plotting import heat, rows

        original = self.inverted.original.to(self.pixels)
        original = torch.nn.functional.interpolate(original, self.pixels.shape[-2:], mode="bicubic").clamp(-1, 1)
        maps = heat(torch.nn.functional.interpolate(self.spread[:, None], self.pixels.shape[-2:])[:, 0], top=1.0)
        named = {
            f"η = {eta:g}": torch.cat([original, self.pixels[k], maps[k][None]]) for k, eta in enumerate(self.etas)
        }
        return rows(named, titles=["original", *(f"seed {s}" for s in self.seeds), "where they differ"])

    def summary(self) -> str:
        last = self.etas[-1]
        likeness = self.value("cosine to z_i", eta=last)
        if len(self.seeds) == 1:
            return f"At η = {last:g} the sample has a cosine of {likeness:.2f} to z_i."
        distance = self.value("distance among samples", eta=last)
        shared = "" if last == 1 else f" They share {'a part of ' * (last > 0)}x_T as well."
        return (
            f"At η = {last:g} the samples have a mean cosine of {likeness:.2f} to z_i, and their mean distance is "
            f"{distance:.2f} (1 - cosine); their pixels differ by a standard deviation of "
            f"{self.spread[-1].mean():.2f}.{shared}"
        )


@experiment(
    VariationResult,
    page="variations",
    command="vary",
    figures=("3",),
    stages=("first stage", "inversion", "decoder", "upsampler"),
    images=lambda a: sum(size(a["seeds"]) if eta else 1 for eta in a["etas"]),
)
def vary(
    lab: Lab,
    picture: Pictures,
    *,
    etas: Sequence[float] = (0.0, 0.5, 1.0),
    seeds: Sequence[int] = (0, 1, 2, 3, 4, 5),
    steps: int = 25,
    guidance: float = 1.0,
    preview_every: int = 5,
) -> Iterator[Progress | VariationResult]:
    """Decode a picture's own (z_i, x_T) with η above 0.  Ramesh et al. 2022, section 3.1, figure 3.

    The samples share z_i, so what varies among them is what z_i leaves open.

    Args:
        picture: (1, 3, H, W) in [-1, 1], or what `invert` returned, or latents.
        etas: a row of samples for each; 0 reconstructs.
        seeds: a sample each, the same noise for every η.
        steps: of the inversion and the way back; what was inverted before keeps its own.
        guidance: of the way back; above 1 the row of η = 0 no longer reconstructs.

    Raises:
        UserError: more than one picture, no η or one outside 0..1, no seeds.
    """
    etas, seeds = tuple(float(e) for e in etas), checked_seeds(seeds)
    if not etas or len(set(etas)) < len(etas) or not all(0 <= e <= 1 for e in etas):
        raise UserError(f"etas is {etas}: give numbers from 0 (reconstructs) to 1 (ancestral), at least one, each once")
    inversion = yield from ensure_inverted(lab, picture, steps=steps, preview_every=preview_every)
    if len(inversion) != 1:
        raise UserError(f"{len(inversion)} pictures: variations are of one; pass pixels[:1]")
    grid = (len(etas), len(seeds))
    # At η = 0 every seed gives the same picture, which is decoded once.
    wanted = [(eta, seed if eta else seeds[0]) for eta in etas for seed in seeds]
    drawn = list(dict.fromkeys(wanted))
    rows, own = [drawn.index(pair) for pair in wanted], [seed for _, seed in drawn]
    latent = Latent(inversion.latent.z_i.expand(len(own), -1), inversion.latent.x_T.expand(len(own), -1, -1, -1))
    pixels = yield from sample_images(
        lab,
        latent,
        steps=inversion.steps,
        guidance=guidance,
        eta=[eta for eta, _ in drawn],
        seeds=own,
        preview_every=preview_every,
    )
    z = lab.encoder.encode_image(pixels)[rows].unflatten(0, grid)
    spread = pixels[rows].unflatten(0, grid).std(1, correction=0).mean(1)
    pixels = yield from upsample_images(lab, pixels, own)
    yield VariationResult(
        inverted=inversion,
        pixels=pixels[rows].unflatten(0, grid),
        spread=spread,
        etas=etas,
        seeds=seeds,
        table=_table(z, inversion.latent.z_i, etas),
    )


def _table(z: Tensor, z_i: Tensor, etas: Sequence[float]) -> tuple[dict, ...]:
    """The rows of every η, from z (E, N, D) of the samples and z_i (1, D) of the picture."""
    cosines = cosine(z, z_i)
    pairwise = (1 - cosine(z[:, :, None], z[:, None])).clamp_min(0)  # (E, N, N); rounding goes below
    table = []
    for k, eta in enumerate(etas):
        table.append(mean(cosines[k], within=(-1, 1), quantity="cosine to z_i", eta=eta))
        if z.shape[1] > 1:
            table.append(mean_of_pairs(pairwise[k], within=(0, 2), quantity="distance among samples", eta=eta))
    return tuple(table)
