"""Ablation of the prior: zero, the prompt's own embedding, or the prior's z_i as the decoder's CLIP embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import prior
from ..analysis.distances import GROUPS, compared
from ..analysis.intervals import mean, proportion
from ..captions import caption_warnings, check_captions
from ..errors import UserError
from ..latents import Latent
from ..noise import checked_seeds, draw_x_T
from .base import Progress, Result, experiment, size
from .stages import checked_pixels, cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure

BASELINE = (
    "one row of the paper's table is missing: a decoder that was trained on z_t instead of z_i (its FID is 9.16); no "
    "such decoder was trained here"
)


@dataclass(frozen=True, repr=False, kw_only=True)
class AblationResult(Result):
    """The same prompts and noise with several signals in place of the decoder's CLIP embedding.

    Args:
        pixels: (S, N, 3, H, W), upsampled where the lab can; a row for each signal, a column for each prompt and seed.
        signals: S of "prompt only", "z_t", "prior", "autoregressive prior", "real z_i": those that the lab has and the
            pictures allow.
        prompts: N, one a column. seeds: N.
        latent: S * N, what the pictures are decoded from, with their prompts.
    """

    pixels: Tensor
    latent: Latent
    signals: tuple[str, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    def figure(self, columns: int = 8) -> Figure:
        from ..plotting import rows

        return rows(dict(zip(self.signals, self.pixels[:, :columns])), titles=self.prompts[:columns])

    def summary(self) -> str:
        def by_signal(quantity: str, digits: int) -> str:
            return ", ".join(f"{s} {self.value(quantity, signal=s):.{digits}f}" for s in self.signals)

        sentence = f"CLIP score (cosine of picture and prompt), higher is nearer: {by_signal('CLIP score', 2)}."
        if any(row["quantity"] == "Fréchet distance" for row in self.table):
            sentence += f" Fréchet distance to the real pictures, lower is nearer: {by_signal('Fréchet distance', 3)}."
        return sentence


def _signals(lab: Lab, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[dict[str, Tensor], list]:
    """Signals in place of the CLIP embedding by name, (N, D) each, and a sentence for each one that the lab lacks."""
    z_t, notes, signals = lab.encoder.encode_text(prompts), [], {}
    if lab.require_decoder().encode_prompt(prompts[:1]) is None:
        notes.append(f"the decoder of {lab.name} reads no text, so there is no row for the prompt only")
    else:
        signals["prompt only"] = torch.zeros_like(z_t)
    if lab.prior is None:
        notes.append(f"{lab.name} has no prior, so there is no row for it")
        return {**signals, "z_t": z_t}, notes
    z_i = prior.sample(lab.prior, prompts, seeds=seeds)
    # z_t stands in for an image embedding, so it gets an image embedding's length.
    signals["z_t"] = z_t * z_i.norm(dim=-1).mean() / z_t.norm(dim=-1, keepdim=True)
    signals["prior"] = z_i
    if (second := lab.autoregressive_prior) is not None:
        signals["autoregressive prior"] = prior.sample(second, prompts, seeds=seeds)
    return signals, notes


def _real(lab: Lab, prompts: Sequence[str], pictures: Tensor, kinds: Sequence[str]) -> Tensor:
    """z_i of the prompts' own pictures: (N, D)."""
    checked_pixels(pictures, lab.image_size)
    if len(pictures) != len(prompts) or len(kinds) not in (0, len(prompts)):
        raise UserError(
            f"{len(prompts)} prompts, {len(pictures)} pictures, {len(kinds)} kinds: give one picture for each "
            "prompt, and one kind or none at all"
        )
    return lab.encoder.encode_image(pictures.to(lab.device, torch.float32))


def _to_prompts(z: Mapping[str, Tensor], z_t: Tensor, seeds: int) -> list[dict]:
    """How near the pictures of each signal, (N, D), are to their prompts, z_t (N / seeds, D), and to the others."""
    table = [
        mean(cosine(row, z_t.repeat_interleave(seeds, 0)), quantity="CLIP score", signal=name)
        for name, row in z.items()
    ]
    if len(z_t) > 1:
        truth = torch.arange(len(z_t), device=z_t.device).repeat_interleave(seeds)
        nearest = {name: cosine(row[:, None], z_t).argmax(-1) for name, row in z.items()}  # (N,) each
        table += [proportion(row == truth, quantity="accuracy", signal=name) for name, row in nearest.items()]
    return table


def _to_real(z: Mapping[str, Tensor], z_real: Tensor, kinds: Sequence[str]) -> tuple[list[dict], list[str]]:
    """The distances of each signal's pictures, (N, D), to the real ones; or a note that these are too few."""
    if len(z_real) < 2 * GROUPS:
        return [], [f"{len(z_real)} pictures are too few for the distances to them: give at least {2 * GROUPS}"]
    return [row for name, z_decoded in z.items() for row in compared(z_real, z_decoded, kinds, signal=name)], []


@experiment(
    AblationResult,
    page="prior",
    task="ablate",
    command="ablate",
    figures=("8",),
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: (4 if a["real"] is None else 5) * size(a["prompts"]) * size(a["seeds"]),
)
def ablate(
    lab: Lab,
    prompts: str | Sequence[str],
    *,
    real: Tensor | None = None,
    kinds: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = 2.0,
    preview_every: int = 5,
) -> Iterator[Progress | AblationResult]:
    """Decode prompts with zeros, z_t or a prior's z_i as CLIP embedding.  Ramesh et al. 2022, section 5.1, figure 8.

    The prompt is always given to the decoder, where it takes one, and x_T is the same for all signals.  The paper's
    table also has a decoder that was trained on z_t in place of z_i (FID 9.16, against 7.99 of the full stack and 16.55
    of z_t given to the decoder as it is); no such decoder ships, and a note says so.

    Args:
        prompts: one, or several.
        real: (N, 3, H, W) in [-1, 1], the real picture of each prompt: adds what their own z_i gives, and the
            distances to them.
        kinds: N, the kind of each picture (its artist, for example): adds the recall of each kind.
        seeds: of each prompt's pictures.
        steps, guidance: of the decoder.

    The table holds, for each signal, the CLIP score (cosine of encode(picture) and z_t) and, when there are several
    prompts, the accuracy: how often a picture's own prompt is the nearest of them all. With at least 40 real pictures
    it also holds, in CLIP's space, the Fréchet distance and the CMMD to them and their recall, as `distances` has them.

    Raises:
        UserError: no prompt, an empty one, the same twice, no seeds, or not one picture and one kind for each prompt.
    """
    prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not prompts or len(set(prompts)) < len(prompts):
        raise UserError(f"prompts are {list(prompts)}: give one, or several that differ")
    seeds = checked_seeds(seeds)
    z_real = None if real is None else _real(lab, prompts, real, kinds)
    readings = check_captions(lab.encoder, prompts)
    columns, own = [c for c in prompts for _ in seeds], list(seeds) * len(prompts)
    yield Progress("prior", 0, 1)
    signals, notes = _signals(lab, columns, own)
    if z_real is not None:
        signals["real z_i"] = z_real.repeat_interleave(len(seeds), 0)
    x_T = draw_x_T(lab.require_decoder(), own, device=lab.device)
    text = lab.require_decoder().encode_prompt(columns)
    latent = Latent(torch.cat(list(signals.values())), x_T.repeat(len(signals), 1, 1, 1))
    text = None if text is None else text.repeat(len(signals), 1, 1)
    params: dict[str, Any] = {"text": text, "steps": steps, "guidance": guidance, "preview_every": preview_every}
    pixels = yield from sample_images(lab, latent, **params)
    z = lab.encoder.encode_image(pixels).unflatten(0, (len(signals), -1))  # (S, N, D)
    table = _to_prompts(dict(zip(signals, z)), lab.encoder.encode_text(prompts), len(seeds))
    if z_real is not None:
        rows, more = _to_real(dict(zip(signals, z)), z_real, kinds)
        table, notes = table + rows, notes + more
    pixels = yield from upsample_images(lab, pixels, own * len(signals))
    yield AblationResult(
        pixels=pixels.unflatten(0, (len(signals), -1)),
        latent=latent,
        signals=tuple(signals),
        prompts=tuple(columns),
        seeds=tuple(own),
        table=tuple(table),
        notes=(*notes, *caption_warnings(readings), BASELINE),
    )
