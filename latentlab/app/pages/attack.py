"""Typographic attack: a word on a picture, CLIP's labels before and after, and what the decoder draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from ... import experiments, typography
from ...errors import UserError
from ...grammar import article
from ...io import images
from ...paper.inputs import thing as without_background
from .. import controls, markup, model_cache, sentences
from ..buttons import RunButtons
from ..events import QUIET, Controls, EventOptions
from ..outputs import InputImage, file, latent_row, output_images
from ..page import Page, PageResult, PageRun
from ..picker import Picker
from ..running import PREVIEW_EVERY, run_experiment

LABELS = "a dog, a car, a clock, a house"
PREVIEW_SIDE = 256  # pixels
PLACE = {"x": 0.5, "y": 0.64, "size": 0.9}  # the label's centre and width, as fractions of the picture
WORDS = ("candy", "castle", "bicycle", "pizza")  # some change CLIP's label of the strawberry, and some don't


def inputs() -> Controls:
    word = gr.Textbox(
        WORDS[0], label="Word on the label", max_length=20, info="Click on the picture to move the label there."
    )
    gr.Examples([[example] for example in WORDS], word, label="Words to try", example_labels=list(WORDS))
    return {
        "word": word,
        "truth": gr.Textbox("a strawberry", label="What the picture shows", max_length=120),
        "sketch": sketch_pad(),
    }


def sketch_pad() -> gr.ImageEditor:
    with gr.Accordion("Draw on the picture: a drawing replaces the label", open=False):
        return gr.ImageEditor(
            label="Your drawing",
            show_label=False,
            type="pil",
            height=380,
            canvas_size=(PREVIEW_SIDE, PREVIEW_SIDE),
            sources=(),
            layers=False,
            transforms=(),
            image_mode="RGBA",
            eraser=gr.Eraser(default_size=16),
            brush=gr.Brush(default_size=8, colors=["#0f0f14", "#fdfaee", "#dc2626"], default_color="#0f0f14"),
        )


def advanced() -> Controls:
    return {
        "x": gr.Slider(0, 1, PLACE["x"], step=0.02, label="Label, from left to right"),
        "y": gr.Slider(0, 1, PLACE["y"], step=0.02, label="Label, from top to bottom"),
        "size": gr.Slider(0.2, 1, PLACE["size"], step=0.02, label="Label's width"),
        "labels": gr.Textbox(
            LABELS,
            label="Other labels, with commas",
            max_length=500,
            info="CLIP chooses between these labels, the picture's own and the word.",
        ),
        "count": controls.count(3, 6, "Variations"),
        "seed": controls.seed("Seed of the first variation"),
        "steps": controls.steps(12),
        "guidance": controls.guidance(1.5),
    }


def preview(picture: InputImage) -> Image.Image:
    """Draw the picture with its label, or without one if the label can't be read at the model's image size."""
    try:
        return labelled(picture, WORDS[0], **PLACE)
    except UserError:
        return images.square(picture.picture, PREVIEW_SIDE)


def labelled(picture: InputImage, word: str, *, x: float, y: float, size: float) -> Image.Image:
    """Draw the picture with its label at the preview's size.

    Raises:
        UserError: the label can't be read at the model's image size, or leaves the picture.
    """
    label, lab = typography.Label(word, x=x, y=y, size=size), model_cache.loaded_lab(model_cache.DEFAULT_MODEL)
    if lab:
        typography.paste(torch.zeros(1, 3, lab.image_size, lab.image_size), label)
    return images.to_pil(typography.paste(images.to_tensor(images.square(picture.picture, PREVIEW_SIDE)), label))[0]


def connect(picker: Picker, controls_by_name: Controls, buttons: RunButtons) -> None:
    """Show the label before the run, and move it to where the picture is clicked."""
    _, x_slider, y_slider, size_slider = label = [controls_by_name[name] for name in ("word", "x", "y", "size")]

    def show(picture: InputImage, word: str, x: float, y: float, size: float) -> str:
        try:
            return file(labelled(picture, word, x=x, y=y, size=size))
        except UserError:  # the run says why
            return file(images.square(picture.picture, PREVIEW_SIDE))

    def background(picture: InputImage) -> dict[str, object]:
        return {"background": file(images.square(picture.picture, PREVIEW_SIDE)), "layers": [], "composite": None}

    def place(size: float, click: gr.SelectData) -> list[float]:
        """Return the centre that is closest to the click and keeps the label inside the picture."""
        return [
            round(min(max(pixel / PREVIEW_SIDE, side / 2 + 0.01), 0.99 - side / 2), 2)
            for pixel, side in zip(click.index, (size, size * typography.HEIGHT))
        ]

    latest: EventOptions = {**QUIET, "trigger_mode": "always_last"}
    # The line that names the picture changes with each picture; a change of the state would pass without an event.
    chosen = picker.selection.change
    texts = [c.change for c in label if isinstance(c, gr.Textbox | gr.Slider)]
    gr.on([chosen, *texts], show, [picker.state, *label], picker.preview, **latest)
    chosen(background, picker.state, controls_by_name["sketch"], **QUIET)
    picker.preview.select(place, size_slider, [x_slider, y_slider], **QUIET)


def extras() -> Controls:
    return {"probabilities": gr.HTML(padding=False, visible=False, elem_classes="result")}


def thing(caption: str) -> str:
    """Remove style and background from a caption: `a classic fox on a red background` -> `a fox`."""
    return without_background(caption).replace(" classic ", " ")


def drawing(sketch: dict[str, Any] | None) -> Image.Image | None:
    """Return the drawing on its transparent background, or None if it is empty."""
    layer = next(iter((sketch or {}).get("layers") or ()), None)
    return layer if layer is not None and layer.convert("RGBA").getchannel("A").getbbox() else None


def run(
    model: str,
    picture: InputImage,
    word: str,
    truth: str,
    x: float,
    y: float,
    size: float,
    labels: str,
    count: float,
    seed: int,
    steps: float,
    guidance: float,
    sketch: dict[str, Any] | None = None,
) -> PageRun:
    if not truth.strip():
        raise UserError("the picture's own label is empty: write what the picture shows, like “a red apple”")
    lab = yield from model_cache.load_with_progress(model)
    names = list(dict.fromkeys([truth.strip(), *(label.strip() for label in labels.split(",") if label.strip())]))
    layer = drawing(sketch)
    if layer is not None:
        return (yield from _run_drawing(model, picture, layer, word, names, int(steps), seed))
    result = yield from run_experiment(
        model,
        experiments.attack,
        picture.pixels(lab, "model"),
        [word.strip()],
        truth.strip(),
        labels=names,
        label=typography.Label(word, x=x, y=y, size=size),
        variations=int(count),
        seed=seed,
        steps=int(steps),
        guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )
    return _attack_result(result, word)


def _attack_result(result: experiments.TypographicAttackResult, word: str) -> PageResult:
    side, count = result.variations.shape[-1], result.variations.shape[2]
    clean, attacked = (images.resize(pixels.cpu(), side) for pixels in (result.original, result.pixels[:, 0]))
    probabilities = {"clean": result.before[0], f"wearing “{word}”": result.attacked[0, 0]}
    titles = [*probabilities, *(f"drawn from what CLIP saw · {k + 1}" for k in range(count))]
    if count:
        probabilities["drawn from what CLIP saw, on average"] = result.after[0, 0].mean(0)
    pictures = output_images(
        torch.cat([clean, attacked, result.variations[0, 0].cpu()]),
        titles,
        latents=[None, None, *(latent_row(result.latent, k) for k in range(count) if result.latent is not None)],
    )
    bars = {name: _top(values, result.labels) for name, values in probabilities.items()}
    before, after = (result.labels[int(p.argmax())] for p in (result.before[0], result.attacked[0, 0]))
    drawn = [result.labels[k] for k in result.after[0, 0].argmax(-1).tolist()] if count else []
    summary = sentences.attacked(before, after, result.truth[0], drawn)
    return PageResult(result, pictures, {"probabilities": markup.probability_bars(bars)}, summary=summary)


def _top(probabilities: Tensor, labels: Sequence[str]) -> list[tuple[str, float]]:
    best = probabilities.topk(min(5, len(labels)))
    return [(labels[k], value) for value, k in zip(best.values.tolist(), best.indices.tolist())]


def _run_drawing(
    model: str, picture: InputImage, layer: Image.Image, word: str, names: list[str], steps: int, seed: int
) -> PageRun:
    """Attack with the visitor's own drawing: decode from its z_i, and classify all three pictures."""
    clean = picture.pixels(model_cache.get(model), "model")
    attacked = typography.overlay(clean, layer)
    if word.strip():
        names = list(dict.fromkeys([*names, article(word.strip())]))
    reconstruction = yield from run_experiment(
        model, experiments.reconstruct, attacked, steps=steps, seed=seed, preview_every=PREVIEW_EVERY
    )
    pixels = [clean, attacked, reconstruction.large_from_z_i.cpu()]
    small = torch.cat([images.resize(p, clean.shape[-1]) for p in pixels])
    result = yield from run_experiment(model, experiments.classify, small, names)
    titles = ["clean", "with your drawing", "decoded from its z_i, another x_T"]
    top = [result.top(k) for k in range(len(titles))]
    clean_label, attacked_label, decoded_label = (f"“{label}” ({share:.0%})" for (label, share), *_ in top)
    summary = (
        f"CLIP's first label is {clean_label} for the clean picture, {attacked_label} with your drawing, and "
        f"{decoded_label} for the picture decoded from its z_i."
    )
    large = torch.cat([images.resize(p, reconstruction.large.shape[-1]) for p in pixels])
    return PageResult(
        result,
        output_images(large, titles),
        {"probabilities": markup.probability_bars(dict(zip(titles, top)))},
        summary=summary,
    )


PAGE = Page(
    "attack",
    "Typographic attack",
    "A word on a paper label can change what CLIP thinks that a picture shows. Compare its answers with and without "
    "the label, and look at what the model draws from what CLIP saw.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("strawberry|apple",),
    filled=("truth",),
    fill=lambda picture: {"truth": thing(picture.caption)},
    columns=5,
    not_in_api=("sketch",),
    preview=preview,
    connect=connect,
    order=70,
)
