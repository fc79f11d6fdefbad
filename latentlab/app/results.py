"""What a page shows of a run that has ended: a sentence, pictures, the page's own outputs, and the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from . import markup, outputs
from .events import Controls, Updates
from .outputs import RunOutput
from .page import Page, PageResult, with_settings


@dataclass(frozen=True, eq=False)
class RunComponents:
    """The components that a run updates, except the buttons; `live` shows previews, if there is one but the gallery."""

    status: gr.HTML
    gallery: gr.Gallery
    more: gr.Button
    drawer: gr.Accordion
    numbers: gr.HTML
    run_output: gr.State
    extras: Controls
    live: Component | None


@dataclass(frozen=True, eq=False)
class RunView:
    """A run as a page shows it.

    Args:
        numbers: HTML, empty if there is nothing behind “Numbers”.
        extras, columns, unfolded: as in `PageResult`.
    """

    sentence: str
    notes: tuple[str, ...]
    numbers: str
    output: RunOutput
    extras: Mapping[str, object]
    columns: int = 0
    unfolded: int = 0


def run_view(page: Page, page_result: PageResult, fields: dict[str, Any]) -> RunView:
    result = page_result.result
    output_images = tuple(with_settings(page, image, result, fields) for image in page_result.images)
    table = markup.results_table(result.table) if len(result.table) > 1 else ""
    summary = markup.paragraph(result.summary()) if page_result.summary else ""
    return RunView(
        page_result.summary or result.summary(),
        tuple(dict.fromkeys([*page_result.notes, *result.notes])),
        summary + page_result.figures + table,
        RunOutput(page.key, output_images, fields),
        page_result.extras,
        page_result.columns,
        page_result.unfolded,
    )


def result_update(page: Page, view: RunView, status: str, components: RunComponents) -> Updates:
    """Return the update that shows a run, with the HTML of its status."""
    update: Updates = {
        components.drawer: gr.update(visible=bool(view.numbers)),
        components.status: status,
        components.numbers: view.numbers,
        components.run_output: view.output,
    }
    for name, value in view.extras.items():
        is_update = isinstance(value, dict) and value.get("__type__") == "update"
        update[components.extras[name]] = value if is_update else gr.update(value=value, visible=True)
    if page.gallery:
        pictures = [(path, image.title) for path, image in zip(outputs.save_pictures(view.output), view.output.images)]
        columns, folded = view.columns or page.columns, 0 < view.unfolded < len(pictures)
        classes = gallery_classes(page, view.unfolded if folded else 0)
        update[components.gallery] = gr.update(value=pictures, columns=columns, elem_classes=classes)
        label = f"Show or hide the other {len(pictures) - view.unfolded}"
        update[components.more] = gr.update(visible=folded, value=label)
    return update


def gallery_classes(page: Page, unfolded: int = 0) -> list[str]:
    """Return the gallery's classes; with `unfolded` only so many pictures are shown until its button is pressed."""
    return ["outputs", "result", *["rows"] * page.rows, *[f"first-{unfolded}"] * bool(unfolded)]
