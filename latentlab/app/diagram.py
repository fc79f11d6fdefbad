"""The pipeline's diagram on a page: the page's own part is lit, and each part leads to the page about it."""

from __future__ import annotations

import html
from collections.abc import Iterable

from ..diagrams import PIPELINE, STAGES
from ..diagrams.drawing import NAMES, box_svg
from ..experiments import EXPERIMENTS
from .glossary import TERMS

# The page about each part.
PAGES = {
    "caption": "generate",
    "text encoder": "clip",
    "prior": "prior",
    "z_i": "map",
    "decoder": "variations",
    "upsampler": "generate",
    "result": "generate",
    "picture": "reconstruct",
    "image encoder": "clip",
    "inversion": "reconstruct",
    "x_T": "reconstruct",
}


def page_stages(key: str) -> set[str]:
    """Return the stages that the experiments of a page declare."""
    return {stage for experiment in EXPERIMENTS.values() if experiment.page == key for stage in experiment.stages}


def draw(stages: Iterable[str]) -> str:
    """Draw the pipeline with the parts of these stages lit."""
    pipeline = PIPELINE.with_lit(*{part for stage in stages for part in STAGES.get(stage, ())})
    parts = "".join(_part(name, name in pipeline.lit) for name in pipeline.boxes)
    svg = f'<svg viewBox="-1 0 622 102" role="group" aria-label="The pipeline">{pipeline.edges_svg()}{parts}</svg>'
    return f'<div class="pipeline">{svg}</div>'


def _part(name: str, lit: bool) -> str:
    box, page = PIPELINE.boxes[name], PAGES[name]
    text = html.escape(f"{box.label}: {TERMS.get(name, box.meaning)}", quote=True)
    return (
        f'<a href="?page={page}" data-page="{page}" class="{NAMES[lit]}" aria-label="{text}"><title>{text}</title>'
        f"{box_svg(box)}</a>"
    )
