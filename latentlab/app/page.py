"""How a page describes itself, and what its run returns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import UserError
from ..experiments import Progress, Result
from . import controls
from .outputs import Chosen, Shot

if TYPE_CHECKING:
    from PIL import Image


def names(pictures: Sequence) -> list[str]:
    """What a page's input pictures are called in calls and links."""
    return [f"picture_{k + 1}" for k in range(len(pictures))] if len(pictures) > 1 else ["picture"] * len(pictures)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a page's run returns.

    Args:
        extras: values for the page's own outputs, by name.
        drawn: figures as HTML, shown above the numbers.
        said: the sentence, where the page has a better one than the result's summary.
        notes: what the page itself has to say, beside the result's own.
        columns: of the gallery, where a run has its own.
    """

    result: Result
    shots: Sequence[Shot] = ()
    extras: dict[str, Any] = field(default_factory=dict)
    drawn: str = ""
    said: str = ""
    notes: tuple[str, ...] = ()
    columns: int = 0


@dataclass(frozen=True, eq=False)
class Page:
    """A page, as its module describes it.

    Args:
        look: one sentence that says what to look for.
        knobs, advanced, extras: build components, by name; the knobs' names are the parameters of `run`.
        run: (model, [pictures…], **knobs) -> a generator of Progress that returns an Outcome.
        pictures: labels of the input pictures; firsts: a word in the caption of the example each begins with.
        caption: the knob that an example's own caption fills, as `worded` puts it.
        live: knobs that run again when they are moved after a run.
        dress: an input picture as it is shown before the run; wire: (picker, knobs) -> None, the page's own events.
        columns: of the gallery; rows: whether its rows mean something, and stay rows on a phone; gallery: whether there
            is one.
        private: knobs that the page's endpoint lacks.
    """

    key: str
    title: str
    look: str
    knobs: Callable[[], dict]
    run: Callable[..., Generator[Progress, None, Outcome]]
    advanced: Callable[[], dict] = dict
    extras: Callable[[], dict] = dict
    pictures: tuple[str, ...] = ()
    firsts: tuple[str, ...] = ("heart", "apple")
    caption: str = ""
    worded: Callable[[str], str] = str
    live: tuple[str, ...] = ()
    dress: Callable[[Chosen], Image.Image] | None = None
    wire: Callable[[Any, dict], None] | None = None
    columns: int = 4
    rows: bool = False
    gallery: bool = True
    private: tuple[str, ...] = ()


def fitting(told: dict, values: Sequence) -> dict:
    """The knobs' values by name; a text is only measured by the browser, so it is measured again.

    Raises:
        UserError: a text that is too long, or a seed that is none.
    """
    found = dict(zip(told, values))
    for name, control in told.items():
        value = found[name]
        if isinstance(control, gr.Textbox) and len(value or "") > (control.max_length or 1000):
            given = f"{control.label} has {len(value)} letters, at most {control.max_length} are read"
            raise UserError(f"{given}: shorten it")
        if isinstance(control, gr.Number):
            found[name] = controls.whole(control.label, value)
    return found


def stamp(page: Page, shot: Shot, result: Result, fields: dict) -> Shot:
    """The shot with everything that is needed to do it again."""
    settings = {**result.settings, **shot.settings, "page": page.key, "fields": fields, "shows": shot.title}
    return Shot(shot.picture, shot.title, shot.caption, shot.latent, shot.known, settings)
