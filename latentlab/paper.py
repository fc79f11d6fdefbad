"""The paper's figures, remade on any lab into one folder with a page to leaf through."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import experiments, figures, grammar, images
from .directions import Directions
from .errors import UserError
from .experiments import Progress, Result
from .files import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .models import Lab

Found = tuple[Result, list[tuple[str, "Figure"]]]


@dataclass(frozen=True)
class Inputs:
    """What the figures are made of.

    Args:
        pixels: (B, 3, H, W), six pictures or more.
        captions: one a picture.
        directions: PCA of many z_i, or None: then figure 7 is left out.
        skipped: the files that could not be read, each with the reason.
    """

    pixels: Tensor
    captions: tuple[str, ...]
    directions: Directions | None
    skipped: dict[str, str] = field(default_factory=dict)

    def thing(self, row: int) -> str:
        """The caption without its background: `a fox on a red background` -> `a fox`."""
        return re.split(r" on an? | on | and an? ", self.captions[row])[0]

    def plain(self) -> list[int]:
        """The pictures of one thing without a word."""
        return [k for k, c in enumerate(self.captions) if not re.search(r" (label|says|left|right|above|below) ", c)]


def inputs(lab: Lab, folder: Path | None = None, directions: Path | None = None) -> Inputs:
    """A folder's pictures, captioned by their file names, or the gallery of the embedded model.

    Pictures that can't be read are skipped and named; the first 24 others are taken.

    Raises:
        UserError: fewer than six pictures.
    """
    from . import embeddings, models

    listing, skipped = models.gallery("emoji"), {}
    if folder is not None:
        listing = [(path, re.sub(r"[-_]+", " ", path.stem)) for path in embeddings.find(folder)]
    pixels, captions = [], []
    for path, caption in listing:
        try:
            pixels.append(images.load(path, lab.pixels))
        except UserError as error:
            skipped[path.name] = str(error)
        else:
            captions.append(caption)
        if len(captions) == 24:
            break
    if len(captions) < 6:
        raise UserError(f"{folder} has {len(captions)} pictures that can be read, the figures want six or more")
    fitted = Directions.load(directions) if directions else models.directions(lab.name)
    return Inputs(torch.cat(pixels), tuple(captions), fitted, skipped)


def variations(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    rows = given.plain()[5:6] or [0]
    found = yield from _each(experiments.vary.stream(lab, given.pixels[rows], etas=(0, 0.4, 0.8, 1), seeds=range(6)))
    yield found, [("variations", found.figure())]


def interpolations(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    ends = yield from _each(experiments.invert.stream(lab, given.pixels[:2]))
    turned = yield from _each(experiments.interpolate.stream(lab, ends))
    fixed = yield from _each(experiments.interpolate.stream(lab, ends, seeds=(0, 1, 2)))
    yield turned, [("x_T turned with z_i", turned.figure()), ("x_T held fixed", fixed.figure())]


def text_diffs(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    others = [given.thing(k) for k in range(1, 5)]
    stream = experiments.diff.stream(lab, given.pixels[:1], others, source=given.thing(0))
    found = yield from _each(stream)
    yield found, [("text diffs", found.figure())]


def attacks(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    rows = given.plain()[:12]
    truth = [given.thing(k) for k in rows]
    words = [w for w in ("pizza", "robot", "ghost", "banana", "key") if not any(w in t for t in truth)]
    stream = experiments.attack.stream(lab, given.pixels[rows], words, truth, variations=0)
    sweep = yield from _each(stream)
    # One picture in full: that whose label wins most.
    worst = int(sweep.strength().sum(1).argmax())
    one = given.pixels[rows[worst]][None]
    found = yield from _each(experiments.attack.stream(lab, one, words[:3], truth[worst]))
    yield found, [("one picture, several words", found.figure()), ("many pictures, many words", sweep.heat_map())]


def components(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    dims = [k for k in (1, 2, 4, 8, 16, 32, 64, 128, 256) if k <= len(given.directions)]
    rows = given.plain()[:8]
    truth = [given.thing(k) for k in rows]
    known = {"labels": lab.things, "truth": truth} if set(truth) <= set(lab.things) else {}
    stream = experiments.truncate.stream(lab, given.pixels[rows], given.directions, dims=dims, **known)
    found = yield from _each(stream)
    yield found, [("reconstructions", found.figure()), ("what the components hold", found.curves())]


def prior(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    captions = list(dict.fromkeys(given.thing(k) for k in given.plain()))[:8]
    found = yield from _each(experiments.ablate.stream(lab, captions))
    yield found, [("three signals", found.figure())]


def guidance(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    found = yield from _each(experiments.sweep_guidance.stream(lab, given.captions[0], seeds=range(4)))
    yield found, [("guidance", found.figure())]


def binding(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    asked = grammar.arrangements(8, seed=0)
    found = yield from _each(experiments.bind.stream(lab, asked, seeds=range(6)))
    yield found, [("two coloured solids", found.figure())]


def hard_reconstructions(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    rows = [k for k, c in enumerate(given.captions) if any(s in c for s in grammar.SOLIDS)][-2:] or [0, 1]
    found = yield from _each(experiments.reconstruct.stream(lab, given.pixels[rows]))
    yield found, [("what z_i alone brings back", found.figure())]


def signs(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    words = ("deep learning",) if not lab.words else ("deep", "learning", "hello", "stop")
    alternatives = lab.words or ("machine learning", "deep sea", "open source", "stop", "hello", "sale")
    found = yield from _each(experiments.spell.stream(lab, words, alternatives=alternatives))
    yield found, [("signs", found.figure())]


FIGURES: dict[str, tuple[str, Callable]] = {
    "3": ("Variations", variations),
    "4": ("Interpolations", interpolations),
    "5": ("Text diffs", text_diffs),
    "6": ("Typographic attacks", attacks),
    "7": ("Principal components of z_i", components),
    "8": ("What the prior is for", prior),
    "9": ("Guidance", guidance),
    "14": ("Binding", binding),
    "15": ("Reconstructions of hard binding cases", hard_reconstructions),
    "16": ("Rendered words", signs),
}


def _each(stream: Iterator) -> Iterator[Progress]:
    """`yield from` this: an experiment's progress; its result."""
    for value in stream:
        if isinstance(value, Progress):
            yield value
    return value


def remake(lab: Lab, given: Inputs, folder: Path, only: Sequence[str] = ()) -> Iterator[Progress | dict]:
    """Remake the paper's figures 3-9 and 14-16 into `folder`, with an index.html to leaf through.

    Yields:
        Progress on the way, its stage being the figure; then one dict: the figures' numbers and files.

    Raises:
        UserError: a figure that there is not, or no directions for figure 7 when it is asked for.
    """
    unknown = [n for n in only if n not in FIGURES]
    if unknown:
        raise UserError(f"there is no figure {', '.join(unknown)} here: give some of {', '.join(FIGURES)}")
    if "7" in only and given.directions is None:
        raise UserError(f"figure 7 wants directions of {lab.name}: `latentlab pca fit FOLDER` makes them")
    sections = []
    for number in only or FIGURES:
        title, make = FIGURES[number]
        if number == "7" and given.directions is None:
            continue
        for value in make(lab, given):
            if isinstance(value, Progress):
                yield Progress(f"figure {number}", value.step, value.steps)
        result, drawn = value
        files = {}
        for k, (name, figure) in enumerate(drawn):
            file = f"figure-{number}{chr(97 + k) if len(drawn) > 1 else ''}.png"
            figures.save(figure, folder / file, {**result.settings, "shows": name})
            files[file] = name
        sections.append({
            "figure": number, "title": title, "summary": result.summary(), "files": files, "notes": list(result.notes),
            "table": list(result.table), "settings": result.settings,
        })  # fmt: skip
    with whole(folder / "index.html") as part:
        part.write_text(_page(lab.name, sections), "utf-8")
    with whole(folder / "figures.json") as part:
        part.write_text(json.dumps(sections, ensure_ascii=False, indent=1), "utf-8")
    page = str(folder / "index.html")
    yield {"model": lab.name, "page": page, "figures": sections, "skipped": given.skipped}


_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; }
nav { position: sticky; top: 0; background: Canvas; padding: .5rem 0; display: flex; gap: .8rem; flex-wrap: wrap; }
figure { margin: 1rem 0; } img { max-width: 100%; background: white; border-radius: 4px; }
table { border-collapse: collapse; font-size: .85rem; } td, th { padding: .1rem .7rem .1rem 0; text-align: left; }
section { margin-bottom: 3rem; } .note { opacity: .75; }
"""


def _page(model: str, sections: Sequence[dict]) -> str:
    links = "".join(f'<a href="#f{s["figure"]}">{s["figure"]} {html.escape(s["title"])}</a>' for s in sections)
    body = "".join(_section(s) for s in sections)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>The unCLIP paper\'s figures on {model}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>The unCLIP paper’s figures on {html.escape(model)}</h1><nav>{links}</nav>{body}</html>"
    )


def _section(found: dict) -> str:
    pictures = "".join(
        f'<figure><img src="{file}" alt="Figure {found["figure"]}: {html.escape(name)}" loading="lazy">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for file, name in found["files"].items()
    )
    columns = list(dict.fromkeys(key for row in found["table"] for key in row))
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(row.get(c)))}</td>" for c in columns) + "</tr>"
        for row in found["table"]
    )
    notes = "".join(f'<p class="note">{html.escape(n)}</p>' for n in found["notes"])
    return (
        f'<section id="f{found["figure"]}"><h2>Figure {found["figure"]}: {html.escape(found["title"])}</h2>'
        f"<p>{html.escape(found['summary'])}</p>{notes}{pictures}"
        f"<details><summary>Numbers</summary><table><tr>{head}</tr>{lines}</table></details></section>"
    )


def _cell(value) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
