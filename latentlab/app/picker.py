"""The input picture of a page: an example, a visitor's file, or a picture from a run."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import gradio as gr
from gradio.components import Component
from PIL import Image

from ..errors import UserError
from ..experiments.classification import answer
from ..io import images
from ..io.subject import subject_box
from . import markup, model_cache, outputs, running
from .buttons import RunButtons
from .events import Controls, Update
from .outputs import InputImage
from .page import Page, no_values

_SHOWN = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Picker:
    """The components of one input picture; `state` holds the InputImage.

    Args:
        following: outputs of the page that show the chosen picture as well, by name; `follow` returns their values.
    """

    page: str
    label: str
    slot: gr.Column
    state: gr.State
    preview: gr.Image
    selection: gr.HTML
    file: gr.File
    crop: gr.Checkbox
    examples: gr.Gallery
    filled: Controls
    fill: Callable[[InputImage], dict[str, str]]
    following: Controls = field(default_factory=dict)
    follow: Callable[[InputImage], Mapping[str, object]] = no_values

    @property
    def outputs(self) -> list[Component]:
        own = [self.state, self.preview, self.selection, self.crop, self.examples]
        return [*own, *self.filled.values(), *self.following.values()]

    def show(self, image: InputImage, *, clicked: bool = False) -> list[object]:
        """Return the values of `outputs` that show the picture as the chosen one, and its texts.

        A clicked example keeps its frame; of any other picture's choice no example is framed.
        """
        texts, values = self.fill(image), self.follow(image)
        return [
            image,
            outputs.file(thumbnail(image)),
            selection_line(self.label, image),
            gr.update(visible=can_be_cropped(image)),
            gr.skip() if clicked else gr.update(selected_index=None),
            *(filled_update(box, texts.get(name, ""), image) for name, box in self.filled.items()),
            *(values[name] for name in self.following),
        ]


def filled_update(box: Component, text: str, image: InputImage) -> Update:
    """Return the update of a text box that follows from a picture, which says so if CLIP only guessed the text."""
    info = "Filled in from CLIP's guess: change it if it is wrong." if image.guesses else getattr(box, "info", None)
    return gr.update(value=text, info=info)


def framed_image(
    label: str, alt_text: str, value: Image.Image | None = None, *, min_width: int, scale: int, height: int = 150
) -> gr.Image:
    """Build a chosen picture in a frame."""
    return gr.Image(
        value,
        label=label,
        show_label=False,
        height=height,
        interactive=False,
        buttons=[],
        format="png",
        elem_classes="frame",
        min_width=min_width,
        scale=scale,
        alt_text=alt_text,
    )


def thumbnail(image: InputImage) -> Image.Image:
    return images.square(image.picture, 256)


def selection_line(label: str, image: InputImage) -> str:
    """Return the name of the chosen picture as a line of the page."""
    latents_note = " Its z_i and x_T are known." if image.known_latents else ""
    guess = f" {html.escape(answer(image.guesses, sure_above=image.sure_above))}" if image.guesses else ""
    name = html.escape(image.name[:60])
    # The number makes each line differ from the one before, so that its event `change` fires for every choice.
    number = next(_SHOWN)
    return f'<p class="note" data-shown="{number}">{html.escape(label)}: <b>{name}</b>.{latents_note}{guess}</p>'


def can_be_cropped(image: InputImage) -> bool:
    """Return whether a visitor's file has a subject on a transparent or uniform ground."""
    return image.upload is not None and subject_box(image.upload) is not None


def with_guess(image: InputImage) -> InputImage:
    """Return a picture without a caption with the one that CLIP guesses, if a model is loaded."""
    lab = model_cache.current()
    if lab is None:
        return image
    guesses = running.guess_label(lab, image)
    return replace(image, guesses=guesses, caption=guesses[0][0], sure_above=lab.encoder.sure_above)


def load_examples() -> list[InputImage]:
    return [outputs.example_image(path, caption) for path, caption in model_cache.gallery(model_cache.DEFAULT_MODEL)]


def is_plain(image: InputImage) -> bool:
    """Return whether an example shows a single thing without a label or a relation."""
    return not re.search(r"\b(label|says|left|right|above|below|beside|on top)\b", image.caption)


def build(page: Page, label: str, first_example: str, examples: list[InputImage], filled: Controls) -> Picker:
    """Build the input's components, with an example chosen, so that Run works at once."""
    plain = [example for example in examples if is_plain(example)] or examples
    own = page.examples()[:1]
    suitable = [*own, *(example for example in plain if re.search(first_example, example.caption)), *plain]
    chosen = next(iter(suitable), None)
    state = gr.State(chosen)
    preview_image = (page.preview or thumbnail)(chosen) if chosen else None
    with gr.Column() as slot:
        line = gr.HTML(selection_line(label, chosen) if chosen else "", padding=False)
        with gr.Row(equal_height=True, elem_classes="picker"):
            preview = framed_image(label, f"{label}: the chosen one", preview_image, min_width=130, scale=2)
            file = gr.File(
                label=f"Your own {label.lower()}",
                type="filepath",
                height=150,
                scale=3,
                min_width=160,
                elem_classes="drop",
            )
        crop = gr.Checkbox(True, label="Crop to the subject", visible=False)
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
    return Picker(page.key, label, slot, state, preview, line, file, crop, gallery, filled, page.fill)


def connect(picker: Picker, examples: list[InputImage], buttons: RunButtons) -> None:
    """Show an example or a file when it is chosen; Run is disabled until it is loaded."""

    def show_example(selection: gr.SelectData) -> list[object]:
        return picker.show(examples[selection.index], clicked=True)

    def show_file(path: str | None, chosen: InputImage | None, crop: bool) -> list[object]:
        """Show a file and empty the drop zone, which then takes the next one."""
        try:
            image = with_guess(outputs.uploaded_image(path, crop))
        except UserError as error:
            line = selection_line(picker.label, chosen) if chosen else ""
            refusal = markup.message(markup.error_sentence(error), "wrong") + line
            unchanged = [refusal if output is picker.selection else gr.skip() for output in picker.outputs]
            return [*unchanged, None]
        return [*picker.show(image), None]

    def crop_again(chosen: InputImage | None, crop: bool) -> list[object]:
        if chosen is None or chosen.upload is None:
            return [gr.skip()] * len(picker.outputs)
        return picker.show(with_guess(outputs.cropped(chosen, crop)))

    buttons.block_run_while(picker.examples.select, show_example, None, picker.outputs)
    file_inputs = [picker.file, picker.state, picker.crop]
    buttons.block_run_while(picker.file.upload, show_file, file_inputs, [*picker.outputs, picker.file])
    buttons.block_run_while(picker.crop.input, crop_again, [picker.state, picker.crop], picker.outputs)
