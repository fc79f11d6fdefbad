"""Variations: the same two latents, walked down with fresh noise."""

from __future__ import annotations

import gradio as gr
import torch

from ...io import images
from .. import controls, model_cache
from ..outputs import known_latents, output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, invert_images, run_experiment


def inputs() -> dict:
    return {
        "eta": gr.Slider(
            0, 1, 1, step=0.05, label="η, fresh noise", info="0 reconstructs; 1 keeps only what z_i says. Moving it "
            "after a run decodes again, without inverting."
        ),
        "count": controls.count(4),
    }  # fmt: skip


def advanced() -> dict:
    return {
        "seed": controls.seed("Seed of the first variation"),
        "steps": controls.steps(),
        "guidance": controls.back_guidance(),
    }


def run(model, picture, eta, count, seed, steps, guidance):
    inversion = yield from invert_images(model, [picture], steps=int(steps))
    etas = tuple(dict.fromkeys((0.0, round(eta / 2, 3), eta)))
    varied = yield from run_experiment(
        model, "vary", inversion, etas=etas, seeds=controls.seeds(seed, count), steps=int(steps), guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )  # fmt: skip
    original = images.resize(inversion.original.cpu(), varied.pixels.shape[-1])
    # At η = 0 every seed gives the same picture: one is enough, and it is the reconstruction.
    rows, titles = [varied.pixels[0, :1].cpu()], ["η 0: it comes back"]
    for k, eta in enumerate(etas[1:], 1):
        first = [original] if k > 1 else []
        rows += [*first, varied.pixels[k].cpu()]
        titles += [*["the original"] * len(first), *(f"η {eta:g} · seed {s}" for s in varied.seeds)]
    known = [None] * len(titles)
    if guidance == 1:
        known[:1] = known_latents(inversion.latent, varied.pixels[0, :1], model_cache.get(model), inversion.steps)
    pictures = output_images(torch.cat(rows), titles, captions=[picture.caption] * len(titles), known_latents=known)
    return PageResult(varied, pictures, columns=int(count) + 1)


PAGE = Page(
    "variations",
    "Variations",
    "The picture's own z_i, decoded with fresh noise. What all variations share is what CLIP saw; what changes is "
    "what only x_T knew.",
    inputs,
    run,
    advanced,
    pictures=("Picture",),
    initial_examples=("taxi|bus",),
    rerun_controls=("eta",),
    columns=5,
    rows=True,
)
