"""The commands for DALL·E 1: its pictures of a prompt, and what choosing the best of many buys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from .inputs import Inputs, integers, load_pixels, parse_list
from .options import Count, Fit, Guidance, Json, ModelChoice, Out, Seed, Steps, with_model_options
from .output import report, run_with_progress_bar, save_result, slug

if TYPE_CHECKING:
    from ..models import Lab


@with_model_options
def dalle(
    model: ModelChoice,
    prompt: Annotated[str, typer.Argument(help="Prompt of the pictures, like “a red apple on a blue background”.")],
    count: Count = 4,
    best: Annotated[
        int | None,
        typer.Option(min=1, help="Keep only this many pictures: those that CLIP scores closest to the prompt."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=10, help="Temperature of the tokens; small values choose the likeliest.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Choose among this many of the likeliest tokens.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, max=20, help="Classifier-free guidance scale of the tokens; 1 disables it.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="A picture whose upper part is kept and continued.")] = None,
    share: Annotated[float, typer.Option(help="Share of that picture which is kept, between 0 and 1.")] = 0.5,
    fit: Fit = "crop",
    seed: Seed = 0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Generate pictures of a prompt with DALL·E 1.

    A transformer writes the picture's tokens one after another. With --picture it continues the beginning of one.
    """
    from .. import experiments
    from ..io import atomic

    if best is not None and best > count:
        raise UserError(f"--best is {best} of --count {count}: keep at most as many pictures as --count")
    inputs = None if picture is None else Inputs([picture], fit)
    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    lab.require_dalle()
    stream = experiments.dalle.stream(
        lab,
        prompt,
        seeds=range(seed, seed + count),
        best=best,
        temperature=temperature,
        top_k=top_k,
        guidance=guidance,
        picture=None if inputs is None else load_pixels(inputs, lab, fit, as_json)[1],
        share=share,
        preview_every=0,
    )
    result = run_with_progress_bar(stream, as_json)
    report(result, save_result(result, folder, f"{slug(prompt)}-dalle"), as_json)


@with_model_options
def rerank(
    model: ModelChoice,
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts of single things, like “a dog”.")] = None,
    things: Annotated[
        int | None, typer.Option(min=1, help="Draw so many of the things that the model knows, in place of prompts.")
    ] = None,
    systems: Annotated[str, typer.Option(help="Systems to compare, separated by commas.")] = "dalle,unclip",
    counts: Annotated[str, typer.Option(help="The numbers n, separated by commas.")] = "1,2,4,8,16,32,64",
    labels: Annotated[
        str, typer.Option(help="Classes for CLIP, separated by commas; by default the things that the model knows.")
    ] = "",
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Measure what the best of n by CLIP buys.

    Every prompt is drawn as many times as the largest n, by DALL·E 1 and by unCLIP.
    """
    from .. import experiments
    from ..io import atomic

    if (things is None) == (not prompts):
        raise UserError("give either prompts, like “a dog” “a bus”, or --things and a number")
    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    chosen = prompts or _spread(lab, things or 1)
    stream = experiments.rerank.stream(
        lab,
        chosen,
        systems=parse_list(systems),
        counts=integers(counts, "--counts"),
        labels=parse_list(labels),
        seed=seed,
        steps=steps,
        guidance=guidance,
    )
    result = run_with_progress_bar(stream, as_json)
    figures = {"pictures": result.pictures()}
    report(result, save_result(result, folder, f"{slug(chosen[0])}-reranked", figures=figures), as_json)


def _spread(lab: Lab, count: int) -> list[str]:
    """So many of the lab's things, spread evenly over its list."""
    known = lab.things
    if count > len(known):
        raise UserError(f"--things is {count}, and {lab.name} knows {len(known)} things: give fewer, or prompts")
    return [known[k * len(known) // count] for k in range(count)]


COMMANDS = (dalle, rerank)
