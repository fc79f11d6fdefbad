"""`latentlab embed`: the z_i of many pictures as one Parquet, or of a corpus as a folder of shards."""

from __future__ import annotations

import contextlib
import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..errors import UserError
from .inputs import check_fit
from .options import ClipFit, Json, ModelChoice, with_model_options
from .output import make_folder, print_notes, print_output, with_progress_bar

if TYPE_CHECKING:
    from ..io.embeddings import Written
    from ..models import Lab

ENGINES = ("local", "ray")


@with_model_options
def embed(
    model: ModelChoice,
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder with pictures, whose subfolders are read too; for shards also a .tar or .parquet, or a folder "
            "of them, as img2dataset writes."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New .parquet file, or folder for shards.")],
    fit: ClipFit = "model",
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Number of pictures to encode at a time.")] = 64,
    rows: Annotated[
        int, typer.Option(min=1, help="Number of pictures in a shard, where they are single files.")
    ] = 10_000,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that write shards.")] = 1,
    engine: Annotated[str, typer.Option(help="What runs the workers: local, or ray on its cluster.")] = "local",
    as_json: Json = False,
) -> None:
    """Encode pictures to a file of z_i, or to shards.

    The same command goes on where a run was stopped. A folder of shards goes where a file of z_i goes in `pca fit`.
    """
    from ..clip import FITS

    check_fit(fit, FITS)
    if engine not in ENGINES:
        raise UserError(f"--engine is {engine!r}: give {' or '.join(map(repr, ENGINES))}")
    if out.suffix == ".parquet":
        if workers > 1 or engine != "local":
            raise UserError(f"--out is {out}, one file: give a folder for shards, which several workers can write")
        _embed_to_file(model, source, out, fit, batch, as_json)
    elif out.suffix:
        raise UserError(f"--out is {out}: give a file that ends in .parquet, or a folder")
    else:
        _embed_to_shards(model, source, out, fit, batch, rows, workers, engine, as_json)


def export(
    source: Annotated[Path, typer.Argument(help="File of z_i, or folder of the shards of `latentlab embed`.")],
    out: Annotated[Path, typer.Option(help="New folder to write.")],
    as_json: Json = False,
) -> None:
    """Write z_i as `clip-retrieval index` reads them."""
    from ..io import atomic, clip_retrieval

    count = clip_retrieval.write(source, atomic.writable_folder(out))
    values = {"latentlab": __version__, "source": str(source), "path": str(out), "count": count}
    print_output(values, as_json, [f"{out}  {count} unit vectors and their paths; clip-retrieval index {out} INDEX"])


def _embed_to_file(model: ModelChoice, source: Path, out: Path, fit: str, batch: int, as_json: bool) -> None:
    from ..io import atomic, embeddings

    embeddings.list_files(source)  # refuse an empty one before loading the model
    if out.exists():
        raise UserError(f"{out} is there already: give another --out, or remove it")
    atomic.writable_folder(out.parent)
    lab = model.load(as_json)
    make_folder(out.parent)
    metadata = {"model": lab.name, "weights": lab.weights, "fit": fit}
    summary = _embed_folder(lab, source, out, fit, batch, as_json)
    heading = f"{out}  {summary.count} picture{'s' * (summary.count > 1)}, width {summary.width}"
    numbers: dict[str, Any] = {"path": str(out), "count": summary.count, "width": summary.width}
    _report(heading, {**metadata, "folder": str(source), **numbers}, summary.skipped, as_json)


def _report(heading: str, values: dict[str, Any], skipped: dict[str, str], as_json: bool) -> None:
    lines = [f"{heading}, {len(skipped)} skipped"]
    lines += [f"skipped {name}: {reason}" for name, reason in itertools.islice(skipped.items(), 5)]
    lines += [f"… and {len(skipped) - 5} more; --json names them all"] if len(skipped) > 5 else []
    print_output({"latentlab": __version__, **values, "skipped": skipped}, as_json, lines)


def _embed_folder(lab: Lab, folder: Path, out: Path, fit: str, batch: int, quiet: bool) -> Written:
    """Encode what no earlier run has encoded, and write the Parquet."""
    from ..io import embeddings, partial_embeddings

    with partial_embeddings.resume(out, {**lab.clip_metadata(), "fit": fit}) as partial:
        done = frozenset(partial.done)
        if done:
            print_notes([f"an earlier run left {len(done)} files in {partial.folder}; this one goes on from there"])
        stream = embeddings.embed(lab.encoder, folder, fit=fit, batch=batch, done=done)
        try:
            # Close the stream here, so that the progress bar is gone before an error is printed.
            with contextlib.closing(with_progress_bar(stream, quiet)) as shards:
                for shard in shards:
                    partial.add(shard)
        except KeyboardInterrupt:
            partial.flush()
            if partial.shards:
                progress = f"{len(partial.done)} files are done and kept in {partial.folder}"
                print_notes([f"{progress}; the same command goes on from there"])
            raise
        return partial.join()


def _embed_to_shards(
    model: ModelChoice,
    source: Path,
    out: Path,
    fit: str,
    batch: int,
    rows: int,
    workers: int,
    engine: str,
    as_json: bool,
) -> None:
    from ..io import atomic, partitions

    corpus = partitions.corpus(source, rows)  # refuse an empty one before loading the model
    atomic.writable_folder(out)
    lab = model.load(as_json)
    folder = make_folder(out)
    metadata = {**lab.clip_metadata(), "fit": fit}
    with partitions.locked(folder):
        todo = partitions.open_partitions(folder, corpus, metadata, rows)
        done = len(corpus.parts) - len(todo)
        if done:
            print_notes([f"{done} of {len(corpus.parts)} shards are there; this run writes the others"])
        load = functools.partial(_load, model) if workers > 1 or engine == "ray" else lambda: lab
        if engine == "ray":
            from ..io import ray_shards

            reports = ray_shards.write_shards(load, corpus, todo, folder, metadata, batch=batch, workers=workers)
        else:
            reports = partitions.write_shards(load, corpus, todo, folder, metadata, batch=batch, workers=workers)
        steps = (partitions.progress(r, done + k, len(corpus.parts)) for k, r in enumerate(reports, 1))
        with contextlib.closing(with_progress_bar(steps, as_json)) as shards:
            for _ in shards:
                pass
        moments, _, skipped = partitions.merged(folder)
    heading = f"{out}  {moments.count} pictures in {len(corpus.parts)} shards, width {len(moments.mean)}"
    values = {"model": lab.name, "weights": lab.weights, "fit": fit, "source": str(source), "path": str(out)}
    numbers = {"count": moments.count, "width": len(moments.mean), "shards": len(corpus.parts)}
    _report(heading, {**values, **numbers}, skipped, as_json)


def _load(model: ModelChoice) -> Lab:
    """The lab in another process, without anything on the screen."""
    return model.load(True)
