"""Zero-shot classification: which label CLIP gives a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..analysis.intervals import mean, proportion
from ..captions import caption_warnings
from ..clip import TEMPLATES, Encoder
from ..errors import UserError
from .base import Progress, Result, experiment
from .stages import checked_pixels, encoder_of

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class ClassificationResult(Result):
    """Zero-shot probabilities.

    Args:
        pixels: (B, 3, H, W).
        probabilities: (B, labels).
        labels: the classes, as captions.
        sure_above: the encoder's.
    """

    pixels: Tensor
    probabilities: Tensor
    labels: tuple[str, ...]
    sure_above: float = 0.5

    def top(self, row: int = 0, count: int = 5) -> list[tuple[str, float]]:
        """One picture's most probable labels, best first."""
        best = self.probabilities[row].topk(min(count, len(self.labels)))
        return [(self.labels[k], p) for p, k in zip(best.values.tolist(), best.indices.tolist())]

    def figure(self) -> Figure:
        from ..plotting import grid

        titles = ["\n".join(f"{label} {p:.0%}" for label, p in self.top(k, 3)) for k in range(len(self.pixels))]
        return grid(self.pixels, titles=titles)

    def summary(self) -> str:
        which = "the picture" if len(self.probabilities) == 1 else "the first picture"
        return answer(self.top(0, 2), which, sure_above=self.sure_above)


def answer(top: Sequence[tuple[str, float]], which: str = "the picture", *, sure_above: float = 0.5) -> str:
    """CLIP's answer in words, which say so where it is unsure.

    Args:
        top: the most probable labels, best first: (label, probability).
        sure_above: the probability from which on CLIP is sure.
    """
    (label, p), *others = top
    if p >= sure_above or not others:
        return f"CLIP thinks that {which} shows {label} ({p:.0%})."
    second, q = others[0]
    return (
        f"CLIP is unsure: {which} may show {label} ({p:.0%}) or {second} ({q:.0%}). "
        "Perhaps CLIP has not seen this style, or no label fits."
    )


@experiment(
    ClassificationResult,
    page="clip",
    task="classify",
    command="classify",
    figures=(),
    stages=("CLIP",),
    images=lambda a: 0,
)
def classify(
    lab: Lab | Encoder,
    pixels: Tensor,
    labels: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    truth: Sequence[str] = (),
) -> Iterator[Progress | ClassificationResult]:
    """Zero-shot classification with prompt ensembles.  Radford et al. 2021, section 3.1.

    Args:
        lab: a lab, or an encoder alone.
        pixels: (B, 3, H, W) in [-1, 1].
        labels: the classes as captions, like "a dog".
        templates: sentences with {} for the label; a label's embedding is the mean over them.
        truth: each picture's own label, for the accuracy.

    Raises:
        UserError: fewer than two labels, one of them twice, or truth that is not among them.
    """
    encoder, labels, truth = encoder_of(lab), tuple(labels), tuple(truth)
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UserError(f"labels are {list(labels)[:4]}: give two or more that differ")
    if not templates or not all("{}" in t for t in templates):
        raise UserError(f"templates are {list(templates)}: give one or more sentences with {{}} where the label goes")
    if truth and (len(truth) != len(pixels) or not set(truth) <= set(labels)):
        raise UserError(f"truth is {list(truth)[:4]}…: give one of the {len(labels)} labels for each picture")
    checked_pixels(pixels, encoder.image_size)
    notes = caption_warnings(encoder.check_caption(label) for label in labels)
    yield Progress("CLIP", 0, 1)
    probabilities = encoder.zero_shot(pixels, labels, templates)
    best = probabilities.topk(2).values
    table = [mean(best[:, 0] - best[:, 1], quantity="margin of the first label")]
    if truth:
        own = torch.tensor([labels.index(t) for t in truth], device=probabilities.device)
        ranks = (probabilities >= probabilities.gather(1, own[:, None])).sum(1)
        table += [proportion(ranks <= k, quantity=f"top-{k} accuracy") for k in (1, 5) if k < len(labels)]
    yield ClassificationResult(
        pixels=pixels,
        probabilities=probabilities,
        labels=labels,
        sure_above=encoder.sure_above,
        table=tuple(table),
        notes=tuple(notes),
    )
