"""The pipeline's diagram on a page: the page's own part is lit, and each part leads to the page about it."""

from __future__ import annotations

import html
from collections.abc import Iterable

from ..diagrams import NARROW, PIPELINE, STAGES, Diagram
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
    """Draw the pipeline with the parts of these stages lit, for a wide window and for a phone."""
    lit = {part for stage in stages for part in STAGES.get(stage, ())}
    drawings = {"wide": PIPELINE.with_lit(*lit), "narrow": NARROW.with_lit(*lit)}
    return f'<div class="pipeline">{"".join(_svg(name, drawing) for name, drawing in drawings.items())}</div>'


def _svg(name: str, drawing: Diagram) -> str:
    width, height = drawing.size
    parts = "".join(_part(drawing, part) for part in drawing.boxes)
    return (
        f'<svg class="{name}" viewBox="-1 0 {width + 2:g} {height + 2:g}" role="group" aria-label="The pipeline">'
        f"{drawing.edges_svg()}{parts}</svg>"
    )


def _part(drawing: Diagram, name: str) -> str:
    box, page = drawing.boxes[name], PAGES[name]
    text = html.escape(f"{box.label}: {TERMS.get(name, box.meaning)}", quote=True)
    return (
        f'<a href="?page={page}" data-page="{page}" class="{NAMES[name in drawing.lit]}" aria-label="{text}">'
        f"<title>{text}</title>{box_svg(box)}</a>"
    )
