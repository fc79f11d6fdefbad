"""z_i of a large corpus in a folder of shards, each written whole, so that a run goes on after a kill at any point."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import __version__
from ..analysis.covariance import Moments
from ..clip import square
from ..errors import UserError
from . import embeddings, images
from .atomic import atomic_write, read_json, remove_parts
from .embeddings import Embeddings, Shard
from .parts import Corpus, Part, corpus
from .reading import read_ahead

if TYPE_CHECKING:
    from ..clip import Encoder

MANIFEST = "manifest.json"
FORMAT = "latentlab.Partitions"
RECORDED = ("model", "weights", "probe", "fit")  # what all shards of a folder have in common


def is_partitioned(path: Path) -> bool:
    """Whether a folder holds the shards of `latentlab embed`: it has their manifest."""
    return (path / MANIFEST).is_file()


def open_partitions(folder: Path, source: Corpus, metadata: dict[str, str], rows: int) -> list[Part]:
    """Write the manifest, or check the one that is there; return the parts that are not written yet.

    What a killed run was writing is removed; the folder must be `locked`.

    Raises:
        UserError: the folder's manifest is of another source, of other files, of another encoder or another number of
            rows, or the folder holds other files.
    """
    wanted = {
        "format": FORMAT,
        "latentlab": __version__,
        "source": str(source.source),
        "fingerprint": source.fingerprint,
        "rows": rows,
        **{name: metadata[name] for name in RECORDED if name in metadata},
        "parts": [asdict(part) for part in source.parts],
    }
    path = folder / MANIFEST
    remove_parts(folder)
    if path.exists():
        recorded = read_manifest(folder)
        for name in ("source", "fingerprint", "rows", *RECORDED):
            if recorded.get(name) != wanted.get(name):
                remedy = "give another folder, or the same source, model and options as before"
                raise UserError(f"{path} is of another run: its {name} is {_short(recorded.get(name))}: {remedy}")
    elif any(folder.iterdir()):
        raise UserError(f"{folder} holds files that are no shards: give a new folder")
    else:
        with atomic_write(path) as part_path:
            part_path.write_text(json.dumps(wanted, indent=1) + "\n", "utf-8")
    return [part for part in source.parts if not is_finished(folder, part.name)]


def is_finished(folder: Path, name: str) -> bool:
    """Whether a shard's moments, which are written last, are there with the rows that they count."""
    moments = moments_path(folder, name)
    return moments.exists() and ((folder / f"{name}.parquet").exists() or not Moments.load(moments)[0].count)


def _short(value: object) -> str:
    return f"{str(value)[:40]}…" if len(str(value)) > 40 else str(value)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the manifest says.

    Raises:
        UserError: there is none, or it is not whole.
    """
    if not is_partitioned(folder):
        raise UserError(f"{folder} holds no {MANIFEST}: `latentlab embed SOURCE --out {folder}` writes one")
    manifest = read_json(folder / MANIFEST, "embed into a new folder")
    if manifest.get("format") != FORMAT:
        raise UserError(f"{folder / MANIFEST} is none of latentlab's: give a folder that `latentlab embed` wrote")
    return manifest


def moments_path(folder: Path, name: str) -> Path:
    """The last file of a shard to be written: where it is, the shard is finished."""
    return folder / f"{name}.moments.safetensors"


def write_shard(
    encoder: Encoder, source: Corpus, part: Part, folder: Path, metadata: dict[str, str], *, batch: int = 64
) -> dict[str, Any]:
    """Encode a part; write its Parquet, unless no picture of it can be read, and then its moments.

    Returns:
        The shard's name, its number of rows, and what was skipped.
    """
    fit, names, rows, skipped = metadata["fit"], [], [], {}
    waiting: list[Any] = []

    def encode() -> None:
        if waiting:
            rows.append(encoder.encode_image(images.to_tensor(*waiting)).float().cpu())
            waiting.clear()

    sized = read_ahead(source.pictures(part, alpha=fit == "subject"), functools.partial(square, encoder, fit=fit))
    for name, picture in sized:
        if isinstance(picture, UserError):
            skipped[name] = str(picture)
            continue
        names.append(name)
        waiting.append(picture)
        if len(waiting) == batch:
            encode()
    encode()
    z_i = torch.cat(rows) if rows else torch.empty(0, 0)
    if names:
        embeddings.write(folder / f"{part.name}.parquet", [Embeddings(tuple(names), z_i, skipped)], metadata)
    moments = Moments.of(z_i) if names else Moments(0, torch.zeros(1).double(), torch.zeros(1, 1).double())
    about = {**metadata, "skipped": json.dumps(skipped)}
    moments.save(moments_path(folder, part.name), about)
    return {"name": part.name, "count": len(names), "skipped": skipped}


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, locked against another run.

    Raises:
        UserError: another run writes into it.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(f"another run writes into {folder}: wait for its end, or give another folder") from error
    finally:
        os.close(lock)


Load = Callable[[], Any]  # gives the lab; picklable, so that a process can load its own


def write_shards(
    load: Load, source: Corpus, parts: list[Part], folder: Path, metadata: dict[str, str], *, batch: int, workers: int
) -> Iterator[dict[str, Any]]:
    """Write shards in this process, or in a pool of processes that each load the model; yield what each reports."""
    if workers == 1 or len(parts) < 2:
        encoder = load().encoder
        for part in parts:
            yield write_shard(encoder, source, part, folder, metadata, batch=batch)
        return
    pool = ProcessPoolExecutor(min(workers, len(parts)), get_context("spawn"), _begin, (load, source))
    todo, running = iter(parts), set()
    with pool:
        try:
            while True:
                for part in todo:
                    running.add(pool.submit(_work, part, folder, metadata, batch))
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_worker: dict[str, Any] = {}  # of one process of the pool: its lab and the corpus


def _begin(load: Load, source: Corpus) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run itself ends its workers
    torch.set_num_threads(1)
    _worker["encoder"], _worker["source"] = load().encoder, source


def _work(part: Part, folder: Path, metadata: dict[str, str], batch: int) -> dict[str, Any]:
    return write_shard(_worker["encoder"], _worker["source"], part, folder, metadata, batch=batch)


# From the shards


def merged(folder: Path) -> tuple[Moments, dict[str, str], dict[str, str]]:
    """The moments of all shards, what they record of their CLIP, and what was skipped.

    Raises:
        UserError: no manifest, a shard that is missing or not finished, or one of another encoder or width.
    """
    skipped: dict[str, str] = {}
    manifest = read_manifest(folder)
    missing = [p["name"] for p in manifest["parts"] if not is_finished(folder, p["name"])]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(manifest['parts'])} shards of {folder} are not written, like {missing[0]}: "
            "the same `latentlab embed` again goes on from there"
        )

    def parts() -> Iterator[Moments]:
        for part in manifest["parts"]:
            moments, about = Moments.load(moments_path(folder, part["name"]))
            other = next((name for name in RECORDED if manifest.get(name) != about.get(name)), None)
            if other:
                raise UserError(f"shard {part['name']} of {folder} has another {other}: remove it, and embed again")
            skipped.update(json.loads(about.get("skipped", "{}")))
            if moments.count:
                yield moments

    moments = Moments.merge_all(parts())
    if moments is None:
        raise UserError(f"{folder} holds no embeddings: none of its pictures could be read")
    recorded: dict[str, str] = {name: manifest[name] for name in ("model", "weights", "probe") if name in manifest}
    return moments, {"normalised": "no", **recorded}, skipped


def batches(folder: Path) -> Iterator[Tensor]:
    """The z_i of all shards, (B, D) at a time.

    Raises:
        UserError: as for `embeddings.batches`.
    """
    for part in read_manifest(folder)["parts"]:
        path = folder / f"{part['name']}.parquet"
        if path.exists():
            yield from embeddings.batches(path)


def progress(report: dict[str, Any], done: int, total: int) -> Shard:
    """A shard's report as the progress bar takes it."""
    return Shard("shards", done, total, (), torch.empty(0, 0), report["skipped"])


__all__ = ["batches", "corpus", "is_partitioned", "locked", "merged", "open_partitions", "progress", "write_shards"]
