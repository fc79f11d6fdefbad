"""The commands about many embeddings: a folder's z_i as a file, and their principal components."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import UserError
from .options import (
    Chosen,
    Fit,
    Guidance,
    Json,
    Out,
    Picture,
    Seed,
    Steps,
    choosing,
    free,
    integers,
    make,
    numbers,
    opened,
    report,
    save_result,
    say,
    slug,
    squared,
    watch,
    watched,
)

if TYPE_CHECKING:
    from ..analysis.pca import Directions
    from ..models import Lab

pca = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Principal components of z_i: fit, show, walk.")
Fitted = Annotated[Path | None, typer.Option(help="What `latentlab pca fit` wrote; the model's own by default.")]


def _directions(lab: Lab, path: Path | None) -> Directions:
    from .. import models
    from ..analysis.pca import Directions

    found = Directions.load(path) if path else models.directions(lab.name)
    if found is None:
        raise UserError(f"{lab.name} ships no directions: fit some with `latentlab pca fit FOLDER --model {lab.name}`")
    return found


@pca.command()
@choosing
def show(
    model: Chosen,
    image: Picture,
    dims: Annotated[str, typer.Option(help="How many components each column keeps.")] = "1,2,4,8,16,32,64,128",
    directions: Fitted = None,
    seed: Seed = 0,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Decode a picture from the first k components of its z_i."""
    from .. import experiments
    from ..io import atomic

    picture, folder = opened([image], fit), atomic.writable_folder(out)
    kept = integers(dims, "--dims")
    lab = model.load(as_json)
    stream = experiments.truncate.stream(
        lab, squared(picture, lab, fit), _directions(lab, directions), dims=kept, seed=seed, steps=steps,
        guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    curves = {"curves": found.curves()}
    paths = save_result(found, folder, f"{slug(image.stem)}-components", figures=curves, image=image.name, fit=fit)
    report(found, paths, as_json, image=image.name)


@pca.command()
@choosing
def walk(
    model: Chosen,
    image: Picture,
    components: Annotated[str, typer.Option(help="Which, from 0, with commas.")] = "0,1,2,3",
    sigmas: Annotated[str, typer.Option(help="How far, in standard deviations, with commas.")] = "-4,-2,0,2,4",
    directions: Fitted = None,
    fit: Fit = "crop",
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Move a picture along single components, named by the captions that rise and fall along them."""
    from .. import experiments
    from ..io import atomic

    picture, folder = opened([image], fit), atomic.writable_folder(out)
    which, far = integers(components, "--components"), numbers(sigmas, "--sigmas")
    lab = model.load(as_json)
    stream = experiments.walk_components.stream(
        lab, squared(picture, lab, fit), _directions(lab, directions), components=which,
        sigmas=far, captions=lab.things, steps=steps, guidance=guidance, preview_every=0,
    )  # fmt: skip
    found = watch(stream, as_json)
    paths = save_result(found, folder, f"{slug(image.stem)}-walk", image=image.name, fit=fit)
    report(found, paths, as_json, image=image.name)


@pca.command(name="fit")
@choosing
def fit_directions(
    model: Chosen,
    source: Annotated[Path, typer.Argument(help="A folder of pictures, or a .parquet, .npy or .safetensors of z_i.")],
    out: Annotated[Path, typer.Option(help="A .safetensors that is not there yet.")] = Path("directions.safetensors"),
    components: Annotated[
        int | None, typer.Option(min=1, help="How many; all that the pictures span by default.")
    ] = None,
    fit: Fit = "crop",
    as_json: Json = False,
) -> None:
    """Find the principal components of many z_i."""
    from .. import plotting
    from ..analysis.pca import Directions
    from ..io import atomic, embeddings

    if out.suffix != ".safetensors" or out.exists():
        raise UserError(f"--out is {out}: give a file that ends in .safetensors and is not there yet")
    atomic.writable_folder(out.parent)
    skipped: dict[str, str] = {}
    if source.is_dir():
        embeddings.list_files(source)  # refuse an empty one before loading the model
        lab = model.load(as_json)
        shards = watched(embeddings.embed(lab.encoder, source, fit=fit), as_json)
        batches = (skipped.update(shard.skipped) or shard.z_i for shard in shards)
        about = {"model": lab.name, "weights": lab.weights, "fitted on": str(source)}
    else:
        batches, about = embeddings.batches(source), {"fitted on": source.name}
    found = Directions.fit(batches, components, metadata=about)
    make(out.parent)
    found.save(out)
    drawn = free(out.with_suffix(".png"), about)
    plotting.save(plotting.spectrum(found.shares), drawn, about)
    shares = {
        f"{share:.0%}": found.needed(share) for share in (0.5, 0.9, 0.95, 0.99) if found.explained(len(found)) >= share
    }
    lines = [f"{out}  {found}", f"variance against components: {drawn}"]
    lines += [f"{share} of the variance: {n} component{'s' * (n != 1)}" for share, n in shares.items()]
    lines += [f"skipped {name}: {reason}" for name, reason in list(skipped.items())[:5]]
    paths = {"path": str(out), "figure": str(drawn)}
    numbers = {"count": found.count, "components": len(found), "needed": shares, "skipped": skipped}
    say({"latentlab": __version__, **about, **paths, **numbers}, as_json, lines)


@choosing
def embed(
    model: Chosen,
    folder: Annotated[Path, typer.Argument(help="With pictures, and folders of pictures.")],
    out: Annotated[Path, typer.Option(help="A .parquet that is not there yet.")],
    fit: Fit = "crop",
    batch: Annotated[int, typer.Option(min=1, max=4096, help="So many pictures are encoded together.")] = 64,
    as_json: Json = False,
) -> None:
    """Encode all pictures of a folder into a Parquet of their z_i."""
    from ..io import atomic, embeddings

    embeddings.list_files(folder)  # refuse an empty one before loading the model
    if fit not in ("crop", "pad"):
        raise UserError(f"--fit is {fit!r}: give 'crop' or 'pad'")
    if out.suffix != ".parquet":
        raise UserError(f"--out is {out}: give a file that ends in .parquet")
    if out.exists():
        raise UserError(f"{out} is there already: give another --out, or remove it")
    atomic.writable_folder(out.parent)
    lab = model.load(as_json)
    make(out.parent)
    about = {"model": lab.name, "weights": lab.weights, "fit": fit}
    # Closed here, so that the bar is gone before an error is said.
    with contextlib.closing(watched(embeddings.embed(lab.encoder, folder, fit=fit, batch=batch), as_json)) as shards:
        found = embeddings.write(out, shards, about)
    lines = [
        f"{out}  {found.count} picture{'s' * (found.count > 1)}, width {found.width}, {len(found.skipped)} skipped"
    ]
    lines += [f"skipped {name}: {reason}" for name, reason in itertools.islice(found.skipped.items(), 5)]
    lines += [f"… and {len(found.skipped) - 5} more; --json names them all"] if len(found.skipped) > 5 else []
    numbers = {
        "path": str(out),
        "count": found.count,
        "width": found.width,
        "skipped": found.skipped,
    }
    say({"latentlab": __version__, **about, "folder": str(folder), **numbers}, as_json, lines)
