"""The command of the road: the same prompts by every system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .inputs import parse_list
from .options import Guidance, Json, ModelChoice, Out, Seed, Steps, with_model_options
from .output import report, run_with_progress_bar, save_result, slug


@with_model_options
def road(
    model: ModelChoice,
    prompts: Annotated[list[str], typer.Argument(help="One prompt, or several.")],
    systems: Annotated[
        str,
        typer.Option(
            help="Systems, separated by commas: dalle, draw, glide, unclip-autoregressive, unclip; by default all "
            "that the model has."
        ),
    ] = "",
    count: Annotated[int, typer.Option(min=1, max=16, help="Number of pictures of each prompt.")] = 1,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    climb_steps: Annotated[int, typer.Option(min=1, max=2000, help="Steps of CLIP's own drawing.")] = 40,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate prompts by every system that led to unCLIP.

    The rows of the figure are in order of time; under each stand its seconds, its evaluations and its parameters.
    """
    from .. import experiments
    from ..experiments.road_systems import SYSTEMS
    from ..io import atomic

    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.road.stream(
        lab,
        prompts,
        systems=parse_list(systems) or tuple(SYSTEMS),
        seeds=range(seed, seed + count),
        steps=steps,
        guidance=guidance,
        climb_steps=climb_steps,
    )
    result = run_with_progress_bar(stream, as_json)
    report(result, save_result(result, folder, f"{slug(prompts[0])}-road"), as_json)


COMMANDS = (road,)
