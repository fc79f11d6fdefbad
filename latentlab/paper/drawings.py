"""What each of the paper's figures shows: its heading, its inputs, and a run of the experiment that declares it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .. import experiments, grammar, plotting
from ..errors import UserError
from ..experiments import Progress, Result
from ..experiments.guidance import NAMES
from ..experiments.stages import forward_progress
from .inputs import Inputs

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


class Drawn(NamedTuple):
    """A figure as it is drawn: the result that it is of, and its parts, each with what it shows."""

    result: Result
    parts: list[tuple[str, Figure]]


Draw = Callable[["Lab", Inputs], Iterator[Progress | Drawn]]


@dataclass(frozen=True)
class Drawing:
    """What the paper layer adds to a figure that an experiment declares.

    Args:
        title, about: its heading, and what is where in it.
        draw: runs the experiment on pictures and captions that suit the figure.
    """

    title: str
    about: str
    draw: Draw


DRAWINGS: dict[str, Drawing] = {}


def drawing(key: str, title: str, about: str) -> Callable[[Draw], Draw]:
    """Register the function that draws the figure of that key, in the order of the page."""

    def register(draw: Draw) -> Draw:
        DRAWINGS[key] = Drawing(title, about, draw)
        return draw

    return register


@drawing(
    "inversion",
    "A picture as (z_i, x_T)",
    "Section 3. The picture; decoded from both latents; decoded from z_i and another x_T.",
)
def inversions(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    result = yield from forward_progress(experiments.reconstruct.stream(lab, inputs.pixels[inputs.distinct(3)]))
    yield Drawn(result, [("there and back", result.figure())])


@drawing(
    "3",
    "Variations",
    "One picture's own (z_i, x_T), decoded with noise: a row for each η, a column for each seed. The last column "
    "is the samples' standard deviation, brighter where they differ.",
)
def variations(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    rows = inputs.plain()[:1]
    result = yield from forward_progress(
        experiments.vary.stream(lab, inputs.pixels[rows], etas=(0, 0.4, 0.8, 1), seeds=range(6))
    )
    yield Drawn(result, [("variations", result.figure())])


@drawing(
    "4",
    "Interpolations",
    "z_i turned from one picture to another, from left to right. Above, x_T turns too, so that both ends "
    "reconstruct; below, each row holds one random x_T.",
)
def interpolations(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    ends = yield from forward_progress(experiments.invert.stream(lab, inputs.pixels[inputs.distinct(2)]))
    turned = yield from forward_progress(experiments.interpolate.stream(lab, ends))
    fixed = yield from forward_progress(experiments.interpolate.stream(lab, ends, seeds=(0, 1, 2)))
    yield Drawn(turned, [("x_T turned with z_i", turned.figure()), ("x_T held fixed", fixed.figure())])


@drawing(
    "5",
    "Text diffs",
    "z_i turned by θ of the arc towards what changes between two captions, x_T fixed: a row for each caption wanted.",
)
def text_diffs(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    source, *others = inputs.things(5)
    stream = experiments.diff.stream(lab, inputs.pixels[inputs.plain()[:1]], others, source=source)
    result = yield from forward_progress(stream)
    yield Drawn(result, [("text diffs", result.figure())])


@drawing(
    "6",
    "Typographic attacks",
    "A picture that wears a word, with CLIP's probabilities of the thing and of the word beside it; then what the "
    "decoder makes of its z_i, from other x_T. The heat map: the probability of the word, for each picture and "
    "word.",
)
def attacks(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
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
    yield Drawn(
        sweep, [("one picture, several words", result.figure()), ("many pictures, many words", sweep.heat_map())]
    )


@drawing(
    "7",
    "Principal components of z_i",
    "Decoded from the first components of z_i alone, all from one x_T, with the share of the variance that these hold.",
)
def components(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    if inputs.directions is None:
        raise UserError(f"figure 7 wants directions of {lab.name}: `latentlab pca fit FOLDER` makes them")
    explained = inputs.directions.explained
    # Up to all that there is to see: a further column would be the same.
    dims = [k for k in (1 << j for j in range(12)) if k <= len(inputs.directions) and explained(k // 2) < 0.999]
    rows = inputs.plain()[:6]
    truth = [inputs.thing(k) for k in rows]
    labels = tuple(dict.fromkeys([*truth, *lab.things]))
    stream = experiments.truncate.stream(
        lab, inputs.pixels[rows], inputs.directions, dims=dims, labels=labels, truth=truth
    )
    result = yield from forward_progress(stream)
    spectrum = plotting.spectrum(inputs.directions.shares)
    drawn = {"reconstructions": result.figure(), "what the components hold": result.curves(), "variance": spectrum}
    yield Drawn(result, list(drawn.items()))


@drawing(
    "8",
    "What the prior is for",
    "The same captions and x_T with three signals in place of the CLIP embedding: zeros, the caption's own embedding, "
    "or the embedding that the prior draws.",
)
def prior(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    result = yield from forward_progress(experiments.ablate.stream(lab, inputs.things(6)))
    yield Drawn(result, [("three signals", result.figure())])


@drawing(
    "9",
    "Guidance",
    "One caption and x_T at every pair of the prior's and the decoder's guidance.",
)
def guidance(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    caption = inputs.captions[inputs.plain()[0]]
    result = yield from forward_progress(experiments.guide.stream(lab, caption, seeds=range(3)))
    yield Drawn(result, [("guidance", result.figure())])


@drawing(
    "guidance",
    "Guidance by CLIP and classifier-free guidance",
    "GLIDE (Nichol et al. 2021), section 2.4, figure 6. The same captions and noise, a row for each way to guide and "
    "its scale; then the CLIP score against the distance among samples, with the scale beside each point. CLIP judges "
    "what it guided itself, so a higher score alone does not make a better picture.",
)
def guidance_by_clip(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    captions = inputs.things(5)
    rows: dict[str, torch.Tensor] = {}
    lines: dict[str, tuple[list[float], list[float]]] = {}
    labels: dict[str, list[str]] = {}
    unguided: list[tuple[float, float]] = []  # where every line begins
    ways = {"classifier-free": (1.0, 2.0, 4.0), "clip": (1.0, 5.0)}
    ways |= {"noised-clip": ways["clip"]} if lab.noised_clip else {}
    for by, scales in ways.items():
        stream = experiments.guide.stream(
            lab, captions, by=by, guidances=scales, prior_guidances=(1.0,), seeds=(0, 1), steps=20
        )
        result = yield from forward_progress(stream)
        name = f"by {NAMES[by]}" if by in NAMES else by
        for scale, pictures in zip(scales, result.pixels[0, :, ::2]):  # (captions, 3, H, W), of the first seed
            rows[f"{name}, {scale:g}" if rows else "no guidance"] = pictures
        points = [
            (result.value("distance among samples", guidance=scale), result.value("CLIP score", guidance=scale))
            for scale in scales
        ]
        distances, scores = zip(*unguided, *points)
        lines[name] = list(distances), list(scores)
        numbers = [f"{scale:g}" for scale in scales]
        labels[name] = ["", *numbers] if unguided else ["none", *numbers[1:]]
        unguided = unguided or points[:1]
    curve = plotting.lines(lines, xlabel="distance among samples", ylabel="CLIP score", labels=labels)
    yield Drawn(result, [("pictures", plotting.rows(rows, titles=captions)), ("score and variety", curve)])


@drawing(
    "edits",
    "Edits",
    "GLIDE (Nichol et al. 2021), figures 2 to 4. One picture: a part of it erased, painted anew, all changed by half. "
    "Then edits one after another, each with what it paints pale.",
)
def edits(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    row, *_ = inputs.plain()
    picture, (own, other, *_) = inputs.pixels[[row]], inputs.things(3)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in picture.shape[-2:]), indexing="ij")
    mask = x**4 + y**4 < 0.8**4
    ways: dict[str, dict[str, Any]] = {
        "erased": {"mask": mask},
        f"painted:\n{other}": {"mask": mask, "prompt": other},
        f"changed by half:\n{other}": {"prompt": other, "strength": 0.5},
    }
    shown = {}
    for name, params in ways.items():
        shown[name] = yield from forward_progress(experiments.edit.stream(lab, picture, **params))
    grown = yield from forward_progress(experiments.edit.stream(lab, shown["erased"].history, grow="right"))
    wide = torch.zeros(grown.pixels.shape[-2:], dtype=torch.bool)
    wide[:, wide.shape[1] // 3 :] = True
    stream = experiments.edit.stream(lab, grown.history, wide, inputs.captions[row])
    last = yield from forward_progress(stream)
    pictures = torch.cat([shown["erased"].original, *(result.pixels for result in shown.values())])
    grid = plotting.grid(pictures, titles=[own, *shown])
    yield Drawn(last, [("one picture", grid), ("edits one after another", last.history.figure())])


@drawing(
    "14",
    "Binding",
    "A row for each prompt, a column for each seed: is each colour where it was asked for?",
)
def binding(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    asked = grammar.arrangements(6, seed=0)
    result = yield from forward_progress(experiments.bind.stream(lab, asked, seeds=range(4)))
    yield Drawn(result, [("two coloured solids", result.figure(len(asked)))])


@drawing(
    "15",
    "Reconstructions of hard binding cases",
    "Pictures of two things: the picture; decoded from both latents; decoded from z_i and another x_T, which "
    "shows what CLIP kept of who is where.",
)
def hard_reconstructions(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    rows = inputs.related()[:3] or inputs.plain()[:2]
    result = yield from forward_progress(experiments.reconstruct.stream(lab, inputs.pixels[rows]))
    yield Drawn(result, [("what z_i alone brings back", result.figure())])


@drawing(
    "16",
    "Rendered words",
    "Signs that should say a word, and what CLIP reads on them.",
)
def signs(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    words = ("deep learning",) if not lab.words else ("deep", "learning", "hello", "stop")
    alternatives = lab.words or ("machine learning", "deep sea", "open source", "stop", "hello", "sale")
    result = yield from forward_progress(experiments.spell.stream(lab, words, alternatives=alternatives))
    yield Drawn(result, [("signs", result.figure())])


@drawing(
    "clip",
    "CLIP itself",
    "Cosines of pictures (rows) with captions (columns); and both kinds on their first two principal axes, where "
    "the modality gap lies between them.",
)
def clip(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    captions = [inputs.captions[k] for k in inputs.distinct(12)]
    result = yield from forward_progress(experiments.compare.stream(lab, inputs.pixels[inputs.distinct(12)], captions))
    yield Drawn(
        result, [("cosines of pictures and captions", result.figure()), ("the modality gap", result.gap_figure())]
    )
