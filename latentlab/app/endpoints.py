"""Each page's API: a named endpoint with documented parameters."""

from __future__ import annotations

import inspect
import logging

import gradio as gr

from ..errors import UserError
from . import markup, model_cache
from .outputs import RunOutput, save_pictures, uploaded_image
from .page import Page, picture_names, validated_params, with_settings

log = logging.getLogger("latentlab.app")
MODEL_QUEUE = {"concurrency_limit": 1, "concurrency_id": "model"}  # one at a time, for all pages: the model is one


def endpoint(page: Page, model, pickers: list, controls: dict) -> None:
    """Add the page's endpoint: files and numbers in, PNGs and a JSON with summary, table, notes and settings out."""
    controls = {name: c for name, c in controls.items() if name not in page.not_in_api}

    def call(model, *values):
        try:
            input_images = [uploaded_image(path) for path in values[: len(pickers)]]
            stream = page.run(
                model_cache.validated_name(model), *input_images, **validated_params(controls, values[len(pickers) :])
            )
            while True:
                next(stream)
        except StopIteration as end:
            page_result = end.value
        except UserError as error:
            raise gr.Error(markup.error_sentence(error), print_exception=False) from None
        except gr.Error:  # a Space's own: no GPU is free, or the visitor's share of it is used up
            raise
        except Exception:
            log.exception("a call of the endpoint %s failed", page.key)
            raise gr.Error(markup.SERVER_ERROR, print_exception=False) from None
        run_output = RunOutput(
            page.key, tuple(with_settings(page, image, page_result.result, {}) for image in page_result.images)
        )
        response = {
            "summary": page_result.result.summary(), "table": list(page_result.result.table),
            "notes": list(page_result.result.notes), "settings": page_result.result.settings,
        }  # fmt: skip
        return [(path, image.title) for path, image in zip(save_pictures(run_output), run_output.images)], response

    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = inspect.Signature(
        [inspect.Parameter(n, keyword) for n in ["model", *picture_names(pickers), *controls]]
    )
    hidden = gr.Button(visible=False)
    outputs = [gr.Gallery(visible=False, format="png", label="pictures"), gr.JSON(visible=False, label="result")]
    hidden.click(
        call, [model, *(p.file for p in pickers), *controls.values()], outputs,
        api_name=page.key.replace("-", "_"), api_description=page.description, **MODEL_QUEUE,
    )  # fmt: skip
