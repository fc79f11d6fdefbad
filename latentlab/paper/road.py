"""The figure of the road: the same prompts by every system."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import experiments
from ..experiments import Progress
from ..experiments.stages import forward_progress
from .drawings import Drawn, drawing
from .inputs import Inputs

if TYPE_CHECKING:
    from ..models import Lab


@drawing(
    "road",
    "The road to unCLIP",
    "Ramesh et al. 2022, figure 13, with every system of the story. The same prompts, seeds and CLIP, a row for each "
    "system in order of time, with its seconds for a prompt, its evaluations and its parameters.",
)
def road(lab: Lab, inputs: Inputs) -> Iterator[Progress | Drawn]:
    result = yield from forward_progress(experiments.road.stream(lab, inputs.things(5)))
    yield Drawn(result, [("the systems", result.figure())])
