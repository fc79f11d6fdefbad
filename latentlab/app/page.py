"""How a page describes itself, and what its run returns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import UserError
from ..experiments import Progress, Result
from . import controls
from .outputs import InputImage, OutputImage

if TYPE_CHECKING:
    from PIL import Image


def picture_names(pictures: Sequence) -> list[str]:
    """What a page's input pictures are called in calls and links."""
    return [f"picture_{k + 1}" for k in range(len(pictures))] if len(pictures) > 1 else ["picture"] * len(pictures)


@dataclass(frozen=True, eq=False)
class PageResult:
    """What a page's run returns.

    Args:
        extras: values for the page's own outputs, by name.
        figures: figures as HTML, shown above the numbers.
        summary: the sentence to show, where the page has a better one than the result's summary.
        notes: what the page itself has to say, beside the result's own.
        columns: of the gallery, where a run has its own.
    """

    result: Result
    images: Sequence[OutputImage] = ()
    extras: dict[str, Any] = field(default_factory=dict)
    figures: str = ""
    summary: str = ""
    notes: tuple[str, ...] = ()
    columns: int = 0


@dataclass(frozen=True, eq=False)
class Page:
    """A page, as its module describes it.

    Args:
        description: one sentence that says what to look for.
        controls, advanced, extra_outputs: build components by name; the controls' names are the parameters of `run`.
        run: (model, [pictures…], **params) -> a generator of Progress that returns a PageResult.
        pictures: labels of the input pictures; initial_examples: for each a pattern of the caption of the
            example that it starts with.
        caption: the control that an example's caption fills, as `caption_from_example` rewrites it.
        rerun_controls: controls that run the page again when they are moved after a run.
        preview: the input picture as it is shown before the run.
        connect: (picker, controls) -> None, adds the page's own events.
        columns: of the gallery; rows: whether its rows mean something, and stay rows on a phone; gallery: whether there
            is one.
        not_in_api: controls that the page's endpoint lacks.
    """

    key: str
    title: str
    description: str
    controls: Callable[[], dict]
    run: Callable[..., Generator[Progress, None, PageResult]]
    advanced: Callable[[], dict] = dict
    extra_outputs: Callable[[], dict] = dict
    pictures: tuple[str, ...] = ()
    initial_examples: tuple[str, ...] = ("heart", "apple")
    caption: str = ""
    caption_from_example: Callable[[str], str] = str
    rerun_controls: tuple[str, ...] = ()
    preview: Callable[[InputImage], Image.Image] | None = None
    connect: Callable[[Any, dict], None] | None = None
    columns: int = 4
    rows: bool = False
    gallery: bool = True
    not_in_api: tuple[str, ...] = ()


def validated_params(controls_by_name: dict, values: Sequence) -> dict:
    """The controls' values by name; texts are measured again, because only the browser has measured them.

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
            params[name] = controls.validated_seed(control.label, value)
    return params


def with_settings(page: Page, image: OutputImage, result: Result, fields: dict) -> OutputImage:
    """The image with everything that is needed to do it again."""
    settings = {**result.settings, **image.settings, "page": page.key, "fields": fields, "shows": image.title}
    return OutputImage(image.picture, image.title, image.caption, image.latent, image.known_latents, settings)
