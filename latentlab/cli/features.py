"""The commands about a dictionary of features: fit one, show its features, and move pictures along them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .. import __version__
from ..errors import UserError
from .directions import Source, batches_of, check_new_file, read_or_embed, walk_pictures
from .inputs import Inputs, check_fit, integers, load_pixels, numbers
from .options import (
    PICTURE_OR_LATENTS,
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
    from torch import Tensor

    from ..analysis.dictionary import Dictionary
    from ..models import Lab

features: typer.Typer = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Fit and show sparse features of z_i."
)
Fitted = Annotated[
    Path | None, typer.Option(help="File that `latentlab features fit` wrote; the model's own features by default.")
]
Numbers = Annotated[
    str, typer.Option("--features", help="Features, counted from 0, separated by commas; by default the strongest.")
]


def _dictionary(lab: Lab, path: Path | None) -> Dictionary:
    from .. import models
    from ..analysis.dictionary import Dictionary

    dictionary = Dictionary.load(path) if path else models.dictionary(lab.name)
    if dictionary is None:
        raise UserError(f"{lab.name} ships no features: fit some with `latentlab features fit FOLDER`")
    return dictionary


@with_model_options
def fit_features(
    model: ModelChoice,
    source: Source,
    out: Annotated[Path, typer.Option(help="New .safetensors file to write.")] = Path("features.safetensors"),
    count: Annotated[int, typer.Option("--features", min=1, help="Number of features.")] = 512,
    active: Annotated[int, typer.Option(min=1, help="Largest number of features that describe one picture.")] = 8,
    rounds: Annotated[int, typer.Option("--steps", min=1, help="Steps of the fit.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the fit.")] = 0,
    fit: ClipFit = "model",
    as_json: Json = False,
) -> None:
    """Fit a dictionary of sparse features to many z_i.

    It is a top-k sparse autoencoder. A file of z_i is read a part at a time, so it may be larger than the memory.
    """
    import torch

    from ..analysis import sparse_autoencoder
    from ..clip import FITS
    from ..io import embeddings, partitions

    check_fit(fit, FITS)
    check_new_file(out)
    skipped: dict[str, str] = {}
    source_of_z_i: Tensor | Callable[[], Iterable[Tensor]]
    if partitions.is_partitioned(source):
        _, clip, skipped = partitions.merged(source)
        recorded, source_of_z_i = {**clip, "fitted on": str(source)}, functools.partial(partitions.batches, source)
    elif source.is_dir():
        shards, recorded = read_or_embed(model, source, fit, as_json)
        source_of_z_i = torch.cat([*batches_of(with_progress_bar(shards, as_json), skipped)])
    else:
        recorded = {**embeddings.clip_metadata(source), "fitted on": source.name}
        source_of_z_i = functools.partial(embeddings.batches, source)
    steps = sparse_autoencoder.fit_steps(source_of_z_i, count, active, steps=rounds, seed=seed, metadata=recorded)
    *_, last = with_progress_bar(steps, as_json)
    fitted = cast("Dictionary", last)
    make_folder(out.parent)
    fitted.save(out)
    dead = int((fitted.frequency == 0).sum())
    numbers_of_fit: dict[str, Any] = {"count": fitted.count, "features": len(fitted), "active": active, "dead": dead}
    numbers_of_fit |= {"explained": round(fitted.explained, 4), "skipped": skipped}
    print_notes(f"skipped {name}: {reason}" for name, reason in [*skipped.items()][:5])
    metadata = {name: value for name, value in recorded.items() if name != "probe"}
    lines = [f"{out}  {fitted}", f"{fitted.explained:.0%} of the variance; {dead} features are active in no picture"]
    print_output({"latentlab": __version__, **metadata, "path": str(out), **numbers_of_fit}, as_json, lines)


@with_model_options
def show(
    model: ModelChoice,
    pictures: Annotated[
        list[Path], typer.Argument(help=f"One {PICTURE_OR_LATENTS}; or several, or folders. The first is moved.")
    ],
    which: Numbers = "",
    strengths: Annotated[
        str, typer.Option(help="How much of a feature is added, in multiples of its mean strength.")
    ] = "0,2,4,8",
    top: Annotated[int, typer.Option(min=1, max=12, help="Number of pictures in which a feature is most active.")] = 3,
    dictionary: Fitted = None,
    seed: Seed = 0,
    fit: ClipFit = "model",
    steps: Steps = 25,
    guidance: Guidance = 2.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Show the pictures in which features are most active, and what the decoder makes of them.

    Each feature has a row: the pictures in which it is most active, and the first picture with more and more of it.
    """
    from .. import experiments
    from ..clip import FITS
    from ..io import atomic

    inputs, folder = Inputs(pictures, fit, FITS), atomic.writable_folder(out)
    chosen, amounts = integers(which, "--features"), numbers(strengths, "--strengths")
    lab = model.load(as_json)
    fitted = _dictionary(lab, dictionary)
    names, pixels = load_pixels(inputs, lab, fit, as_json)
    stream = experiments.features.stream(
        lab,
        pixels,
        fitted,
        features=chosen or None,
        strengths=amounts,
        top=top,
        captions=lab.things,
        seed=seed,
        steps=steps,
        guidance=guidance,
        preview_every=0,
    )
    result = run_with_progress_bar(stream, as_json)
    extra: dict[str, Any] = {"images": names}
    report(
        result, save_result(result, folder, f"{slug(Path(names[0]).stem)}-features", fit=fit, **extra), as_json, **extra
    )


@with_model_options
def walk(
    model: ModelChoice,
    pictures: Pictures,
    features: Numbers = "",
    strengths: Annotated[
        str, typer.Option(help="How far to move along a feature, in its mean strengths, separated by commas.")
    ] = "-2,0,2,4,8",
    dictionary: Fitted = None,
    fit: Fit = "crop",
    steps: RoundTripSteps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Move pictures along single features, x_T fixed.

    The captions that rise and fall along a feature name it.
    """
    from ..io import atomic

    inputs, folder = Inputs(pictures, fit), atomic.writable_folder(out)
    chosen = integers(features, "--features") if features else None
    distances = numbers(strengths, "--strengths")
    lab = model.load(as_json)
    fitted = _dictionary(lab, dictionary)
    params: dict[str, Any] = {"components": chosen, "sigmas": distances, "guidance": guidance}
    results = walk_pictures(lab, inputs, fitted, folder, "feature-walk", steps=steps, quiet=as_json, **params)
    report_each(results, as_json, inputs.several)


for name, command in {"fit": fit_features, "show": show, "walk": walk}.items():
    features.command(name)(command)
