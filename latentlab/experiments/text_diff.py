"""Text diffs: a picture changed in the direction from one caption to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.intervals import mean
from ..captions import caption_warnings, check_captions
from ..edits import direction, fractions, spaced, text_diff
from ..errors import UserError
from ..io import images
from ..latents import Latent
from ..slerp import normalize
from .base import Progress, Result, experiment, size
from .inversion import InversionResult, Pictures, ensure_inverted
from .stages import cosine, sample_images, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class TextDiffResult(Result):
    """A picture turned towards each of several captions, a row each.

    Args:
        inverted: the picture and its latents.
        pixels: (K, T, 3, H, W), upsampled where the lab can.
        source: the caption of the picture as it is.
        targets: K captions. thetas: T fractions of the arc.
    """

    inverted: InversionResult
    pixels: Tensor
    source: str
    targets: tuple[str, ...]
    thetas: tuple[float, ...]

    def figure(self) -> Figure:
        from ..plotting import rows

        named = dict(zip(self.targets, self.pixels))
        source = f"“{self.source}”" if self.source else "no caption"
        return rows(named, titles=[f"θ = {t:.3g}" for t in self.thetas], heading=f"from {source} to …")

    def summary(self) -> str:
        last = max(self.thetas)
        if last == 0:
            return "At θ = 0 nothing changes: these are reconstructions."
        cosines = [f"{self.value('directional similarity', target=t, theta=last):+.2f} for “{t}”" for t in self.targets]
        return (
            f"At θ = {last:g} the change of the picture's embedding has this cosine to the change of its caption's (+1 "
            f"is the same direction, 0 an unrelated one): {', '.join(cosines)}."
        )


def _checked_direction(z_t: Tensor, captions: Sequence[str], notes: Sequence[str]) -> None:
    """Refuse captions that have one CLIP embedding, and name the words that CLIP does not know."""
    for target, z in zip(captions[1:], z_t[1:]):
        try:
            direction(z_t[:1], z[None])
        except UserError as error:
            reasons = "".join(f"; {note}" for note in notes)
            raise UserError(
                f"to CLIP “{captions[0]}” and “{target}” say the same: give captions that say different things{reasons}"
            ) from error


def _checked_targets(targets: str | Sequence[str], source: str) -> tuple[str, ...]:
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    if not targets:
        raise UserError("targets is empty: give the caption that is wanted, or several")
    if source in targets:
        raise UserError(f"the captions from and to are both “{source}”: give two that say different things")
    if len(set(targets)) < len(targets):
        raise UserError(f"targets are {list(targets)}: give each of them once")
    return targets


def _checked_thetas(thetas: int | Sequence[float]) -> list[float]:
    thetas = spaced(int(thetas), 0.5) if isinstance(thetas, int | Integral) else [float(t) for t in thetas]
    if not thetas or len(set(thetas)) < len(thetas):
        raise UserError(f"thetas are {thetas}: give at least one fraction of the arc, like 0.4, and each of them once")
    fractions(thetas)  # refuses what is no fraction
    return thetas


def _moving(thetas: int | Sequence[float]) -> int:
    """How many frames lie beyond θ = 0, where all targets share one frame."""
    return sum(theta > 0 for theta in (spaced(int(thetas), 0.5) if isinstance(thetas, int | Integral) else thetas))


@experiment(
    TextDiffResult,
    page="text-diff",
    command="diff",
    figures=("5",),
    stages=("first stage", "inversion", "decoder", "upsampler"),
    images=lambda a: 1 + size(a["targets"]) * _moving(a["thetas"]),
)
def diff(
    lab: Lab,
    picture: Pictures,
    targets: str | Sequence[str],
    *,
    source: str = "a photo",
    thetas: int | Sequence[float] = 6,
    steps: int = 25,
    guidance: float = 1.0,
    preview_every: int = 5,
) -> Iterator[Progress | TextDiffResult]:
    """Turn z_i along the difference of two captions, x_T fixed.  Ramesh et al. 2022, section 3.3, figure 5.

    z_d = norm(z_t - z_t0), z_θ = slerp(z_i, z_d, θ), so the first frame (θ = 0) reconstructs the picture.

    Args:
        picture: (1, 3, H, W) in [-1, 1], or what `invert` returned, or latents.
        targets: the caption wanted, or several: a row each, in one batch.
        source: a caption of the picture as it is; "a photo" or "" are the paper's other baselines.
        thetas: how many frames from 0 to 0.5, or the fractions of the arc themselves; the paper ends at 0.25 to 0.50.
        steps: of the inversion and the way back; what was inverted before keeps its own.
        guidance: of the way back; above 1 the first frame no longer reconstructs.

    The table holds, for every target and θ: the directional similarity, the cosine between the change of the picture's
    embedding since the first frame and z_d (Gal et al. 2021, StyleGAN-NADA, equation 1); the drift, the length of that
    change across z_d, in units of |z_i|; the cosine to the target caption; and the PSNR to the first frame. With
    several targets it also holds the means of the first two over them, with their intervals.

    Raises:
        UserError: more than one picture, no target, a target that equals the source, or θ outside 0..1.
    """
    targets, thetas = _checked_targets(targets, source), _checked_thetas(thetas)
    readings = check_captions(lab.encoder, (*targets, *([source] if source else [])))
    notes = tuple(caption_warnings(readings))
    z_t = lab.encoder.encode_text([source, *targets])
    _checked_direction(z_t, (source, *targets), notes)
    inversion = yield from ensure_inverted(lab, picture, steps=steps, preview_every=preview_every)
    if len(inversion) != 1:
        raise UserError(f"{len(inversion)} pictures: a text diff is of one; pass pixels[:1]")
    latent, rows = _turned(inversion.bipartite, z_t, thetas)
    pixels = yield from sample_images(
        lab, latent, steps=inversion.steps, guidance=guidance, preview_every=preview_every
    )
    z, psnr = lab.encoder.encode_image(pixels), images.psnr(pixels[:1].expand_as(pixels), pixels)
    table = _table(z[rows], z[:1], z_t, psnr=psnr[rows], targets=targets, thetas=thetas)
    pixels = yield from upsample_images(lab, pixels, [0] * len(pixels))
    yield TextDiffResult(
        inverted=inversion,
        pixels=pixels[rows],
        source=source,
        targets=targets,
        thetas=tuple(thetas),
        table=table,
        notes=notes,
    )


def _turned(latent: Latent, z_t: Tensor, thetas: Sequence[float]) -> tuple[Latent, Tensor]:
    """The distinct latents of all targets and θ, and which of them each pair has: (K, T) of integers.

    θ = 0 is one frame for all targets, which the measures compare with: it is row 0, and decoded once.
    """
    moved, count = [theta for theta in thetas if theta > 0], len(z_t) - 1
    turned = [text_diff(latent, z_t[:1], z_t[k : k + 1], moved) for k in range(1, len(z_t))] if moved else []
    rows = [[1 + k * len(moved) + moved.index(t) if t > 0 else 0 for t in thetas] for k in range(count)]
    return Latent.stack([latent, *turned]), torch.tensor(rows)


def _table(
    z: Tensor, z_first: Tensor, z_t: Tensor, *, psnr: Tensor, targets: Sequence[str], thetas: Sequence[float]
) -> tuple[dict, ...]:
    """The rows of every target and θ: z (K, T, D), z_first (1, D) of the first frame, z_t (1 + K, D), psnr (K, T)."""
    change = normalize(z) - normalize(z_first)  # (K, T, D)
    z_d = normalize(z_t[1:] - z_t[:1])[:, None]  # (K, 1, D)
    along = (change * z_d).sum(-1, keepdim=True)
    measured = {
        "directional similarity": cosine(change, z_d),
        "drift": (change - along * z_d).norm(dim=-1),
        "cosine to the target": cosine(z, z_t[1:, None]),
        "PSNR to the first frame": psnr,
    }
    table = [
        mean(values[k, j : j + 1], quantity=quantity, target=target, theta=theta)
        for quantity, values in measured.items()
        for k, target in enumerate(targets)
        for j, theta in enumerate(thetas)
        if theta > 0 or quantity == "cosine to the target"
    ]
    if len(targets) > 1:
        table += [
            mean(measured[quantity][:, j], quantity=f"mean {quantity}", theta=theta)
            for quantity in ("directional similarity", "drift")
            for j, theta in enumerate(thetas)
            if theta > 0
        ]
    return tuple(table)
