"""Text diff: a picture changed as its caption changes."""

from __future__ import annotations

import gradio as gr

from ...edits import spaced, text_diff
from .. import controls, markup, model_cache, running
from ..outputs import known_latents, output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, invert_images, run_experiment


def inputs() -> dict:
    return {
        "source": gr.Textbox("a strawberry and a purple background", label="The picture shows", max_length=300),
        "target": gr.Textbox("a watermelon and a purple background", label="It should show", max_length=300),
        "theta": gr.Slider(
            0.05, 1, 0.5, step=0.05, label="θ, how far", info="A fraction of the arc; the paper goes to 0.25-0.50. "
            "Moving it after a run decodes again, without inverting."
        ),
    }  # fmt: skip


def advanced() -> dict:
    return {
        "frames": gr.Slider(2, 12, 6, step=1, label="Frames"), "steps": controls.steps(),
        "guidance": controls.back_guidance(),
    }  # fmt: skip


def run(model, picture, source, target, theta, frames, steps, guidance):
    inversion = yield from invert_images(model, [picture], steps=int(steps))
    thetas = spaced(int(frames), theta)
    result = yield from run_experiment(
        model, "diff", inversion, target, source=source, thetas=thetas, steps=inversion.steps, guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )  # fmt: skip
    lab, pixels = model_cache.get(model), result.pixels[0].cpu()
    known = ()
    if guidance == 1:
        z_t = running.encode_captions(model, [source, target]).to(inversion.latent.z_i)
        known = known_latents(text_diff(inversion.latent, z_t[:1], z_t[1:], thetas), pixels, lab, inversion.steps)
    pictures = output_images(pixels, [f"θ = {t:.2f}" for t in thetas], known_latents=known)
    return PageResult(result, pictures, figures=figures(result))


def figures(result) -> str:
    from ...plotting import curves

    wanted = ["directional similarity", "drift", "cosine to the target"]
    figure = curves(result.table, x="theta", quantities=wanted, xlabel="θ", log=False)
    return markup.figure_html(
        figure, "How the picture's embedding moves with θ; the same numbers are in the table below"
    )


PAGE = Page(
    "text-diff",
    "Text diff",
    "z_i turns towards the difference of two captions, and x_T stays. Look for what the captions change, and for what "
    "changes along with it.",
    inputs,
    run,
    advanced,
    pictures=("Picture",),
    initial_examples=("strawberry",),
    caption="source",
    rerun_controls=("theta",),
    columns=3,
    rows=True,
)
