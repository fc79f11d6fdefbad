"""CLIP alone: zero-shot classification, and the similarity of pictures and captions."""

from __future__ import annotations

import gradio as gr
import torch

from ... import experiments
from ...clip import TEMPLATES
from .. import markup, model_cache
from ..events import Controls
from ..outputs import InputImage
from ..page import Page, PageResult, PageRun
from ..picker import load_examples
from ..running import run_experiment

TASKS = [("Zero-shot: which label?", "classify"), ("Similarity: pictures and captions", "compare")]
OTHERS, MORE = 7, 8  # the largest numbers of examples and of captions beside the visitor's picture


def inputs() -> Controls:
    return {
        "task": gr.Radio(TASKS, value="classify", label="What to ask"),
        "labels": gr.Textbox(
            "",
            label="Your own labels, with commas",
            placeholder="all things that the model knows",
            max_length=1500,
            lines=2,
            info="CLIP chooses one of these labels for the picture. Similarity compares your picture and seven "
            "examples with their own captions and these labels.",
        ),
    }


def advanced() -> Controls:
    return {
        "ensemble": gr.Checkbox(
            True,
            label="Average over five sentences with each label",
            info="Zero-shot embeds each label in sentences like “a picture of …” and averages their embeddings.",
        )
    }


def extras() -> Controls:
    return {"answer": gr.HTML(padding=False, visible=False, elem_classes="result")}


def run(model: str, picture: InputImage, task: str, labels: str, ensemble: bool) -> PageRun:
    names = list(dict.fromkeys(label.strip() for label in labels.split(",") if label.strip()))[:60]
    if task == "compare":
        return (yield from _compare(model, picture, names))
    lab = yield from model_cache.load_with_progress(model)
    pixels, templates = picture.pixels(lab, "model"), TEMPLATES if ensemble else ("{}",)
    names = names or [*model_cache.labels(lab)]
    result = yield from run_experiment(model, experiments.classify, pixels, names, templates=templates)
    return PageResult(result, extras={"answer": markup.probability_bars({picture.name: result.top(0, 8)})})


def _compare(model: str, picture: InputImage, labels: list[str]) -> PageRun:
    """Compare the picture and some examples with their own captions and the labels."""
    lab = yield from model_cache.load_with_progress(model)
    caption = picture.caption or picture.name
    # The caption may appear only once: the experiment pairs pictures and captions by their order.
    others = [example for example in load_examples() if example.caption != caption][:OTHERS]
    pixels = torch.cat([image.pixels(lab, "model") for image in (picture, *others)])
    captions = [caption, *(example.caption for example in others)]
    further = [label for label in labels if label not in captions]
    result = yield from run_experiment(model, experiments.compare, pixels, [*captions, *further[:MORE]])
    figures = markup.similarity_table(result.pixels, result.captions, result.similarity) + markup.figure_html(
        result.gap_figure(), "Pictures and captions on the plane of their first two principal components"
    )
    notes = [f"the plane shows two directions of {result.z_i.shape[1]}, and the gap is measured in all of them"]
    if further[MORE:]:
        notes += [f"at most {MORE} labels are compared; these were left out: {', '.join(further[MORE:])}"]
    own = (result.similarity[:, : len(captions)].argmax(1).cpu() == torch.arange(len(captions))).sum().item()
    summary = f"CLIP finds the right caption for {own} of {len(captions)} pictures."
    return PageResult(result, extras={"answer": figures}, notes=tuple(notes), summary=summary)


PAGE = Page(
    "clip",
    "CLIP",
    "CLIP says what a picture shows, or how well captions fit it; nothing is drawn. Try your own picture, and labels "
    "that almost fit: look for what CLIP confuses.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("a mouse",),
    gallery=False,
    order=100,
)
