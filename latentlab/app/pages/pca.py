"""PCA: pictures from the first components of z_i, and walks along one of them."""

from __future__ import annotations

import gradio as gr
import torch

from ... import models
from ...analysis.pca import Directions
from ...diffusion import noise
from ...experiments.truncation import default_dims
from ...io import images
from ...latents import Latent
from .. import controls, markup, model_cache, running
from ..outputs import KnownLatents, known_latents, output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, invert_images, run_experiment

TASKS = [("Keep only the first components", "truncate"), ("Walk along single components", "walk")]


def inputs() -> dict:
    return {"task": gr.Radio(TASKS, value="truncate", label="What to do")}


def advanced() -> dict:
    return {
        "first": gr.Slider(0, 60, 0, step=1, label="First component of the walk", info="Four are walked, from 0 on."),
        "reach": gr.Slider(1, 6, 3, step=0.5, label="How far to walk", info="In standard deviations of the component."),
        "seed": controls.seed("Seed of x_T", "All numbers of components are decoded from this one noise."),
        "steps": controls.steps(),
    }


def components(model: str, lab) -> tuple[Directions, tuple[str, ...]]:
    """The model's components, or else those of its few sample pictures, with a note that says so."""
    directions = models.directions(model)
    if directions is not None:
        return directions, ()
    gallery = model_cache.gallery(model)
    pixels = torch.cat([images.load(path, lab.image_size) for path, _ in gallery])
    note = (
        f"{model} ships no components yet, so these are of its {len(gallery)} sample pictures only; "
        "the command latentlab pca fit finds those of a folder of many"
    )
    return Directions.fit(running.encode_images(model, pixels)), (note,)


def run(model, picture, task, first, reach, seed, steps):
    inversion = yield from invert_images(model, [picture], steps=int(steps))
    lab = model_cache.get(model)
    axes, notes = components(model, lab)
    if task == "walk":
        return (yield from _walk(model, lab, inversion, axes, notes, int(first), reach))
    dims = default_dims(axes)
    pixels = picture.pixels(lab)
    result = yield from run_experiment(
        model, "truncate", pixels, axes, dims=dims, seed=seed, steps=int(steps), preview_every=PREVIEW_EVERY
    )
    titles = [f"first {k} · {share:.0%}" for k, share in zip(result.dims, result.explained)]
    plot = markup.figure_html(result.curves(), "Variance explained and cosines against the number of components kept")
    x_T = noise(lab.require_decoder(), [result.seed]).expand(len(dims), -1, -1, -1)
    z_i = running.encode_images(model, pixels)  # what CLIP sees: a picture that was made here came from another z_i
    truncated = Latent(torch.cat([axes.reconstruct(z_i, k) for k in dims]), x_T.to(inversion.latent.x_T))
    known = [
        *known_latents(truncated, result.pixels[0], lab, int(steps)),
        KnownLatents(inversion, (lab.name, lab.weights, inversion.steps)),
    ]
    pixels = torch.cat([result.pixels[0], images.resize(inversion.original, result.pixels.shape[-1])])
    return PageResult(
        result, output_images(pixels, [*titles, "the original"], known_latents=known), figures=plot, notes=notes
    )


def _walk(model, lab, inversion, axes, notes, first, reach):
    components = [c for c in range(first, first + 4) if c < len(axes)] or [len(axes) - 1]
    sigmas = (-reach, -reach / 2, 0.0, reach / 2, reach)
    words = [caption for _, caption in model_cache.gallery(model)] if not lab.things else list(lab.things)
    result = yield from run_experiment(
        model, "walk_components", inversion, axes, components=components, sigmas=sigmas, captions=words,
        steps=inversion.steps, preview_every=PREVIEW_EVERY,
    )  # fmt: skip
    titles = [f"component {c} · {s:+g} σ" for c in result.components for s in result.sigmas]
    pixels = result.pixels.flatten(0, 1)
    z_i = torch.cat([axes.traverse(inversion.latent.z_i, c, sigmas) for c in result.components])
    latent = type(inversion.latent)(z_i, inversion.latent.x_T.expand(len(z_i), -1, -1, -1))
    return PageResult(
        result,
        output_images(pixels, titles, known_latents=known_latents(latent, pixels, lab, inversion.steps)),
        notes=notes,
    )


PAGE = Page(
    "pca",
    "PCA",
    "The directions along which most pictures differ, the largest first. Look for how few components bring back the "
    "colour, how many the thing itself; and for what a single one means.",
    inputs,
    run,
    advanced,
    pictures=("Picture",),
    initial_examples=("strawberry|apple",),
    columns=5,
    rows=True,
)
