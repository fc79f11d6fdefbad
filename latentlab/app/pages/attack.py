"""Typographic attack: a word on a picture, and what the decoder still knows."""

from __future__ import annotations

import gradio as gr
import torch
from PIL import Image

from ... import typography
from ...errors import UserError
from ...grammar import article
from ...io import images
from ...paper.inputs import thing as without_background
from .. import controls, labs, markup
from ..buttons import QUIET
from ..outputs import Chosen, file, kept, shots
from ..page import Outcome, Page
from ..picker import says
from ..running import PREVIEW, watched

LABELS = "a dog, a car, a clock, a house"
SHOWN, PLACE = 256, {"x": 0.5, "y": 0.64, "size": 0.9}
WORDS = ("candy", "castle", "bicycle", "pizza")  # some win over the strawberry, and some don't


def inputs() -> dict:
    word = gr.Textbox(WORDS[0], label="Write this word on it", max_length=20, info="Click on the picture to move the "
                      "label there.")  # fmt: skip
    gr.Examples([[w] for w in WORDS], word, label="Words to try", example_labels=list(WORDS))
    return {
        "word": word, "truth": gr.Textbox("a strawberry", label="What the picture shows", max_length=120),
        "sketch": sketch_pad(),
    }  # fmt: skip


def sketch_pad() -> gr.ImageEditor:
    with gr.Accordion("Draw on it instead: a drawing takes the label's place", open=False):
        return gr.ImageEditor(
            label="Your drawing", show_label=False, type="pil", height=380, canvas_size=(SHOWN, SHOWN), sources=(),
            layers=False, transforms=(), image_mode="RGBA", eraser=gr.Eraser(default_size=16),
            brush=gr.Brush(default_size=8, colors=["#0f0f14", "#fdfaee", "#dc2626"], default_color="#0f0f14"),
        )  # fmt: skip


def advanced() -> dict:
    return {
        "x": gr.Slider(0, 1, PLACE["x"], step=0.02, label="Label, from left to right"),
        "y": gr.Slider(0, 1, PLACE["y"], step=0.02, label="Label, from top to bottom"),
        "size": gr.Slider(0.2, 1, PLACE["size"], step=0.02, label="Label's width"),
        "labels": gr.Textbox(
            LABELS, label="Other labels, with commas", max_length=500,
            info="CLIP chooses between these, the thing and the word.",
        ),
        "count": controls.count(3, 6, "Variations"), "seed": controls.seed("Seed of the first variation"),
        "steps": controls.steps(), "guidance": controls.guidance(1.5, "Of the way back; 1 is none."),
    }  # fmt: skip


def dressed(picture: Chosen) -> Image.Image:
    """The picture as the page first shows it: with its label, or plain where the model is too small for that."""
    try:
        return labelled(picture, WORDS[0], **PLACE)
    except UserError:
        return images.square(picture.picture, SHOWN)


def labelled(picture: Chosen, word: str, **place) -> Image.Image:
    """The picture with its label, large enough to see; the label as the decoder's own pixels allow it.

    Raises:
        UserError: the label can't be read there, or leaves the picture.
    """
    label, lab = typography.Label(word, **place), labs.loaded(labs.DEFAULT)
    if lab:
        typography.paste(torch.zeros(1, 3, lab.image_size, lab.image_size), label)
    return images.to_pil(typography.paste(images.to_tensor(images.square(picture.picture, SHOWN)), label))[0]


def wire(picker, told: dict) -> None:
    """The label is seen before the run, and a click on the picture moves it."""
    label = [told[name] for name in ("word", "x", "y", "size")]

    def show(picture, word, x, y, size):
        try:
            return file(labelled(picture, word, x=x, y=y, size=size)), says(picker.label, picture)
        except UserError as error:
            return file(images.square(picture.picture, SHOWN)), markup.sentence(markup.whole(error), "wrong")

    def ground(picture):
        return {"background": file(images.square(picture.picture, SHOWN)), "layers": [], "composite": None}

    def place(size: float, at: gr.SelectData):
        high = size * typography.HEIGHT
        return [
            round(min(max(a / SHOWN, half / 2 + 0.01), 0.99 - half / 2), 2) for a, half in zip(at.index, (size, high))
        ]

    seen = {"outputs": [picker.preview, picker.says], "trigger_mode": "always_last", **QUIET}
    gr.on([picker.state.change, *(c.change for c in label)], show, [picker.state, *label], **seen)
    picker.state.change(ground, picker.state, told["sketch"], **QUIET)
    picker.preview.select(place, told["size"], [told["x"], told["y"]], **QUIET)


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
    lab = yield from labs.obtain(model)
    names = list(dict.fromkeys([truth.strip(), *(x.strip() for x in labels.split(",") if x.strip())]))
    drawn = drawing(sketch)
    if drawn is not None:
        return (yield from _drawn(model, picture, drawn, word, names, int(steps), seed))
    result = yield from watched(
        model, "attack", picture.pixels(lab), [word.strip()], truth.strip(), labels=names,
        label=typography.Label(word, x=x, y=y, size=size), variations=int(count), seed=seed, steps=int(steps),
        guidance=guidance, preview_every=PREVIEW,
    )  # fmt: skip
    side = result.variations.shape[-1]
    clean, worn = (images.resize(p.cpu(), side) for p in (result.original, result.pixels[:, 0]))
    pixels = torch.cat([clean, worn, result.variations[0, 0].cpu()])
    titles = ["clean", f"wearing “{word}”", *(f"decoded from its z_i · x_T {k + 1}" for k in range(int(count)))]
    chances = {"clean": result.before[0], f"wearing “{word}”": result.attacked[0, 0]}
    if int(count):
        chances["decoded, on average"] = result.after[0, 0].mean(0)
    bars = {name: _top(p, result.labels) for name, p in chances.items()}
    latents = [None, None, *(kept(result.latent, k) for k in range(len(titles) - 2))]
    return Outcome(result, shots(pixels, titles, latents=latents), {"chances": markup.chances(bars)})


def _top(p, labels) -> list[tuple[str, float]]:
    best = p.topk(min(5, len(labels)))
    return [(labels[k], v) for v, k in zip(best.values.tolist(), best.indices.tolist())]


def _drawn(model, picture, drawn, word, names, steps, seed):
    """The same with the visitor's own drawing: decoded from its z_i, and all three classified."""
    lab = labs.get(model)
    clean = picture.pixels(lab)
    worn = typography.overlay(clean, drawn)
    if word.strip():
        names = list(dict.fromkeys([*names, article(word.strip())]))
    back = yield from watched(model, "reconstruct", worn, steps=steps, seed=seed, preview_every=PREVIEW)
    pixels = [clean, worn, back.large_from_z_i.cpu()]
    seen = torch.cat([images.resize(p, clean.shape[-1]) for p in pixels])
    result = yield from watched(model, "classify", seen, names)
    titles = ["clean", "with your drawing", "decoded from its z_i, another x_T"]
    top = [result.top(k) for k in range(len(titles))]
    bare, worn, again = (f"“{label}” ({p:.0%})" for (label, p), *_ in top)
    said = (
        f"CLIP takes {bare} for the clean picture, {worn} with your drawing, and {again} for what is decoded from it."
    )
    large = torch.cat([images.resize(p, back.large.shape[-1]) for p in pixels])
    return Outcome(result, shots(large, titles), {"chances": markup.chances(dict(zip(titles, top)))}, said=said)


PAGE = Page(
    "attack", "Typographic attack",
    "A word on a paper label can outweigh the thing that wears it. Look at what CLIP says before and after, and at "
    "what the decoder draws from the very embedding that was fooled.",
    inputs, run, advanced, extras, pictures=("Picture",), firsts=("strawberry|apple",), caption="truth", worded=thing,
    columns=5, private=("sketch",), dress=dressed, wire=wire,
)  # fmt: skip
