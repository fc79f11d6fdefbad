"""How a page describes itself, and what its run returns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import UserError
from ..experiments import Progress, Result
from . import controls
from .events import Controls
from .outputs import InputImage, OutputImage

if TYPE_CHECKING:
    from PIL import Image

    from .buttons import RunButtons
    from .picker import Picker


def picture_names(pictures: Sequence[object]) -> list[str]:
    """Return the names of a page's input pictures in calls and links."""
    return [f"picture_{k + 1}" for k in range(len(pictures))] if len(pictures) > 1 else ["picture"] * len(pictures)


@dataclass(frozen=True, eq=False)
class PageResult:
    """What a page's run returns.

    Args:
        extras: values for the page's own outputs, by name; or what `gr.update` returns.
        figures: figures as HTML, which stand above the numbers.
        summary: the page's own sentence about the result, which replaces the result's summary.
        notes: the page's own notes, which stand before the result's.
        columns: the gallery's number of columns for this run; 0 keeps the page's.
        unfolded: the number of pictures that are shown at once, the others behind a button; 0 shows all.
    """

    result: Result
    images: Sequence[OutputImage] = ()
    extras: Mapping[str, object] = field(default_factory=dict)
    figures: str = ""
    summary: str = ""
    notes: tuple[str, ...] = ()
    columns: int = 0
    unfolded: int = 0


PageRun = Generator[Progress, None, PageResult]


def no_texts(image: InputImage) -> dict[str, str]:
    return {}


def no_values(image: InputImage) -> dict[str, object]:
    return {}


@dataclass(frozen=True, eq=False)
class Page:
    """A page, as its module describes it.

    Args:
        description: a sentence or two about what the page does and what to look for.
        controls, advanced, extra_outputs: functions that build components by name; the controls' names are the
            parameters of `run`.
        run: (model, [pictures…], **params) -> a generator of Progress that returns a PageResult.
        pictures: the labels of the input pictures.
        pictures_if: the checkbox below which the input pictures stand, where they are optional; they are shown while
            it is checked.
        initial_examples: for each input picture a regular expression; the page starts with the first example whose
            caption it matches.
        filled: the text boxes that follow from the chosen picture; `fill` returns their texts by name. Their own
            values fit the first example, because a Space lends its GPU to events alone, not while the app is built.
        rerun_controls: controls that run the page when they are moved.
        preview: draws the input picture before the run; by default it is a thumbnail.
        connect: (picker, controls and extra outputs, buttons) -> None, adds the page's own events.
        following: the extra outputs that show the chosen picture as well; `follow` returns their values by name. They
            arrive with the picture, before Run is enabled.
        examples: the page's own examples of an input picture, which come before those of all pages; the page starts
            with the first of them.
        both: the extra outputs that are parameters of `run` as well; the page's endpoint lacks them.
        ready: the sentence that the page starts with.
        live: the extra output that shows previews; by default the gallery does.
        connect_results: (controls, extra_outputs) -> None, adds events of the page's own outputs.
        columns: the gallery's number of columns.
        rows: whether the gallery keeps its rows on a phone, because they have a meaning.
        gallery: whether the page has a gallery.
        above: builds components above inputs and results, which the built page keeps.
        stages: stages that the page shows in place of those that its experiments declare.
        not_in_api: controls that the page's endpoint lacks.
        new_seeds: whether a button draws another value of the control `seed` and runs the page.
        order: the page's place among the tabs, which begin with the lowest.
    """

    key: str
    title: str
    description: str
    controls: Callable[[], Controls]
    run: Callable[..., PageRun]
    advanced: Callable[[], Controls] = dict
    extra_outputs: Callable[[], Controls] = dict
    pictures: tuple[str, ...] = ()
    pictures_if: str = ""
    initial_examples: tuple[str, ...] = ("heart", "apple")
    filled: tuple[str, ...] = ()
    fill: Callable[[InputImage], dict[str, str]] = no_texts
    rerun_controls: tuple[str, ...] = ()
    preview: Callable[[InputImage], Image.Image] | None = None
    connect: Callable[[Picker, Controls, RunButtons], None] | None = None
    following: tuple[str, ...] = ()
    follow: Callable[[InputImage], Mapping[str, object]] = no_values
    examples: Callable[[], list[InputImage]] = list
    both: tuple[str, ...] = ()
    live: str = ""
    ready: str = "Press Run: the inputs are filled in already."
    connect_results: Callable[[Controls, Controls], None] | None = None
    columns: int = 4
    rows: bool = False
    gallery: bool = True
    above: Callable[[], Any] | None = None
    stages: tuple[str, ...] = ()
    not_in_api: tuple[str, ...] = ()
    new_seeds: bool = False
    order: int = 100


def validated_params(controls_by_name: Controls, values: Sequence[Any]) -> dict[str, Any]:
    """Return the controls' values by name; a text's length is checked, because the browser alone has checked it.

    Raises:
        UserError: a text is too long, or a seed is not a whole number.
    """
    params = dict(zip(controls_by_name, values))
    for name, control in controls_by_name.items():
        value = params[name]
        if isinstance(control, gr.Textbox) and len(value or "") > (control.max_length or 1000):
            problem = f"{control.label} has {len(value)} letters, at most {control.max_length} are read"
            raise UserError(f"{problem}: shorten it")
        if isinstance(control, gr.Number):
            params[name] = controls.validated_seed(str(control.label), value)
    return params


def run_fields(params: Mapping[str, Any], input_images: Sequence[InputImage]) -> dict[str, Any]:
    """Return the values that a link needs to repeat a run: those of the controls, and the names of the examples."""
    fields = {name: value for name, value in params.items() if isinstance(value, str | int | float | bool)}
    named = zip(picture_names(input_images), input_images)
    return fields | {name: image.example for name, image in named if image.example}


def with_settings(page: Page, image: OutputImage, result: Result, fields: dict[str, Any]) -> OutputImage:
    """Return the image with all settings that are needed to repeat it."""
    settings = {**result.settings, **image.settings, "page": page.key, "fields": fields, "shows": image.title}
    return OutputImage(image.picture, image.title, image.caption, image.latent, image.known_latents, settings)
