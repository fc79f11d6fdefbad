"""One experiment's page: inputs and Run on the left, pictures, words and numbers on the right."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from ..errors import UserError
from ..io import images
from . import labs, markup, outputs, picker
from .buttons import ENDED, Pair
from .endpoints import HEAVY, endpoint
from .outputs import Made
from .page import Page, fitting, names, stamp

log = logging.getLogger("latentlab.app")
READY = markup.sentence("Press Run: the inputs are filled in already.")
PAUSE = 0.25  # seconds between two updates: the browser takes a tenth of a second for each, and so may the same cores


@dataclass(frozen=True, eq=False)
class Built:
    """A page's components."""

    page: Page
    knobs: dict
    pickers: list[picker.Picker]
    run: gr.Button
    said: gr.HTML
    gallery: gr.Gallery
    made: gr.State
    events: list


def handler(page: Page, told: dict, pair: Pair, gallery, drawer, numbers, made, extras: dict):
    """The event's generator: progress and previews, then the result; a refusal as a sentence."""

    said = pair.said

    def handle(model: str, *values) -> Iterator[dict]:
        started = time.monotonic()
        chosen = values[: len(page.pictures)]
        try:
            knobs = fitting(told, values[len(page.pictures) :])
            if None in chosen:
                raise UserError("there is no picture yet: drop a file, or click one of the examples")
            stream = page.run(labs.checked(model), *chosen, **knobs)
            outcome = yield from _shown(stream, said, gallery if page.gallery else None, made, pair.held())
        except UserError as error:
            yield {said: markup.sentence(markup.whole(error), "wrong")}
            return
        except gr.Error as error:  # a Space's own: no GPU is free, or the visitor's share of it is used up
            yield {said: markup.sentence(markup.whole(error.message), "wrong")}
            return
        except Exception:
            log.exception("a run of the page %s failed", page.key)
            yield {said: markup.sentence(markup.OURS, "wrong")}
            return
        fields = {name: value for name, value in knobs.items() if isinstance(value, str | int | float | bool)}
        fields |= {name: c.example for name, c in zip(names(chosen), chosen) if c.example}
        yield {
            drawer: gr.update(visible=True),
            **_final(page, outcome, fields, time.monotonic() - started, said, gallery, numbers, made, extras),
        }

    return handle


def _shown(stream, said: gr.HTML, gallery: gr.Gallery | None, made: gr.State, first: dict) -> Iterator[dict]:
    """`yield from` this: the outcome; the bar and the previews on the way, and something more with the first.

    With its first previews what the run before has made is gone from the page, and so it is from `made`.
    """
    stage, said_at, shown_at, clock = None, 0.0, 0.0, markup.Clock()
    while True:
        try:
            value = next(stream)
        except StopIteration as end:
            return end.value
        now = time.monotonic()
        left = clock.left(*value[:3])
        shows = gallery is not None and value.pixels is not None and now - shown_at > PAUSE
        if value.stage == stage and not shows and now - said_at < PAUSE:
            continue
        update = {said: markup.bar(*value[:3], left), **first}
        first, stage, said_at = {}, value.stage, now
        if shows:
            title = f"unfinished, step {value.step} of {value.steps}" if value.steps > 1 else "unfinished"
            if not shown_at:
                update[made] = Made()
            update[gallery] = [(path, title) for path in outputs.files(images.to_pil(value.pixels))]
            shown_at = now
        yield update


def _final(page, outcome, fields, seconds, said, gallery, numbers, made, extras) -> dict:
    stamped = tuple(stamp(page, shot, outcome.result, fields) for shot in outcome.shots)
    left = Made(page.key, stamped, fields)
    words = f"{outcome.said or outcome.result.summary()} ({seconds:.1f} s)"
    notes = tuple(dict.fromkeys([*outcome.notes, *outcome.result.notes]))
    table = markup.table(outcome.result.table) if outcome.result.table else ""
    update = {
        said: markup.sentence(words, "done", notes),
        numbers: outcome.drawn + table,
        made: left,
        **{extras[name]: gr.update(value=value, visible=True) for name, value in outcome.extras.items()},
    }
    if page.gallery:
        pictures = [(path, shot.title) for path, shot in zip(outputs.save_pictures(left), stamped)]
        columns = outcome.columns or page.columns
        update[gallery] = gr.update(value=pictures, columns=columns)
    return update


def build(page: Page, model: gr.Dropdown, examples: list) -> Built:
    """The page's tab, and its events."""
    with gr.Tab(page.title, id=page.key):
        gr.HTML(f"<h2>{page.title}</h2><p>{page.look}</p>", padding=False, elem_classes="look")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=330):
                knobs, pickers, *buttons = _inputs(page, examples)
            with gr.Column(scale=2, min_width=330):
                cancelled = gr.HTML(ENDED, padding=False, visible=False, elem_classes="cancelled")
                said = gr.HTML(READY, padding=False, elem_classes="said")
                pair = Pair(*buttons, cancelled, said)
                gallery, extras, drawer, numbers = _results(page)
        made = gr.State(Made())
        endpoint(page, model, pickers, knobs)
    outputs = [said, drawer, numbers, made, gallery, *pair.held(), *extras.values()]
    handle = handler(page, knobs, pair, gallery, drawer, numbers, made, extras)
    events = _events(page, handle, knobs, pair, made, [model, *(p.state for p in pickers), *knobs.values()], outputs)
    for each in pickers:
        picker.wire(each, examples, pair)
        if page.wire:
            page.wire(each, knobs)
    pair.cancel(events)
    return Built(page, knobs, pickers, pair.run, said, gallery, made, events)


def _inputs(page: Page, examples: list) -> tuple[dict, list[picker.Picker], gr.Button, gr.Button]:
    """The left side: pictures, knobs, Run and Cancel, and the drawer."""
    slots = gr.Column(visible=bool(page.pictures))
    knobs = page.knobs()
    with slots:
        pickers = [
            picker.build(page, label, first, examples, knobs.get(page.caption))
            for label, first in zip(page.pictures, page.firsts)
        ]
    with gr.Row(elem_classes="actions"):
        run = gr.Button("Run", variant="primary", elem_id=f"run-{page.key}")
        stop = gr.Button("Cancel", elem_classes="stop", elem_id=f"stop-{page.key}", interactive=False)
    if page.advanced is not dict:
        with gr.Accordion("Advanced", open=False):
            knobs = {**knobs, **page.advanced()}
    return knobs, pickers, run, stop


def _results(page: Page) -> tuple[gr.Gallery, dict, gr.Accordion, gr.HTML]:
    """The right side, under what is said: the pictures, the page's own, and the numbers in their drawer."""
    classes = ["shots", "result", *["rows"] * page.rows]
    gallery = gr.Gallery(
        label=f"Pictures: {page.title}", show_label=False, columns=page.columns, height="auto", object_fit="contain",
        format="png", buttons=["download", "fullscreen"], elem_classes=classes, visible=page.gallery, interactive=False,
        elem_id=f"shots-{page.key}",
    )  # fmt: skip
    extras = page.extras()
    with gr.Accordion("Numbers", open=not page.gallery, visible=False, elem_classes="result") as drawer:
        return gallery, extras, drawer, gr.HTML(padding=False)


def _events(page: Page, handle, told: dict, pair: Pair, made, inputs: list, outputs: list) -> list:
    """Run, Enter in a text box, and the knobs that run again."""
    options = {**HEAVY, "show_progress": "minimal", "show_progress_on": pair.said, "api_visibility": "private"}
    enter = [c.submit for c in told.values() if isinstance(c, gr.Textbox) and c.lines == 1]

    def again(before: Made, model: str, *values) -> Iterator[dict]:
        if before.shots:
            yield from handle(model, *values)
        else:
            yield {pair.said: READY}

    pair.hold([pair.run.click, *enter])
    events = [gr.on([pair.run.click, *enter], handle, inputs, outputs, **options)]
    for name in page.live:
        options = {**options, "trigger_mode": "always_last"}
        pair.hold([told[name].release])
        events.append(told[name].release(again, [made, *inputs], outputs, **options))
    for event in events:
        pair.free(event)
    return events
