"""Reconstruct: a picture from both of its latents, and from z_i alone."""

from __future__ import annotations

import gradio as gr
import torch

from ... import experiments
from ...experiments import InversionResult, ReconstructionResult
from ...io import images
from ...latents import Latent
from ...models import Lab
from ...noise import draw_x_T
from .. import controls, model_cache, running, sentences
from ..events import Controls
from ..outputs import InputImage, KnownLatents, files, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, invert_images, run_experiment


def advanced() -> Controls:
    return {
        "steps": controls.steps(12),
        "method": controls.method(),
        "iterations": gr.Slider(
            1,
            50,
            20,
            step=1,
            label="Evaluations per step, at most",
            info="Upper limit of the fixed-point inversion.",
        ),
        "fit": gr.Radio(
            [("crop its middle", "crop"), ("pad with its border's colour", "pad")],
            value="crop",
            label="How to make the picture square",
        ),
        "seed": controls.seed("Seed of the other x_T"),
    }


def extras() -> Controls:
    slider = gr.ImageSlider(
        label="Drag the line",
        type="pil",
        format="png",
        interactive=False,
        height=340,
        max_height=338,
        elem_classes=["slider", "result"],
        buttons=["fullscreen"],
        visible=False,
    )
    return {"slider": slider}


def run(model: str, picture: InputImage, steps: float, method: str, iterations: float, fit: str, seed: int) -> PageRun:
    inversion = yield from invert_images(
        model, [picture], fit=fit, steps=int(steps), method=method, iterations=int(iterations)
    )
    result = yield from run_experiment(
        model, experiments.reconstruct, inversion, steps=int(steps), seed=seed, preview_every=PREVIEW_EVERY
    )
    lab = model_cache.get(model)
    side = max(256, result.large.shape[-1])
    pixels = torch.cat(
        [images.resize(p.cpu(), side) for p in (result.inverted.original, result.large, result.large_from_z_i)]
    )
    titles = ["the original", "from both halves", "from CLIP's half alone"]
    latents_of_pictures = _latents(inversion, result, lab, seed)
    other = latents_of_pictures[2]
    pictures = output_images(
        pixels,
        titles,
        captions=[picture.caption] * 3,
        known_latents=latents_of_pictures,
        latents=[inversion.latent, inversion.latent, other.inverted.latent if other else None],
    )
    converged = method == "naive" or bool(inversion.converged.all())
    notes = () if converged else ("the inversion did not reach its tolerance; allow more evaluations or steps",)
    pair = tuple(files([image.picture for image in pictures[:2]]))
    original, both, alone = running.top_labels(model, pixels)
    other_psnr = result.value("PSNR from another x_T")
    summary = sentences.reconstructed(original, both, alone, float(result.psnr[0]), other_psnr)
    return PageResult(result, pictures, {"slider": pair}, notes=notes, summary=summary)


def _latents(
    inversion: InversionResult, result: ReconstructionResult, lab: Lab, seed: int
) -> list[KnownLatents | None]:
    """Return the latents with which each of the three pictures can be used as an input; an exact method gives none."""
    latent = inversion.latent
    if not isinstance(latent, Latent):
        return [None, None, None]
    other = Latent(latent.z_i, draw_x_T(lab.require_decoder(), [seed]).to(latent.x_T))
    exact = bool(inversion.converged.all())
    return [
        KnownLatents(inversion, (lab.name, lab.weights, inversion.steps)) if exact else None,
        *known_latents(latent, result.large, lab, inversion.steps),
        *known_latents(other, result.large_from_z_i, lab, inversion.steps),
    ]


PAGE = Page(
    "reconstruct",
    "Reconstruct",
    "The model takes a picture apart into two halves: what CLIP sees in it (z_i), and everything else (x_T). Then it "
    "draws the picture from both, and from CLIP's half alone. Look for what is lost without the other half.",
    dict,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("a pig",),
    columns=3,
    rows=True,
    order=20,
)
