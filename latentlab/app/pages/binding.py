"""Binding: whether each thing gets its own colour, and whether signs carry the right words."""

from __future__ import annotations

import gradio as gr

from ... import experiments
from ...errors import UserError
from .. import controls, model_cache
from ..events import QUIET, Controls, Update
from ..outputs import output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, run_experiment

TASKS = [
    ("Colours and things", "bind"),
    ("Words on signs", "spell"),
]
PROMPTS = (
    "a red cube on top of a blue ball",
    "a green cone left of a yellow star",
    "a purple ball below a white cube",
)
SWAPS = {
    "none": "like the prompt",
    "colours": "with the colours exchanged",
    "places": "with the places exchanged",
    "both": "with the things exchanged",
}
WORDS = ("hello", "open", "stop", "pizza", "love", "sale")


def inputs() -> Controls:
    task = gr.Radio(TASKS, value="bind", label="What to try")
    prompt = gr.Textbox(
        PROMPTS[0],
        label="Two coloured solids and where they are",
        max_length=200,
        info="Colours are red, green, blue, …; solids are cube, ball, cone and star; places are on top of, above, "
        "below, left of, right of and beside.",
    )
    examples = gr.Examples([[p] for p in PROMPTS], prompt, label="Prompts to try", example_labels=list(PROMPTS))
    word = gr.Textbox("hello", label="Words for signs, with commas", max_length=80, visible=False)
    task.change(_visible_boxes, task, [prompt, examples.dataset, word], **QUIET)
    return {"task": task, "prompt": prompt, "words": word, "count": controls.count(4)}


def _visible_boxes(task: str) -> list[Update]:
    """Show the boxes that the task reads: prompt and examples, or the words."""
    return [gr.update(visible=visible) for visible in (task == "bind", task == "bind", task == "spell")]


def advanced() -> Controls:
    return {
        "seed": controls.seed("Seed of the first picture"),
        "steps": controls.steps(12),
        "guidance": controls.guidance(),
    }


def run(
    model: str, task: str, prompt: str, words: str, count: float, seed: int, steps: float, guidance: float
) -> PageRun:
    seeds = controls.seeds(seed, count)
    if task == "spell":
        return (yield from _spell(model, words, seeds, int(steps), guidance))
    result = yield from run_experiment(
        model, experiments.bind, prompt, seeds=seeds, steps=int(steps), guidance=guidance, preview_every=PREVIEW_EVERY
    )
    swaps = {swap: SWAPS[name] for name, swap in result.arrangements[0].swaps().items()}
    titles = [
        f"seed {seed} · has {first or 'nothing'} and {second or 'nothing'}; CLIP reads it {swaps[caption]}"
        for seed, (first, second), caption in zip(result.seeds, result.colours[0], result.read_as[0])
    ]
    pictures = output_images(result.pixels[0], titles, captions=[prompt] * len(titles), latents=result.latent)
    note = "the pixels' check looks for the colours at their places and ignores the shapes"
    return PageResult(result, pictures, notes=(note,), summary=_summary(result))


def _summary(result: experiments.BindingResult) -> str:
    count = len(result.seeds)
    both = round(result.value("both colours at their place") * count)
    right = round(result.value("CLIP reads it as asked") * count)
    others = len(result.arrangements[0].swaps()) - 1
    return (
        f"Both colours are where the prompt puts them in {both} of {count} pictures. CLIP then chooses between the "
        f"prompt and {others} other{'s' * (others > 1)} with colours or shapes exchanged: it is right for {right} of "
        f"{count} pictures, and guessing would be right for {count / (others + 1):.2g}."
    )


def _spell(model: str, words: str, seeds: range, steps: int, guidance: float) -> PageRun:
    lab = yield from model_cache.load_with_progress(model)
    targets = list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))[:4]
    if not targets:
        raise UserError("there is no word to write: write at least one, like “hello”")
    result = yield from run_experiment(
        model,
        experiments.spell,
        targets,
        alternatives=[word for word in (lab.words or WORDS) if word not in targets],
        seeds=seeds,
        steps=steps,
        guidance=guidance,
        preview_every=PREVIEW_EVERY,
    )
    titles = [
        f"“{word}”, read as “{reading}”" for word, readings in zip(result.words, result.read) for reading in readings
    ]
    return PageResult(result, output_images(result.pixels.flatten(0, 1), titles, latents=result.latent))


PAGE = Page(
    "binding",
    "Binding",
    "CLIP can know every word of a prompt and still mix up which colour belongs to which thing. Look for exchanged "
    "colours, and for letters that almost spell the word.",
    inputs,
    run,
    advanced,
    order=90,
)
