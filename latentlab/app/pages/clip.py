"""CLIP itself: which label, and how alike pictures and captions are."""

from __future__ import annotations

import gradio as gr
import torch

from ...clip import TEMPLATES
from .. import markup, model_cache
from ..page import Page, PageResult
from ..picker import load_examples
from ..running import run_experiment

TASKS = [("Zero-shot: which label?", "classify"), ("Similarity: pictures and captions", "compare")]
LABELS = "an apple, a strawberry, cherries, a heart, a ball, a frog, a fish, a bus"
OTHERS, MORE = 7, 8


def inputs() -> dict:
    return {
        "task": gr.Radio(TASKS, value="classify", label="What to ask"),
        "labels": gr.Textbox(LABELS, label="Labels, with commas", max_length=1500, lines=2,
                             info="Zero-shot chooses one of these for the picture. Similarity sets your picture beside "
                                  "seven examples, against these captions and the examples' own."),
    }  # fmt: skip


def advanced() -> dict:
    return {
        "ensemble": gr.Checkbox(
            True,
            label="Average over five sentences around each label",
            info="Zero-shot only: “a picture of …”, …",
        )
    }


def extras() -> dict:
    return {"answer": gr.HTML(padding=False, visible=False, elem_classes="result")}


def run(model, picture, task, labels, ensemble):
    names = list(dict.fromkeys(x.strip() for x in labels.split(",") if x.strip()))[:60]
    lab = yield from model_cache.load_with_progress(model)
    if task == "classify":
        templates = TEMPLATES if ensemble else ("{}",)
        result = yield from run_experiment(model, "classify", picture.pixels(lab), names, templates=templates)
        return PageResult(result, extras={"answer": markup.probability_bars({picture.name: result.top(0, 10)})})
    own = picture.caption or picture.name
    others = [c for c in load_examples() if c.caption != own][:OTHERS]  # a caption given twice would part the pairs
    pixels = torch.cat([c.pixels(lab) for c in (picture, *others)])
    captions = [own, *(c.caption for c in others)]
    extra = [x for x in names if x not in captions]
    result = yield from run_experiment(model, "compare", pixels, [*captions, *extra[:MORE]])
    alt = "Cosines of pictures, in rows, with captions, in columns"
    gap = "Pictures and captions on the plane of their first two principal components"
    figures = markup.figure_html(result.figure(), alt) + markup.figure_html(result.gap_figure(), gap)
    left = f"there is room for {MORE} captions beside the pictures' own; not read: {', '.join(extra[MORE:])}"
    plane = f"the plane shows two directions of {result.z_i.shape[1]}, and the gap is measured in all of them"
    notes = (plane, left) if extra[MORE:] else (plane,)
    return PageResult(result, extras={"answer": figures}, notes=notes)


PAGE = Page(
    "clip",
    "CLIP",
    "What CLIP alone makes of a picture: no decoder is run. Try labels that nearly fit; and look at how far pictures "
    "as a whole lie from captions as a whole.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("apple|strawberry",),
    gallery=False,
)
