"""Settings from a link or a PNG: every value is checked against its own control before it is used."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.components import Component
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import UserError
from ..experiments import EXPERIMENTS
from . import controls
from .layout import BuiltPage
from .page import picture_names

MAX_LENGTH = 400  # letters of a text whose box has no limit of its own


def validated_value(component: Component, value: Any) -> str | int | float | bool | None:
    """Return the value as the control would return it, or None if the control can't have this value."""
    if isinstance(component, gr.Textbox):
        return value if isinstance(value, str) and len(value) <= (component.max_length or MAX_LENGTH) else None
    if isinstance(component, gr.Radio):
        return value if value in [v for _, v in component.choices] else None
    if isinstance(component, gr.Checkbox):
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(component, gr.Slider | gr.Number):
        try:
            number = float(value)
            if isinstance(component, gr.Number):
                return controls.validated_seed(str(component.label), number)
        except (TypeError, ValueError, OverflowError, UserError):
            return None
        if not math.isfinite(number) or not component.minimum <= number <= component.maximum:
            return None
        return number if component.step != 1 else int(number) if number == int(number) else None
    return None


def validated_settings(
    built: BuiltPage, values: Mapping[str, Any], examples: Container[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that the page accepts, and the names of those that it refuses.

    A picture's setting is the name of an example.
    """
    settings = {name: validated_value(built.controls[name], values[name]) for name in values if name in built.controls}
    pictures = {name: values[name] for name in picture_names(built.pickers) if name in values}
    settings |= {name: v if isinstance(v, str) and v in examples else None for name, v in pictures.items()}
    accepted = {name: value for name, value in settings.items() if value is not None}
    return accepted, [name for name in settings if name not in accepted]


def page_settings(metadata: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return page and fields from a PNG's settings, as a page or the command line wrote them."""
    name = metadata.get("page") or metadata.get("experiment")
    experiment = EXPERIMENTS.get(name) if isinstance(name, str) else None
    page, task = (experiment.page, experiment.task) if experiment else (name if isinstance(name, str) else None, "")
    fields = dict(metadata["fields"]) if isinstance(metadata.get("fields"), dict) else dict(metadata)
    if task:
        fields = {"task": task, **fields}
    seeds = metadata.get("seeds")
    if "seed" in metadata:
        fields.setdefault("seed", metadata["seed"])
    elif isinstance(seeds, list) and seeds and "seed" not in fields:
        fields |= {"seed": seeds[0], "count": len(seeds)}
    return page, fields


def page_link(page: str, model: str, fields: Mapping[str, Any]) -> str:
    return "?" + urlencode({"page": page, "model": model, **fields})


class PageQuery:
    """Middleware that hides the query of `/?page=variations` from Gradio, which would look for a page of that name."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in ("", "/") and b"page=" in scope["query_string"]:
            scope = {**scope, "query_string": b""}  # the browser sends its own address along with each event
        await self.app(scope, receive, send)
