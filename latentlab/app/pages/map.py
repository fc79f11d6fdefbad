"""Map: thousands of pictures at their image embeddings; any place on it can be decoded."""

from __future__ import annotations

import gradio as gr

from ... import experiments
from ...latents import Latent
from ...noise import draw_x_T
from .. import controls, map_data, running, scrubber, sentences
from ..events import Controls
from ..map import MOST, canvas, parsed_places
from ..outputs import known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, run_experiment


def inputs() -> Controls:
    return {
        "places": gr.Textbox(
            "0.46,0.84",
            label="Places to decode",
            max_length=200,
            info="x,y from 0 to 1, from the left and from the bottom. A click on the map or a line fills this box.",
        )
    }


def advanced() -> Controls:
    return {
        "frames": gr.Slider(3, MOST, 6, step=1, label="Pictures on a line"),
        "seed": controls.seed("Seed of x_T", "All pictures start from this noise."),
        "steps": controls.steps(12),
        "guidance": controls.guidance(),
    }


def run(model: str, places: str, frames: float, seed: int, steps: float, guidance: float) -> PageRun:
    xy = parsed_places(places, int(frames))
    z_i = yield from map_data.embed(model, map_data.load(), xy)
    lab = yield from map_data.model_cache.load_with_progress(model)
    x_T = draw_x_T(lab.require_decoder(), [seed]).expand(len(xy), -1, -1, -1)
    latent = Latent(z_i, x_T)
    result = yield from run_experiment(
        model, experiments.decode, latent, steps=int(steps), guidance=guidance, seed=seed, preview_every=PREVIEW_EVERY
    )
    titles = [f"at {x:.2f}, {y:.2f}" for x, y in xy.tolist()]
    latents = known_latents(latent, result.pixels, lab, int(steps)) if guidance == 1 else ()
    pictures = output_images(result.pixels, titles, known_latents=latents, latents=latent)
    paths = {"Move along the line": (result.pixels, titles)}
    scrubbed = scrubber.draw(paths) if len(xy) > 1 else gr.update(visible=False)
    summary = sentences.decoded(running.top_labels(model, result.pixels))
    return PageResult(result, pictures, {"scrubber": scrubbed}, summary=summary)


def extras() -> Controls:
    return {"scrubber": scrubber.component()}


PAGE = Page(
    "map",
    "Map",
    "Pictures that CLIP finds alike lie together. Click a picture to choose it, click an empty place to see what the "
    "decoder draws there, or draw a line to interpolate.",
    inputs,
    run,
    advanced,
    extras,
    above=canvas,
    ready="Click an empty place on the map to see what the decoder draws there, or press Run for the place in the box.",
    stages=("CLIP", "decoder", "upsampler"),
    order=110,
)
