"""Prior: pictures with and without it, and over a grid of guidance scales."""

from __future__ import annotations

import dataclasses

import gradio as gr

from ... import experiments
from ...errors import UserError
from .. import controls, markup, running, sentences
from ..events import Controls
from ..outputs import latent_row, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, run_experiment

TASKS = [
    ("With and without the prior", "ablate"),
    ("Guidance of prior and decoder", "sweep"),
]
NAMES = {
    "prompt only": "no guess",
    "z_t": "the prompt in its place",
    "prior": "the prior's guess",
    "autoregressive prior": "the other prior's guess",
    "real z_i": "the real picture's",
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
    labels = iter(running.top_labels(model, result.pixels.flatten(0, 1).cpu()))
    hits = {NAMES[s]: sum(sentences.names_thing(p, next(labels)) for p in result.prompts) for s in result.signals}
    summary = sentences.recognised(hits, len(result.prompts))
    # The notes compare the rows with the paper's table, so they stand beside the numbers.
    aside = "".join(markup.paragraph(markup.error_sentence(note)) for note in result.notes)
    bare = dataclasses.replace(result, notes=())
    return PageResult(bare, pictures, figures=aside, columns=len(result.prompts), summary=summary)


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
    "The decoder draws from what CLIP sees in a picture, but a prompt is no picture. So the prior guesses what CLIP "
    "would see in one. Compare the rows: without any guess, with the prompt itself in its place, and with the guesses "
    "of two priors.",
    inputs,
    run,
    advanced,
    columns=3,
    rows=True,
    order=80,
)
