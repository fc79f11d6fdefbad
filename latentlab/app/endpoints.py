"""Each page for programs: a named endpoint with documented parameters."""

from __future__ import annotations

import inspect
import logging

import gradio as gr

from ..errors import UserError
from . import labs, markup
from .outputs import Made
from .page import Page, fitting, names, stamp

log = logging.getLogger("latentlab.app")
HEAVY = {"concurrency_limit": 1, "concurrency_id": "model"}  # one at a time, for all pages: the model is one


def endpoint(page: Page, model, pickers: list, told: dict) -> None:
    """The page for programs: files and numbers in, PNGs and a JSON of everything that was found out."""
    told = {name: c for name, c in told.items() if name not in page.private}

    def call(model, *values):
        try:
            chosen = [outputs.uploaded(path) for path in values[: len(pickers)]]
            stream = page.run(labs.checked(model), *chosen, **fitting(told, values[len(pickers) :]))
            while True:
                next(stream)
        except StopIteration as end:
            outcome = end.value
        except UserError as error:
            raise gr.Error(markup.whole(error), print_exception=False) from None
        except gr.Error:  # a Space's own: no GPU is free, or the visitor's share of it is used up
            raise
        except Exception:
            log.exception("a call of the endpoint %s failed", page.key)
            raise gr.Error(markup.OURS, print_exception=False) from None
        made = Made(page.key, tuple(stamp(page, shot, outcome.result, {}) for shot in outcome.shots))
        found = {
            "summary": outcome.result.summary(), "table": list(outcome.result.table),
            "notes": list(outcome.result.notes), "settings": outcome.result.settings,
        }  # fmt: skip
        return [(path, shot.title) for path, shot in zip(outputs.save_pictures(made), made.shots)], found

    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = inspect.Signature([inspect.Parameter(n, keyword) for n in ["model", *names(pickers), *told]])
    hidden = gr.Button(visible=False)
    outputs = [gr.Gallery(visible=False, format="png", label="pictures"), gr.JSON(visible=False, label="found")]
    hidden.click(
        call, [model, *(p.file for p in pickers), *told.values()], outputs,
        api_name=page.key.replace("-", "_"), api_description=page.look, **HEAVY,
    )  # fmt: skip
