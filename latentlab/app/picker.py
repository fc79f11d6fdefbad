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
from . import markup, model_cache, outputs
from .buttons import RunButtons
from .outputs import InputImage


@dataclass(frozen=True, eq=False)
class Picker:
    """The components of one input picture; `state` holds the InputImage."""

    page: str
    label: str
    state: gr.State
    preview: gr.Image
    selection: gr.HTML
    file: gr.File
    examples: gr.Gallery
    caption: gr.Textbox | None
    caption_from_example: Callable[[str], str]

    @property
    def outputs(self) -> list:
        return [self.state, self.preview, self.selection, *([self.caption] if self.caption else [])]

    def show(self, image: InputImage) -> list:
        """What the outputs become when a picture is chosen."""
        updates = [image, outputs.file(thumbnail(image)), selection_line(self.label, image)]
        return updates + ([self.caption_from_example(image.caption) or gr.skip()] if self.caption else [])


def thumbnail(image: InputImage) -> Image.Image:
    return images.square(image.picture, 256)


def selection_line(label: str, image: InputImage) -> str:
    """Which picture is chosen, in words."""
    latents_note = " Its z_i and x_T are known." if image.known_latents else ""
    return f'<p class="note">{html.escape(label)}: <b>{html.escape(image.name[:60])}</b>.{latents_note}</p>'


def load_examples() -> list[InputImage]:
    return [outputs.example_image(path, caption) for path, caption in model_cache.gallery(model_cache.DEFAULT_MODEL)]


def is_plain(image: InputImage) -> bool:
    """Whether an example shows a single thing without a label or a relation."""
    return not re.search(r"\b(label|says|left|right|above|below|beside|on top)\b", image.caption)


def build(page, label: str, first: str, examples: list[InputImage], caption: gr.Textbox | None = None) -> Picker:
    """The input's components, with an example chosen, so that Run works at once."""
    simple = [c for c in examples if is_plain(c)] or examples
    start = next((c for c in simple if re.search(first, c.caption)), simple[0] if simple else None)
    if start and caption:
        caption.value = page.caption_from_example(start.caption)
    state = gr.State(start)
    line = gr.HTML(selection_line(label, start) if start else "", padding=False)
    preview_image = (page.preview or thumbnail)(start) if start else None
    with gr.Row(equal_height=True, elem_classes="picker"):
        preview = gr.Image(
            preview_image, label=label, show_label=False, height=150, interactive=False, buttons=[],
            format="png", elem_classes="frame", min_width=130, scale=2, alt_text=f"{label}: the one that is chosen",
        )  # fmt: skip
        file = gr.File(
            label=f"Your own {label.lower()}", type="filepath", height=150, scale=3, min_width=160, elem_classes="drop"
        )
    classes = ["examples", "many"] if len(page.pictures) > 1 else ["examples"]
    gallery = gr.Gallery(
        [c.picture for c in examples], label=f"Examples: {label.lower()}", show_label=False, columns=8, height="auto",
        allow_preview=False, object_fit="contain", interactive=False, buttons=[], elem_classes=classes,
        visible=bool(examples),
    )  # fmt: skip
    return Picker(page.key, label, state, preview, line, file, gallery, caption, page.caption_from_example)


def connect(picker: Picker, examples: list[InputImage], buttons: RunButtons) -> None:
    """Take an example or a file when it is chosen; Run is disabled until it is there."""

    def take(index: gr.SelectData) -> list:
        return [*picker.show(examples[index.index]), None]

    def read(path: str | None, now: InputImage | None) -> list:
        kept = selection_line(picker.label, now) if now else ""
        rest = [gr.skip()] * (len(picker.outputs) - 2)
        if not path:
            return [gr.skip(), gr.skip(), kept, *rest]
        try:
            return [*picker.show(outputs.uploaded_image(path)), gr.update(selected_index=None)]
        except UserError as error:
            return [gr.skip(), gr.skip(), markup.message(markup.error_sentence(error), "wrong") + kept, *rest]

    buttons.block_run_while(picker.examples.select, take, None, [*picker.outputs, picker.file])
    buttons.block_run_while(picker.file.change, read, [picker.file, picker.state], [*picker.outputs, picker.examples])
