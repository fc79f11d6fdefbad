"""The controls that several pages share, each with its help."""

from __future__ import annotations

import gradio as gr

from ..errors import UserError
from ..inversion import METHODS

SEED_MAX = 2**31 - 1


def steps(value: int = 25, maximum: int = 100) -> gr.Slider:
    return gr.Slider(
        4,
        maximum,
        value,
        step=1,
        label="Steps",
        info="Steps between noise and picture; more steps are slower and more exact.",
    )


def guidance(
    value: float = 2.0, info: str = "Classifier-free guidance scale of the decoder; 1 disables it."
) -> gr.Slider:
    return gr.Slider(1, 6, value, step=0.25, label="Guidance", info=info)


def back_guidance() -> gr.Slider:
    return guidance(
        1.0, "Classifier-free guidance scale of the decoder; above 1 the picture is no longer reconstructed exactly."
    )


def seed(label: str = "Seed", info: str = "The same seed gives the same noise, on any machine.") -> gr.Number:
    """Build a number box without precision, because Gradio would round a fraction without an error."""
    return gr.Number(0, label=label, info=info)


def validated_seed(label: str, value: object) -> int:
    """Return the seed from a control, a link or a call as an integer.

    Raises:
        UserError: the value is not a whole number in range.
    """
    if not isinstance(value, int | float) or not 0 <= value <= SEED_MAX or value != int(value):
        value_text = "empty" if value is None else value
        raise UserError(f"{label} is {value_text}, wanted is a whole number from 0 to {SEED_MAX}: change it")
    return int(value)


def count(value: int = 4, maximum: int = 8, label: str = "Pictures") -> gr.Slider:
    return gr.Slider(1, maximum, value, step=1, label=label)


def method() -> gr.Radio:
    return gr.Radio(
        list(METHODS),
        value="fixed-point",
        label="Inversion",
        info="naive is quick and inexact; bdia and edict are exact, but other pages can't use their latents.",
    )


def seeds(first: int, count: float) -> range:
    """Return consecutive seeds, one for each picture; a slider's count is a float."""
    return range(first, first + int(count))
