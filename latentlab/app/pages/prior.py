"""Prior: pictures with and without it, and over a grid of guidance scales."""

from __future__ import annotations

import gradio as gr
import torch

from ... import experiments
from ...errors import UserError
from ...io import images
from ...slerp import normalize
from .. import controls, model_cache, running, sentences
from ..events import Controls
from ..outputs import latent_row, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, run_experiment

TASKS = [
    ("With and without the prior", "ablate"),
    ("Guidance of prior and decoder", "sweep"),
]
NAMES = {
    "prompt only": "prompt only",
    "z_t": "prompt as a picture",
    "prior": "prior's guess",
    "autoregressive prior": "autoregressive prior's guess",
    "real z_i": "real",
}
PROMPTS = "a red apple on a blue background\na penguin\na castle on green"


def inputs() -> Controls:
    return {
        "prompts": gr.Textbox(
            PROMPTS,
            label="Prompts, one per line",
            lines=3,
            max_lines=6,
            max_length=900,
            info="At most six prompts are used; the guidance grid uses the first.",
        ),
        "task": gr.Radio(TASKS, value="ablate", label="What to compare"),
    }


def advanced() -> Controls:
    return {"seed": controls.seed(), "steps": controls.steps(12), "guidance": controls.guidance()}


def run(model: str, prompts: str, task: str, seed: int, steps: float, guidance: float) -> PageRun:
    lines = list(dict.fromkeys(line.strip() for line in prompts.splitlines() if line.strip()))[:6]
    if not lines:
        raise UserError("there is no prompt: write one per line, like “a red apple”")
    if task == "sweep":
        return (yield from _sweep(model, lines[0], seed, int(steps)))
    result = yield from run_experiment(
        model,
        experiments.ablate,
        lines,
        seeds=(seed,),
        steps=int(steps),
        guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )
    titles = [f"{NAMES[signal]} · {prompt}" for signal in result.signals for prompt in result.prompts]
    pictures = output_images(
        result.pixels.flatten(0, 1),
        titles,
        captions=list(result.prompts) * len(result.signals),
        latents=result.latent,
    )
    small = images.resize(result.pixels.flatten(0, 1).cpu(), model_cache.get(model).encoder.image_size)
    cosines = normalize(running.encode_images(model, small)) @ normalize(running.encode_captions(model, lines)).T
    nearest = cosines.view(len(result.signals), len(lines), -1).argmax(-1)
    own = (nearest == torch.arange(len(lines))).sum(1).tolist()
    hits = {f"pictures in row {k + 1} ({NAMES[s]})": n for k, (s, n) in enumerate(zip(result.signals, own))}
    summary = sentences.matched(hits, len(lines)) if len(lines) > 1 else ""
    return PageResult(result, pictures, columns=len(result.prompts), summary=summary)


def _sweep(model: str, prompt: str, seed: int, steps: int) -> PageRun:
    result = yield from run_experiment(
        model,
        experiments.guide,
        prompt,
        guidances=(1.0, 2.0, 4.0),
        prior_guidances=(1.0, 2.0, 4.0),
        seeds=(seed,),
        steps=steps,
        preview_every=PREVIEW_EVERY,
    )
    titles = [f"prior {p:g} · decoder {g:g}" for p in result.prior_guidances for g in result.guidances]
    latents = [latent_row(result.latent, k) for k in range(len(result.prior_guidances)) for _ in result.guidances]
    pixels = result.pixels[:, :, 0].flatten(0, 1)
    return PageResult(result, output_images(pixels, titles, captions=[prompt] * len(titles), latents=latents))


PAGE = Page(
    "prior",
    "Prior",
    "The decoder draws what CLIP would see in a picture, but a prompt is no picture. The prior guesses what CLIP "
    "would see. Compare the rows: without any guess, with the prompt itself in its place, and with the guess of each "
    "prior that the model has.",
    inputs,
    run,
    advanced,
    columns=3,
    rows=True,
    order=80,
)
