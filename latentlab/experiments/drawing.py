"""Drawings by CLIP alone: a canvas, and the gradient of CLIP's cosine to a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..ascent import Objective
from ..captions import caption_warnings
from ..errors import UserError
from ..io import images
from ..noise import checked_seeds
from ..strokes import Paths
from .base import Progress, Result, experiment
from .drawing_stages import (
    Recogniser,
    climb,
    cosine_rows,
    new_canvas,
    pictures_a_step,
    recognisers_of,
    recognition_rows,
)
from .stages import checked_pixels, encoder_of

if TYPE_CHECKING:
    from ..clip import Encoder
    from ..models import Lab
    from ..plotting import Figure

NEGATIVE_WEIGHT = -0.3  # as in CLIPDraw's code, where a positive prompt weighs 1


@dataclass(frozen=True, repr=False, kw_only=True)
class DrawingResult(Result):
    """Pictures that CLIP drew.

    Args:
        pixels: (B, 3, H, W).
        paths: the strokes, None where the canvas is another.
        scores: (S, B), the objective over the views of each step.
        frames: (F, B, 3, h, w), pictures on the way, of at most 12 seeds.
        seeds: one a picture.
    """

    pixels: Tensor
    paths: Paths | None
    scores: Tensor
    frames: Tensor
    seeds: tuple[int, ...]

    def figure(self) -> Figure:
        """The first picture on its way, and all pictures at the end."""
        from ..plotting import grid

        last, count = len(self.frames) - 1, min(5, len(self.frames) - 1)
        rows = [round(k * last / count) for k in range(count)]
        way = images.resize(self.frames[rows, 0], self.pixels.shape[-1])
        ends = [f"seed {seed}, at the end" for seed in self.seeds] if len(self.seeds) > 1 else ["at the end"]
        titles = [*(f"{k / last:.0%} of the steps" for k in rows), *ends]
        return grid(torch.cat([way.to(self.pixels), self.pixels]), titles=titles)

    def curve(self) -> Figure:
        """The objective at each step, a line for each seed."""
        from ..plotting import lines

        steps = range(1, len(self.scores) + 1)
        named = {f"seed {seed}": (steps, self.scores[:, k]) for k, seed in enumerate(self.seeds)}
        return lines(named, xlabel="step", ylabel="cosine over views")

    def svg(self, row: int = 0) -> str:
        """One picture's strokes as an SVG.

        Raises:
            UserError: the canvas has no strokes.
        """
        if self.paths is None:
            raise UserError(f"a canvas of {self.settings['canvas']} has no strokes to write as SVG: draw on 'strokes'")
        return self.paths.svg(row)

    def save_animation(self, path: str | Path, *, row: int = 0, milliseconds: int = 120) -> Path:
        """How one of the first 12 pictures came about, as a GIF or WebP without end.

        Raises:
            UserError: another suffix than .gif or .webp.
        """
        frames = images.to_pil(images.resize(self.frames[:, row], max(128, self.frames.shape[-1])))
        return images.save_animation([*frames, *frames[-1:] * 8], path, milliseconds=milliseconds)

    def summary(self) -> str:
        plain, over = self.value("cosine"), self.value("cosine over views")
        sentence = f"The cosine is {plain:.2f}, and {over:.2f} over random views."
        shares = {row["encoder"]: row["value"] for row in self.table if row["quantity"] == "top-1 over views"}
        if not shares:
            return sentence
        named = [f"{name} in {share:.0%}" for name, share in shares.items()]
        return f"{sentence} The thing is recognised in views of it: by {', by '.join(named)}."


@experiment(
    DrawingResult,
    page="draw",
    command="draw",
    figures=("canvases", "abstraction"),
    stages=("canvas",),
    images=lambda a: pictures_a_step(a["canvas"], len(a["seeds"]), a["views"]),
)
def draw(
    lab: Lab | Encoder,
    prompt: str | Sequence[str] | Mapping[str, float] = "",
    *,
    canvas: str = "strokes",
    strokes: int = 24,
    style: str = "strokes",
    palette: Sequence[str] = (),
    negative_prompt: Sequence[str] = (),
    target: Tensor | None = None,
    start: str | Tensor | Paths = "noise",
    steps: int = 120,
    views: int = 4,
    seeds: Sequence[int] = (0,),
    labels: Sequence[str] = (),
    encoders: Mapping[str, Recogniser] | None = None,
    preview_every: int = 5,
) -> Iterator[Progress | DrawingResult]:
    """Let CLIP draw without a generator.  Frans et al. 2021 (CLIPDraw); Crowson et al. 2022 (VQGAN-CLIP).

    Adam on a canvas's parameters climbs Σ_c w_c cos(z_i(view), z_c), averaged over random views of the picture.

    Args:
        lab: a lab, or an encoder alone, which has no canvas of a decoder.
        prompt: what to draw; several weigh the same, or as a mapping says.
        canvas: "strokes", "pixels", "fourier", "latents" of the decoder's first stage, its "x_T", or "z_i".
        strokes, style, palette: of strokes: their number; "strokes", closed "shapes" or one continuous "line"; and the
            colours that they may have, as in CSS, any by default.
        negative_prompt: prompts that the picture should be far from, each with weight -0.3.
        target: a picture (1, 3, H, W) in [-1, 1] to be near to, beside the prompts or in their place.
        start: "noise", "blank", a picture (1 or B, 3, H, W), which is the paper of strokes, or the strokes of a result,
            with random ones below them where they are fewer than `strokes`.
        views: of each step, twice as strong as those that measure the drawing; 0 shows CLIP the picture itself.
        seeds: B, a picture each.
        labels: classes among which the picture should be recognised, by default all things that the lab knows.
        encoders: second encoders by name, which only score; by default the judge that comes with the lab.

    Raises:
        UserError: nothing to draw, no strokes or more than memory holds, or a canvas that the lab does not have.
    """
    encoder, seeds = encoder_of(lab), checked_seeds(seeds)
    weighted = weights_of(prompt, negative_prompt)
    checks = [encoder.check_caption(text) for text in weighted]
    objective = _objective(encoder, weighted, target)
    sheet = new_canvas(lab, canvas, start=start, seeds=seeds, strokes=strokes, style=style, palette=palette)
    climbed = yield from climb(lab, sheet, objective, steps=steps, views=views, preview_every=preview_every)
    table = cosine_rows(encoder, climbed.pixels, objective)
    notes = [*caption_warnings(checks), *climbed.notes]
    if names := labels or getattr(lab, "things", ()):
        candidates, own = _candidates(weighted, names)
        if own:
            recognisers = recognisers_of(lab, encoders)
            table += recognition_rows(recognisers, climbed.pixels, candidates, own, encoder.image_size)
    elif weighted:
        notes.append("there are no labels to recognise the picture among: give some, like labels=['a dog', 'a cat']")
    yield DrawingResult(
        pixels=climbed.pixels,
        paths=climbed.paths,
        scores=climbed.scores,
        frames=climbed.frames,
        seeds=seeds,
        table=tuple(table),
        notes=tuple(notes),
    )


def weights_of(prompt: str | Sequence[str] | Mapping[str, float], negative_prompt: Sequence[str]) -> dict[str, float]:
    """The prompts with their weights, the negative ones last; an empty prompt is none."""
    if isinstance(prompt, Mapping):
        positive = {text: float(weight) for text, weight in prompt.items()}
    else:
        texts = [prompt] if isinstance(prompt, str) else prompt
        positive = {text: 1.0 for text in texts if text or len(texts) > 1}
    negative_prompt = [negative_prompt] if isinstance(negative_prompt, str) else negative_prompt
    both = sorted(set(positive) & set(negative_prompt))
    if both:
        raise UserError(f"“{both[0]}” is a prompt and a negative prompt: leave it out of one of them")
    return positive | dict.fromkeys(negative_prompt, NEGATIVE_WEIGHT)


def _objective(encoder: Encoder, weighted: Mapping[str, float], target: Tensor | None) -> Objective:
    """The prompts and the target picture as embeddings with weights."""
    if not weighted and target is None:
        raise UserError("there is nothing to draw: give a prompt, like “a penguin”, or a target picture")
    parts, weights = [], list(weighted.values())
    if weighted:
        parts.append(encoder.encode_text(list(weighted)))
    if target is not None:
        with torch.no_grad():
            parts.append(
                encoder.encode_image(images.resize(checked_pixels(target, encoder.image_size), encoder.image_size))
            )
        weights += [1.0 / len(target)] * len(target)
    return Objective(torch.cat(parts), weights)


def _candidates(weighted: Mapping[str, float], labels: Sequence[str]) -> tuple[list[str], str]:
    """The labels and the own one: the longest that the heaviest prompt holds, or the prompt itself as one more."""
    if not weighted or max(weighted.values()) <= 0:
        return list(labels), ""
    heaviest = max(weighted, key=lambda text: weighted[text])
    held = [x for x in labels if f" {_bare(x)} " in f" {heaviest.lower()} "]
    if held:
        return list(labels), max(held, key=len)
    return [*labels, heaviest], heaviest


def _bare(label: str) -> str:
    return label.lower().removeprefix("a ").removeprefix("an ")
