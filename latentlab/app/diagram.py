"""The pipeline as a diagram in SVG, on which a page's own part is lit; each part leads to the page about it."""

from __future__ import annotations

import html
from collections.abc import Iterable

from ..experiments import EXPERIMENTS
from .glossary import TERMS

# name -> (label, page, x, y, width, what it is)
PARTS = {
    "caption": ("caption", "generate", 0, 2, 76, "what the picture should show"),
    "text encoder": ("CLIP", "clip", 100, 2, 56, "encodes the caption to z_t"),
    "prior": ("prior", "prior", 180, 2, 60, "samples a z_i that fits a caption's z_t"),
    "z_i": ("z_i", "map", 266, 2, 44, TERMS["z_i"]),
    "decoder": ("decoder", "variations", 336, 2, 76, "draws a picture from z_i and x_T, step by step"),
    "upsampler": ("upsampler", "generate", 436, 2, 88, "draws the same picture with more pixels"),
    "result": ("picture", "generate", 548, 2, 70, "the picture that comes out"),
    "picture": ("picture", "reconstruct", 0, 60, 76, "a picture of yours, or an example"),
    "image encoder": ("CLIP", "clip", 100, 60, 56, "encodes the picture to z_i"),
    "inversion": ("inversion", "reconstruct", 180, 60, 78, "runs the decoder backwards to the picture's x_T"),
    "x_T": ("x_T", "reconstruct", 282, 60, 44, TERMS["x_T"]),
}
EDGES = (
    ("caption", "text encoder", "M76 16H98"),
    ("text encoder", "prior", "M156 16H178"),
    ("prior", "z_i", "M240 16H264"),
    ("z_i", "decoder", "M310 16H334"),
    ("decoder", "upsampler", "M412 16H434"),
    ("upsampler", "result", "M524 16H546"),
    ("picture", "image encoder", "M76 74H98"),
    ("image encoder", "z_i", "M128 60V45H288V32"),
    ("picture", "inversion", "M38 88V99H219V90"),
    ("inversion", "x_T", "M258 74H280"),
    ("x_T", "decoder", "M326 74H374V32"),
)
INVERSION = ("picture", "image encoder", "z_i", "inversion", "x_T")
STAGES = {
    "CLIP": ("caption", "text encoder", "picture", "image encoder", "z_i"),
    "canvas": ("caption", "text encoder", "picture", "image encoder"),
    "prior": ("caption", "text encoder", "prior", "z_i"),
    "first stage": INVERSION,
    "inversion": INVERSION,
    "decoder": ("z_i", "x_T", "decoder", "result"),
    "upsampler": ("decoder", "upsampler", "result"),
}
HEADS = {"H": "m-5-4l5 4l-5 4", "V": "m-4 5l4-5l4 5"}  # arrows point to the right, or up
STROKES = {True: "lit", False: "dim"}


def page_stages(key: str) -> set[str]:
    """Return the stages that the experiments of a page declare."""
    return {stage for experiment in EXPERIMENTS.values() if experiment.page == key for stage in experiment.stages}


def draw(stages: Iterable[str]) -> str:
    """Draw the pipeline with the parts of these stages lit."""
    lit = {part for stage in stages for part in STAGES.get(stage, ())}
    edges = "".join(
        f'<path d="{path}{_head(path)}" class="{STROKES[{start, end} <= lit]}"/>' for start, end, path in EDGES
    )
    parts = "".join(_part(name, name in lit) for name in PARTS)
    svg = f'<svg viewBox="-1 0 622 102" role="group" aria-label="The pipeline">{edges}{parts}</svg>'
    return f'<div class="pipeline">{svg}</div>'


def _head(path: str) -> str:
    """The arrow's head, in the direction of the path's last line."""
    return HEADS["H" if path.rfind("H") > path.rfind("V") else "V"]


def _part(name: str, lit: bool) -> str:
    label, page, x, y, width, meaning = PARTS[name]
    text = html.escape(f"{label}: {meaning}", quote=True)
    return (
        f'<a href="?page={page}" data-page="{page}" class="{STROKES[lit]}" aria-label="{text}"><title>{text}</title>'
        f'<rect x="{x}" y="{y}" width="{width}" height="28" rx="6"/>'
        f'<text x="{x + width / 2:g}" y="{y + 18.5:g}" text-anchor="middle">{label}</text></a>'
    )
