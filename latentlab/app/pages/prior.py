"""Prior: what it is for, and how hard to pull."""

from __future__ import annotations

import gradio as gr

from ...errors import UserError
from .. import controls, model_cache
from ..outputs import latent_row, output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, run_experiment

TASKS = [("With and without the prior", "ablate"), ("Guidance of prior and decoder", "sweep")]
CAPTIONS = "a red apple on a blue background\na penguin\na castle on green"


def inputs() -> dict:
    return {
        "captions": gr.Textbox(CAPTIONS, label="Captions, one a line", lines=3, max_lines=6, max_length=900,
                               info="At most six; the guidance grid takes the first."),
        "task": gr.Radio(TASKS, value="ablate", label="What to compare"),
    }  # fmt: skip


def advanced() -> dict:
    return {"seed": controls.seed(), "steps": controls.steps(), "guidance": controls.guidance()}


def run(model, captions, task, seed, steps, guidance):
    lines = list(dict.fromkeys(line.strip() for line in captions.splitlines() if line.strip()))[:6]
    if not lines:
        raise UserError("there is no caption: write one a line, like “a red apple”")
    yield from model_cache.load_with_progress(model)
    more = {"seeds": controls.seeds(seed, 1), "steps": int(steps), "preview_every": PREVIEW_EVERY}
    if task == "sweep":
        grid = {"guidances": (1.0, 2.0, 4.0), "prior_guidances": (1.0, 2.0, 4.0)}
        result = yield from run_experiment(model, "guide", lines[0], **grid, **more)
        titles = [f"prior {p:g} · decoder {g:g}" for p in result.prior_guidances for g in result.guidances]
        latents = [latent_row(result.latent, k) for k in range(len(result.prior_guidances)) for _ in result.guidances]
        pixels = result.pixels[:, :, 0].flatten(0, 1)
        return PageResult(result, output_images(pixels, titles, captions=lines[:1] * len(titles), latents=latents))
    result = yield from run_experiment(model, "ablate", lines, guidance=guidance, **more)
    titles = [f"{s} · {c}" for s in result.signals for c in result.captions]
    captions = list(result.captions) * len(result.signals)
    pictures = output_images(result.pixels.flatten(0, 1), titles, captions=captions, latents=result.latent)
    return PageResult(result, pictures, columns=len(result.captions))


PAGE = Page(
    "prior",
    "Prior",
    "The decoder wants an image embedding; a caption only has a text embedding. Compare rows: the caption only, its "
    "text embedding z_t in the image's place, and what the prior makes of it; "
    "or on a grid, how hard prior and decoder are told to pull.",
    inputs,
    run,
    advanced,
    columns=3,
    rows=True,
)
