"""The commands that ask what CLIP and the decoder know: attacks, ablations, binding, labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .common import (
    Chosen,
    Count,
    Fit,
    Guidance,
    Json,
    Out,
    Picture,
    Seed,
    Steps,
    choosing,
    listed,
    numbers,
    opened,
    report,
    save_result,
    say,
    slug,
    squared,
    watch,
)


@choosing
def attack(
    model: Chosen,
    image: Picture,
    text: Annotated[str, typer.Option(help="What to write, or several words with commas.")],
    truth: Annotated[str, typer.Option(help="What the picture shows, as a caption, like “a red apple”.")],
    labels: Annotated[str, typer.Option(help="The classes, with commas; the model's own things by default.")] = "",
    at: Annotated[str, typer.Option(help="Centre and width of the label, as x,y,width of the picture.")] = "",
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
    """Put words on a picture, ask CLIP what it shows, and decode what it saw."""
    from .. import attacks, experiments, files
    from ..models.encoders import encoder as clip

    picture, folder = opened([image], fit), files.writable_folder(out)
    place = numbers(at, "--at") if at else []
    if place and len(place) != 3:
        raise UserError(f"--at is {at!r}: give three numbers, x,y,width, like 0.5,0.65,0.7")
    label = attacks.Label("word", **dict(zip(("x", "y", "size"), place)))
    lab = model.load(as_json)
    others = {name: clip(name, device=lab.device) for name in encoder or ()}
    stream = experiments.attack.stream(
        lab, squared(picture, lab, fit), listed(text), truth, labels=listed(labels) or lab.things, label=label,
        variations=count, encoders=others, seed=seed, steps=steps, guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    paths = save_result(found, folder, f"{slug(image.stem)}-attacked", image=image.name, fit=fit)
    report(found, paths, as_json, image=image.name)


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
    from .. import experiments, files

    folder = files.writable_folder(out)
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
    from .. import experiments, files

    folder = files.writable_folder(out)
    guidances, prior_guidances = numbers(decoder, "--decoder"), numbers(prior, "--prior")
    lab = model.load(as_json)
    stream = experiments.sweep_guidance.stream(
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
    from .. import experiments, files, grammar

    folder = files.writable_folder(out)
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
    from .. import experiments, files

    folder = files.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.spell.stream(
        lab, words, alternatives=listed(alternatives) or lab.words, seeds=range(seed, seed + count), steps=steps,
        guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    report(found, save_result(found, folder, f"sign-{slug(words[0])}"), as_json)


@choosing
def classify(
    model: Chosen,
    pictures: Annotated[list[Path], typer.Argument(help="Images.")],
    labels: Annotated[str, typer.Option(help="The classes as captions, with commas; the model's own by default.")] = "",
    top: Annotated[int, typer.Option(min=1, help="How many labels to say.")] = 5,
    fit: Fit = "crop",
    as_json: Json = False,
) -> None:
    """Say what CLIP takes pictures for."""
    from .. import experiments

    opened_pictures = opened(pictures, fit)
    lab = model.load(as_json)
    classes = listed(labels) or lab.things
    found = experiments.classify(lab.encoder, squared(opened_pictures, lab, fit), classes)
    rows = [
        {"image": str(path), "labels": [{"label": x, "probability": round(p, 4)} for x, p in found.top(k, top)]}
        for k, path in enumerate(pictures)
    ]
    said = [", ".join(f"{label} {p:.0%}" for label, p in found.top(k, top)) for k in range(len(pictures))]
    lines = [f"{path}: {labels}" for path, labels in zip(pictures, said)]
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    say({"model": lab.name, "weights": lab.weights, "pictures": rows, "notes": list(found.notes)}, as_json, lines)


@choosing
def compare(
    model: Chosen,
    pictures: Annotated[list[Path], typer.Argument(help="Two images or more.")],
    captions: Annotated[str, typer.Option(help="Two or more, with commas; as many as images are taken as their own.")],
    fit: Fit = "crop",
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Compare pictures with captions: cosines, and the gap between CLIP's two kinds of embedding."""
    from .. import experiments, files

    opened_pictures, folder = opened(pictures, fit), files.writable_folder(out)
    lab = model.load(as_json)
    found = experiments.compare(lab.encoder, squared(opened_pictures, lab, fit), listed(captions))
    settings = {"model": lab.name, "weights": lab.weights, "images": [path.name for path in pictures]}
    paths = save_result(found, folder, "compared", figures={"gap": found.gap_figure()}, pictures=False, **settings)
    report(found, paths, as_json, **settings, similarity=found.similarity.round(decimals=4).tolist())


COMMANDS = (attack, ablate, guide, bind, spell, classify, compare)
