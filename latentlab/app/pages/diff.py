"""Text diff: a picture changed in the direction from one caption to another."""

from __future__ import annotations

import gradio as gr

from ... import experiments
from ...edits import spaced, text_diff
from ...experiments import TextDiffResult
from ...paper.inputs import thing as without_background
from .. import controls, markup, model_cache, running, scrubber, sentences
from ..events import Controls
from ..outputs import InputImage, KnownLatents, known_latents, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, invert_images, run_experiment


def inputs() -> Controls:
    return {
        "source": gr.Textbox("a taxi on green", label="The picture shows", max_length=300),
        "target": gr.Textbox("a taxi on red", label="It should show", max_length=300),
        "theta": gr.Slider(
            0.05,
            1,
            0.3,
            step=0.05,
            label="How far to go",
            info="1 goes all the way to the new caption (θ); 0.25 to 0.50 keeps more of the picture.",
        ),
    }


def advanced() -> Controls:
    return {
        "frames": gr.Slider(2, 12, 6, step=1, label="Frames"),
        "steps": controls.steps(12),
        "guidance": controls.back_guidance(),
    }


def run(
    model: str,
    picture: InputImage,
    source: str,
    target: str,
    theta: float,
    frames: float,
    steps: float,
    guidance: float,
) -> PageRun:
    inversion = yield from invert_images(model, [picture], steps=int(steps))
    thetas = spaced(int(frames), theta)
    result = yield from run_experiment(
        model,
        experiments.diff,
        inversion,
        target,
        source=source,
        thetas=thetas,
        steps=inversion.steps,
        guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )
    pixels = result.pixels[0].cpu()
    frame_latents: list[KnownLatents] = []
    if guidance == 1:
        z_t = running.encode_captions(model, [source, target]).to(inversion.latent.z_i)
        latent = text_diff(inversion.bipartite, z_t[:1], z_t[1:], thetas)
        frame_latents = known_latents(latent, pixels, model_cache.get(model), inversion.steps)
    titles = [f"{t:.0%} of the way" for t in thetas]
    pictures = output_images(pixels, titles, known_latents=frame_latents)
    scrub = {"scrubber": scrubber.draw({"Move through the frames": (pixels, titles)})}
    summary = sentences.turned(running.top_labels(model, pixels), theta)
    return PageResult(result, pictures, scrub, figures=_curves(result), summary=summary)


def extras() -> Controls:
    return {"scrubber": scrubber.component()}


def _curves(result: TextDiffResult) -> str:
    from ...plotting import curves

    quantities = ["directional similarity", "drift", "cosine to the target"]
    figure = curves(result.table, x="theta", quantities=quantities, xlabel="θ", log=False)
    return markup.figure_html(
        figure, "How the picture's embedding moves with θ; the same numbers are in the table below"
    )


def captions(picture: InputImage) -> dict[str, str]:
    """Return the picture's caption, and the same with the thing that CLIP finds most like its own."""
    lab, thing = model_cache.current(), without_background(picture.caption)
    other = running.nearest_label(lab, thing) + picture.caption[len(thing) :] if lab and thing else ""
    return {"source": picture.caption, "target": other}


PAGE = Page(
    "text-diff",
    "Text diff",
    "The picture turns from what one caption says towards what another one says. Look for what the new caption "
    "changes, and for what else changes with it.",
    inputs,
    run,
    advanced,
    extras,
    pictures=("Picture",),
    initial_examples=("taxi",),
    filled=("source", "target"),
    fill=captions,
    rerun_controls=("theta",),
    columns=3,
    rows=True,
    order=50,
)
