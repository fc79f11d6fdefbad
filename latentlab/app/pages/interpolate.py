"""Interpolate: from one picture to another, through CLIP's latent space."""

from __future__ import annotations

import gradio as gr

from ...diffusion import noise as draw
from ...edits import interpolate as between
from ...errors import UserError
from ...latents import Latent
from .. import controls, model_cache
from ..outputs import folder, known_latents, output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, invert_images, run_experiment

PATHS = [("turn it too: both ends come back", "slerp"), ("hold it: only the meaning moves", "fixed")]


def inputs() -> dict:
    return {
        "frames": gr.Slider(3, 16, 8, step=1, label="Frames"),
        "noise": gr.Radio(PATHS, value="slerp", label="x_T on the way"),
    }


def advanced() -> dict:
    return {
        "seed": controls.seed("Seed of the x_T that is held"),
        "steps": controls.steps(),
        "guidance": controls.back_guidance(),
    }


def extras() -> dict:
    film = gr.Image(
        label="There and back", type="filepath", interactive=False, height=280, elem_classes=["frame", "result"],
        buttons=["download"], visible=False, alt_text="The interpolation as an animation that goes there and back",
    )  # fmt: skip
    return {"film": film}


def run(model, first, second, frames, noise, seed, steps, guidance):
    if first.picture.tobytes() == second.picture.tobytes():
        raise UserError("both pictures are the same: choose another one for one of the ends")
    ends = yield from invert_images(model, [first, second], steps=int(steps))
    seeds = () if noise != "fixed" else controls.seeds(seed, 1)
    result = yield from run_experiment(
        model, "interpolate", ends, thetas=int(frames), seeds=seeds, steps=ends.steps, guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )  # fmt: skip
    lab = model_cache.get(model)
    held = draw(lab.require_decoder(), seeds).to(ends.latent.x_T) if seeds else "slerp"
    path = Latent.stack([between(ends.latent[0], ends.latent[1], result.thetas, noise=held)])
    pixels = result.pixels[0].cpu()
    known = known_latents(path, pixels, lab, ends.steps) if guidance == 1 else ()
    pictures = output_images(pixels, [f"θ = {t:.2f}" for t in result.thetas], known_latents=known)
    film = result.save_animation(folder() / "interpolation.gif")
    return PageResult(result, pictures, {"film": str(film)})


PAGE = Page(
    "interpolate",
    "Interpolate",
    "z_i turns from one picture's to the other's. Look for the frames in the middle: they are pictures too, not two "
    "pictures laid over each other.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("First picture", "Second picture"),
    initial_examples=("heart", "apple|strawberry"),
)
