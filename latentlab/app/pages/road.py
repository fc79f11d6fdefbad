"""Road: the same prompts by every system that led to unCLIP, and blind votes on them."""

from __future__ import annotations

import gradio as gr

from ... import experiments
from ...errors import UserError
from ...experiments.road_systems import SYSTEMS
from .. import ballot, controls, sentences
from ..events import Controls
from ..outputs import output_images
from ..page import Page, PageResult, PageRun
from ..running import run_experiment

MOST = 3  # prompts of one run


def inputs() -> Controls:
    return {
        "prompts": gr.Textbox(
            "a red apple on a blue background",
            label="Prompts, one per line",
            lines=2,
            max_lines=MOST,
            max_length=600,
            info=f"At most {MOST} prompts are used, a column each.",
        ),
    }


def advanced() -> Controls:
    return {
        "drawing": gr.Checkbox(True, label="With CLIP's own drawing", info="Of all systems it takes longest."),
        "seed": controls.seed(),
        "steps": controls.steps(12),
        "climb_steps": gr.Slider(10, 200, 40, step=10, label="Steps of CLIP's own drawing"),
    }


def run(model: str, prompts: str, drawing: bool, seed: int, steps: float, climb_steps: float) -> PageRun:
    lines = list(dict.fromkeys(line.strip() for line in prompts.splitlines() if line.strip()))[:MOST]
    if not lines:
        raise UserError("there is no prompt: write one per line, like “a red apple”")
    result = yield from run_experiment(
        model,
        experiments.road,
        lines,
        systems=[name for name in SYSTEMS if drawing or name != "draw"],
        seeds=(seed,),
        steps=int(steps),
        climb_steps=int(climb_steps),
    )
    several = len(result.prompts) > 1
    titles = [
        f"{name} · {prompt}" if several else f"{name} ·\u00a0{result.value('seconds', system=name):.1f}\u00a0s"
        for name in result.systems
        for prompt in result.prompts
    ]
    pictures = output_images(result.pixels.flatten(0, 1), titles, captions=list(result.prompts) * len(result.systems))
    scores, seconds = (
        [result.value(quantity, system=name) for name in result.systems] for quantity in ("CLIP score", "seconds")
    )
    summary = sentences.road(result.systems, scores, seconds, len(result.prompts))
    return PageResult(result, pictures, columns=len(result.prompts) if several else 0, summary=summary)


PAGE = Page(
    "road",
    "Road",
    "Every system that led to unCLIP draws the same prompt, oldest first. Are the outlines clear, and are the colours "
    "where the prompt wants them? CLIP was never taught to draw: its strokes only have to please CLIP. Below you can "
    "vote between two systems without their names.",
    inputs,
    run,
    advanced,
    ballot.extras,
    connect_results=ballot.connect,
    columns=5,
    rows=True,
    order=115,
)
