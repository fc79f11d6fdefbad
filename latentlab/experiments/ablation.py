"""What the prior is for: the CLIP slot filled by nothing, by the caption's own embedding, or by the prior."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import prior
from ..analysis.distances import GROUPS, cmmd, frechet, jackknife, recalled
from ..analysis.intervals import mean, mean_of_pairs, proportion
from ..clip import caption_warnings
from ..diffusion import checked_seeds, noise
from ..errors import UserError
from ..latents import Latent
from .base import Progress, Result, experiment, settings_of, size
from .stages import checked_pixels, cosine, decode_latents, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class Ablated(Result):
    """The same captions and noise under three signals in the CLIP slot.

    Args:
        pixels: (S, N, 3, H, W), upsampled where the lab can; a row for each signal, a column for each caption and seed.
        signals: S of "caption only", "z_t", "prior", "real z_i": those that the lab has and the pictures allow.
        captions: N, one a column. seeds: N.
        latent: S * N, what the pictures are decoded from, with their captions.
    """

    pixels: Tensor
    latent: Latent
    signals: tuple[str, ...]
    captions: tuple[str, ...]
    seeds: tuple[int, ...]

    def figure(self, columns: int = 8) -> Figure:
        from ..plotting import rows

        return rows(dict(zip(self.signals, self.pixels[:, :columns])), titles=self.captions[:columns])

    def summary(self) -> str:
        def said(quantity: str, digits: int) -> str:
            return ", ".join(f"{s} {self.value(quantity, signal=s):.{digits}f}" for s in self.signals)

        sentence = f"CLIP score (cosine of picture and caption), higher is nearer: {said('CLIP score', 2)}."
        if any(row["quantity"] == "Fréchet distance" for row in self.table):
            sentence += f" Fréchet distance to the real pictures, lower is nearer: {said('Fréchet distance', 3)}."
        return sentence


def _signals(lab: Lab, captions: Sequence[str], seeds: Sequence[int]) -> tuple[dict[str, Tensor], list]:
    """What fills the CLIP slot, by name: (N, D) each; and a sentence for each signal that the lab can't have."""
    z_t, notes, signals = lab.encoder.encode_text(captions), [], {}
    if lab.require_decoder().encode_prompt(captions[:1]) is None:
        notes.append(f"the decoder of {lab.name} reads no text, so there is no row for the caption only")
    else:
        signals["caption only"] = torch.zeros_like(z_t)
    if lab.prior is None:
        notes.append(f"{lab.name} has no prior, so there is no row for it")
        return {**signals, "z_t": z_t}, notes
    z_i = prior.sample(lab.prior, captions, seeds=seeds)
    # z_t stands in for an image embedding, so it gets an image embedding's length.
    signals["z_t"] = z_t * z_i.norm(dim=-1).mean() / z_t.norm(dim=-1, keepdim=True)
    return {**signals, "prior": z_i}, notes


def _real(lab: Lab, captions: Sequence[str], pictures: Tensor, kinds: Sequence[str]) -> Tensor:
    """z_i of the captions' own pictures: (N, D)."""
    checked_pixels(pictures, lab.image_size)
    if len(pictures) != len(captions) or len(kinds) not in (0, len(captions)):
        raise UserError(
            f"{len(captions)} captions, {len(pictures)} pictures, {len(kinds)} kinds: give one picture for each "
            "caption, and one kind or none at all"
        )
    return lab.encoder.encode_image(pictures.to(lab.device, torch.float32))


def _to_real(real: Tensor, decoded: Tensor, kinds: Sequence[str], **where: Any) -> Iterator[dict]:
    """How far the embeddings of decoded pictures lie from the real ones, and which of these they reach."""
    yield jackknife(frechet, real, decoded, quantity="Fréchet distance", **where)
    yield jackknife(cmmd, real, decoded, quantity="CMMD", **where)
    reached = recalled(real, decoded)
    yield proportion(reached, quantity="recall", **where)
    for kind in dict.fromkeys(kinds):
        mine = torch.tensor([k == kind for k in kinds], device=reached.device)
        yield proportion(reached[mine], quantity="recall of a kind", kind=kind, **where)


@experiment(
    Ablated,
    page="prior",
    task="ablate",
    command="ablate",
    figure="8",
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: (3 if a["pictures"] is None else 4) * size(a["captions"]) * size(a["seeds"]),
)
def ablate(
    lab: Lab,
    captions: str | Sequence[str],
    *,
    pictures: Tensor | None = None,
    kinds: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = 2.0,
    preview_every: int = 5,
) -> Iterator[Progress | Ablated]:
    """Decode captions with zero, z_t or the prior's z_i in the CLIP slot.  Ramesh et al. 2022, section 5.1, figure 8.

    The caption is always given to the decoder, where it takes one, and x_T is the same for all signals.

    Args:
        captions: one, or several.
        pictures: (N, 3, H, W) in [-1, 1], the real picture of each caption: adds what their own z_i gives, and the
            distances to them.
        kinds: N, what each picture is one of (an artist, say): adds the recall of each kind.
        seeds: of each caption's pictures.
        steps, guidance: of the decoder.

    The table holds, for each signal, the CLIP score (cosine of encode(picture) and z_t) and, when there are several
    captions, the accuracy: how often a picture's own caption is the nearest of them all. With at least 40 real pictures
    it also holds, in CLIP's space, the Fréchet distance and the CMMD to them and their recall, as `distances` has them.

    Raises:
        UserError: no caption, an empty one, the same twice, no seeds, or not one picture and one kind for each caption.
    """
    captions = (captions,) if isinstance(captions, str) else tuple(captions)
    if not captions or len(set(captions)) < len(captions):
        raise UserError(f"captions are {list(captions)}: give one, or several that differ")
    seeds = checked_seeds(seeds)
    real = None if pictures is None else _real(lab, captions, pictures, kinds)
    readings = [lab.encoder.check_caption(c) for c in captions]
    columns, own = [c for c in captions for _ in seeds], list(seeds) * len(captions)
    yield Progress("prior", 0, 1)
    signals, notes = _signals(lab, columns, own)
    if real is not None:
        signals["real z_i"] = real.repeat_interleave(len(seeds), 0)
    x_T = noise(lab.require_decoder(), own, device=lab.device)
    text = lab.require_decoder().encode_prompt(columns)
    latent = Latent(torch.cat(list(signals.values())), x_T.repeat(len(signals), 1, 1, 1))
    text = None if text is None else text.repeat(len(signals), 1, 1)
    params: dict[str, Any] = {"text": text, "steps": steps, "guidance": guidance, "preview_every": preview_every}
    pixels = yield from decode_latents(lab, latent, **params)
    z = lab.encoder.encode_image(pixels).unflatten(0, (len(signals), -1))  # (S, N, D)
    z_t = lab.encoder.encode_text(captions)
    scores = cosine(z, z_t.repeat_interleave(len(seeds), 0))
    truth = torch.arange(len(captions), device=z.device).repeat_interleave(len(seeds))
    table = [mean(row, quantity="CLIP score", signal=name) for name, row in zip(signals, scores)]
    if len(captions) > 1:
        nearest = cosine(z[:, :, None], z_t).argmax(-1)  # (S, N)
        table += [proportion(row == truth, quantity="accuracy", signal=name) for name, row in zip(signals, nearest)]
    if real is not None and len(real) >= 2 * GROUPS:
        table += [row for name, z_decoded in zip(signals, z) for row in _to_real(real, z_decoded, kinds, signal=name)]
    elif real is not None:
        notes.append(f"{len(real)} pictures are too few for the distances to them: give at least {2 * GROUPS}")
    pixels = yield from upsample_images(lab, pixels, own * len(signals))
    notes += caption_warnings(readings)
    yield Ablated(
        pixels=pixels.unflatten(0, (len(signals), -1)), latent=latent, signals=tuple(signals), captions=tuple(columns),
        seeds=tuple(own), table=tuple(table), notes=tuple(notes),
        settings=settings_of(lab, "ablate", captions=captions, seeds=seeds, steps=steps, guidance=guidance),
    )  # fmt: skip


@dataclass(frozen=True, repr=False, kw_only=True)
class Guided(Result):
    """One caption over a grid of the prior's and the decoder's guidance.

    Args:
        pixels: (P, G, N, 3, H, W), upsampled where the lab can.
        prior_guidances: P. guidances: G. seeds: N.
        latent: P * N, the same at every guidance of the decoder.
    """

    pixels: Tensor
    latent: Latent
    prior_guidances: tuple[float, ...]
    guidances: tuple[float, ...]
    seeds: tuple[int, ...]

    def figure(self) -> Figure:
        from ..plotting import rows

        named = {f"prior {p:g}": row[:, 0] for p, row in zip(self.prior_guidances, self.pixels)}
        titles = [f"decoder {g:g}" for g in self.guidances]
        return rows(named, titles=titles, heading=f"guidance of “{self.settings['captions'][0]}”, seed {self.seeds[0]}")

    def summary(self) -> str:
        score, distance = "CLIP score", "distance among samples"
        best = max((row for row in self.table if row["quantity"] == score), key=lambda row: row["value"])
        place = (best["prior_guidance"], best["guidance"])
        weakest = (min(self.prior_guidances), min(self.guidances))
        sentence = (
            f"The CLIP score is highest, {best['value']:.2f}, at guidance {place[1]:g} of the decoder and "
            f"{place[0]:g} of the prior"
        )
        if place == weakest:
            return f"{sentence}."
        cells = {(row["quantity"], row["prior_guidance"], row["guidance"]): row for row in self.table}
        comparisons = [
            _comparison(name, cells[quantity, *place], cells[quantity, *weakest])
            for name, quantity in (("the score", score), ("the distance among samples", distance))
            if (quantity, *place) in cells
        ]
        weakest_names = f"guidance {weakest[1]:g} of the decoder and {weakest[0]:g} of the prior"
        return f"{sentence}. Compared with {weakest_names}, {' and '.join(comparisons)}."


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
    """The samples' mean distance (captions, seeds, seeds), over captions; of a single one over its seeds."""
    if len(among) == 1:
        return mean_of_pairs(among[0], **where)
    pairs = torch.ones(among.shape[1:]).triu(1).bool()
    return mean(among[:, pairs].mean(1), **where)


@experiment(
    Guided,
    page="prior",
    task="sweep",
    command="guide",
    figure="9",
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: size(a["prior_guidances"]) * size(a["guidances"]) * size(a["captions"]) * size(a["seeds"]),
)
def guide(
    lab: Lab,
    captions: str | Sequence[str],
    *,
    guidances: Sequence[float] = (1.0, 1.5, 2.0, 3.0, 4.0),
    prior_guidances: Sequence[float] = (1.0, 2.0),
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    preview_every: int = 0,
) -> Iterator[Progress | Guided]:
    """Captions at every pair of the prior's and the decoder's guidance.  Ramesh et al. 2022, section 5.3, figure 9.

    Args:
        captions: one, or several: the table is over all of them.
        seeds: of each caption's pictures; the same noise at every pair.

    The table holds, for every pair, the CLIP score and the samples' distance, 1 - cosine, when a caption has several.

    Raises:
        UserError: no caption, no guidance, no seeds, or a lab without a prior.
    """
    captions = (captions,) if isinstance(captions, str) else tuple(captions)
    if not captions or not guidances or not prior_guidances:
        raise UserError("captions, guidances and prior_guidances each want at least one value")
    if lab.prior is None:
        raise UserError(f"{lab.name} has no prior to sweep: load a model that has one, like emoji")
    seeds = checked_seeds(seeds)
    notes = caption_warnings(lab.encoder.check_caption(c) for c in captions)
    columns, own = [c for c in captions for _ in seeds], list(seeds) * len(captions)
    yield Progress("prior", 0, len(prior_guidances))
    z_i = [prior.sample(lab.prior, columns, seeds=own, guidance=p) for p in prior_guidances]
    latent = Latent(torch.cat(z_i), noise(lab.require_decoder(), own, device=lab.device).repeat(len(z_i), 1, 1, 1))
    text = lab.require_decoder().encode_prompt(columns)
    text = None if text is None else text.repeat(len(z_i), 1, 1)
    grids = []
    for guidance in guidances:
        params: dict[str, Any] = {"text": text, "steps": steps, "guidance": guidance, "preview_every": preview_every}
        grids.append((yield from decode_latents(lab, latent, **params)))
    pixels = torch.stack(grids, 1)  # (P * N, G, 3, H, W)
    pixels = pixels.unflatten(0, (len(z_i), -1)).transpose(1, 2)  # (P, G, N, 3, H, W)
    z = lab.encoder.encode_image(pixels.flatten(0, 2)).unflatten(0, pixels.shape[:3])
    scores = cosine(z, lab.encoder.encode_text(columns))
    among = z.unflatten(2, (len(captions), -1))  # (P, G, captions, seeds, D)
    among = (1 - cosine(among[..., :, None, :], among[..., None, :, :])).clamp_min(0)  # rounding goes below
    table = []
    for i, p in enumerate(prior_guidances):
        for j, g in enumerate(guidances):
            where = {"prior_guidance": p, "guidance": g}
            table.append(mean(scores[i, j], quantity="CLIP score", **where))
            if len(seeds) > 1:
                table.append(_variety(among[i, j], quantity="distance among samples", **where))
    shape = pixels.shape[:3]
    pixels = yield from upsample_images(lab, pixels.flatten(0, 2), own * (shape[0] * shape[1]))
    settings = settings_of(
        lab, "guide", captions=captions, guidances=tuple(guidances), prior_guidances=tuple(prior_guidances),
        seeds=seeds, steps=steps,
    )  # fmt: skip
    yield Guided(
        pixels=pixels.unflatten(0, shape), latent=latent, prior_guidances=tuple(prior_guidances),
        guidances=tuple(guidances), seeds=tuple(own), table=tuple(table), notes=tuple(notes), settings=settings,
    )  # fmt: skip
