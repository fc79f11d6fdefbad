"""Generate: a caption becomes an image embedding, and that a picture."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from .. import controls, model_cache
from ..outputs import output_images
from ..page import Page, PageResult
from ..running import PREVIEW_EVERY, run_experiment

CAPTIONS = (
    "a red apple on a blue background",
    "a penguin on an orange background",
    "a glossy rocket on purple",
    "a red cube above a blue ball",
    "a castle",
    "a sign that says hello",
)


def inputs() -> dict:
    prompt = gr.Textbox(CAPTIONS[0], label="Caption", max_length=300, info="What the picture shows.")
    gr.Examples([[c] for c in CAPTIONS], prompt, label="Captions to try", example_labels=list(CAPTIONS))
    return {"prompt": prompt, "count": controls.count(4)}


def advanced() -> dict:
    return {
        "seed": controls.seed("Seed of the first picture"),
        "steps": controls.steps(),
        "guidance": controls.guidance(),
        "prior_guidance": gr.Slider(
            1,
            4,
            1,
            step=0.25,
            label="Guidance of the prior",
            info="Guidance scale of the prior; 1 disables it.",
        ),
        "candidates": gr.Slider(
            1,
            8,
            2,
            step=1,
            label="Candidates",
            info="So many z_i are sampled per seed; the one nearest to the caption is kept.",
        ),
    }


def run(model, prompt, count, seed, steps, guidance, prior_guidance, candidates):
    yield from model_cache.load_with_progress(model)
    result = yield from run_experiment(
        model,
        "generate",
        prompt,
        seeds=controls.seeds(seed, count),
        steps=int(steps),
        guidance=guidance,
        prior_guidance=prior_guidance,
        candidates=int(candidates),
        preview_every=PREVIEW_EVERY,
    )
    titles = [f"seed {s} · cos {c:.2f}" for s, c in zip(result.seeds, result.similarity.tolist())]
    pictures = output_images(result.pixels, titles, captions=[prompt] * len(titles), latents=result.latent)
    return PageResult(result, [replace(image, settings=result.metadata(k)) for k, image in enumerate(pictures)])


PAGE = Page(
    "generate",
    "Generate",
    "A caption becomes an image embedding, and that a picture. Look for what stays from seed to seed (what the "
    "caption says) and what changes (what it leaves open).",
    inputs,
    run,
    advanced,
)
