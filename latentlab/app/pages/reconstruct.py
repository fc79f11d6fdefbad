"""Reconstruct: what z_i holds, and what x_T adds."""

from __future__ import annotations

import gradio as gr
import torch

from ...diffusion import noise
from ...io import images
from ...latents import Latent
from .. import controls, model_cache
from ..outputs import KnownLatents, files, known_latents, output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, invert_images, run_experiment


def advanced() -> dict:
    return {
        "steps": controls.steps(),
        "method": controls.method(),
        "iterations": gr.Slider(
            1, 50, 20, step=1, label="Evaluations a step, at most", info="Upper limit of the fixed-point inversion."
        ),
        "fit": gr.Radio(["crop", "pad"], value="crop", label="A picture that is not square is", info="cropped, or "
                        "padded with its border's colour."),
        "seed": controls.seed("Seed of the other x_T"),
    }  # fmt: skip


def extras() -> dict:
    slider = gr.ImageSlider(
        label="Drag the line", type="pil", format="png", interactive=False,
        height=340, max_height=338, elem_classes=["slider", "result"], buttons=["fullscreen"], visible=False,
    )  # fmt: skip
    return {"slider": slider}


def run(model, picture, steps, method, iterations, fit, seed):
    more = {"iterations": int(iterations)} if method == "fixed-point" else {}
    inversion = yield from invert_images(model, [picture], fit=fit, steps=int(steps), method=method, **more)
    back = yield from run_experiment(
        model, "reconstruct", inversion, steps=int(steps), seed=seed, preview_every=PREVIEW_EVERY
    )
    lab = model_cache.get(model)
    side = max(256, back.large.shape[-1])
    original = images.resize(back.inverted.original.cpu(), side)
    known = [None, None, None]
    if isinstance(inversion.latent, Latent):
        # What a picture was inverted to is kept with the picture itself; the two others are decoded from theirs.
        other = Latent(inversion.latent.z_i, noise(lab.require_decoder(), [seed]).to(inversion.latent.x_T))
        known = [
            KnownLatents(inversion, (lab.name, lab.weights, inversion.steps))
            if bool(inversion.converged.all())
            else None,
            *known_latents(inversion.latent, back.large, lab, inversion.steps),
            *known_latents(other, back.large_from_z_i, lab, inversion.steps),
        ]
    pixels = torch.cat([original, *(images.resize(p.cpu(), side) for p in (back.large, back.large_from_z_i))])
    titles = ["the original", f"from z_i and x_T · {float(back.psnr[0]):.1f} dB", "from z_i alone, another x_T"]
    latents = [inversion.latent, inversion.latent, known[2].inverted.latent if known[2] else None]
    pictures = output_images(
        pixels, titles, captions=[picture.caption] * 3 if picture else (), known_latents=known, latents=latents
    )
    notes = () if method in ("naive",) or bool(inversion.converged.all()) else (
        "the inversion did not reach its tolerance; give it more evaluations or steps",
    )  # fmt: skip
    pair = tuple(files([p.picture for p in pictures[:2]]))
    return PageResult(back, pictures, {"slider": pair}, notes=notes)


PAGE = Page(
    "reconstruct",
    "Reconstruct",
    "A picture becomes two latents: z_i, what CLIP sees, and x_T, everything else. Compare what comes back from both "
    "with what comes back from z_i alone.",
    dict,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("strawberry|heart",),
    columns=3,
    rows=True,
)
