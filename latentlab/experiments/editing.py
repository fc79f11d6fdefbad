"""Edits: a part of a picture painted anew, a canvas that grows, a picture changed from one of its noise levels."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import inpainting, outpainting, prior
from ..captions import caption_warnings, check_captions
from ..diffusion import Conditioning
from ..errors import UserError
from ..io import images
from ..noise import checked_seeds
from .base import Progress, Result, experiment, size
from .guidance import guidance_params
from .history import History, State
from .inversion import InversionResult
from .painting import Brush, layout_of, measured, paint_windows, place_on_canvas
from .stages import checked_pixels

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


DECODERS = ("plain", "fine-tuned")
ERASING = 0.4  # the strength from which an erased part is decoded


@dataclass(frozen=True, repr=False, kw_only=True)
class EditingResult(Result):
    """Edits of one picture, one a seed.

    Args:
        original: (1, 3, H, W), the picture on its canvas; where there is nothing yet, what is visible is continued.
        mask: (1, 1, H, W), True where the picture was painted.
        pixels: (N, 3, H, W), the original's own outside the mask.
        prompt: of the whole picture as wanted; "" without one.
        seeds: N.
        before: the history at the state that was edited.
        place: the row and the column at which that state's picture lies in the canvas.
        inverted: the picture's latents, where it was given with them.
    """

    original: Tensor
    mask: Tensor
    pixels: Tensor
    prompt: str
    seeds: tuple[int, ...]
    before: History
    place: tuple[int, int]
    inverted: InversionResult | None = None

    @property
    def history(self) -> History:
        """The history with these pictures as new states, of which the first is the current one."""
        start, history = self.before.position, self.before
        for k, seed in enumerate(self.seeds):
            settings = {**self.settings, "seeds": [seed]}
            history = history.add(State(self.pixels[k : k + 1], start, self.mask[0, 0].cpu(), self.place, settings))
        return history.at(len(self.before.states))

    def figure(self) -> Figure:
        from ..plotting import grid

        veiled = torch.where(self.mask, 0.35 * self.original + 0.3, self.original)
        titles = ["to be painted: pale", *(f"seed {seed}" for seed in self.seeds)]
        return grid(torch.cat([veiled, self.pixels]), titles=titles, heading=self.prompt or None)

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
        if not self.prompt:
            return " without a prompt"
        score = f" to “{self.prompt}”, CLIP score {values['CLIP score']:.2f}"
        if "accuracy inside the mask" not in values:
            return score
        return f"{score}; inside the mask CLIP recognises it in {values['accuracy inside the mask']:.0%}"


def _sides(grow: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(grow.split(",")) if isinstance(grow, str) and grow else tuple(grow)


def _check_words(lab: Lab, prompt: str) -> list[str]:
    """The warnings about a prompt.

    Raises:
        UserError: the lab has no prior for it, or knows none of its words.
    """
    if not prompt:
        return []
    if lab.prior is None:
        raise UserError(
            f"{lab.name} has no prior, which makes z_i of a prompt: leave the prompt out, which continues what is "
            "visible, or load a model that has one, like emoji"
        )
    return caption_warnings(check_captions(lab.encoder, [prompt]))


def _checked_mask(
    mask: Tensor | None, picture: Tensor, painted: Tensor, sides: Sequence[str], strength: float
) -> Tensor | None:
    """The mask of a picture as (1, 1, H, W) booleans, in the size in which the picture is painted.

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
    return F.adaptive_max_pool2d(mask.float(), painted.shape[-2:]) > 0


def _as_history(lab: Lab, picture: Tensor | InversionResult | History) -> History:
    """The picture as the first state of a history, square and as large as it is painted; a history as it is."""
    if isinstance(picture, History):
        return picture
    pixels = picture.original if isinstance(picture, InversionResult) else checked_pixels(picture, lab.image_size)
    if len(pixels) != 1:
        raise UserError(f"{len(pixels)} pictures: an edit is of one; pass pixels[:1]")
    low = lab.require_decoder().image_size
    side = lab.output_size if min(pixels.shape[-2:]) >= lab.output_size else low
    return History((State(images.resize(pixels.to(torch.float32), side)),), 0, side)


def _sample_conditioning(
    lab: Lab, prompt: str, seeds: Sequence[int], **params: Any
) -> Generator[Progress, None, Conditioning]:
    """`yield from` this: z_i and text of a prompt, a row for each seed; parameters as in `prior.sample`."""
    yield Progress("prior", 0, 1)
    z_i = prior.sample(lab.prior, [prompt], seeds=seeds, **params)
    text = lab.require_decoder().encode_prompt([prompt])
    return Conditioning(z_i, None if text is None else text.expand(len(seeds), -1, -1))


def _count_windows(arguments: dict[str, Any]) -> int:
    """The windows of a run, at most: a mask need not touch all of a canvas."""
    sides, picture = _sides(arguments["grow"]), arguments["picture"]
    if isinstance(picture, History):
        return len(layout_of(picture, None, sides).windows)
    return max(1, len(outpainting.canvas(sides).windows))


@experiment(
    EditingResult,
    page="edit",
    command="edit",
    figures=("edits",),
    stages=("prior", "decoder", "upsampler"),
    images=lambda a: size(a["seeds"]) * _count_windows(a),
)
def edit(
    lab: Lab,
    picture: Tensor | InversionResult | History,
    mask: Tensor | None = None,
    prompt: str = "",
    *,
    grow: str | Sequence[str] = (),
    strength: float = 1.0,
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    by: str = "classifier-free",
    guidance: float = 2.0,
    decoder: str = "plain",
    known: str = "trajectory",
    resamplings: int = 1,
    eta: float = 0.0,
    prior_steps: int = 16,
    prior_guidance: float = 1.0,
    candidates: int = 2,
    preview_every: int = 5,
) -> Iterator[Progress | EditingResult]:
    """Inpaint, outpaint or change a whole picture.  Nichol et al. 2021 (GLIDE), section 4.

    Args:
        picture: (1, 3, H, W) in [-1, 1], made square; where the lab has an upsampler and the picture is as large, the
            result has the upsampler's size, and the decoder's elsewhere. Or what `invert` returned, whose own path
            then stands outside the mask and whose steps are taken. Or the `history` of an edit: this one starts from
            its current state, on a canvas of that state's shape.
        mask: (H, W), True where something is to be painted. None: everything, from `strength`, or what `grow` adds.
        prompt: of the picture as wanted; without one z_i comes from what is visible, and what the mask covers is
            erased: decoded without guidance from the strength `ERASING` of a smooth continuation of what is visible.
            A canvas that needs several windows gets what the prompt names once: in the first window that `grow`
            opens, or the one that holds most of the mask; the others continue what is visible.
        grow: sides on which the canvas grows by half a window, one after another: outpainting.
        strength: how far up the noise levels the painted part starts; below 1 it keeps something of what was there.
        seeds: a picture each.
        by, guidance: how the decoder is guided, as in `guide`, and the scale.
        steps: the decoder's.
        decoder: "plain", which any lab has; or "fine-tuned", one that was trained to inpaint.
        known: what stands outside the mask on the way, the picture's own "trajectory", or "noised" as in RePaint.
        resamplings, eta: as in `inpainting.inpaint_steps`.
        prior_steps, prior_guidance, candidates: the prior's.

    The table holds the CLIP score, 1 being the prompt's own embedding; whether CLIP's zero-shot label inside the mask
    is the thing that the prompt names, where it names one that the model was trained to draw; the PSNR outside the
    mask; and the mean difference between neighbouring pixels across the mask's border, and one pixel beside it.

    Raises:
        UserError: more than one picture; a mask of another size, empty or covering everything; nothing to do; a prompt
            without a known word; a lab without a prior for a prompt, or without a fine-tuned decoder; guidance by CLIP
            without a prompt; a strength outside 0 to 1; a canvas too large.
    """
    sides, seeds = _sides(grow), checked_seeds(seeds)
    before = _as_history(lab, picture)
    inverted = picture if isinstance(picture, InversionResult) else None
    steps = inverted.steps if inverted else steps
    if known not in inpainting.KNOWN:
        raise UserError(f"known is {known!r}: give one of {', '.join(inpainting.KNOWN)}")
    if decoder not in DECODERS:
        raise UserError(f"decoder is {decoder!r}: give {' or '.join(DECODERS)}")
    painting = replace(lab, decoder=lab.require_inpainting()) if decoder == "fine-tuned" else lab
    inpainting.times_from(lab.require_decoder().abar, steps, strength)
    masked = picture if isinstance(picture, Tensor) else inverted.original if inverted else before.pixels
    mask = _checked_mask(mask, masked, before.pixels, sides, strength)
    layout = layout_of(before, mask, sides)
    notes = _check_words(lab, prompt)
    z_t = lab.encoder.encode_text([prompt]) if prompt else None
    # From pure noise the decoder draws again what the rest of the thing lets it expect: the beak of a penguin.
    erases = mask is not None and not prompt and strength == 1
    if erases:
        strength, guidance = ERASING, 1.0
    params = {**guidance_params(lab, by, guidance, z_t), "resamplings": resamplings, "eta": eta}
    latent = inverted.bipartite if inverted and not sides else None
    brush = Brush(before.side, seeds, strength, steps, known, params, latent, preview_every, erases)
    original, unknown = place_on_canvas(lab, before, layout, mask)
    of_prior: dict[str, Any] = {"steps": prior_steps, "guidance": prior_guidance, "candidates": candidates}
    wanted = (yield from _sample_conditioning(lab, prompt, seeds, **of_prior)) if prompt else None
    pixels = yield from paint_windows(painting, original, unknown, layout.windows, wanted, brush)
    yield EditingResult(
        original=original,
        mask=unknown,
        pixels=pixels,
        prompt=prompt,
        seeds=seeds,
        before=before,
        place=(layout.top, layout.left),
        inverted=inverted,
        notes=tuple(notes),
        table=tuple(measured(lab, pixels, original, unknown, prompt)),
    )
