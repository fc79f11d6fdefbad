"""Directions: pictures from the first components of z_i, and pictures moved along single components or features."""

from __future__ import annotations

import gradio as gr
import torch

from ... import experiments, models
from ...analysis import sparse_autoencoder
from ...analysis.dictionary import Dictionary
from ...analysis.pca import Directions
from ...experiments import InversionResult
from ...experiments.truncation import default_dims
from ...io import images
from ...latents import Latent
from ...noise import draw_x_T
from .. import controls, markup, model_cache, running, scrubber, sentences
from ..events import Controls
from ..outputs import InputImage, KnownLatents, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, invert_images, run_experiment

TASKS = [
    ("Draw from only the first components", "truncate"),
    ("Move along single components", "walk"),
    ("Move along the picture's strongest features", "features"),
]
FEW = {"features": 16, "active": 3, "steps": 300}  # of a dictionary of sample pictures alone


def inputs() -> Controls:
    return {"task": gr.Radio(TASKS, value="truncate", label="What to do")}


def advanced() -> Controls:
    return {
        "first": gr.Slider(
            0,
            60,
            0,
            step=1,
            label="First component",
            info="The picture moves along four components; 0 is the first. Features are the picture's own.",
        ),
        "reach": gr.Slider(
            1,
            6,
            3,
            step=0.5,
            label="Distance",
            info="The largest distance, in standard deviations of a component or mean strengths of a feature.",
        ),
        "seed": controls.seed("Seed of x_T", "Pictures from the first components are all decoded from this noise."),
        "steps": controls.steps(12),
    }


def components(model: str, lab: models.Lab) -> tuple[Directions, tuple[str, ...]]:
    """Return the model's components, or those of its few sample pictures with a note about that."""
    directions = models.directions(model)
    if directions is not None:
        return directions, ()
    z_i = _sample_z_i(model, lab)
    return Directions.fit(z_i), (_of_samples(model, "components", "pca", len(z_i)),)


def features(model: str, lab: models.Lab) -> tuple[Dictionary, tuple[str, ...]]:
    """Return the model's features, or those of its few sample pictures with a note about that."""
    fitted = models.dictionary(model)
    if fitted is not None:
        return fitted, ()
    z_i = _sample_z_i(model, lab)
    fitted = sparse_autoencoder.fit(z_i, **FEW)
    return fitted, (_of_samples(model, "features", "features", len(z_i)),)


def _sample_z_i(model: str, lab: models.Lab) -> torch.Tensor:
    pixels = torch.cat([images.load(path, lab.image_size) for path, _ in model_cache.gallery(model)])
    return running.encode_images(model, pixels)


def _of_samples(model: str, kind: str, command: str, count: int) -> str:
    return (
        f"{model} ships no {kind} yet, so these are of its {count} sample pictures only; "
        f"the command latentlab {command} fit finds those of a folder of many"
    )


def run(model: str, picture: InputImage, task: str, first: float, reach: float, seed: int, steps: float) -> PageRun:
    lab = yield from model_cache.load_with_progress(model)
    if task == "truncate":
        return (yield from _truncate(model, lab, picture, seed, int(steps)))
    inversion = yield from invert_images(model, [picture], steps=int(steps))
    if task == "features":
        fitted, notes = features(model, lab)
        strongest = fitted.leading(inversion.latent.z_i, 4)
        return (yield from _walk(model, lab, inversion, fitted, notes, strongest, reach))
    directions, notes = components(model, lab)
    some = [c for c in range(int(first), int(first) + 4) if c < len(directions)] or [len(directions) - 1]
    return (yield from _walk(model, lab, inversion, directions, notes, some, reach))


def _truncate(model: str, lab: models.Lab, picture: InputImage, seed: int, steps: int) -> PageRun:
    """Decode the picture from its first components, from few to all; it is not inverted for that."""
    directions, notes = components(model, lab)
    dims = default_dims(directions)
    pixels = picture.pixels(lab)
    result = yield from run_experiment(
        model,
        experiments.truncate,
        pixels,
        directions,
        dims=dims,
        seed=seed,
        steps=steps,
        preview_every=PREVIEW_EVERY,
    )
    titles = [f"{k} component{'s' * (k > 1)}" for k in result.dims]
    plot = markup.figure_html(result.curves(), "Variance explained and cosines against the number of components kept")
    x_T = draw_x_T(lab.require_decoder(), [result.seed]).expand(len(dims), -1, -1, -1)
    key = lab.name, lab.weights
    z_i = running.encode_images(model, pixels)  # not the inversion's z_i, from which an output may have been decoded
    truncated = Latent(torch.cat([directions.reconstruct(z_i, k) for k in dims]), x_T.to(z_i))
    latents: list[KnownLatents | None] = [
        *known_latents(truncated, result.pixels[0], lab, steps),
        picture.known_latents if picture.known_latents and picture.known_latents.key[:2] == key else None,
    ]
    rows = torch.cat([result.pixels[0], images.resize(pixels, result.pixels.shape[-1])])
    pictures = output_images(rows, [*titles, "the original"], known_latents=latents)
    *labels, original = running.top_labels(model, rows)
    summary = sentences.truncated(original, labels, result.dims)
    hidden = {"scrubber": gr.update(visible=False)}
    return PageResult(result, pictures, hidden, figures=plot, notes=notes, summary=summary)


def _walk(
    model: str,
    lab: models.Lab,
    inversion: InversionResult,
    directions: Directions | Dictionary,
    notes: tuple[str, ...],
    chosen: list[int],
    reach: float,
) -> PageRun:
    """Move the picture along four components or features."""
    sigmas = (-reach, -reach / 2, 0.0, reach / 2, reach)
    result = yield from run_experiment(
        model,
        experiments.walk_components,
        inversion,
        directions,
        components=chosen,
        sigmas=sigmas,
        captions=lab.things or [caption for _, caption in model_cache.gallery(model)],
        steps=inversion.steps,
        preview_every=PREVIEW_EVERY,
    )
    titles = [f"{result.kind} {c} · {s:+g} {result.unit}" for c in result.components for s in result.sigmas]
    pixels, source = result.pixels.flatten(0, 1), inversion.bipartite
    z_i = torch.cat([directions.traverse(source.z_i, c, sigmas) for c in result.components])
    latent = Latent(z_i, source.x_T.expand(len(z_i), -1, -1, -1))
    latents = known_latents(latent, pixels, lab, inversion.steps)
    sigma_titles = [f"{s:+g} σ" if s else "0 σ" for s in result.sigmas]
    paths = {f"{result.kind} {c}": (row, sigma_titles) for c, row in zip(result.components, result.pixels)}
    pictures = output_images(pixels, titles, known_latents=latents)
    labels = running.top_labels(model, pixels)
    rows = [labels[k : k + len(sigmas)] for k in range(0, len(labels), len(sigmas))]
    seen = [f"{result.kind} {c}: {sentences.along(row)}" for c, row in zip(result.components, rows)]
    summary = f"From left to right CLIP sees: {'; '.join(seen)}."
    return PageResult(result, pictures, {"scrubber": scrubber.draw(paths)}, notes=notes, summary=summary)


def extras() -> Controls:
    return {"scrubber": scrubber.component()}


PAGE = Page(
    "pca",
    "Directions",
    "What CLIP sees in a picture is a long list of numbers. Here they are sorted: the first components are those in "
    "which pictures differ most. Look for how few of them bring back the colour, and how many the thing. Then move "
    "along a single one to see what it means.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("strawberry|apple",),
    columns=5,
    rows=True,
    order=60,
)
