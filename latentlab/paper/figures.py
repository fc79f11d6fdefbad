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

Found = tuple[Result, list[tuple[str, "Figure"]]]


def inversions(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    found = yield from forward_progress(experiments.reconstruct.stream(lab, given.pixels[given.distinct(3)]))
    yield found, [("there and back", found.figure())]


def variations(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    rows = given.plain()[:1]
    found = yield from forward_progress(
        experiments.vary.stream(lab, given.pixels[rows], etas=(0, 0.4, 0.8, 1), seeds=range(6))
    )
    yield found, [("variations", found.figure())]


def interpolations(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    ends = yield from forward_progress(experiments.invert.stream(lab, given.pixels[given.distinct(2)]))
    turned = yield from forward_progress(experiments.interpolate.stream(lab, ends))
    fixed = yield from forward_progress(experiments.interpolate.stream(lab, ends, seeds=(0, 1, 2)))
    yield turned, [("x_T turned with z_i", turned.figure()), ("x_T held fixed", fixed.figure())]


def text_diffs(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    source, *others = given.things(5)
    stream = experiments.diff.stream(lab, given.pixels[given.plain()[:1]], others, source=source)
    found = yield from forward_progress(stream)
    yield found, [("text diffs", found.figure())]


def attacks(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    rows = given.plain()[:8]
    truth = [given.thing(k) for k in rows]
    words = [w for w in ("pizza", "robot", "ghost", "banana", "key") if not any(w in t for t in truth)]
    stream = experiments.attack.stream(lab, given.pixels[rows], words, truth, variations=1)
    sweep = yield from forward_progress(stream)
    # One picture in full: that which is misled most, by the words that mislead it most.
    strength = sweep.strength()
    worst = int(strength.amax(1).argmax())
    strongest = [words[k] for k in strength[worst].argsort(descending=True)[:3].tolist()]
    one = given.pixels[rows[worst]][None]
    found = yield from forward_progress(experiments.attack.stream(lab, one, strongest, truth[worst]))
    yield sweep, [("one picture, several words", found.figure()), ("many pictures, many words", sweep.heat_map())]


def components(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    if given.directions is None:
        raise UserError(f"figure 7 wants directions of {lab.name}: `latentlab pca fit FOLDER` makes them")
    kept = given.directions.explained
    # Up to all that there is to see: a further column would be the same.
    dims = [k for k in (1 << j for j in range(12)) if k <= len(given.directions) and kept(k // 2) < 0.999]
    rows = given.plain()[:6]
    truth = [given.thing(k) for k in rows]
    known = {"labels": tuple(dict.fromkeys([*truth, *lab.things])), "truth": truth}
    stream = experiments.truncate.stream(lab, given.pixels[rows], given.directions, dims=dims, **known)
    found = yield from forward_progress(stream)
    spectrum = plotting.spectrum(given.directions.shares)
    drawn = {"reconstructions": found.figure(), "what the components hold": found.curves(), "variance": spectrum}
    yield found, list(drawn.items())


def prior(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    found = yield from forward_progress(experiments.ablate.stream(lab, given.things(6)))
    yield found, [("three signals", found.figure())]


def guidance(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    caption = given.captions[given.plain()[0]]
    found = yield from forward_progress(experiments.guide.stream(lab, caption, seeds=range(3)))
    yield found, [("guidance", found.figure())]


def binding(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    asked = grammar.arrangements(6, seed=0)
    found = yield from forward_progress(experiments.bind.stream(lab, asked, seeds=range(4)))
    yield found, [("two coloured solids", found.figure(len(asked)))]


def hard_reconstructions(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    rows = given.related()[:3] or given.plain()[:2]
    found = yield from forward_progress(experiments.reconstruct.stream(lab, given.pixels[rows]))
    yield found, [("what z_i alone brings back", found.figure())]


def signs(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    words = ("deep learning",) if not lab.words else ("deep", "learning", "hello", "stop")
    alternatives = lab.words or ("machine learning", "deep sea", "open source", "stop", "hello", "sale")
    found = yield from forward_progress(experiments.spell.stream(lab, words, alternatives=alternatives))
    yield found, [("signs", found.figure())]


def clip(lab: Lab, given: Inputs) -> Iterator[Progress | Found]:
    captions = [given.captions[k] for k in given.distinct(12)]
    found = yield from forward_progress(
        experiments.compare.stream(lab.encoder, given.pixels[given.distinct(12)], captions)
    )
    found = replace(found, settings={**found.settings, "model": lab.name, "weights": lab.weights})
    yield found, [("cosines of pictures and captions", found.figure()), ("the modality gap", found.gap_figure())]


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


def remake(lab: Lab, given: Inputs, folder: Path, only: Sequence[str] = ()) -> Iterator[Progress | dict]:
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
    given = yield from forward_progress(ranked(lab, given))
    sections, refused = [], None
    for number in only or FIGURES:
        try:
            for value in FIGURES[number][2](lab, given):
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
    yield {"model": lab.name, "page": str(folder / "index.html"), "figures": sections, "skipped": given.skipped}


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
