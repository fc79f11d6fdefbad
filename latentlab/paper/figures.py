"""The paper's figures, remade on any lab into one folder with a page to leaf through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import experiments, grammar, plotting
from ..errors import UserError
from ..experiments import Progress, Result
from ..experiments.stages import forward_progress
from ..io.atomic import atomic_write
from .inputs import Inputs, ranked
from .page import page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..models import Lab

Figures = tuple[Result, list[tuple[str, "Figure"]]]


def inversions(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    result = yield from forward_progress(experiments.reconstruct.stream(lab, inputs.pixels[inputs.distinct(3)]))
    yield result, [("there and back", result.figure())]


def variations(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    rows = inputs.plain()[:1]
    result = yield from forward_progress(
        experiments.vary.stream(lab, inputs.pixels[rows], etas=(0, 0.4, 0.8, 1), seeds=range(6))
    )
    yield result, [("variations", result.figure())]


def interpolations(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    ends = yield from forward_progress(experiments.invert.stream(lab, inputs.pixels[inputs.distinct(2)]))
    turned = yield from forward_progress(experiments.interpolate.stream(lab, ends))
    fixed = yield from forward_progress(experiments.interpolate.stream(lab, ends, seeds=(0, 1, 2)))
    yield turned, [("x_T turned with z_i", turned.figure()), ("x_T held fixed", fixed.figure())]


def text_diffs(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    source, *others = inputs.things(5)
    stream = experiments.diff.stream(lab, inputs.pixels[inputs.plain()[:1]], others, source=source)
    result = yield from forward_progress(stream)
    yield result, [("text diffs", result.figure())]


def attacks(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    rows = inputs.plain()[:8]
    truth = [inputs.thing(k) for k in rows]
    words = [w for w in ("pizza", "robot", "ghost", "banana", "key") if not any(w in t for t in truth)]
    stream = experiments.attack.stream(lab, inputs.pixels[rows], words, truth, variations=1)
    sweep = yield from forward_progress(stream)
    # One picture in full: that which is misled most, by the words that mislead it most.
    strength = sweep.strength()
    worst = int(strength.amax(1).argmax())
    strongest = [words[k] for k in strength[worst].argsort(descending=True)[:3].tolist()]
    one = inputs.pixels[rows[worst]][None]
    result = yield from forward_progress(experiments.attack.stream(lab, one, strongest, truth[worst]))
    yield sweep, [("one picture, several words", result.figure()), ("many pictures, many words", sweep.heat_map())]


def components(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    if inputs.directions is None:
        raise UserError(f"figure 7 wants directions of {lab.name}: `latentlab pca fit FOLDER` makes them")
    kept = inputs.directions.explained
    # Up to all that there is to see: a further column would be the same.
    dims = [k for k in (1 << j for j in range(12)) if k <= len(inputs.directions) and kept(k // 2) < 0.999]
    rows = inputs.plain()[:6]
    truth = [inputs.thing(k) for k in rows]
    classes = {"labels": tuple(dict.fromkeys([*truth, *lab.things])), "truth": truth}
    stream = experiments.truncate.stream(lab, inputs.pixels[rows], inputs.directions, dims=dims, **classes)
    result = yield from forward_progress(stream)
    spectrum = plotting.spectrum(inputs.directions.shares)
    drawn = {"reconstructions": result.figure(), "what the components hold": result.curves(), "variance": spectrum}
    yield result, list(drawn.items())


def prior(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    result = yield from forward_progress(experiments.ablate.stream(lab, inputs.things(6)))
    yield result, [("three signals", result.figure())]


def guidance(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    caption = inputs.captions[inputs.plain()[0]]
    result = yield from forward_progress(experiments.guide.stream(lab, caption, seeds=range(3)))
    yield result, [("guidance", result.figure())]


def binding(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    asked = grammar.arrangements(6, seed=0)
    result = yield from forward_progress(experiments.bind.stream(lab, asked, seeds=range(4)))
    yield result, [("two coloured solids", result.figure(len(asked)))]


def hard_reconstructions(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    rows = inputs.related()[:3] or inputs.plain()[:2]
    result = yield from forward_progress(experiments.reconstruct.stream(lab, inputs.pixels[rows]))
    yield result, [("what z_i alone brings back", result.figure())]


def signs(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    words = ("deep learning",) if not lab.words else ("deep", "learning", "hello", "stop")
    alternatives = lab.words or ("machine learning", "deep sea", "open source", "stop", "hello", "sale")
    result = yield from forward_progress(experiments.spell.stream(lab, words, alternatives=alternatives))
    yield result, [("signs", result.figure())]


def clip(lab: Lab, inputs: Inputs) -> Iterator[Progress | Figures]:
    captions = [inputs.captions[k] for k in inputs.distinct(12)]
    result = yield from forward_progress(
        experiments.compare.stream(lab.encoder, inputs.pixels[inputs.distinct(12)], captions)
    )
    result = replace(result, settings={**result.settings, "model": lab.name, "weights": lab.weights})
    yield result, [("cosines of pictures and captions", result.figure()), ("the modality gap", result.gap_figure())]


# By the paper's number, or by name where the paper has no figure: title, what is where, and what makes it.
FIGURES: dict[str, tuple[str, str, Callable]] = {
    "inversion": (
        "A picture as (z_i, x_T)",
        "Section 3. The picture; decoded from both latents; decoded from z_i and another x_T.", inversions,
    ),
    "3": (
        "Variations",
        "One picture's own (z_i, x_T), decoded with noise: a row for each η, a column for each seed. The last column "
        "is the samples' standard deviation, brighter where they differ.", variations,
    ),
    "4": (
        "Interpolations",
        "z_i turned from one picture to another, from left to right. Above, x_T turns too, so that both ends "
        "reconstruct; below, each row holds one random x_T.", interpolations,
    ),
    "5": (
        "Text diffs",
        "z_i turned by θ of the arc towards what changes between two captions, x_T fixed: a row for each caption "
        "wanted.", text_diffs,
    ),
    "6": (
        "Typographic attacks",
        "A picture that wears a word, with CLIP's probabilities of the thing and of the word beside it; then what the "
        "decoder makes of its z_i, from other x_T. The heat map: the probability of the word, for each picture and "
        "word.", attacks,
    ),
    "7": (
        "Principal components of z_i",
        "Decoded from the first components of z_i alone, all from one x_T, with the share of the variance that these "
        "hold.", components,
    ),
    "8": (
        "What the prior is for",
        "The same captions and x_T with three signals in the CLIP slot: nothing, the caption's own embedding, or what "
        "the prior makes of it.", prior,
    ),
    "9": ("Guidance", "One caption and x_T at every pair of the prior's and the decoder's guidance.", guidance),
    "14": ("Binding", "A row for each prompt, a column for each seed: is each colour where it was asked for?", binding),
    "15": (
        "Reconstructions of hard binding cases",
        "Pictures of two things: the picture; decoded from both latents; decoded from z_i and another x_T, which shows "
        "what CLIP kept of who is where.", hard_reconstructions,
    ),
    "16": ("Rendered words", "Signs that should say a word, and what CLIP reads on them.", signs),
    "clip": (
        "CLIP itself",
        "Cosines of pictures (rows) with captions (columns); and both kinds on their first two principal axes, where "
        "the modality gap lies between them.", clip,
    ),
}  # fmt: skip


def remake(lab: Lab, inputs: Inputs, folder: Path, only: Sequence[str] = ()) -> Iterator[Progress | dict]:
    """Remake the paper's figures 3-9 and 14-16 into `folder`, with an index.html to leaf through.

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
    sections, refused = [], None
    for number in only or FIGURES:
        try:
            for value in FIGURES[number][2](lab, inputs):
                if isinstance(value, Progress):
                    yield Progress(_named(number), value.step, value.steps)
        except UserError as error:
            refused = error
            sections.append(_said(number, f"Not on {lab.name}: {error}.", notes=()))
        else:
            result, drawn = value
            files = _saved(drawn, folder, number, result.settings)
            sections.append(
                _said(number, result.summary(), result.notes, files=files, table=result.table, settings=result.settings)
            )
    if refused and not any(section["files"] for section in sections):
        raise refused
    with atomic_write(folder / "index.html") as part:
        part.write_text(page(lab.name, sections), "utf-8")
    with atomic_write(folder / "figures.json") as part:
        part.write_text(json.dumps(sections, ensure_ascii=False, indent=1), "utf-8")
    yield {"model": lab.name, "page": str(folder / "index.html"), "figures": sections, "skipped": inputs.skipped}


def _named(number: str) -> str:
    return f"figure {number}" if number.isdigit() else number


def _said(number: str, summary: str, notes: Sequence[str], *, files=None, table=(), settings=None) -> dict:
    """One figure's section as plain data."""
    title, about, _ = FIGURES[number]
    return {
        "figure": number, "title": title, "about": about, "summary": summary, "files": files or {},
        "notes": list(notes), "table": list(table), "settings": settings or {},
    }  # fmt: skip


def _saved(drawn: Sequence[tuple[str, Figure]], folder: Path, number: str, settings: dict) -> dict[str, str]:
    """The figures as PNGs that carry the settings: what each shows, by file name."""
    files, stem = {}, _named(number).replace(" ", "-")
    for k, (name, figure) in enumerate(drawn):
        file = f"{stem}{chr(97 + k) if len(drawn) > 1 else ''}.png"
        plotting.save(figure, folder / file, {**settings, "shows": name})
        files[file] = name
    return files
