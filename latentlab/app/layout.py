"""One experiment's page: inputs and Run on the left, pictures, words and numbers on the right."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from ..errors import UserError
from ..io import images
from . import markup, model_cache, outputs, picker
from .buttons import CANCELLED, RunButtons
from .endpoints import MODEL_QUEUE, endpoint
from .outputs import RunOutput
from .page import Page, picture_names, validated_params, with_settings

log = logging.getLogger("latentlab.app")
READY = markup.message("Press Run: the inputs are filled in already.")
MIN_INTERVAL = 0.25  # seconds between two updates: drawing one takes the browser a tenth of a second


@dataclass(frozen=True, eq=False)
class BuiltPage:
    """A page's components."""

    page: Page
    controls: dict
    pickers: list[picker.Picker]
    run: gr.Button
    status: gr.HTML
    gallery: gr.Gallery
    run_output: gr.State
    events: list


def handler(page: Page, controls: dict, buttons: RunButtons, gallery, drawer, numbers, run_output, extras: dict):
    """The event's generator: progress and previews, then the result; a refusal as a sentence."""

    status = buttons.status

    def handle(model: str, *values) -> Iterator[dict]:
        started = time.monotonic()
        input_images = values[: len(page.pictures)]
        try:
            params = validated_params(controls, values[len(page.pictures) :])
            if None in input_images:
                raise UserError("there is no picture yet: drop a file, or click one of the examples")
            stream = page.run(model_cache.validated_name(model), *input_images, **params)
            page_result = yield from _stream_updates(
                stream, status, gallery if page.gallery else None, run_output, buttons.running_update()
            )
        except UserError as error:
            yield {status: markup.message(markup.error_sentence(error), "wrong")}
            return
        except gr.Error as error:  # a Space's own: no GPU is free, or the visitor's share of it is used up
            yield {status: markup.message(markup.error_sentence(error.message), "wrong")}
            return
        except Exception:
            log.exception("a run of the page %s failed", page.key)
            yield {status: markup.message(markup.SERVER_ERROR, "wrong")}
            return
        fields = {name: value for name, value in params.items() if isinstance(value, str | int | float | bool)}
        fields |= {name: c.example for name, c in zip(picture_names(input_images), input_images) if c.example}
        yield {
            drawer: gr.update(visible=True),
            **_result_update(
                page, page_result, fields, time.monotonic() - started, status, gallery, numbers, run_output, extras
            ),
        }

    return handle


def _stream_updates(
    stream, status: gr.HTML, gallery: gr.Gallery | None, run_output: gr.State, first: dict
) -> Iterator[dict]:
    """`yield from` this: the PageResult; progress and previews on the way, `first` is added to the first update.

    The first preview replaces the pictures of the run before, so `run_output` is emptied with it.
    """
    stage, status_at, shown_at, clock = None, 0.0, 0.0, markup.StageClock()
    while True:
        try:
            value = next(stream)
        except StopIteration as end:
            return end.value
        now = time.monotonic()
        left = clock.left(*value[:3])
        shows = gallery is not None and value.pixels is not None and now - shown_at > MIN_INTERVAL
        if value.stage == stage and not shows and now - status_at < MIN_INTERVAL:
            continue
        update = {status: markup.progress_bar(*value[:3], left), **first}
        first, stage, status_at = {}, value.stage, now
        if shows:
            title = f"unfinished, step {value.step} of {value.steps}" if value.steps > 1 else "unfinished"
            if not shown_at:
                update[run_output] = RunOutput()
            update[gallery] = [(path, title) for path in outputs.files(images.to_pil(value.pixels))]
            shown_at = now
        yield update


def _result_update(page, page_result, fields, seconds, status, gallery, numbers, run_output, extras) -> dict:
    stamped = tuple(with_settings(page, image, page_result.result, fields) for image in page_result.images)
    run_output_now = RunOutput(page.key, stamped, fields)
    words = f"{page_result.summary or page_result.result.summary()} ({seconds:.1f} s)"
    notes = tuple(dict.fromkeys([*page_result.notes, *page_result.result.notes]))
    table = markup.results_table(page_result.result.table) if page_result.result.table else ""
    update = {
        status: markup.message(words, "done", notes),
        numbers: page_result.figures + table,
        run_output: run_output_now,
        **{extras[name]: gr.update(value=value, visible=True) for name, value in page_result.extras.items()},
    }
    if page.gallery:
        pictures = [(path, image.title) for path, image in zip(outputs.save_pictures(run_output_now), stamped)]
        columns = page_result.columns or page.columns
        update[gallery] = gr.update(value=pictures, columns=columns)
    return update


def build(page: Page, model: gr.Dropdown, examples: list) -> BuiltPage:
    """The page's tab, and its events."""
    with gr.Tab(page.title, id=page.key):
        gr.HTML(f"<h2>{page.title}</h2><p>{page.description}</p>", padding=False, elem_classes="description")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=330):
                controls, pickers, *run_and_cancel = _inputs(page, examples)
            with gr.Column(scale=2, min_width=330):
                cancelled = gr.HTML(CANCELLED, padding=False, visible=False, elem_classes="cancelled")
                status = gr.HTML(READY, padding=False, elem_classes="status")
                buttons = RunButtons(*run_and_cancel, cancelled, status)
                gallery, extras, drawer, numbers = _results(page)
        run_output = gr.State(RunOutput())
        endpoint(page, model, pickers, controls)
    outputs = [status, drawer, numbers, run_output, gallery, *buttons.running_update(), *extras.values()]
    handle = handler(page, controls, buttons, gallery, drawer, numbers, run_output, extras)
    events = _events(
        page, handle, controls, buttons, run_output, [model, *(p.state for p in pickers), *controls.values()], outputs
    )
    for each in pickers:
        picker.connect(each, examples, buttons)
        if page.connect:
            page.connect(each, controls)
    buttons.connect_cancel(events)
    return BuiltPage(page, controls, pickers, buttons.run, status, gallery, run_output, events)


def _inputs(page: Page, examples: list) -> tuple[dict, list[picker.Picker], gr.Button, gr.Button]:
    """The left side: pictures, controls, Run and Cancel, and the drawer."""
    slots = gr.Column(visible=bool(page.pictures))
    controls = page.controls()
    with slots:
        pickers = [
            picker.build(page, label, first, examples, controls.get(page.caption))
            for label, first in zip(page.pictures, page.initial_examples)
        ]
    with gr.Row(elem_classes="actions"):
        run = gr.Button("Run", variant="primary", elem_id=f"run-{page.key}")
        stop = gr.Button("Cancel", elem_classes="stop", elem_id=f"stop-{page.key}", interactive=False)
    if page.advanced is not dict:
        with gr.Accordion("Advanced", open=False):
            controls = {**controls, **page.advanced()}
    return controls, pickers, run, stop


def _results(page: Page) -> tuple[gr.Gallery, dict, gr.Accordion, gr.HTML]:
    """The right side, under the status: the pictures, the page's own, and the numbers in their drawer."""
    classes = ["outputs", "result", *["rows"] * page.rows]
    gallery = gr.Gallery(
        label=f"Pictures: {page.title}", show_label=False, columns=page.columns, height="auto", object_fit="contain",
        format="png", buttons=["download", "fullscreen"], elem_classes=classes, visible=page.gallery, interactive=False,
        elem_id=f"gallery-{page.key}",
    )  # fmt: skip
    extras = page.extra_outputs()
    with gr.Accordion("Numbers", open=not page.gallery, visible=False, elem_classes="result") as drawer:
        return gallery, extras, drawer, gr.HTML(padding=False)


def _events(page: Page, handle, controls: dict, buttons: RunButtons, run_output, inputs: list, outputs: list) -> list:
    """Run, Enter in a text box, and the controls that run again."""
    options = {
        **MODEL_QUEUE,
        "show_progress": "minimal",
        "show_progress_on": buttons.status,
        "api_visibility": "private",
    }
    enter = [c.submit for c in controls.values() if isinstance(c, gr.Textbox) and c.lines == 1]

    def again(before: RunOutput, model: str, *values) -> Iterator[dict]:
        if before.images:
            yield from handle(model, *values)
        else:
            yield {buttons.status: READY}

    buttons.on_start([buttons.run.click, *enter])
    events = [gr.on([buttons.run.click, *enter], handle, inputs, outputs, **options)]
    for name in page.rerun_controls:
        options = {**options, "trigger_mode": "always_last"}
        buttons.on_start([controls[name].release])
        events.append(controls[name].release(again, [run_output, *inputs], outputs, **options))
    for event in events:
        buttons.on_end(event)
    return events
