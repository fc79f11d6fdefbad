"""Directions: pictures from the first components of z_i, or moved along components and features, or exchanging them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import gradio as gr
import torch

from ... import edits, experiments, models
from ...analysis.dictionary import Dictionary
from ...analysis.pca import Directions
from ...experiments import InversionResult, LatentDecodingResult, Progress
from ...experiments.truncation import default_dims
from ...io import images
from ...latents import Latent
from ...noise import draw_x_T
from ...slerp import slerp
from .. import controls, fits, markup, model_cache, running, scrubber, sentences
from ..buttons import RunButtons
from ..events import QUIET, Controls
from ..outputs import InputImage, KnownLatents, OutputImage, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..picker import Picker
from ..running import PREVIEW_EVERY, invert_images, run_experiment

TASKS = [
    ("Draw from only the first components", "truncate"),
    ("Move along single components", "walk"),
    ("Move along the picture's strongest features", "features"),
    ("Move along several at once", "several"),
    ("Exchange features with a second picture", "exchange"),
]
SLIDERS = 3  # of components, and as many of features
ORDINALS = ("first", "second", "third")
STRENGTHS = ("strongest", "second", "third")
MOVED = (*(f"{k} component" for k in ORDINALS), *(f"{k} feature" for k in STRENGTHS))  # what a slider moves
NEW_NOISE = 0.5  # of an exchange: with the picture's own noise alone the changed parts become scribbles
PICTURES = ("Picture", "Second picture")


def inputs() -> Controls:
    task = gr.Radio(TASKS, value="truncate", label="What to do")
    with gr.Column(visible=False) as several:
        gr.HTML(
            markup.note("A picture is drawn when you let go of a slider. Features are the picture's own."),
            padding=False,
        )
        names = [f"{kind}_{k}" for kind in ("component", "feature") for k in range(SLIDERS)]
        moves = {
            name: gr.Slider(-4, 4 if "component" in name else 8, 0, step=0.5, label=moved.capitalize())
            for name, moved in zip(names, MOVED)
        }
    exchanged = gr.Slider(1, 6, 6, step=1, label="Features to exchange", visible=False)
    task.change(
        lambda t: [gr.update(visible=t == "several"), gr.update(visible=t == "exchange")],
        task,
        [several, exchanged],
        **QUIET,
    )
    return {"task": task, **moves, "exchanged": exchanged}


def connect(picker: Picker, page_controls: Controls, buttons: RunButtons) -> None:
    """Show the second picture only where features are exchanged."""
    if picker.label == PICTURES[1]:
        picker.slot.visible = False
        task = page_controls["task"]
        assert isinstance(task, gr.Radio)
        task.change(lambda t: gr.update(visible=t == "exchange"), task, picker.slot, **QUIET)


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


def run(
    model: str,
    picture: InputImage,
    second: InputImage,
    task: str,
    component_0: float,
    component_1: float,
    component_2: float,
    feature_0: float,
    feature_1: float,
    feature_2: float,
    exchanged: float,
    first: float,
    reach: float,
    seed: int,
    steps: float,
) -> PageRun:
    lab = yield from model_cache.load_with_progress(model)
    if task == "truncate":
        return (yield from _truncate(model, lab, picture, seed, int(steps)))
    if task == "exchange":
        return (yield from _exchange(model, lab, [picture, second], int(exchanged), int(steps)))
    inversion = yield from invert_images(model, [picture], steps=int(steps))
    if task == "several":
        distances = (component_0, component_1, component_2), (feature_0, feature_1, feature_2)
        return (yield from _several(model, lab, inversion, *distances))
    if task == "features":
        fitted, notes = fits.features(model, lab)
        strongest = fitted.leading(inversion.latent.z_i, 4)
        return (yield from _walk(model, lab, inversion, fitted, notes, strongest, reach))
    directions, notes = fits.components(model, lab)
    some = [c for c in range(int(first), int(first) + 4) if c < len(directions)] or [len(directions) - 1]
    return (yield from _walk(model, lab, inversion, directions, notes, some, reach))


def _truncate(model: str, lab: models.Lab, picture: InputImage, seed: int, steps: int) -> PageRun:
    """Decode the picture from its first components, from few to all; it is not inverted for that."""
    directions, notes = fits.components(model, lab)
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
    titles = ["the first" if k == 1 else f"first {k}" for k in result.dims[:-1]] + [f"all {result.dims[-1]}"]
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
    titles = [f"{result.kind} {c} · {s:+g}\u00a0{result.unit}" for c in result.components for s in result.sigmas]
    pixels, source = result.pixels.flatten(0, 1), inversion.bipartite
    z_i = torch.cat([directions.traverse(source.z_i, c, sigmas) for c in result.components])
    latent = Latent(z_i, source.x_T.expand(len(z_i), -1, -1, -1))
    latents = known_latents(latent, pixels, lab, inversion.steps)
    sigma_titles = [f"{s:+g}\u00a0{result.unit}" if s else f"0\u00a0{result.unit}" for s in result.sigmas]
    paths = {f"{result.kind} {c}": (row, sigma_titles) for c, row in zip(result.components, result.pixels)}
    pictures = output_images(pixels, titles, known_latents=latents)
    labels = running.top_labels(model, pixels)
    rows = [labels[k : k + len(sigmas)] for k in range(0, len(labels), len(sigmas))]
    led = [f"{result.kind} {c} {sentences.led(row)}." for c, row in zip(result.components, rows)]
    summary = f"From left to right, for CLIP: {' '.join(line[0].upper() + line[1:] for line in led)}"
    return PageResult(result, pictures, {"scrubber": scrubber.draw(paths)}, notes=notes, summary=summary)


def _several(
    model: str,
    lab: models.Lab,
    inversion: InversionResult,
    along_components: Sequence[float],
    along_features: Sequence[float],
) -> PageRun:
    """Move the picture along the first components and its strongest features at once."""
    (of_components, notes), (of_features, more) = fits.components(model, lab), fits.features(model, lab)
    source = inversion.bipartite
    numbered = zip(of_features.leading(source.z_i, SLIDERS), along_features)
    every: list[tuple[Directions | Dictionary, int, float]] = [
        *((of_components, k, distance) for k, distance in enumerate(along_components)),
        *((of_features, k, distance) for k, distance in numbered),
    ]
    moves = [move for move in every if move[2]]
    z_i = torch.cat([source.z_i, edits.move(source.z_i, moves)])
    result, pictures, labels = yield from _decoded(
        model, lab, z_i, source.x_T.expand(2, -1, -1, -1), inversion.steps, ["all sliders at 0", "moved"]
    )
    names = [name for name, (_, _, distance) in zip(MOVED, every) if distance]
    distances, towards = [distance for _, _, distance in moves], _rising(model, lab, moves)
    summary = sentences.moved(list(zip(names, distances, towards)), labels)
    return PageResult(
        result, pictures, {"scrubber": gr.update(visible=False)}, notes=notes + more, summary=summary, columns=2
    )


def _rising(model: str, lab: models.Lab, moves: Sequence[tuple[Directions | Dictionary, int, float]]) -> list[str]:
    """The caption that rises most along each direction, on the side of the move."""
    captions = lab.things or tuple(caption for _, caption in model_cache.gallery(model))
    z_t = running.encode_captions(model, captions)
    named = {d.kind: d.name(z_t, captions, top=1) for d, _, _ in moves}
    ends = [(named[d.kind][k], distance) for d, k, distance in moves]
    return [(name.rising if distance > 0 else name.falling)[0][0] for name, distance in ends]


def _exchange(model: str, lab: models.Lab, pair: Sequence[InputImage], count: int, steps: int) -> PageRun:
    """Give each of two pictures the other's strength of the features in which they differ most."""
    inversion = yield from invert_images(model, pair, steps=steps)
    fitted, notes = fits.features(model, lab)
    source = inversion.bipartite
    chosen = fitted.differing(source.z_i, count)
    sets = [[], chosen[:1], *([chosen] if count > 1 else [])]
    z_i = torch.stack([fitted.exchange(source.z_i, some) for some in sets], 1)  # (2, sets, D)
    new = draw_x_T(lab.require_decoder(), [0]).to(source.x_T)
    mixed = slerp(source.x_T, new.expand_as(source.x_T), NEW_NOISE)
    x_T = torch.stack([source.x_T, *[mixed] * (len(sets) - 1)], 1)
    titles = ["as it is", "one feature exchanged", *([f"{count} features exchanged"] if count > 1 else [])]
    result, pictures, labels = yield from _decoded(
        model, lab, z_i.flatten(0, 1), x_T.flatten(0, 1), inversion.steps, titles * 2
    )
    rows = labels[: len(sets)], labels[len(sets) :]
    summary = sentences.exchanged(count, [(row[0], row[-1]) for row in rows])
    notes = (*notes, f"{NEW_NOISE:.0%} of a changed picture's noise is new: the old noise holds the old outline")
    return PageResult(
        result, pictures, {"scrubber": gr.update(visible=False)}, notes=notes, summary=summary, columns=len(sets)
    )


def _decoded(
    model: str, lab: models.Lab, z_i: torch.Tensor, x_T: torch.Tensor, steps: int, titles: Sequence[str]
) -> Generator[Progress, None, tuple[LatentDecodingResult, list[OutputImage], list[str]]]:
    """`yield from` this: decode latents; it returns the result, its pictures and CLIP's label of each."""
    latent = Latent(z_i, x_T)
    result = yield from run_experiment(model, experiments.decode, latent, steps=steps, preview_every=PREVIEW_EVERY)
    pictures = output_images(result.pixels, titles, known_latents=known_latents(latent, result.pixels, lab, steps))
    return result, pictures, running.top_labels(model, result.pixels)


def extras() -> Controls:
    return {"scrubber": scrubber.component()}


PAGE = Page(
    "pca",
    "Directions",
    "What CLIP sees in a picture is a long list of numbers. Here they are sorted: pictures differ most in the first "
    "ones, which are called components. How few of them bring back the colour, and how many the thing? Then move along "
    "some of them to see what they mean, or give a picture what another one has.",
    inputs,
    run,
    advanced,
    extras,
    pictures=PICTURES,
    initial_examples=("strawberry|apple", "a mouse"),
    rerun_controls=tuple(f"{kind}_{k}" for kind in ("component", "feature") for k in range(SLIDERS)),
    connect=connect,
    columns=5,
    rows=True,
    order=60,
)
