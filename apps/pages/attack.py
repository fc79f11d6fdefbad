"""Typographic attack: a word on a picture, and what the decoder still knows."""

from __future__ import annotations

import re

import gradio as gr
import torch

from latentlab import attacks, images
from latentlab.errors import UserError

from ..workbench import knobs, labs, saying
from ..workbench.describing import Outcome, Page
from ..workbench.running import PREVIEW, watched
from ..workbench.shots import shots

LABELS = "a dog, a car, a clock, a house"


def inputs() -> dict:
    return {
        "word": gr.Textbox("pizza", label="Write this word on it", max_length=20),
        "truth": gr.Textbox("a strawberry", label="What the picture shows", max_length=120),
        "x": gr.Slider(0, 1, 0.5, step=0.02, label="Label, from left to right"),
        "y": gr.Slider(0, 1, 0.64, step=0.02, label="Label, from top to bottom"),
        "size": gr.Slider(0.2, 1, 0.7, step=0.02, label="Label's width"),
    }


def advanced() -> dict:
    with gr.Row():
        pad = gr.ImageEditor(
            label="Or draw on it yourself: a drawing takes the label's place", type="pil", height=420,
            canvas_size=(256, 256), sources=(), layers=False, transforms=(), image_mode="RGBA",
            brush=gr.Brush(default_size=10, colors=["#0f0f14", "#fdfaee", "#dc2626"], default_color="#0f0f14"),
        )  # fmt: skip
    return {
        "labels": gr.Textbox(
            LABELS, label="Other labels, with commas", max_length=500,
            info="CLIP chooses between these, the thing and the word.",
        ),
        "count": knobs.count(3, 6, "Variations"), "seed": knobs.seed("Seed of the first variation"),
        "steps": knobs.steps(), "guidance": knobs.guidance(1.5, "Of the way back; 1 is none."), "sketch": pad,
    }  # fmt: skip


def extras() -> dict:
    return {"chances": gr.HTML(padding=False)}


def thing(caption: str) -> str:
    """A caption without its background: `a fox on a red background` -> `a fox`."""
    return re.split(r" on an? | on | and an? ", caption)[0]


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
        return (yield from _drawn(model, picture, drawn, word, names, int(steps), int(seed or 0)))
    result = yield from watched(
        model, "attack", picture.pixels(lab), [word.strip()], truth.strip(), labels=names,
        label=attacks.Label(word, x=x, y=y, size=size), variations=int(count), seed=int(seed or 0), steps=int(steps),
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
    return Outcome(result, shots(pixels, titles), {"chances": saying.chances(bars)})


def _top(p, labels) -> list[tuple[str, float]]:
    best = p.topk(min(5, len(labels)))
    return [(labels[k], v) for v, k in zip(best.values.tolist(), best.indices.tolist())]


def _drawn(model, picture, drawn, word, names, steps, seed):
    """The same with the visitor's own drawing: classified clean and drawn on, and decoded from its z_i."""
    lab = labs.get(model)
    clean = picture.pixels(lab)
    worn = attacks.overlay(clean, drawn)
    if word.strip():
        names = list(dict.fromkeys([*names, f"{'an' if word.strip()[0].lower() in 'aeiou' else 'a'} {word.strip()}"]))
    result = yield from watched(model, "classify", torch.cat([clean, worn]), names)
    back = yield from watched(model, "reconstruct", worn, steps=steps, seed=seed, preview_every=PREVIEW)
    pixels = [images.resize(p.cpu(), back.large.shape[-1]) for p in (clean, worn, back.large_from_z_i)]
    bars = {name: result.top(k) for k, name in enumerate(("clean", "with your drawing"))}
    titles = ["clean", "with your drawing", "decoded from its z_i, another x_T"]
    return Outcome(result, shots(torch.cat(pixels), titles), {"chances": saying.chances(bars)})


PAGE = Page(
    "attack", "Typographic attack",
    "A word on a paper label can outweigh the thing that wears it. Look at what CLIP says before and after, and at "
    "what the decoder draws from the very embedding that was fooled.",
    inputs, run, advanced, extras, pictures=("Picture",), firsts=("strawberry|apple",), caption="truth", worded=thing,
    columns=5, private=("sketch",),
)  # fmt: skip
