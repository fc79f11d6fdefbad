"""Each page's API: a named endpoint with documented parameters."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Any

import gradio as gr

from ..errors import UserError
from ..experiments.stages import run_to_end
from . import markup, model_cache
from .events import MODEL_QUEUE, Controls
from .outputs import RunOutput, save_pictures, uploaded_image
from .page import Page, PageResult, picture_names, validated_params, with_settings
from .picker import Picker

log = logging.getLogger("latentlab.app")


def endpoint(page: Page, model: gr.Dropdown, pickers: Sequence[Picker], controls: Controls) -> None:
    """Add the page's endpoint: files and numbers in, PNGs and a JSON with summary, table, notes and settings out."""
    controls = {name: control for name, control in controls.items() if name not in page.not_in_api}

    def call(model: str, *values: Any) -> tuple[list[tuple[str, str]], dict[str, object]]:
        try:
            page_result = _run(page, controls, model, values[: len(pickers)], values[len(pickers) :])
        except UserError as error:
            raise gr.Error(markup.error_sentence(error), print_exception=False) from None
        except gr.Error:  # from the Space itself: no GPU is free, or the visitor's share of it is used up
            raise
        except Exception:
            log.exception("a call of the endpoint %s failed", page.key)
            raise gr.Error(markup.SERVER_ERROR, print_exception=False) from None
        return _response(page, page_result)

    names = ["model", *picture_names(pickers), *controls]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Gradio names the API by it
    call.__name__ = page.key.replace("-", "_")
    call.__doc__ = _docstring(page, pickers, controls)
    gr.Button(visible=False).click(
        call,
        [model, *(picker.file for picker in pickers), *controls.values()],
        [gr.Gallery(visible=False, format="png", label="pictures"), gr.JSON(visible=False, label="result")],
        api_name=call.__name__,
        api_description=page.description,
        **MODEL_QUEUE,
    )


def _docstring(page: Page, pickers: Sequence[Picker], controls: Controls) -> str:
    """Return a docstring from which Gradio describes the parameters to the clients of the MCP server."""
    descriptions = {"model": "the model's name"}
    descriptions |= {name: f"{picker.label}, a file" for name, picker in zip(picture_names(pickers), pickers)}
    for name, control in controls.items():
        descriptions[name] = f"{control.label}. {getattr(control, 'info', None) or ''}".strip()
    lines = [f"    {name}: {' '.join(text.split())}" for name, text in descriptions.items()]
    return "\n".join([page.description, "", "Args:", *lines])


def _run(page: Page, controls: Controls, model: str, paths: Sequence[str], values: Sequence[Any]) -> PageResult:
    """Run the page to its end."""
    input_images = [uploaded_image(path) for path in paths]
    stream = page.run(model_cache.validated_name(model), *input_images, **validated_params(controls, values))
    return run_to_end(stream)


def _response(page: Page, page_result: PageResult) -> tuple[list[tuple[str, str]], dict[str, object]]:
    """Return the pictures as (path, title), and the numbers."""
    result = page_result.result
    run_output = RunOutput(page.key, tuple(with_settings(page, image, result, {}) for image in page_result.images))
    response: dict[str, object] = {
        "summary": result.summary(),
        "table": list(result.table),
        "notes": list(result.notes),
        "settings": result.settings,
    }
    return [(path, image.title) for path, image in zip(save_pictures(run_output), run_output.images)], response
