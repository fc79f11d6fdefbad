"""Typographic attack: a word on a picture, and what the decoder still known_latents."""

from __future__ import annotations

import gradio as gr
import torch
from PIL import Image

from ... import typography
from ...errors import UserError
from ...grammar import article
from ...io import images
from ...paper.inputs import thing as without_background
from .. import controls, markup, model_cache
from ..buttons import QUIET
from ..outputs import InputImage, file, latent_row, output_images
from ..page import Page, PageResult
from ..picker import selection_line
from ..running import PREVIEW_EVERY, run_experiment

LABELS = "a dog, a car, a clock, a house"
SHOWN, PLACE = 256, {"x": 0.5, "y": 0.64, "size": 0.9}
WORDS = ("candy", "castle", "bicycle", "pizza")  # some win over the strawberry, and some don't


def inputs() -> dict:
    word = gr.Textbox(
        WORDS[0], label="Write this word on it", max_length=20, info="Click on the picture to move the label there."
    )
    gr.Examples([[w] for w in WORDS], word, label="Words to try", example_labels=list(WORDS))
    return {
        "word": word,
        "truth": gr.Textbox("a strawberry", label="What the picture shows", max_length=120),
        "sketch": sketch_pad(),
    }


def sketch_pad() -> gr.ImageEditor:
    with gr.Accordion("Draw on it instead: a drawing takes the label's place", open=False):
        return gr.ImageEditor(
            label="Your drawing",
            show_label=False,
            type="pil",
            height=380,
            canvas_size=(SHOWN, SHOWN),
            sources=(),
            layers=False,
            transforms=(),
            image_mode="RGBA",
            eraser=gr.Eraser(default_size=16),
            brush=gr.Brush(default_size=8, colors=["#0f0f14", "#fdfaee", "#dc2626"], default_color="#0f0f14"),
        )


def advanced() -> dict:
    return {
        "x": gr.Slider(0, 1, PLACE["x"], step=0.02, label="Label, from left to right"),
        "y": gr.Slider(0, 1, PLACE["y"], step=0.02, label="Label, from top to bottom"),
        "size": gr.Slider(0.2, 1, PLACE["size"], step=0.02, label="Label's width"),
        "labels": gr.Textbox(
            LABELS,
            label="Other labels, with commas",
            max_length=500,
            info="CLIP chooses between these, the thing and the word.",
        ),
        "count": controls.count(3, 6, "Variations"),
        "seed": controls.seed("Seed of the first variation"),
        "steps": controls.steps(),
        "guidance": controls.guidance(1.5),
    }


def preview(picture: InputImage) -> Image.Image:
    """The picture as the page first shows it: with its label, or plain where the model is too small for that."""
    try:
        return labelled(picture, WORDS[0], **PLACE)
    except UserError:
        return images.square(picture.picture, SHOWN)


def labelled(picture: InputImage, word: str, **place) -> Image.Image:
    """The picture with its label, large enough to see; the label as the decoder's own pixels allow it.

    Raises:
        UserError: the label can't be read there, or leaves the picture.
    """
    label, lab = typography.Label(word, **place), model_cache.loaded_lab(model_cache.DEFAULT_MODEL)
    if lab:
        typography.paste(torch.zeros(1, 3, lab.image_size, lab.image_size), label)
    return images.to_pil(typography.paste(images.to_tensor(images.square(picture.picture, SHOWN)), label))[0]


def connect(picker, controls_by_name: dict) -> None:
    """The label is shown before the run, and a click on the picture moves it."""
    label = [controls_by_name[name] for name in ("word", "x", "y", "size")]

    def show(picture, word, x, y, size):
        try:
            return file(labelled(picture, word, x=x, y=y, size=size)), selection_line(picker.label, picture)
        except UserError as error:
            return file(images.square(picture.picture, SHOWN)), markup.message(markup.error_sentence(error), "wrong")

    def ground(picture):
        return {"background": file(images.square(picture.picture, SHOWN)), "layers": [], "composite": None}

    def place(size: float, at: gr.SelectData):
        high = size * typography.HEIGHT
        return [
            round(min(max(a / SHOWN, half / 2 + 0.01), 0.99 - half / 2), 2) for a, half in zip(at.index, (size, high))
        ]

    event = {"outputs": [picker.preview, picker.selection], "trigger_mode": "always_last", **QUIET}
    gr.on([picker.state.change, *(c.change for c in label)], show, [picker.state, *label], **event)
    picker.state.change(ground, picker.state, controls_by_name["sketch"], **QUIET)
    picker.preview.select(place, controls_by_name["size"], [controls_by_name["x"], controls_by_name["y"]], **QUIET)


def extras() -> dict:
    return {"chances": gr.HTML(padding=False, visible=False, elem_classes="result")}


def thing(caption: str) -> str:
    """A caption without style and background: `a classic fox on a red background` -> `a fox`."""
    return without_background(caption).replace(" classic ", " ")


def drawing(sketch) -> object | None:
    """What was drawn, on a transparent ground; None if nothing was."""
    layer = next(iter((sketch or {}).get("layers") or ()), None)
    return layer if layer is not None and layer.convert("RGBA").getchannel("A").getbbox() else None


def run(model, picture, word, truth, x, y, size, labels, count, seed, steps, guidance, sketch=None):
    if not truth.strip():
        raise UserError("say what the picture shows, like “a red apple”, so that the attack has something to beat")
    lab = yield from model_cache.load_with_progress(model)
    names = list(dict.fromkeys([truth.strip(), *(x.strip() for x in labels.split(",") if x.strip())]))
    layer = drawing(sketch)
    if layer is not None:
        return (yield from _run_drawing(model, picture, layer, word, names, int(steps), seed))
    result = yield from run_experiment(
        model,
        "attack",
        picture.pixels(lab),
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
    side = result.variations.shape[-1]
    clean, labelled_pixels = (images.resize(p.cpu(), side) for p in (result.original, result.pixels[:, 0]))
    pixels = torch.cat([clean, labelled_pixels, result.variations[0, 0].cpu()])
    titles = ["clean", f"wearing “{word}”", *(f"decoded from its z_i · x_T {k + 1}" for k in range(int(count)))]
    chances = {"clean": result.before[0], f"wearing “{word}”": result.attacked[0, 0]}
    if int(count):
        chances["decoded, on average"] = result.after[0, 0].mean(0)
    bars = {name: _top(p, result.labels) for name, p in chances.items()}
    latents = [None, None, *(latent_row(result.latent, k) for k in range(len(titles) - 2))]
    return PageResult(
        result, output_images(pixels, titles, latents=latents), {"chances": markup.probability_bars(bars)}
    )


def _top(p, labels) -> list[tuple[str, float]]:
    best = p.topk(min(5, len(labels)))
    return [(labels[k], v) for v, k in zip(best.values.tolist(), best.indices.tolist())]


def _run_drawing(model, picture, layer, word, names, steps, seed):
    """The same with the visitor's own drawing: decoded from its z_i, and all three classified."""
    lab = model_cache.get(model)
    clean = picture.pixels(lab)
    labelled_pixels = typography.overlay(clean, layer)
    if word.strip():
        names = list(dict.fromkeys([*names, article(word.strip())]))
    back = yield from run_experiment(
        model, "reconstruct", labelled_pixels, steps=steps, seed=seed, preview_every=PREVIEW_EVERY
    )
    pixels = [clean, labelled_pixels, back.large_from_z_i.cpu()]
    small = torch.cat([images.resize(p, clean.shape[-1]) for p in pixels])
    result = yield from run_experiment(model, "classify", small, names)
    titles = ["clean", "with your drawing", "decoded from its z_i, another x_T"]
    top = [result.top(k) for k in range(len(titles))]
    clean_label, drawing_label, decoded_label = (f"“{label}” ({p:.0%})" for (label, p), *_ in top)
    summary = (
        f"CLIP reads {clean_label} for the clean picture, {drawing_label} with your drawing, and {decoded_label} for "
        "the picture decoded from its z_i."
    )
    large = torch.cat([images.resize(p, back.large.shape[-1]) for p in pixels])
    return PageResult(
        result,
        output_images(large, titles),
        {"chances": markup.probability_bars(dict(zip(titles, top)))},
        summary=summary,
    )


PAGE = Page(
    "attack",
    "Typographic attack",
    "A word on a paper label can outweigh the thing that wears it. Look at what CLIP says before and after, and at "
    "what the decoder draws from the very embedding that was fooled.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("strawberry|apple",),
    caption="truth",
    caption_from_example=thing,
    columns=5,
    not_in_api=("sketch",),
    preview=preview,
    connect=connect,
)
