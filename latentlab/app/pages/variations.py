"""Variations: a picture's two latents, decoded with fresh noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr
import torch
from torch import Tensor

from ... import experiments
from ...io import images
from .. import controls, model_cache, running, sentences
from ..events import Controls
from ..outputs import InputImage, KnownLatents, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, invert_images, run_experiment

if TYPE_CHECKING:
    from ...experiments import VariationResult


def inputs() -> Controls:
    return {
        "eta": gr.Slider(
            0,
            1,
            1,
            step=0.05,
            label="New noise",
            info="0 draws the picture again; 1 keeps only what CLIP saw. A row between them has half as much (η).",
        ),
        "count": controls.count(4),
    }


def advanced() -> Controls:
    return {
        "seed": controls.seed("Seed of the first variation"),
        "steps": controls.steps(12),
        "guidance": controls.back_guidance(),
    }


def run(model: str, picture: InputImage, eta: float, count: float, seed: int, steps: float, guidance: float) -> PageRun:
    inversion = yield from invert_images(model, [picture], steps=int(steps))
    etas = tuple(dict.fromkeys((0.0, round(eta / 2, 3), eta)))
    result = yield from run_experiment(
        model,
        experiments.vary,
        inversion,
        etas=etas,
        seeds=controls.seeds(seed, count),
        steps=int(steps),
        guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )
    original = images.resize(inversion.original.cpu(), result.pixels.shape[-1])
    tiles, titles = _gallery(result, original)
    reconstruction: list[KnownLatents | None] = [None]
    if guidance == 1:
        lab = model_cache.get(model)
        reconstruction = [*known_latents(inversion.bipartite, result.pixels[0, :1], lab, inversion.steps)]
    captions, latents = [picture.caption] * len(titles), [*reconstruction, *[None] * (len(titles) - 1)]
    pictures = output_images(tiles, titles, captions=captions, known_latents=latents)
    labels = running.top_labels(model, torch.cat([original, result.pixels[-1].cpu()]))
    return PageResult(result, pictures, columns=int(count) + 1, summary=sentences.varied(labels[0], labels[1:], eta))


def _gallery(result: VariationResult, original: Tensor) -> tuple[Tensor, list[str]]:
    """The tiles of the gallery, a row for each η above 0, and their titles.

    At η = 0 every seed gives the same picture, so one reconstruction is enough: it begins the first row, and the
    original every other one.
    """
    tiles, titles = [result.pixels[0, :1].cpu()], ["without new noise"]
    for k, eta in enumerate(result.etas[1:], 1):
        if k > 1:
            tiles, titles = [*tiles, original], [*titles, "the original"]
        tiles.append(result.pixels[k].cpu())
        titles += [f"{eta:.0%} new noise · seed {seed}" for seed in result.seeds]
    return torch.cat(tiles), titles


PAGE = Page(
    key="variations",
    title="Variations",
    description="The model draws what CLIP sees in the picture again, from new noise. Look for what changes: CLIP did "
    "not fix it. What stays can come from what CLIP saw, from the noise that is kept, or from the model's habits.",
    controls=inputs,
    run=run,
    advanced=advanced,
    pictures=("Picture",),
    initial_examples=("taxi|bus",),
    rerun_controls=("eta",),
    columns=5,
    rows=True,
    order=30,
)
