"""Interpolate: pictures between two pictures, along an arc in CLIP's latent space."""

from __future__ import annotations

import gradio as gr

from ... import edits, experiments
from ...errors import UserError
from ...latents import Latent
from ...noise import draw_x_T
from .. import controls, model_cache, scrubber
from ..events import Controls
from ..outputs import InputImage, folder, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, invert_images, run_experiment

PATHS = [("interpolated too: both ends are reconstructed", "slerp"), ("fixed: only z_i changes", "fixed")]


def inputs() -> Controls:
    return {
        "frames": gr.Slider(3, 16, 8, step=1, label="Frames"),
        "noise": gr.Radio(PATHS, value="slerp", label="x_T of the frames"),
    }


def advanced() -> Controls:
    return {
        "seed": controls.seed("Seed of the fixed x_T"),
        "steps": controls.steps(),
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
    titles = [f"θ = {t:.2f}" for t in result.thetas]
    pictures = output_images(pixels, titles, known_latents=frame_latents)
    animation = result.save_animation(folder() / "interpolation.gif")
    frames_by_path = {"Move through the frames": (pixels, titles)}
    return PageResult(result, pictures, {"scrubber": scrubber.draw(frames_by_path), "animation": str(animation)})


PAGE = Page(
    "interpolate",
    "Interpolate",
    "z_i is interpolated from one picture's embedding to the other's. Look at the frames in the middle: each is a new "
    "picture, not an overlay of the two.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("First picture", "Second picture"),
    initial_examples=("heart", "apple|strawberry"),
    order=40,
)
