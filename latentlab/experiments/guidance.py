"""Guidance: prompts at every pair of the prior's scale and the decoder's, classifier-free or by CLIP."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import prior
from ..analysis.intervals import mean, mean_of_pairs
from ..captions import caption_warnings, check_captions
from ..clip_guidance import ClipGuidance
from ..errors import UserError
from ..latents import Latent
from ..noise import checked_seeds, draw_x_T
from .base import Progress, Result, experiment, size
from .stages import cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


GUIDANCES = {
    "classifier-free": (1.0, 1.5, 2.0, 3.0, 4.0),
    "clip": (0.0, 0.5, 1.0, 2.0, 5.0),
    "noised-clip": (0.0, 0.5, 1.0, 2.0, 5.0),
}
NAMES = {"clip": "CLIP", "noised-clip": "the noised CLIP"}


@dataclass(frozen=True, repr=False, kw_only=True)
class GuidanceResult(Result):
    """One prompt over a grid of the prior's and the decoder's guidance.

    Args:
        pixels: (P, G, N, 3, H, W), upsampled where the lab can.
        prior_guidances: P. guidances: G, of the decoder. seeds: N, one a picture.
        prompts: as they were given.
        by: how the decoder was guided, a key of `GUIDANCES`.
        latent: P * N, the same at every guidance of the decoder.
    """

    pixels: Tensor
    latent: Latent
    prompts: tuple[str, ...]
    prior_guidances: tuple[float, ...]
    guidances: tuple[float, ...]
    seeds: tuple[int, ...]
    by: str

    def figure(self) -> Figure:
        from ..plotting import rows

        named = {f"prior {p:g}": row[:, 0] for p, row in zip(self.prior_guidances, self.pixels)}
        titles = [f"{'decoder' if self.by == 'classifier-free' else NAMES[self.by]} {g:g}" for g in self.guidances]
        return rows(named, titles=titles, heading=f"guidance of “{self.prompts[0]}”, seed {self.seeds[0]}")

    def summary(self) -> str:
        score, distance = "CLIP score", "distance among samples"
        best = max((row for row in self.table if row["quantity"] == score), key=lambda row: row["value"])
        place = (best["prior_guidance"], best["guidance"])
        weakest = (min(self.prior_guidances), min(self.guidances))
        sentence = f"The CLIP score is highest, {best['value']:.2f}, at {self._names(*place)}"
        if place == weakest:
            return f"{sentence}."
        cells = {(row["quantity"], row["prior_guidance"], row["guidance"]): row for row in self.table}
        comparisons = [
            _comparison(name, cells[quantity, *place], cells[quantity, *weakest])
            for name, quantity in (("the score", score), ("the distance among samples", distance))
            if (quantity, *place) in cells
        ]
        return f"{sentence}. Compared with {self._names(*weakest)}, {' and '.join(comparisons)}."

    def _names(self, prior_guidance: float, guidance: float) -> str:
        if self.by in NAMES:
            return f"scale {guidance:g} of guidance by {NAMES[self.by]} and guidance {prior_guidance:g} of the prior"
        return f"guidance {guidance:g} of the decoder and {prior_guidance:g} of the prior"


def guidance_params(lab: Lab, by: str, scale: float, z_t: Tensor | None) -> dict[str, Any]:
    """The parameters `guidance` and `clip` of a sampler that is guided so.

    Args:
        by: a key of `GUIDANCES`.
        z_t: (1 or B, D), what guidance by CLIP goes towards.

    Raises:
        UserError: an unknown way to guide, guidance by CLIP without a prompt, or by a noised CLIP without one.
    """
    if by not in GUIDANCES:
        raise UserError(f"by is {by!r}: give one of {', '.join(GUIDANCES)}")
    if by == "classifier-free":
        return {"guidance": scale, "clip": None}
    if z_t is None:
        raise UserError(f"guidance by {by} goes towards a prompt: give one, or take by='classifier-free'")
    if by == "clip":
        return {"guidance": 1.0, "clip": ClipGuidance(lab.encoder, z_t, scale)}
    if lab.noised_clip is None:
        raise UserError(
            f"{lab.name} has no noised CLIP that was trained from its CLIP: take by='clip', which needs none; for the "
            "miniature `python -m latentlab.training noised-clip` trains one"
        )
    return {"guidance": 1.0, "clip": ClipGuidance(lab.noised_clip, z_t, scale)}


def _comparison(name: str, row: dict, reference: dict) -> str:
    """What the 95% intervals of two rows allow to be said: higher or lower only where they do not overlap."""
    if None not in (row["low"], reference["low"]):
        against = f"({row['value']:.2f} against {reference['value']:.2f})"
        if row["low"] > reference["high"]:
            return f"{name} is higher {against}"
        if row["high"] < reference["low"]:
            return f"{name} is lower {against}"
    return f"no difference in {name.removeprefix('the ')} can be told from n = {row['n']}"


def _variety(among: Tensor, **where: Any) -> dict:
    """The samples' mean distance (prompts, seeds, seeds), over prompts; of a single one over its seeds."""
    if len(among) == 1:
        return mean_of_pairs(among[0], within=(0, 2), **where)
    pairs = torch.ones(among.shape[1:]).triu(1).bool()
    return mean(among[:, pairs].mean(1), within=(0, 2), **where)


def _table(
    z: Tensor, z_t: Tensor, prior_guidances: Sequence[float], guidances: Sequence[float], *, prompts: int
) -> tuple[dict, ...]:
    """The rows of every pair of scales, from z (P, G, N, D) of the pictures and z_t (N, D) of their prompts."""
    scores = cosine(z, z_t)
    among = z.unflatten(2, (prompts, -1))  # (P, G, prompts, seeds, D)
    among = (1 - cosine(among[..., :, None, :], among[..., None, :, :])).clamp_min(0)  # rounding goes below
    table = []
    for i, p in enumerate(prior_guidances):
        for j, g in enumerate(guidances):
            where: dict[str, Any] = {"prior_guidance": p, "guidance": g}
            table.append(mean(scores[i, j], quantity="CLIP score", **where))
            if among.shape[-1] > 1:
                table.append(_variety(among[i, j], quantity="distance among samples", **where))
    return tuple(table)


@experiment(
    GuidanceResult,
    page="prior",
    task="sweep",
    command="guide",
    figures=("9", "guidance"),
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: (
        size(a["prior_guidances"])
        * size(a["guidances"] or GUIDANCES.get(a["by"], ()))
        * size(a["prompts"])
        * size(a["seeds"])
    ),
)
def guide(
    lab: Lab,
    prompts: str | Sequence[str],
    *,
    by: str = "classifier-free",
    guidances: Sequence[float] | None = None,
    prior_guidances: Sequence[float] = (1.0, 2.0),
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    preview_every: int = 0,
) -> Iterator[Progress | GuidanceResult]:
    """Generate at every pair of the prior's and the decoder's guidance.  Ramesh et al. 2022, section 5.3, figure 9.

    Args:
        prompts: one, or several: the table is over all of them.
        by: "classifier-free"; or "clip", by the gradient of CLIP's logit at the predicted x_0, without classifier-free
            guidance of the decoder (`clip_guidance.clip_guided`); or "noised-clip", by that of a CLIP that was trained
            on x_t. A step then costs about four of the unguided decoder, or about two.
        guidances: of the decoder, by `GUIDANCES` where None: classifier-free scales, of which 1 is none, or scales of
            guidance by CLIP, of which 0 is none.
        seeds: of each prompt's pictures; the same noise at every pair.

    The table holds, for every pair, the CLIP score and the samples' distance, 1 - cosine, when a prompt has several.

    Raises:
        UserError: no prompt, no guidance, no seeds, an unknown way to guide, or a lab without a prior.
    """
    prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if by not in GUIDANCES:
        raise UserError(f"by is {by!r}: give one of {', '.join(GUIDANCES)}")
    guidances = GUIDANCES[by] if guidances is None else tuple(guidances)
    if not prompts or not guidances or not prior_guidances:
        raise UserError("prompts, guidances and prior_guidances each want at least one value")
    if lab.prior is None:
        raise UserError(f"{lab.name} has no prior to sweep: load a model that has one, like emoji")
    seeds = checked_seeds(seeds)
    notes = caption_warnings(check_captions(lab.encoder, prompts))
    columns, own = [c for c in prompts for _ in seeds], list(seeds) * len(prompts)
    z_t = lab.encoder.encode_text(columns)
    ways = [guidance_params(lab, by, scale, z_t.repeat(len(prior_guidances), 1)) for scale in guidances]
    yield Progress("prior", 0, len(prior_guidances))
    z_i = [prior.sample(lab.prior, columns, seeds=own, guidance=p) for p in prior_guidances]
    latent = Latent(torch.cat(z_i), draw_x_T(lab.require_decoder(), own, device=lab.device).repeat(len(z_i), 1, 1, 1))
    stream = _sample_grid(lab, latent, columns, ways, steps=steps, preview_every=preview_every)
    pixels = yield from stream
    shape, pixels = pixels.shape[:3], pixels.flatten(0, 2)
    z = lab.encoder.encode_image(pixels).unflatten(0, shape)
    pixels = yield from upsample_images(lab, pixels, own * (shape[0] * shape[1]))
    yield GuidanceResult(
        pixels=pixels.unflatten(0, shape),
        latent=latent,
        prior_guidances=tuple(prior_guidances),
        guidances=guidances,
        seeds=tuple(own),
        table=_table(z, z_t, prior_guidances, guidances, prompts=len(prompts)),
        notes=tuple(notes),
        prompts=prompts,
        by=by,
    )


def _sample_grid(
    lab: Lab, latent: Latent, columns: Sequence[str], ways: Sequence[dict[str, Any]], **params: Any
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: pictures (P, G, N, 3, H, W) of the latents P * N in each of the G ways to guide."""
    repeats, text = len(latent) // len(columns), lab.require_decoder().encode_prompt(columns)
    text = None if text is None else text.repeat(repeats, 1, 1)
    grids = []
    for way in ways:
        grids.append((yield from sample_images(lab, latent, text=text, **params, **way)))
    return torch.stack(grids).unflatten(1, (repeats, -1)).transpose(0, 1)
