"""Choosing a picture: a file, an example, or one that was made here."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
from PIL import Image

from ..errors import UserError
from ..io import images
from . import labs, markup, outputs
from .buttons import Pair
from .outputs import Chosen


@dataclass(frozen=True, eq=False)
class Picker:
    """The components of one input picture; `state` holds the Chosen."""

    page: str
    label: str
    state: gr.State
    preview: gr.Image
    says: gr.HTML
    file: gr.File
    shelf: gr.Gallery
    caption: gr.Textbox | None
    worded: Callable[[str], str]

    @property
    def outputs(self) -> list:
        return [self.state, self.preview, self.says, *([self.caption] if self.caption else [])]

    def show(self, chosen: Chosen) -> list:
        """What the outputs become when a picture is chosen."""
        found = [chosen, outputs.file(framed(chosen)), says(self.label, chosen)]
        return found + ([self.worded(chosen.caption) or gr.skip()] if self.caption else [])


def framed(chosen: Chosen) -> Image.Image:
    return images.square(chosen.picture, 256)


def says(label: str, chosen: Chosen) -> str:
    """Which picture is chosen, in words."""
    known = " Its z_i and x_T are known." if chosen.known else ""
    return f'<p class="note">{html.escape(label)}: <b>{html.escape(chosen.name[:60])}</b>.{known}</p>'


def examples() -> list[Chosen]:
    return [outputs.example(path, caption) for path, caption in labs.gallery(labs.DEFAULT)]


def plain(chosen: Chosen) -> bool:
    """Whether an example is of one thing and wears no word."""
    return not re.search(r"\b(label|says|left|right|above|below|beside|on top)\b", chosen.caption)


def build(page, label: str, first: str, found: list[Chosen], caption: gr.Textbox | None = None) -> Picker:
    """The input's components, with an example chosen, so that Run works at once."""
    simple = [c for c in found if plain(c)] or found
    start = next((c for c in simple if re.search(first, c.caption)), simple[0] if simple else None)
    if start and caption:
        caption.value = page.worded(start.caption)
    state = gr.State(start)
    line = gr.HTML(says(label, start) if start else "", padding=False)
    shown = (page.dress or framed)(start) if start else None
    with gr.Row(equal_height=True, elem_classes="picker"):
        preview = gr.Image(
            shown, label=label, show_label=False, height=150, interactive=False, buttons=[],
            format="png", elem_classes="frame", min_width=130, scale=2, alt_text=f"{label}: the one that is chosen",
        )  # fmt: skip
        file = gr.File(
            label=f"Your own {label.lower()}", type="filepath", height=150, scale=3, min_width=160, elem_classes="drop"
        )
    classes = ["examples", "many"] if len(page.pictures) > 1 else ["examples"]
    shelf = gr.Gallery(
        [c.picture for c in found], label=f"Examples: {label.lower()}", show_label=False, columns=8, height="auto",
        allow_preview=False, object_fit="contain", interactive=False, buttons=[], elem_classes=classes,
        visible=bool(found),
    )  # fmt: skip
    return Picker(page.key, label, state, preview, line, file, shelf, caption, page.worded)


def wire(picker: Picker, found: list[Chosen], pair: Pair) -> None:
    """Take an example or a file when it is given; a run waits until it is there."""

    def take(index: gr.SelectData) -> list:
        return [*picker.show(found[index.index]), None]

    def read(path: str | None, now: Chosen | None) -> list:
        kept = says(picker.label, now) if now else ""
        rest = [gr.skip()] * (len(picker.outputs) - 2)
        if not path:
            return [gr.skip(), gr.skip(), kept, *rest]
        try:
            return [*picker.show(outputs.uploaded(path)), gr.update(selected_index=None)]
        except UserError as error:
            return [gr.skip(), gr.skip(), markup.sentence(markup.whole(error), "wrong") + kept, *rest]

    pair.after(picker.shelf.select, take, None, [*picker.outputs, picker.file])
    pair.after(picker.file.change, read, [picker.file, picker.state], [*picker.outputs, picker.shelf])
