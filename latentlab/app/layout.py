"""One experiment's page: inputs and Run on the left, pictures, words and numbers on the right."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from ..errors import UserError
from ..experiments import Progress
from ..io import images
from . import diagram, finished, markup, model_cache, outputs, picker
from .buttons import CANCELLED, RunButtons
from .endpoints import endpoint
from .events import QUIET, Controls, EventOptions, Updates, run_options
from .outputs import InputImage, RunOutput
from .page import Page, PageResult, PageRun, run_fields, validated_params
from .results import RunComponents, gallery_classes, result_update, run_view

log = logging.getLogger("latentlab.app")
NEW_SEED_JS = "() => Math.floor(Math.random() * 1e6)"
UNFOLD_JS = "() => { document.getElementById('%s').classList.toggle('unfolded') }"
MIN_INTERVAL = 0.25  # seconds between two updates: drawing one takes the browser a tenth of a second


@dataclass(frozen=True, eq=False)
class BuiltPage:
    """A page's components."""

    page: Page
    controls: Controls
    pickers: list[picker.Picker]
    examples: list[InputImage]
    run: gr.Button
    status: gr.HTML
    gallery: gr.Gallery
    run_output: gr.State
    events: list[Dependency]
    tab: gr.Tab
    above: Any


def handler(
    page: Page, controls: Controls, buttons: RunButtons, components: RunComponents
) -> Callable[..., Iterator[Updates]]:
    """Return the event's generator: it yields progress and previews, then the result or the error's sentence."""

    def handle(model: str, *values: Any) -> Iterator[Updates]:
        start = time.monotonic()
        input_images = values[: len(page.pictures)]
        try:
            params = validated_params(controls, values[len(page.pictures) :])
            if None in input_images:
                raise UserError("there is no picture yet: drop a file, or click one of the examples")
            stream = page.run(model_cache.validated_name(model), *input_images, **params)
            first_update = buttons.running_update()
            if components.live:
                first_update[components.live] = None
            gallery = components.gallery if page.gallery else components.live
            page_result = yield from _stream_updates(
                stream, components.status, gallery, components.run_output, first_update
            )
        except UserError as error:
            yield {components.status: markup.message(markup.error_sentence(error), "wrong")}
            return
        except gr.Error as error:  # from the Space itself: no GPU is free, or the visitor's share of it is used up
            yield {components.status: markup.message(markup.error_sentence(error.message), "wrong")}
            return
        except Exception:
            log.exception("a run of the page %s failed", page.key)
            yield {components.status: markup.message(markup.SERVER_ERROR, "wrong")}
            return
        view = run_view(page, page_result, run_fields(params, input_images))
        sentence = f"{view.sentence} ({time.monotonic() - start:.1f}\u00a0s)"
        yield result_update(page, view, markup.message(sentence, "done", view.notes), components)

    return handle


def _stream_updates(
    stream: PageRun, status: gr.HTML, gallery: Component | None, run_output: gr.State, first_update: Updates
) -> Generator[Updates, None, PageResult]:
    """`yield from` this: progress and previews; it returns the PageResult.

    `first_update` is added to the first update. The first preview replaces the pictures of the run before, so
    `run_output` is emptied with it.
    """
    stage, status_time, preview_time, clock = "", 0.0, 0.0, markup.StageClock()
    while True:
        try:
            progress = next(stream)
        except StopIteration as end:
            return end.value
        now = time.monotonic()
        seconds_left = clock.left(progress.stage, progress.step, progress.steps)
        preview = progress.pixels if gallery is not None and now - preview_time > MIN_INTERVAL else None
        if progress.stage == stage and preview is None and now - status_time < MIN_INTERVAL:
            continue
        bar = markup.progress_bar(progress.stage, progress.step, progress.steps, seconds_left)
        update: Updates = {status: bar, **first_update}
        first_update, stage, status_time = {}, progress.stage, now
        if gallery is not None and preview is not None:
            if not preview_time and isinstance(gallery, gr.Gallery):
                update[run_output] = RunOutput()
            update[gallery] = _preview(gallery, progress, outputs.files(images.to_pil(preview)))
            preview_time = now
        yield update


def _preview(component: Component, progress: Progress, paths: list[str]) -> object:
    """The value that shows unfinished pictures: a gallery shows all of them, and an image the first."""
    if not isinstance(component, gr.Gallery):
        return paths[0]
    title = f"unfinished, step {progress.step} of {progress.steps}" if progress.steps > 1 else "unfinished"
    return [(path, title) for path in paths]


def build(page: Page, model: gr.Dropdown, examples: list[InputImage]) -> BuiltPage:
    """Build the page's tab and its events."""
    examples = [*page.examples(), *examples]
    with gr.Tab(page.title, id=page.key) as tab:
        stages = page.stages or diagram.page_stages(page.key)
        gr.HTML(markup.description(page.title, page.description, stages), padding=False, elem_classes="description")
        above = page.above() if page.above else None
        with gr.Row(equal_height=False, elem_classes=f"page-{page.key}"):
            with gr.Column(scale=1, min_width=330):
                controls, pickers, run, stop = _inputs(page, examples)
            with gr.Column(scale=2, min_width=330):
                cancelled = gr.HTML(CANCELLED, padding=False, visible=False, elem_classes="cancelled")
                components = _results(page)
        buttons = RunButtons(run, stop, cancelled, components.status)
        endpoint(page, model, pickers, controls)
    following = {name: components.extras[name] for name in page.following}
    pickers = [replace(built, following=following, follow=page.follow) for built in pickers]
    both = {name: components.extras[name] for name in page.both}
    inputs = [model, *(p.state for p in pickers), *controls.values(), *both.values()]
    events = _events(page, controls, both, buttons, components, inputs)
    for input_picker in pickers:
        picker.connect(input_picker, examples, buttons)
        if page.connect:
            page.connect(input_picker, {**controls, **components.extras}, buttons)
    if page.connect_results:
        page.connect_results(controls, components.extras)
    buttons.connect_cancel(events)
    finished.connect(page, tab, components)
    shown = components.status, components.gallery, components.run_output
    return BuiltPage(page, controls, pickers, examples, run, *shown, events, tab, above)


def _inputs(page: Page, examples: list[InputImage]) -> tuple[Controls, list[picker.Picker], gr.Button, gr.Button]:
    """Build the left side: pictures, controls, Run and Cancel, and the advanced controls."""
    slots = gr.Column(visible=bool(page.pictures) and not page.pictures_if, render=False)
    if not page.pictures_if:
        slots.render()
    controls = page.controls()
    if page.pictures_if:
        slots.render()
        optional: Any = controls[page.pictures_if]
        optional.change(lambda checked: gr.update(visible=checked), optional, slots, **QUIET)
    filled = {name: controls[name] for name in page.filled}
    with slots:
        pickers = [
            picker.build(page, label, pattern, examples, filled)
            for label, pattern in zip(page.pictures, page.initial_examples)
        ]
    with gr.Row(elem_classes="actions"):
        run = gr.Button("Run", variant="primary", elem_id=f"run-{page.key}", min_width=90)
        new_seeds = gr.Button("New seeds", visible=page.new_seeds, elem_id=f"new-seeds-{page.key}", min_width=90)
        stop = gr.Button("Cancel", elem_classes="stop", elem_id=f"stop-{page.key}", interactive=False, min_width=90)
    if page.advanced is not dict:
        with gr.Accordion("Advanced", open=False):
            controls = {**controls, **page.advanced()}
    if page.new_seeds:
        drawn = new_seeds.click(None, None, controls["seed"], js=NEW_SEED_JS, **QUIET)
        drawn.then(None, None, None, js=f"() => document.getElementById('{run.elem_id}').click()", **QUIET)
    return controls, pickers, run, stop


def _results(page: Page) -> RunComponents:
    """Build the right side: the status, the pictures, the page's own outputs, and the numbers."""
    status = gr.HTML(markup.message(page.ready), padding=False, elem_classes="status")
    gallery = gr.Gallery(
        label=f"Pictures: {page.title}",
        show_label=False,
        columns=page.columns,
        height="auto",
        object_fit="contain",
        format="png",
        buttons=["download", "fullscreen"],
        elem_classes=gallery_classes(page),
        visible=page.gallery,
        interactive=False,
        elem_id=f"gallery-{page.key}",
    )
    more = gr.Button(visible=False, size="sm", elem_classes="result more")
    more.click(None, None, None, js=UNFOLD_JS % f"gallery-{page.key}", **QUIET)
    extras = page.extra_outputs()
    alone = not page.gallery and not page.live  # there is nothing else to see
    with gr.Accordion("Numbers", open=alone, visible=False, elem_classes="result") as drawer:
        numbers = gr.HTML(padding=False)
    run_output = gr.State(RunOutput())
    return RunComponents(status, gallery, more, drawer, numbers, run_output, extras, extras.get(page.live))


def _events(
    page: Page,
    controls: Controls,
    both: Controls,
    buttons: RunButtons,
    components: RunComponents,
    inputs: list[Component],
) -> list[Dependency]:
    """Connect Run, Enter in a text box, and the controls that run the page again."""
    handle = handler(page, {**controls, **both}, buttons, components)
    options = run_options(components.status)
    outputs = [
        components.status,
        components.drawer,
        components.numbers,
        components.run_output,
        components.gallery,
        components.more,
        *buttons.running_update(),
        *components.extras.values(),
    ]
    enter = [c.submit for c in controls.values() if isinstance(c, gr.Textbox) and c.lines == 1]

    buttons.on_start([buttons.run.click, *enter])
    events = [gr.on([buttons.run.click, *enter], handle, inputs, outputs, **options)]
    for name in page.rerun_controls:
        slider = controls[name]
        assert isinstance(slider, gr.Slider)  # the only control that has an event for the end of a movement
        latest: EventOptions = {**options, "trigger_mode": "always_last"}
        buttons.on_start([slider.release])
        events.append(slider.release(handle, inputs, outputs, **latest))
    for event in events:
        buttons.on_end(event)
    return events
