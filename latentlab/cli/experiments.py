"""The commands that ask what CLIP and the decoder know: attacks, ablations, guidance, binding, signs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .options import (
    Chosen,
    Count,
    Fit,
    Guidance,
    Json,
    Out,
    Seed,
    Steps,
    choosing,
    listed,
    numbers,
    opened,
    report,
    save_result,
    slug,
    squared,
    watch,
)


@choosing
def attack(
    model: Chosen,
    pictures: Annotated[list[Path], typer.Argument(help="One image, or several.")],
    text: Annotated[str, typer.Option(help="What to write, or several words with commas.")],
    truth: Annotated[
        list[str], typer.Option(help="What the picture shows, like “a red apple”; of several give it for each.")
    ],
    labels: Annotated[str, typer.Option(help="Further classes beside truth and words, with commas.")] = "",
    at: Annotated[str, typer.Option(help="Centre and width of the label, as x,y,width of the picture.")] = "",
    colour: Annotated[str, typer.Option(help="Of the letters: a name as in CSS, or #rrggbb.")] = "#0f0f14",
    paper: Annotated[str, typer.Option(help="Of the label, likewise.")] = "#fdfaee",
    font: Annotated[Path | None, typer.Option(help="A .ttf or .otf file; a plain one by default.")] = None,
    count: Annotated[int, typer.Option(min=0, max=64, help="Decoded variations of each.")] = 3,
    encoder: Annotated[
        list[str] | None, typer.Option(help="Another CLIP to see beside the model's, as open_clip's NAME:TAG; or more.")
    ] = None,
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.5,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Put words on pictures, ask CLIP what they show, and decode what it saw."""
    from .. import experiments, typography
    from ..io import atomic
    from ..models.clip_only import encoder as clip

    given, folder = opened(pictures, fit), atomic.writable_folder(out)
    place = numbers(at, "--at") if at else []
    if place and len(place) != 3:
        raise UserError(f"--at is {at!r}: give three numbers, x,y,width, like 0.5,0.65,0.7")
    knobs = dict(zip(("x", "y", "size"), place))
    label = typography.Label("word", **knobs, colour=colour, paper=paper, font=font)
    lab = model.load(as_json)
    others = {name: clip(name, device=lab.device) for name in encoder or ()}
    stream = experiments.attack.stream(
        lab, squared(given, lab, fit), listed(text), truth[0] if len(truth) == 1 else truth, label=label,
        labels=listed(labels), variations=count, encoders=others, seed=seed, steps=steps,
        guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    drawn = {f"picture-{k + 1}": found.figure(k) for k in range(1, len(given))}
    drawn |= {"heat-map": found.heat_map()} if len(given) * len(found.words) > 1 else {}
    names = [path.name for path in pictures]
    paths = save_result(found, folder, f"{slug(pictures[0].stem)}-attacked", figures=drawn, images=names, fit=fit)
    report(found, paths, as_json, images=names)


@choosing
def ablate(
    model: Chosen,
    prompts: Annotated[list[str], typer.Argument(help="One caption, or several.")],
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw captions with nothing, z_t, or the prior's z_i in the CLIP slot."""
    from .. import experiments
    from ..io import atomic

    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.ablate.stream(
        lab, prompts, seeds=range(seed, seed + count), steps=steps, guidance=guidance, preview_every=0
    )
    found = watch(stream, as_json)
    report(found, save_result(found, folder, f"{slug(prompts[0])}-ablation"), as_json)


@choosing
def guide(
    model: Chosen,
    prompts: Annotated[list[str], typer.Argument(help="One caption, or several.")],
    decoder: Annotated[str, typer.Option(help="The decoder's guidances, with commas.")] = "1,1.5,2,3,4",
    prior: Annotated[str, typer.Option(help="The prior's guidances, with commas.")] = "1,2",
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw captions over a grid of the prior's and the decoder's guidance."""
    from .. import experiments
    from ..io import atomic

    folder = atomic.writable_folder(out)
    guidances, prior_guidances = numbers(decoder, "--decoder"), numbers(prior, "--prior")
    lab = model.load(as_json)
    stream = experiments.guide.stream(
        lab, prompts, guidances=guidances, prior_guidances=prior_guidances, seeds=range(seed, seed + count), steps=steps
    )
    found = watch(stream, as_json)
    report(found, save_result(found, folder, f"{slug(prompts[0])}-guidance"), as_json)


@choosing
def bind(
    model: Chosen,
    prompts: Annotated[
        list[str] | None, typer.Argument(help="Like “a red cube on top of a blue ball”; none draws --sample of them.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, max=256, help="How many prompts of the grammar when none is given.")
    ] = 16,
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw two coloured solids, and see which colour is where."""
    from .. import experiments, grammar
    from ..io import atomic

    folder = atomic.writable_folder(out)
    asked = prompts or grammar.arrangements(sample, seed=seed)
    lab = model.load(as_json)
    stream = experiments.bind.stream(
        lab, asked, seeds=range(seed, seed + count), steps=steps, guidance=guidance, preview_every=0
    )
    found = watch(stream, as_json)
    report(found, save_result(found, folder, f"{slug(found.arrangements[0].caption)}-binding"), as_json)


@choosing
def spell(
    model: Chosen,
    words: Annotated[list[str], typer.Argument(help="What to write.")],
    alternatives: Annotated[
        str, typer.Option(help="Words to choose from, with commas; the model's own by default.")
    ] = "",
    count: Count = 4,
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw signs with words on them, and read them back."""
    from .. import experiments
    from ..io import atomic

    folder = atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.spell.stream(
        lab, words, alternatives=listed(alternatives) or lab.words, seeds=range(seed, seed + count), steps=steps,
        guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    report(found, save_result(found, folder, f"sign-{slug(words[0])}"), as_json)


COMMANDS = (attack, ablate, guide, bind, spell)
