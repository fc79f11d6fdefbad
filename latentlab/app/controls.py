"""The knobs that several pages share, each with its help."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..errors import UserError
from ..inversion import METHODS

SEED_MAX = 2**31 - 1


def steps(value: int = 25, most: int = 100) -> gr.Slider:
    return gr.Slider(4, most, value, step=1, label="Steps", info="Between noise and picture. More is finer and slower.")


def guidance(value: float = 2.0, info: str = "How hard the caption pulls; 1 is not at all.") -> gr.Slider:
    return gr.Slider(1, 6, value, step=0.25, label="Guidance", info=info)


def back_guidance() -> gr.Slider:
    return guidance(1.0, "Above 1 z_i pulls harder, and the picture itself no longer comes back exactly.")


def seed(label: str = "Seed", info: str = "The same seed gives the same noise, on any machine.") -> gr.Number:
    """A box that takes any number: Gradio would round a fraction unsaid, and its refusals don't name the box."""
    return gr.Number(0, label=label, info=info)


def whole(label: str, value: Any) -> int:
    """A seed as it came from its box, a link or a call.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, int | float) or not 0 <= value <= SEED_MAX or value != int(value):
        given = "nothing" if value is None else value
        raise UserError(f"{label}: {given} is given, wanted is a whole number from 0 to {SEED_MAX}: change it")
    return int(value)


def count(value: int = 4, most: int = 8, label: str = "Pictures") -> gr.Slider:
    return gr.Slider(1, most, value, step=1, label=label)


def method() -> gr.Radio:
    return gr.Radio(
        list(METHODS), value="fixed-point", label="Inversion",
        info="naive is quick and rough; bdia and edict are exact, and fit no other page.",
    )  # fmt: skip


def seeds(first: int, many: int) -> range:
    """The seeds of some pictures, the first one given."""
    return range(first, first + int(many))
