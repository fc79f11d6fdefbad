"""DALL·E 1: a picture's tokens one after another, and the best of many by CLIP."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import torch

from ... import experiments
from ...errors import UserError
from ...experiments.reranking import COUNTS, SYSTEMS
from .. import controls, markup, model_cache, sentences
from ..events import QUIET, Controls, Update
from ..outputs import InputImage, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, run_experiment

TASKS = [("Pictures of a prompt", "generate"), ("The best of many, by CLIP", "rerank")]
PROMPTS = ("a red apple on blue", "a dog", "a penguin on yellow", "a strawberry", "a bus on green", "a heart")
MOST = 8  # prompts of the best of n


def inputs() -> Controls:
    task = gr.Radio(TASKS, value="generate", label="What to try")
    prompt = gr.Textbox(
        PROMPTS[0], label="Prompt", max_length=300, info="What the picture shows, in words or as an emoji character."
    )
    examples = gr.Examples([[p] for p in PROMPTS], prompt, label="Prompts to try", example_labels=list(PROMPTS))
    prompts = gr.Textbox(
        "a dog, a bus, a strawberry, a star",
        label="Prompts of single things, with commas",
        max_length=300,
        visible=False,
    )
    count = controls.count(4)
    carry_on = gr.Checkbox(
        False,
        label="Continue a picture",
        info="The upper half of a picture is kept, and DALL·E 1 draws the lower half.",
    )
    shown = [prompt, examples.dataset, count, carry_on]
    task.change(_visible, task, [*shown, prompts], **QUIET)
    return {"task": task, "prompt": prompt, "prompts": prompts, "count": count, "carry_on": carry_on}


def _visible(task: str) -> list[Update]:
    """Show the boxes that the task reads; only pictures of a prompt continue a picture."""
    generates = task == "generate"
    shown = [gr.update(visible=visible) for visible in (generates, generates, generates)]
    return [*shown, gr.update(visible=generates, value=False), gr.update(visible=not generates)]


def advanced() -> Controls:
    return {
        "drawn": gr.Slider(
            1, 64, 8, step=1, label="Pictures to choose from", info="CLIP ranks so many and shows the best first."
        ),
        "temperature": gr.Slider(
            0.1, 2, 1, step=0.05, label="Temperature", info="Below 1 the likelier tokens are chosen more often."
        ),
        "top_k": gr.Slider(1, 512, 128, step=1, label="Top k", info="The next token is one of the likeliest so many."),
        "guidance": controls.guidance(3.0, "Classifier-free guidance scale of the tokens; 1 disables it."),
        "seed": controls.seed("Seed of the first picture"),
        "unclip": gr.Checkbox(False, label="unCLIP as well", info="For the best of n; it takes longer."),
    }


def run(
    model: str,
    picture: InputImage,
    task: str,
    prompt: str,
    prompts: str,
    count: float,
    carry_on: bool,
    drawn: float,
    temperature: float,
    top_k: float,
    guidance: float,
    seed: int,
    unclip: bool,
) -> PageRun:
    if task == "rerank":
        return (yield from _rerank(model, prompts, int(drawn), seed, unclip))
    lab = yield from model_cache.load_with_progress(model)
    lab.require_dalle()
    result = yield from run_experiment(
        model,
        experiments.dalle,
        prompt,
        seeds=controls.seeds(seed, max(drawn, count)),
        best=int(count),
        temperature=temperature,
        top_k=int(top_k),
        guidance=guidance,
        picture=picture.pixels(lab) if carry_on else None,
        preview_every=PREVIEW_EVERY,
    )
    parts = [result, *([result.others] if result.others else [])]
    seeds = [s for part in parts for s in part.seeds]
    titles = [f"seed {s}{' · lower' * (k >= count)}" for k, s in enumerate(seeds)]
    images = output_images(torch.cat([part.pixels for part in parts]), titles, captions=[prompt] * len(titles))
    pictures = [replace(image, settings={**result.settings, "seed": s}) for image, s in zip(images, seeds)]
    begun = [] if result.beginning is None else output_images(result.beginning, ["your picture in tokens"])
    summary = sentences.ranked(prompt, int(count), len(seeds), by="DALL·E 1", continued=bool(begun))
    shown = int(count) + len(begun)
    return PageResult(result, [*begun, *pictures], summary=summary, unfolded=shown, columns=min(shown, 5))


def _rerank(model: str, prompts: str, drawn: int, seed: int, unclip: bool) -> PageRun:
    names = list(dict.fromkeys(part.strip() for part in prompts.split(",") if part.strip()))
    if not 1 < len(names) <= MOST:
        raise UserError(f"{len(names)} prompts: give 2 to {MOST}, with commas between them, like “a dog, a bus”")
    counts = [n for n in COUNTS if n < drawn] + [drawn]
    systems = ["dalle", *(["unclip"] if unclip else [])]
    result = yield from run_experiment(model, experiments.rerank, names, systems=systems, counts=counts, seed=seed)
    titles = [f"{prompt} · best of {n}" for _ in result.systems for prompt in result.prompts for n in result.counts]
    pictures = output_images(result.pixels.flatten(0, 2), titles)
    figure = markup.figure_html(result.figure(), "CLIP score, accuracy and distance against n")
    return PageResult(result, pictures, figures=figure, columns=len(counts), summary=_reranked(result))


def _reranked(result: experiments.RerankingResult) -> str:
    """How often CLIP, and the judge, see the right thing in one picture and in the best of the most."""
    first, last = result.counts[0], result.counts[-1]
    shares = {
        SYSTEMS[system]: {
            row["quantity"]: (row["value"], result.value(row["quantity"], system=system, n_best=last))
            for row in result.table
            if row["system"] == system and row.get("n_best") == first and "accuracy" in row["quantity"]
        }
        for system in result.systems
    }
    return sentences.reranked(shares, last, len(result.prompts))


PAGE = Page(
    "dalle",
    "DALL·E 1",
    "DALL·E 1 draws a picture piece by piece, from the upper left to the lower right, as one writes a text word by "
    "word. The pieces are called tokens. CLIP then chooses the pictures that fit the prompt best. Look for pieces that "
    "do not fit together.",
    inputs,
    run,
    advanced,
    pictures=("Picture to continue",),
    pictures_if="carry_on",
    stages=("tokens",),  # CLIP's space and the decoder are unCLIP's, which only the choice compares
    new_seeds=True,
    order=12,
)
