"""Settings out of a link or a PNG: each is checked against its own control before it is used."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from urllib.parse import urlencode

import gradio as gr

from ..errors import UserError
from ..experiments import EXPERIMENTS
from . import controls
from .layout import BuiltPage
from .page import picture_names

LONGEST = 400


def validated_value(component, value):
    """The value as the control would give it, or None if it could not have come from there."""
    if isinstance(component, gr.Textbox):
        return value if isinstance(value, str) and len(value) <= (component.max_length or LONGEST) else None
    if isinstance(component, gr.Radio):
        return value if value in [v for _, v in component.choices] else None
    if isinstance(component, gr.Checkbox):
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(component, gr.Slider | gr.Number):
        try:
            number = float(value)
            if isinstance(component, gr.Number):
                return controls.validated_seed(component.label, number)
        except (TypeError, ValueError, OverflowError, UserError):
            return None
        if not math.isfinite(number) or not component.minimum <= number <= component.maximum:
            return None
        return number if component.step != 1 else int(number) if number == int(number) else None
    return None


def validated_settings(built: BuiltPage, values: Mapping, examples: Container[str] = ()) -> tuple[dict, list[str]]:
    """A page's settings that are accepted, pictures by the names of examples, and the names of those that are not."""
    accepted = {name: validated_value(built.controls[name], values[name]) for name in values if name in built.controls}
    pictures = {name: values[name] for name in picture_names(built.pickers) if name in values}
    accepted |= {name: v if isinstance(v, str) and v in examples else None for name, v in pictures.items()}
    return {k: v for k, v in accepted.items() if v is not None}, [k for k, v in accepted.items() if v is None]


def page_settings(metadata: Mapping) -> tuple[str | None, dict]:
    """Page and fields from a PNG's settings, as the page or the command line wrote them."""
    name = metadata.get("page") or metadata.get("experiment")
    declared = EXPERIMENTS.get(name) if isinstance(name, str) else None
    page, task = (declared.page, declared.task) if declared else (name if isinstance(name, str) else None, "")
    fields = dict(metadata["fields"]) if isinstance(metadata.get("fields"), dict) else dict(metadata)
    if task:
        fields = {"task": task, **fields}
    seeds = metadata.get("seeds")
    if "seed" in metadata:  # a picture's own seed makes it the first of the next run
        fields["seed"] = metadata["seed"]
    elif isinstance(seeds, list) and seeds and "seed" not in fields:
        fields |= {"seed": seeds[0], "count": len(seeds)}
    return page, fields


def page_link(page: str, model: str, fields: Mapping) -> str:
    return "?" + urlencode({"page": page, "model": model, **fields})


class PageQuery:
    """Middleware: `/?page=variations` is ours, where Gradio would look for a page of its own and fail."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] in ("", "/") and b"page=" in scope["query_string"]:
            scope = {**scope, "query_string": b""}  # the browser sends its own address along with each event
        await self.app(scope, receive, send)
