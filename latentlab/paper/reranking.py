"""The figure of DALL·E 1's re-ranking: what the best of n by CLIP buys, for DALL·E 1 and for unCLIP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import experiments
from ..experiments import Progress
from ..experiments.stages import forward_progress
from .drawings import Drawn, drawing

if TYPE_CHECKING:
    from ..models import Lab
    from .inputs import Inputs

PROMPTS = 12
COUNTS = (1, 2, 4, 8, 16)


@drawing(
    "rerank",
    "The best of n by CLIP",
    "Ramesh et al. 2021, section 2.6. Above: CLIP's score, accuracy and the distance among the best, against the "
    "number of pictures that CLIP chooses from. Below: the best picture of each n.",
)
def reranking(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    lab.require_dalle()
    things = list(lab.things or dict.fromkeys(inputs.captions))
    prompts = things[:: max(1, len(things) // PROMPTS)][:PROMPTS]
    result = yield from forward_progress(experiments.rerank.stream(lab, prompts, counts=COUNTS))
    yield Drawn(result, [("the curves", result.figure()), ("the pictures", result.pictures())])
