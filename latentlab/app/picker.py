"""The input picture of a page: an example, a visitor's file, or a picture from a run."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component
from PIL import Image

from ..errors import UserError
from ..io import images
from . import markup, model_cache, outputs
from .buttons import RunButtons
from .outputs import InputImage
from .page import Page


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
    def outputs(self) -> list[Component]:
        return [self.state, self.preview, self.selection, *([self.caption] if self.caption else [])]

    def show(self, image: InputImage) -> list[object]:
        """Return the values of `outputs` that show the picture as the chosen one."""
        values = [image, outputs.file(thumbnail(image)), selection_line(self.label, image)]
        return values + ([self.caption_from_example(image.caption) or gr.skip()] if self.caption else [])


def thumbnail(image: InputImage) -> Image.Image:
    return images.square(image.picture, 256)


def selection_line(label: str, image: InputImage) -> str:
    """Return the name of the chosen picture as a line of the page."""
    latents_note = " Its z_i and x_T are known." if image.known_latents else ""
    return f'<p class="note">{html.escape(label)}: <b>{html.escape(image.name[:60])}</b>.{latents_note}</p>'


def load_examples() -> list[InputImage]:
    return [outputs.example_image(path, caption) for path, caption in model_cache.gallery(model_cache.DEFAULT_MODEL)]


def is_plain(image: InputImage) -> bool:
    """Return whether an example shows a single thing without a label or a relation."""
    return not re.search(r"\b(label|says|left|right|above|below|beside|on top)\b", image.caption)


def build(
    page: Page, label: str, first_example: str, examples: list[InputImage], caption: gr.Textbox | None = None
) -> Picker:
    """Build the input's components, with an example chosen, so that Run works at once."""
    plain = [example for example in examples if is_plain(example)] or examples
    chosen = next((example for example in plain if re.search(first_example, example.caption)), next(iter(plain), None))
    if chosen and caption:
        caption.value = page.caption_from_example(chosen.caption)
    state = gr.State(chosen)
    line = gr.HTML(selection_line(label, chosen) if chosen else "", padding=False)
    preview_image = (page.preview or thumbnail)(chosen) if chosen else None
    with gr.Row(equal_height=True, elem_classes="picker"):
        preview = gr.Image(
            preview_image,
            label=label,
            show_label=False,
            height=150,
            interactive=False,
            buttons=[],
            format="png",
            elem_classes="frame",
            min_width=130,
            scale=2,
            alt_text=f"{label}: the chosen one",
        )
        file = gr.File(
            label=f"Your own {label.lower()}", type="filepath", height=150, scale=3, min_width=160, elem_classes="drop"
        )
    classes = ["examples", "many"] if len(page.pictures) > 1 else ["examples"]
    gallery = gr.Gallery(
        [example.picture for example in examples],
        label=f"Examples: {label.lower()}",
        show_label=False,
        columns=8,
        height="auto",
        allow_preview=False,
        object_fit="contain",
        interactive=False,
        buttons=[],
        elem_classes=classes,
        visible=bool(examples),
    )
    return Picker(page.key, label, state, preview, line, file, gallery, caption, page.caption_from_example)


def connect(picker: Picker, examples: list[InputImage], buttons: RunButtons) -> None:
    """Show an example or a file when it is chosen; Run is disabled until it is loaded."""

    def show_example(selection: gr.SelectData) -> list[object]:
        return [*picker.show(examples[selection.index]), None]

    def show_file(path: str | None, chosen: InputImage | None) -> list[object]:
        line = selection_line(picker.label, chosen) if chosen else ""
        skipped = [gr.skip()] * (len(picker.outputs) - 2)
        if not path:
            return [gr.skip(), gr.skip(), line, *skipped]
        try:
            return [*picker.show(outputs.uploaded_image(path)), gr.update(selected_index=None)]
        except UserError as error:
            return [gr.skip(), gr.skip(), markup.message(markup.error_sentence(error), "wrong") + line, *skipped]

    buttons.block_run_while(picker.examples.select, show_example, None, [*picker.outputs, picker.file])
    buttons.block_run_while(
        picker.file.change, show_file, [picker.file, picker.state], [*picker.outputs, picker.examples]
    )
