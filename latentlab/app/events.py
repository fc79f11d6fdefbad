"""The options of Gradio's event listeners, and the types of what handlers receive and return."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from gradio.blocks import Block
from gradio.components import HTML, Component

Controls = dict[str, Component]  # by the name of the parameter that they set
Update = dict[str, Any]  # what gr.update and gr.skip return
Updates = dict[Block, object]  # the new values of some components, as a handler yields them


class EventOptions(TypedDict, total=False):
    """The options of event listeners that several events share."""

    show_progress: Literal["full", "minimal", "hidden"]
    show_progress_on: HTML
    queue: bool
    api_visibility: Literal["public", "private", "undocumented"]
    concurrency_limit: int
    concurrency_id: str
    trigger_mode: Literal["once", "multiple", "always_last"]


QUIET: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
# One run at a time for all pages, because they share the model.
MODEL_QUEUE: EventOptions = {"concurrency_limit": 1, "concurrency_id": "model"}


def run_options(status: HTML) -> EventOptions:
    """Return the options of a run, whose place in the queue appears on the status."""
    return {
        **MODEL_QUEUE,
        "show_progress": "minimal",
        "show_progress_on": status,
        "api_visibility": "private",
    }
