"""The commands about many embeddings: a folder's z_i as a file, and their principal components."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from .common import (
    Device, Fit, Guidance, Json, Model, Out, Picture, Seed, Steps, load, make, numbers, opened, report, save_result,
    say, slug, squared, watch,
)  # fmt: skip

if TYPE_CHECKING:
    from ..directions import Directions
    from ..models import Lab

pca = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Principal components of z_i: fit, show, walk.")
Fitted = Annotated[Path | None, typer.Option(help="What `latentlab pca fit` wrote; the model's own by default.")]


def _directions(lab: Lab, path: Path | None) -> Directions:
    from .. import models
    from ..directions import Directions

    found = Directions.load(path) if path else models.directions(lab.name)
    if found is None:
        raise UserError(f"{lab.name} ships no directions: fit some with `latentlab pca fit FOLDER --model {lab.name}`")
    return found


@pca.command()
def show(
    image: Picture,
    dims: Annotated[str, typer.Option(help="How many components each column keeps.")] = "1,2,4,8,16,32,64,128",
    directions: Fitted = None,
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    model: Model = "emoji",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Decode a picture from the first k components of its z_i."""
    from .. import experiments, files

    picture, folder = opened([image], fit), files.writable_folder(out)
    kept = [int(k) for k in numbers(dims, "--dims")]
    lab = load(model, device, as_json)
    stream = experiments.truncate.stream(
        lab, squared(picture, lab, fit), _directions(lab, directions), dims=kept, seed=seed, steps=steps,
        guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    curves = {"curves": found.curves()}
    paths = save_result(found, folder, f"{slug(image.stem)}-components", figures=curves, image=image.name, fit=fit)
    report(found, paths, as_json, image=image.name)


@pca.command()
def walk(
    image: Picture,
    components: Annotated[str, typer.Option(help="Which, from 0, with commas.")] = "0,1,2,3",
    sigmas: Annotated[str, typer.Option(help="How far, in standard deviations, with commas.")] = "-4,-2,0,2,4",
    directions: Fitted = None,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    model: Model = "emoji",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Move a picture along single components, named by the captions that rise and fall along them."""
    from .. import experiments, files

    picture, folder = opened([image], fit), files.writable_folder(out)
    which = [int(c) for c in numbers(components, "--components")]
    lab = load(model, device, as_json)
    stream = experiments.walk_components.stream(
        lab, squared(picture, lab, fit), _directions(lab, directions), components=which,
        sigmas=numbers(sigmas, "--sigmas"), captions=lab.things, steps=steps, guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    paths = save_result(found, folder, f"{slug(image.stem)}-walk", image=image.name, fit=fit)
    report(found, paths, as_json, image=image.name)
