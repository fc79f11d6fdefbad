"""Interpolate: pictures between two pictures, along an arc in CLIP's latent space."""

from __future__ import annotations

import gradio as gr

from ... import edits, experiments
from ...errors import UserError
from ...latents import Latent
from ...noise import draw_x_T
from .. import controls, model_cache, running, scrubber, sentences
from ..events import Controls
from ..outputs import InputImage, folder, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, invert_images, run_experiment

PATHS = [("changes too: both ends are the pictures", "slerp"), ("stays: only what CLIP sees changes", "fixed")]


def inputs() -> Controls:
    return {
        "frames": gr.Slider(3, 16, 8, step=1, label="Frames"),
        "noise": gr.Radio(PATHS, value="slerp", label="The noise"),
    }


def advanced() -> Controls:
    return {
        "seed": controls.seed("Seed of the fixed x_T"),
        "steps": controls.steps(12),
        "guidance": controls.back_guidance(),
    }


def extras() -> Controls:
    animation = gr.Image(
        label="Animation",
        type="filepath",
        interactive=False,
        height=280,
        elem_classes=["frame", "result"],
        buttons=["download"],
        visible=False,
        alt_text="The interpolation as an animation, forwards and backwards",
    )
    return {"scrubber": scrubber.component(), "animation": animation}


def run(
    model: str,
    first: InputImage,
    second: InputImage,
    frames: float,
    noise: str,
    seed: int,
    steps: float,
    guidance: float,
) -> PageRun:
    if first.picture.tobytes() == second.picture.tobytes():
        raise UserError("both pictures are the same: choose two different pictures")
    ends = yield from invert_images(model, [first, second], steps=int(steps))
    seeds = () if noise != "fixed" else controls.seeds(seed, 1)
    result = yield from run_experiment(
        model,
        experiments.interpolate,
        ends,
        thetas=int(frames),
        seeds=seeds,
        steps=ends.steps,
        guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )
    lab, latent = model_cache.get(model), ends.bipartite
    x_T = draw_x_T(lab.require_decoder(), seeds).to(latent.x_T) if seeds else "slerp"
    path = Latent.stack([edits.interpolate(latent[0], latent[1], result.thetas, noise=x_T)])
    pixels = result.pixels[0].cpu()
    frame_latents = known_latents(path, pixels, lab, ends.steps) if guidance == 1 else ()
    titles = [f"{t:.0%} of the way" for t in result.thetas]
    pictures = output_images(pixels, titles, known_latents=frame_latents)
    animation = result.save_animation(folder() / "interpolation.gif")
    outputs = {"scrubber": scrubber.draw({"Move through the frames": (pixels, titles)}), "animation": str(animation)}
    summary = f"On the way CLIP sees {sentences.along(running.top_labels(model, pixels))}."
    return PageResult(result, pictures, outputs, summary=summary)


PAGE = Page(
    "interpolate",
    "Interpolate",
    "The model walks from one picture to the other through what CLIP sees. Look at the pictures in the middle: each is "
    "drawn anew, and none is an overlay of the two.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("First picture", "Second picture"),
    initial_examples=("a pig", "a mouse"),
    order=40,
)
