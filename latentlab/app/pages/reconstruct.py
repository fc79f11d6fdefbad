"""Reconstruct: what z_i holds, and what x_T adds."""

from __future__ import annotations

import gradio as gr
import torch

from ...diffusion import noise
from ...io import images
from ...latents import Latent
from .. import controls, labs
from ..outputs import Known, files, knows, shots
from ..page import Outcome, Page
from ..running import PREVIEW, inverted, watched


def advanced() -> dict:
    return {
        "steps": controls.steps(),
        "method": controls.method(),
        "iterations": gr.Slider(
            1, 50, 20, step=1, label="Evaluations a step, at most", info="Of the fixed-point inversion."
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
    found = yield from inverted(model, [picture], fit=fit, steps=int(steps), method=method, **more)
    back = yield from watched(model, "reconstruct", found, steps=int(steps), seed=seed, preview_every=PREVIEW)
    lab = labs.get(model)
    side = max(256, back.large.shape[-1])
    original = images.resize(back.inverted.original.cpu(), side)
    known = [None, None, None]
    if isinstance(found.latent, Latent):
        # What a picture was inverted to is kept with the picture itself; the two others are decoded from theirs.
        other = Latent(found.latent.z_i, noise(lab.require_decoder(), [seed]).to(found.latent.x_T))
        known = [
            Known(found, (lab.name, lab.weights, found.steps)) if bool(found.converged.all()) else None,
            *knows(found.latent, back.large, lab, found.steps),
            *knows(other, back.large_from_z_i, lab, found.steps),
        ]
    pixels = torch.cat([original, *(images.resize(p.cpu(), side) for p in (back.large, back.large_from_z_i))])
    titles = ["the original", f"from z_i and x_T · {float(back.psnr[0]):.1f} dB", "from z_i alone, another x_T"]
    latents = [found.latent, found.latent, known[2].inverted.latent if known[2] else None]
    made = shots(pixels, titles, captions=[picture.caption] * 3 if picture else (), known=known, latents=latents)
    notes = () if method in ("naive",) or bool(found.converged.all()) else (
        "the inversion did not reach its tolerance; give it more evaluations or steps",
    )  # fmt: skip
    pair = tuple(files([shot.picture for shot in made[:2]]))
    return Outcome(back, made, {"slider": pair}, notes=notes)


PAGE = Page(
    "reconstruct", "Reconstruct",
    "A picture becomes two latents: z_i, what CLIP sees, and x_T, everything else. Compare what comes back from both "
    "with what comes back from z_i alone.",
    dict, run, advanced, extras, pictures=("Picture",), firsts=("strawberry|heart",), columns=3, rows=True,
)  # fmt: skip
