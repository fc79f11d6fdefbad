"""The paper's figures, remade on any lab into one folder with an HTML page that shows them."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import plotting
from ..errors import UserError
from ..experiments import EXPERIMENTS, Experiment, Progress
from ..experiments.stages import forward_progress
from ..io.atomic import atomic_write
from . import clip_drawings as clip_drawings  # registers its drawings
from . import reranking as reranking  # registers its drawing
from . import road as road  # likewise
from .drawings import DRAWINGS
from .inputs import Inputs, ranked
from .page import page

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure

# The experiment that declares each figure, by the paper's number, or by name where the paper has no figure.
FIGURES: dict[str, Experiment] = {
    key: experiment for key in DRAWINGS for experiment in EXPERIMENTS.values() if key in experiment.figures
}


def remake(lab: Lab, inputs: Inputs, folder: Path, only: Sequence[str] = ()) -> Iterator[Progress | dict]:
    """Remake the paper's figures 3-9 and 14-16, and GLIDE's, into `folder`, with an index.html that shows them.

    Yields:
        Progress on the way, its stage being the figure; then one dict: the figures' numbers and files.

    Raises:
        UserError: a figure that there is not, or none that this lab can have. Where it can have others, a figure that
            it can't says why.
    """
    unknown = [n for n in only if n not in FIGURES]
    if unknown:
        raise UserError(f"there is no figure {', '.join(unknown)} here: give some of {', '.join(FIGURES)}")
    inputs = yield from forward_progress(ranked(lab, inputs))
    sections, refusal = [], None
    for number in only or FIGURES:
        try:
            sections.append((yield from _section(lab, inputs, folder, number)))
        except UserError as error:
            refusal = error
            sections.append(_described(number, summary=f"Not on {lab.name}: {error}.", files={}, notes=()))
    if refusal and not any(section["files"] for section in sections):
        raise refusal
    with atomic_write(folder / "index.html") as part:
        part.write_text(page(lab.name, sections), "utf-8")
    with atomic_write(folder / "figures.json") as part:
        part.write_text(json.dumps(sections, ensure_ascii=False, indent=1), "utf-8")
    yield {"model": lab.name, "page": str(folder / "index.html"), "figures": sections, "skipped": inputs.skipped}


def _section(lab: Lab, inputs: Inputs, folder: Path, number: str) -> Generator[Progress, None, dict[str, Any]]:
    """`yield from` this: draw and save one figure; returns its section."""
    for value in DRAWINGS[number].draw(lab, inputs):
        if isinstance(value, Progress):
            yield Progress(_named(number), value.step, value.steps)
        else:
            result, parts = value
    return _described(
        number,
        summary=result.summary(),
        files=_saved(parts, folder, number, result.settings),
        notes=list(result.notes),
        table=list(result.table),
        settings=result.settings,
    )


def _named(number: str) -> str:
    return f"figure {number}" if number.isdigit() else number


def _described(number: str, **outcome: Any) -> dict[str, Any]:
    """One figure's section as plain data."""
    drawing = DRAWINGS[number]
    return {"figure": number, "title": drawing.title, "about": drawing.about, "table": [], "settings": {}, **outcome}


def _saved(
    parts: Sequence[tuple[str, Figure]], folder: Path, number: str, settings: Mapping[str, Any]
) -> dict[str, str]:
    """The figures as PNGs that carry the settings: what each shows, by file name."""
    files, stem = {}, _named(number).replace(" ", "-")
    for k, (name, figure) in enumerate(parts):
        file = f"{stem}{chr(97 + k) if len(parts) > 1 else ''}.png"
        plotting.save(figure, folder / file, {**settings, "shows": name})
        files[file] = name
    return files
