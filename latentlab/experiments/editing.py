"""Edits: a part of a picture painted anew, a canvas that grows, a picture changed from one of its noise levels."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import decoding, inpainting, prior
from ..analysis.intervals import mean, proportion
from ..clip import caption_warnings
from ..diffusion import Conditioning, abar_at, ddim_step
from ..errors import UserError
from ..io import images
from ..noise import SeededNoise, checked_seeds, draw_x_T
from ..outpainting import canvas
from .base import Progress, Result, experiment, size
from .stages import PREVIEWED, checked_pixels, cosine, upsample_images

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class EditingResult(Result):
    """Edits of one picture, one a seed.

    Args:
        original: (1, 3, H, W), the picture on its canvas; where there is nothing yet, what is visible is continued.
        mask: (1, 1, H, W), True where the picture was painted.
        pixels: (N, 3, H, W), the original's own outside the mask.
        caption: of the whole picture as wanted; "" without one.
        seeds: N.
    """

    original: Tensor
    mask: Tensor
    pixels: Tensor
    caption: str
    seeds: tuple[int, ...]

    def figure(self) -> Figure:
        from ..plotting import grid

        veiled = torch.where(self.mask, 0.35 * self.original + 0.3, self.original)
        titles = ["to be painted: pale", *(f"seed {seed}" for seed in self.seeds)]
        return grid(torch.cat([veiled, self.pixels]), titles=titles, heading=self.caption or None)

    def summary(self) -> str:
        values = {row["quantity"]: row["value"] for row in self.table}
        count = len(self.seeds)
        sentences = [f"{count} edit{'s' * (count > 1)}{self._about(values)}."]
        if "PSNR outside" in values:
            change = (self.pixels - self.original).where(~self.mask, 0)
            outside = f"at {values['PSNR outside']:.1f} dB" if change.any() else "exactly as it was"
            beside = values.get("change beside the border")
            compared = "" if beside is None else f" and by {beside:.3f} beside it"
            sentences.append(
                f"Outside the mask the picture is {outside}; neighbouring pixels differ by "
                f"{values['change across the border']:.3f} across the border{compared}."
            )
        return " ".join(sentences)

    def _about(self, values: dict[str, float]) -> str:
        if not self.caption:
            return " without a caption"
        score = f" to “{self.caption}”, CLIP score {values['CLIP score']:.2f}"
        if "accuracy inside the mask" not in values:
            return score
        return f"{score}; inside the mask CLIP recognises it in {values['accuracy inside the mask']:.0%}"


def _sides(grow: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(grow.split(",")) if isinstance(grow, str) and grow else tuple(grow)


def _check_words(lab: Lab, caption: str) -> list[str]:
    """The warnings about a caption.

    Raises:
        UserError: the lab has no prior for it, or knows none of its words.
    """
    if not caption:
        return []
    if lab.prior is None:
        raise UserError(
            f"{lab.name} has no prior, which makes z_i of a caption: leave the caption out, which continues what is "
            "visible, or load a model that has one, like emoji"
        )
    check = lab.encoder.check_caption(caption)
    words = set(re.findall(r"\w+", caption.lower()))
    if words and words <= {word.lower() for word in check.unknown}:
        raise UserError(f"{caption_warnings([check])[0]}: give a caption with words that it knows, like “a red apple”")
    return caption_warnings([check])


def _checked_mask(mask: Tensor | None, picture: Tensor, sides: Sequence[str], strength: float) -> Tensor | None:
    """The mask as (1, 1, H, W) booleans.

    Raises:
        UserError: it does not fit the picture, is empty or covers everything, or there is nothing to do.
    """
    if sides and (mask is not None or strength < 1):
        raise UserError("grow paints what lies beyond the picture: give it without a mask, and with strength 1")
    if mask is None:
        if not sides and strength == 1:
            raise UserError("there is nothing to edit: give a mask, a side to grow on, or a strength below 1")
        return None
    mask = (mask > 0.5 if mask.is_floating_point() else mask.bool()).view(1, 1, *mask.shape[-2:])
    if mask.shape[-2:] != picture.shape[-2:]:
        raise UserError(
            f"mask is {tuple(mask.shape[-2:])} and the picture {tuple(picture.shape[-2:])}: make them one size"
        )
    if not mask.any() or mask.all():
        covers = "covers everything" if mask.any() else "is empty"
        raise UserError(f"the mask {covers}: mark the part of the picture that is to be painted, in white")
    return mask


def _known(
    lab: Lab, x_0: Tensor, z_i: Tensor, times: Sequence[int], kind: str, seeds: Sequence[int]
) -> inpainting.Known:
    decoder = lab.require_decoder()
    if kind == "trajectory":
        return inpainting.trajectory(decoder, x_0, Conditioning(z_i), times)
    draw = SeededNoise(seeds, decoder.shape, stream="known", device=x_0.device, dtype=x_0.dtype)
    return inpainting.noised(x_0, decoder.abar, draw)


def _paint(
    lab: Lab, window: Tensor, mask: Tensor, wanted: Conditioning | None, seeds: tuple[int, ...], params: dict[str, Any]
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: (N, 3, S, S), one window painted; its pictures are one for all seeds, or one each."""
    decoder, strength = lab.require_decoder(), params["strength"]
    filled = window if strength < 1 else inpainting.continued(window, mask)
    small = images.resize(filled, decoder.image_size)
    x_0, own = decoder.to_x0(small), lab.encoder.encode_image(filled)
    times = inpainting.times_from(decoder.abar, params["steps"], strength)
    x_T = draw_x_T(decoder, seeds, device=x_0.device, dtype=x_0.dtype)
    start = x_T if strength == 1 else ddim_step(x_0, x_T, 1.0, abar_at(decoder.abar, times[0]))
    kind = "noised" if mask.all() else params["known"]
    for step in inpainting.inpaint_steps(
        decoder,
        Conditioning(own.expand(len(seeds), -1)) if wanted is None else wanted,
        inpainting.on_grid(mask, decoder),
        _known(lab, x_0, own, times, kind, seeds),
        start,
        times,
        seeds=seeds,
        **params["decoder"],
    ):
        due = params["preview_every"] and step.number % params["preview_every"] == 0 and step.number < step.total
        preview = decoding.pictures(decoder, step.x_0[:PREVIEWED]) if due else None
        yield Progress("decoder", step.number, step.total, preview)
    painted = decoding.pictures(decoder, step.x_t)
    if window.shape[-1] > decoder.image_size:
        painted = yield from upsample_images(lab, painted, seeds)
    return inpainting.composed(painted, window, mask, window.shape[-1] // decoder.shape[-1])


@experiment(
    EditingResult,
    page="",
    command="edit",
    figures=(),
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: size(a["seeds"]) * max(1, len(canvas(_sides(a["grow"])).windows)),
)
def edit(
    lab: Lab,
    picture: Tensor,
    mask: Tensor | None = None,
    caption: str = "",
    *,
    grow: str | Sequence[str] = (),
    strength: float = 1.0,
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = 2.0,
    known: str = "trajectory",
    resamplings: int = 1,
    eta: float = 0.0,
    prior_steps: int = 16,
    prior_guidance: float = 1.0,
    candidates: int = 2,
    preview_every: int = 5,
) -> Iterator[Progress | EditingResult]:
    """Paint a part of a picture anew, without training.  Nichol et al. 2021 (GLIDE), section 4; `inpainting`.

    Args:
        picture: (1, 3, H, W) in [-1, 1], made square; where the lab has an upsampler and the picture is as large, the
            result has the upsampler's size, and the decoder's elsewhere.
        mask: (H, W), True where something is to be painted. None: everything, from `strength`, or what `grow` adds.
        caption: of the whole picture as wanted; without one z_i comes from what is visible, which erases.
        grow: sides on which the canvas grows by half a picture, one after another: outpainting.
        strength: how far up the noise levels the painted part starts; below 1 it keeps something of what was there.
        seeds: a picture each.
        steps, guidance: the decoder's.
        known: what stands outside the mask on the way, the picture's own "trajectory", or "noised" as in RePaint.
        resamplings, eta: as in `inpainting.inpaint_steps`.
        prior_steps, prior_guidance, candidates: the prior's.

    The table holds the CLIP score, 1 being the caption's own embedding; whether CLIP's zero-shot label inside the mask
    is the thing that the caption names, where it names one that the model was trained to draw; the PSNR outside the
    mask; and the mean difference between neighbouring pixels across the mask's border, and one pixel beside it.

    Raises:
        UserError: more than one picture; a mask of another size, empty or covering everything; nothing to do; a caption
            without a known word; a lab without a prior for a caption; a strength outside 0 to 1; a canvas too large.
    """
    sides, seeds = _sides(grow), checked_seeds(seeds)
    picture = checked_pixels(picture, lab.image_size)
    if len(picture) != 1:
        raise UserError(f"{len(picture)} pictures: an edit is of one; pass pixels[:1]")
    if known not in inpainting.KNOWN:
        raise UserError(f"known is {known!r}: give one of {', '.join(inpainting.KNOWN)}")
    decoder = lab.require_decoder()
    inpainting.times_from(decoder.abar, steps, strength)
    layout, notes = canvas(sides), _check_words(lab, caption)
    mask = _checked_mask(mask, picture, sides, strength)
    side = lab.output_size if min(picture.shape[-2:]) >= lab.output_size else decoder.image_size
    half = side // 2
    top, left = layout.top * half, layout.left * half
    unknown = torch.ones(1, 1, layout.height * half, layout.width * half, dtype=torch.bool, device=lab.device)
    place = unknown[..., top : top + side, left : left + side]
    if sides or mask is not None:
        place[:] = False if mask is None else F.adaptive_max_pool2d(mask.to(lab.device).float(), side) > 0
    drawn = torch.zeros(1, 3, *unknown.shape[-2:], device=lab.device)
    drawn[..., top : top + side, left : left + side] = images.resize(picture.to(lab.device, torch.float32), side)
    original = inpainting.continued(drawn, unknown) if sides else drawn
    params = {
        "strength": strength,
        "steps": steps,
        "known": known,
        "preview_every": preview_every,
        "decoder": {"guidance": guidance, "resamplings": resamplings, "eta": eta},
    }
    wanted = None
    if caption:
        yield Progress("prior", 0, 1)
        z_i = prior.sample(
            lab.prior, [caption], seeds=seeds, steps=prior_steps, guidance=prior_guidance, candidates=candidates
        )
        text = decoder.encode_prompt([caption])
        wanted = Conditioning(z_i, None if text is None else text.expand(len(seeds), -1, -1))
    pixels, missing = original, unknown.clone()
    for row, column in layout.windows or ((0, 0),):
        window = (..., slice(row * half, row * half + side), slice(column * half, column * half + side))
        painted = yield from _paint(lab, pixels[window], missing[window], wanted, seeds, params)
        pixels = pixels.expand(len(seeds), -1, -1, -1).clone()
        pixels[window], missing[window] = painted, False
    yield EditingResult(
        original=original,
        mask=unknown,
        pixels=pixels,
        caption=caption,
        seeds=seeds,
        notes=tuple(notes),
        table=tuple(_measured(lab, pixels, original, unknown, caption)),
    )


def _measured(lab: Lab, pixels: Tensor, original: Tensor, mask: Tensor, caption: str) -> Iterator[dict]:
    if caption:
        z_t = lab.encoder.encode_text([caption])
        yield mean(cosine(lab.encoder.encode_image(pixels), z_t), quantity="CLIP score")
        named = [thing for thing in lab.things if re.search(rf"\b{re.escape(thing)}\b", caption)]
        if named:
            inside = lab.encoder.zero_shot(_inside(pixels, mask), lab.things)
            wanted = lab.things.index(max(named, key=len))
            yield proportion(inside.argmax(1) == wanted, quantity="accuracy inside the mask")
    if mask.all():
        return
    outside = (~mask).expand_as(original)[0]
    psnr = torch.stack([images.psnr(row[outside][None], original[0][outside][None])[0] for row in pixels])
    yield mean(psnr, quantity="PSNR outside")
    yield mean(inpainting.seam(pixels, mask), quantity="change across the border")
    wider = F.max_pool2d(mask.float(), 3, 1, 1) > 0
    if not wider.all():
        yield mean(inpainting.seam(pixels, wider), quantity="change beside the border")


def _inside(pixels: Tensor, mask: Tensor) -> Tensor:
    """The smallest square around what is painted, or the most of it that fits into the picture."""
    rows, columns = mask[0, 0].any(1).nonzero().flatten(), mask[0, 0].any(0).nonzero().flatten()
    height, width = pixels.shape[-2:]
    side = min(max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1, height, width)
    top = min(max(int(rows[0] + rows[-1] + 1 - side) // 2, 0), height - side)
    left = min(max(int(columns[0] + columns[-1] + 1 - side) // 2, 0), width - side)
    return pixels[..., top : top + side, left : left + side]
