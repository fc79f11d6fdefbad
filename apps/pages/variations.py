"""Variations: the same two latents, walked down with fresh noise."""

from __future__ import annotations

import gradio as gr
import torch

from ..workbench import knobs, labs
from ..workbench.describing import Outcome, Page
from ..workbench.running import PREVIEW, inverted, watched
from ..workbench.shots import knows, shots


def inputs() -> dict:
    return {
        "eta": gr.Slider(
            0, 1, 1, step=0.05, label="η, fresh noise", info="0 reconstructs; 1 keeps only what z_i says. Moving it "
            "after a run decodes again, without inverting."
        ),
        "count": knobs.count(4),
    }  # fmt: skip


def advanced() -> dict:
    return {
        "seed": knobs.seed("Seed of the first variation"),
        "steps": knobs.steps(),
        "guidance": knobs.back_guidance(),
    }


def run(model, picture, eta, count, seed, steps, guidance):
    found = yield from inverted(model, [picture], steps=int(steps))
    etas = tuple(dict.fromkeys((0.0, round(eta / 2, 3), eta)))
    varied = yield from watched(
        model, "vary", found, etas=etas, seeds=knobs.seeds(seed, count), steps=int(steps), guidance=guidance,
        preview_every=PREVIEW,
    )  # fmt: skip
    # At η = 0 every seed gives the same picture: one is enough, and it is the reconstruction.
    rows = [(0.0, None, varied.pixels[0, 0])]
    rows += [(e, s, varied.pixels[k, j]) for k, e in enumerate(etas) if e for j, s in enumerate(varied.seeds)]
    titles = ["η 0, the picture itself" if s is None else f"η {e:g} · seed {s}" for e, s, _ in rows]
    known = [None] * len(rows)
    if guidance == 1:
        known[:1] = knows(found.latent, varied.pixels[0, :1], labs.get(model), found.steps)
    pixels = torch.stack([p.cpu() for _, _, p in rows])
    made = shots(pixels, titles, captions=[picture.caption] * len(rows), known=known)
    return Outcome(varied, made)


PAGE = Page(
    "variations", "Variations",
    "The picture's own z_i, decoded with fresh noise. What all variations share is what CLIP saw; what changes is "
    "what only x_T knew.",
    inputs, run, advanced, pictures=("Picture",), firsts=("taxi|bus",), live=("eta",), columns=4,
)  # fmt: skip
