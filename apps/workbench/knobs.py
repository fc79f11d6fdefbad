"""The knobs that several pages share, each with its help."""

from __future__ import annotations

import gradio as gr

from latentlab.inversion import METHODS

SEED_MAX = 2**31 - 1


def steps(value: int = 25, most: int = 100) -> gr.Slider:
    return gr.Slider(4, most, value, step=1, label="Steps", info="Between noise and picture. More is finer and slower.")


def guidance(value: float = 2.0, info: str = "How hard the caption pulls; 1 is not at all.") -> gr.Slider:
    return gr.Slider(1, 6, value, step=0.25, label="Guidance", info=info)


def back_guidance() -> gr.Slider:
    return guidance(1.0, "Above 1 z_i pulls harder, and the picture itself no longer comes back exactly.")


def seed(label: str = "Seed", info: str = "The same seed gives the same noise, on any machine.") -> gr.Number:
    box = gr.Number(0, precision=0, minimum=0, maximum=SEED_MAX, label=label, info=info)
    box.raise_if_out_of_bounds = lambda number, low, high: _refuse_outside(label, number, low, high)
    return box


def _refuse_outside(label: str, number: float, low: int, high: int) -> None:
    """Gradio's own refusal names neither the control nor what to do, and prints a traceback; a fraction it rounds."""
    if not low <= number <= high or number != int(number):
        wanted = f"a whole number from {low} to {high}"
        raise gr.Error(f"{label}: {number} is given, wanted is {wanted}. Change it.", print_exception=False)


def count(value: int = 4, most: int = 8, label: str = "Pictures") -> gr.Slider:
    return gr.Slider(1, most, value, step=1, label=label)


def method() -> gr.Radio:
    return gr.Radio(
        list(METHODS), value="fixed-point", label="Inversion",
        info="naive is quick and rough; bdia and edict are exact, and fit no other page.",
    )  # fmt: skip


def seeds(first: int | None, many: int) -> range:
    """The seeds of some pictures, the first one given."""
    first = int(first or 0)
    return range(first, first + int(many))
