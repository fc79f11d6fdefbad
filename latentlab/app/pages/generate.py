"""Generate: the prior turns a prompt into an image embedding, and the decoder turns that into a picture."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from ... import experiments
from ...experiments import GenerationResult
from .. import caption_help, controls, sentences
from ..events import Controls
from ..outputs import OutputImage, output_images
from ..page import Page, PageResult, PageRun
from ..running import PREVIEW_EVERY, run_experiment

SOLVERS = [("DDIM", "ddim"), ("DPM-Solver++", "dpm++")]
PRIORS = [("diffusion", "diffusion"), ("autoregressive", "autoregressive")]
PROMPTS = (
    "a red apple on a blue background",
    "a penguin on an orange background",
    "a glossy rocket on purple",
    "a red cube above a blue ball",
    "a castle",
    "a sign that says hello",
)


def inputs() -> Controls:
    prompt = gr.Textbox(
        PROMPTS[0],
        label="Prompt",
        max_length=300,
        info="What the picture shows, in words or as an emoji character.",
        elem_id="generate-prompt",
    )
    caption_help.build(prompt)
    gr.Examples([[prompt] for prompt in PROMPTS], prompt, label="Prompts to try", example_labels=list(PROMPTS))
    return {"prompt": prompt, "count": controls.count(4)}


RANKED = "CLIP ranks so many pictures, and those that fit the prompt best are shown first."


def advanced() -> Controls:
    return {
        "seed": controls.seed("Seed of the first picture"),
        "steps": controls.steps(10),
        "guidance": controls.guidance(3.0),
        "solver": gr.Radio(
            SOLVERS,
            value="dpm++",
            label="Solver",
            info="DPM-Solver++ needs 10 steps where DDIM needs 25. DDIM is the path that other pages follow.",
        ),
        "prior": gr.Radio(
            PRIORS,
            value="diffusion",
            label="Prior",
            info="What turns the caption into an image embedding. Only the miniature has an autoregressive one.",
        ),
        "prior_guidance": gr.Slider(
            1,
            4,
            1.5,
            step=0.25,
            label="Guidance of the prior",
            info="Classifier-free guidance scale of the prior; 1 disables it.",
        ),
        "candidates": gr.Slider(
            1,
            8,
            4,
            step=1,
            label="Candidates",
            info="The prior samples this many z_i for each seed, and the one closest to the prompt's z_t is kept.",
        ),
        "drawn": gr.Slider(1, 16, 8, step=1, label="Pictures to choose from", info=RANKED),
    }


def run(
    model: str,
    prompt: str,
    count: float,
    seed: int,
    steps: float,
    guidance: float,
    solver: str,
    prior_guidance: float,
    candidates: float,
    drawn: float = 1,
    prior: str = "diffusion",
) -> PageRun:
    count = int(count)
    result = yield from run_experiment(
        model,
        experiments.generate,
        prompt,
        seeds=controls.seeds(seed, max(drawn, count)),
        steps=int(steps),
        guidance=guidance,
        solver=solver,
        prior=prior,
        prior_guidance=prior_guidance,
        candidates=int(candidates),
        best=count,
        preview_every=PREVIEW_EVERY,
    )
    ranked = [result, *([result.others] if result.others else [])]
    pictures = [image for part in ranked for image in _pictures(part, result, prompt)]
    return PageResult(result, pictures, summary=sentences.ranked(prompt, count, len(pictures)), unfolded=count)


def _pictures(part: GenerationResult, result: GenerationResult, prompt: str) -> list[OutputImage]:
    """Return the pictures, each with the settings that draw it again."""
    note = "" if part is result else " · lower"
    titles = [f"seed {seed}{note}" for seed in part.seeds]
    pictures = output_images(part.pixels, titles, captions=[prompt] * len(titles), latents=part.latent)
    return [replace(image, settings={**result.settings, "seed": seed}) for image, seed in zip(pictures, part.seeds)]


PAGE = Page(
    "generate",
    "Generate",
    "Write what you want to see. Look for what all pictures share, because the prompt says it, and for what differs "
    "from picture to picture.",
    inputs,
    run,
    advanced,
    order=10,
    new_seeds=True,
)
