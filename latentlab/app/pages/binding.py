"""Binding: colours at their things, and words on signs."""

from __future__ import annotations

import gradio as gr

from ...errors import UserError
from .. import controls, model_cache
from ..buttons import QUIET
from ..outputs import output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, run_experiment

TASKS = [("Colours and things", "bind"), ("Words on signs", "spell")]
PROMPTS = (
    "a red cube on top of a blue ball",
    "a green cone left of a yellow star",
    "a purple ball below a white cube",
)
NAMES = {
    "none": "as asked",
    "colours": "with the colours exchanged",
    "places": "with the places exchanged",
    "both": "with things exchanged",
}
WORDS = ("hello", "open", "stop", "pizza", "love", "sale")


def inputs() -> dict:
    task = gr.Radio(TASKS, value="bind", label="What to try")
    prompt = gr.Textbox(PROMPTS[0], label="Two coloured solids and where they are", max_length=200, info="red, green, "
                        "blue, …; cube, ball, cone or star; on top of, below, left of, right of, beside.")  # fmt: skip
    examples = gr.Examples([[p] for p in PROMPTS], prompt, label="Captions to try", example_labels=list(PROMPTS))
    word = gr.Textbox("hello", label="Words for signs, with commas", max_length=80, visible=False)
    task.change(_asks, task, [prompt, examples.dataset, word], **QUIET)
    return {"task": task, "prompt": prompt, "words": word, "count": controls.count(4)}


def _asks(task: str) -> list:
    """Which boxes a task reads."""
    return [gr.update(visible=(task == "spell") == spells) for spells in (False, False, True)]


def advanced() -> dict:
    return {
        "seed": controls.seed("Seed of the first picture"),
        "steps": controls.steps(),
        "guidance": controls.guidance(),
    }


def run(model, task, prompt, words, count, seed, steps, guidance):
    lab = yield from model_cache.load_with_progress(model)
    more = {
        "seeds": controls.seeds(seed, count),
        "steps": int(steps),
        "guidance": guidance,
        "preview_every": PREVIEW_EVERY,
    }
    if task == "spell":
        wanted = list(dict.fromkeys(w.strip() for w in words.split(",") if w.strip()))[:4]
        if not wanted:
            raise UserError("there is no word to write: give one, like “hello”")
        others = [w for w in (lab.words or WORDS) if w not in wanted]
        result = yield from run_experiment(model, "spell", wanted, alternatives=others, **more)
        titles = [f"“{w}”, read as “{r}”" for w, row in zip(result.words, result.read) for r in row]
        return PageResult(result, output_images(result.pixels.flatten(0, 1), titles, latents=result.latent))
    result = yield from run_experiment(model, "bind", prompt, **more)
    rows = zip(result.seeds, result.colours[0], result.read_as[0])
    names = {swap: NAMES[name] for name, swap in result.arrangements[0].swaps().items()}
    titles = [
        f"seed {s} · shows {a or 'nothing'} and {b or 'nothing'}; CLIP reads it {names[r]}" for s, (a, b), r in rows
    ]
    pictures = output_images(result.pixels[0], titles, captions=[prompt] * len(titles), latents=result.latent)
    return PageResult(
        result, pictures, notes=("only the colours are looked for; which shape has each is for you to see",)
    )


PAGE = Page(
    "binding",
    "Binding",
    "CLIP can know every word of a caption and not which belongs to which. Look for exchanged colours, and for "
    "letters that only nearly spell the word.",
    inputs,
    run,
    advanced,
)
