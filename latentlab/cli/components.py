"""The commands about principal components: fit them, decode from the first of them, move along them, draw them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..errors import UserError
from .directions import Source, batches_of, check_new_file, read_or_embed, walk_pictures
from .inputs import Inputs, check_fit, integers, numbers
from .options import (
    ClipFit,
    Fit,
    Guidance,
    Json,
    ModelChoice,
    Out,
    Pictures,
    RoundTripSteps,
    Seed,
    Steps,
    with_model_options,
)
from .output import (
    free_path,
    make_folder,
    print_notes,
    print_output,
    report,
    report_each,
    run_with_progress_bar,
    save_result,
    slug,
    with_progress_bar,
)

if TYPE_CHECKING:
    from ..analysis.pca import Directions
    from ..experiments import TruncationResult
    from ..models import Lab

pca = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Fit and show principal components of z_i.")
Fitted = Annotated[
    Path | None, typer.Option(help="File that `latentlab pca fit` wrote; the model's own components by default.")
]


def _directions(lab: Lab, path: Path | None) -> Directions:
    from .. import models
    from ..analysis.pca import Directions

    components = Directions.load(path) if path else models.directions(lab.name)
    if path and components and not {"probe", "weights"} & set(components.metadata):
        print_notes([f"{path} does not record the CLIP that its z_i are of; only their width is compared"])
    if components is None:
        raise UserError(f"{lab.name} ships no directions: fit some with `latentlab pca fit FOLDER --model {lab.name}`")
    return components


def _check_dims(dims: list[int], components: Directions) -> None:
    """Refuse numbers of components that the PCA lacks."""
    for k in dims:
        if not 0 <= k <= len(components):
            n = len(components)
            raise UserError(f"--dims has {k}, but the PCA has {n} components: give numbers from 0 to {n}")


@with_model_options
def show(
    model: ModelChoice,
    pictures: Pictures,
    dims: Annotated[
        str,
        typer.Option(
            help="Numbers of components to keep, separated by commas, each makes a column; by default 1,2,4,… and all."
        ),
    ] = "",
    directions: Fitted = None,
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Decode pictures from their first k components."""
    from .. import experiments
    from ..analysis.pca import Directions
    from ..io import atomic

    inputs, folder = Inputs(pictures, fit), atomic.writable_folder(out)
    kept_dims = integers(dims, "--dims") if dims else None
    if directions and kept_dims:  # refuse before the model loads
        _check_dims(kept_dims, Directions.load(directions))
    lab = model.load(as_json)
    components = _directions(lab, directions)
    _check_dims(kept_dims or [], components)
    params: dict[str, Any] = {"dims": kept_dims, "seed": seed, "steps": steps, "guidance": guidance, "preview_every": 0}

    def results() -> Iterator[tuple[TruncationResult, dict[str, str], dict[str, Any]]]:
        for picture in inputs:
            stream = experiments.truncate.stream(lab, picture.load(lab, fit), components, **params)
            result = run_with_progress_bar(stream, as_json)
            extra: dict[str, Any] = {"image": picture.name}
            stem, curves = f"{slug(picture.stem)}-components", {"curves": result.curves()}
            yield result, save_result(result, folder, stem, figures=curves, fit=fit, **extra), extra

    report_each(results(), as_json, inputs.several)


@with_model_options
def walk(
    model: ModelChoice,
    pictures: Pictures,
    components: Annotated[
        str, typer.Option(help="Components, counted from 0, separated by commas; by default the first four.")
    ] = "",
    sigmas: Annotated[
        str, typer.Option(help="How far to move along a component, in standard deviations, separated by commas.")
    ] = "-4,-2,0,2,4",
    directions: Fitted = None,
    fit: Fit = "crop",
    steps: RoundTripSteps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Move pictures along single components, x_T fixed.

    The captions that rise and fall along a component name it.
    """
    from ..io import atomic

    inputs, folder = Inputs(pictures, fit), atomic.writable_folder(out)
    chosen = integers(components, "--components") if components else None
    distances = numbers(sigmas, "--sigmas")
    lab = model.load(as_json)
    fitted = _directions(lab, directions)
    params: dict[str, Any] = {"components": chosen, "sigmas": distances, "guidance": guidance}
    results = walk_pictures(lab, inputs, fitted, folder, "component-walk", steps=steps, quiet=as_json, **params)
    report_each(results, as_json, inputs.several)


@with_model_options
def draw(
    model: ModelChoice,
    components: Annotated[str, typer.Option(help="Components, counted from 0, separated by commas.")] = "0,1",
    canvas: Annotated[str, typer.Option(help="What CLIP draws on, as in `latentlab draw`.")] = "fourier",
    sigma: Annotated[
        float, typer.Option(help="Distance along a component that is decoded, in standard deviations.")
    ] = 4.0,
    steps: Annotated[int, typer.Option(min=1, max=5000, help="Steps of each climb.")] = 60,
    directions: Fitted = None,
    seed: Seed = 0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw what components want to see, by CLIP alone and by the decoder."""
    from .. import experiments
    from ..io import atomic

    numbered, folder = integers(components, "--components"), atomic.writable_folder(out)
    lab = model.load(as_json)
    stream = experiments.visualise.stream(
        lab,
        _directions(lab, directions),
        components=numbered,
        canvas=canvas,
        sigma=sigma,
        steps=steps,
        seed=seed,
        preview_every=0,
    )
    result = run_with_progress_bar(stream, as_json)
    report(result, save_result(result, folder, f"components-{slug(components)}-drawn"), as_json)


@with_model_options
def fit_directions(
    model: ModelChoice,
    source: Source,
    out: Annotated[Path, typer.Option(help="New .safetensors file to write.")] = Path("directions.safetensors"),
    components: Annotated[
        int | None, typer.Option(min=1, help="Number of components; by default all that the pictures span.")
    ] = None,
    fit: ClipFit = "model",
    as_json: Json = False,
) -> None:
    """Find the principal components of many z_i."""
    from .. import plotting
    from ..analysis.pca import Directions
    from ..clip import FITS
    from ..io import partitions

    check_fit(fit, FITS)
    check_new_file(out)
    skipped: dict[str, str] = {}
    if partitions.is_partitioned(source):
        moments, clip, skipped = partitions.merged(source)
        recorded = {**clip, "fitted on": str(source)}
        fitted = Directions.from_moments(moments, components, metadata=recorded)
    else:
        shards, recorded = read_or_embed(model, source, fit, as_json)
        batches = batches_of(with_progress_bar(shards, as_json), skipped)
        fitted = Directions.fit(batches, components, metadata=recorded)
    metadata = {name: value for name, value in recorded.items() if name != "probe"}
    make_folder(out.parent)
    fitted.save(out)
    figure_path = free_path(out.with_suffix(".png"), metadata)
    plotting.save(plotting.spectrum(fitted.shares), figure_path, metadata)
    needed = _needed(fitted)
    lines = [f"{out}  {fitted}", f"variance against components: {figure_path}"]
    lines += [f"{share} of the variance: {n} component{'s' * (n != 1)}" for share, n in needed.items()]
    lines += [f"skipped {name}: {reason}" for name, reason in list(skipped.items())[:5]]
    paths = {"path": str(out), "figure": str(figure_path)}
    numbers = {"count": fitted.count, "components": len(fitted), "needed": needed, "skipped": skipped}
    print_output({"latentlab": __version__, **metadata, **paths, **numbers}, as_json, lines)


def _needed(fitted: Directions) -> dict[str, int]:
    """How many components reach shares of the variance, of those shares that all together reach."""
    reached = fitted.explained(len(fitted))
    return {f"{share:.0%}": fitted.needed(share) for share in (0.5, 0.9, 0.95, 0.99) if reached >= share}


for name, command in {"fit": fit_directions, "show": show, "walk": walk, "draw": draw}.items():
    pca.command(name)(command)
