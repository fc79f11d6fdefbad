"""Variations: a picture's two latents, decoded with fresh noise."""

from __future__ import annotations

import gradio as gr
import torch

from ... import experiments
from ...io import images
from .. import controls, model_cache
from ..events import Controls
from ..outputs import InputImage, KnownLatents, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, invert_images, run_experiment


def inputs() -> Controls:
    return {
        "eta": gr.Slider(
            0,
            1,
            1,
            step=0.05,
            label="η, fresh noise",
            info="0 reconstructs the picture; 1 keeps only z_i. A row between them has half this η. Moving the "
            "slider after a run decodes again, without another inversion.",
        ),
        "count": controls.count(4),
    }


def advanced() -> Controls:
    return {
        "seed": controls.seed("Seed of the first variation"),
        "steps": controls.steps(),
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
    # At η = 0 every seed gives the same picture, the reconstruction, so one is enough.
    tiles, titles = [result.pixels[0, :1].cpu()], ["η 0: the reconstruction"]
    for k, row_eta in enumerate(etas[1:], 1):
        # The reconstruction begins the first row of the gallery, the original every other one.
        first_column = [original] if k > 1 else []
        tiles += [*first_column, result.pixels[k].cpu()]
        titles += [*["the original"] * len(first_column), *(f"η {row_eta:g} · seed {s}" for s in result.seeds)]
    reconstruction: list[KnownLatents | None] = [None]
    if guidance == 1:
        lab = model_cache.get(model)
        reconstruction = [*known_latents(inversion.bipartite, result.pixels[0, :1], lab, inversion.steps)]
    pictures = output_images(
        torch.cat(tiles),
        titles,
        captions=[picture.caption] * len(titles),
        known_latents=[*reconstruction, *[None] * (len(titles) - 1)],
    )
    return PageResult(result, pictures, columns=int(count) + 1)


PAGE = Page(
    key="variations",
    title="Variations",
    description="The picture's z_i is decoded with fresh noise. z_i does not fix what changes between the pictures. "
    "What stays the same can come from z_i, from the part of x_T that is kept where η is below 1, or from the decoder.",
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
