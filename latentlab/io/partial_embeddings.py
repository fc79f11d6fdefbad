"""Shards of a Parquet of z_i that is not finished yet, so that an interrupted run keeps what it has encoded."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import UserError
from . import embeddings
from .embeddings import Embeddings, Shard, Written

ROWS = 1024  # rows of a shard: what a killed run loses at most


class PartialEmbeddings:
    """Embeddings on their way into one Parquet: each shard is a whole Parquet of its own, in a folder beside it.

    Args:
        path: the Parquet that `join` writes.
        metadata: of the encoder; every shard records it.

    Raises:
        UserError: shards of another encoder are there, or broken ones.
    """

    def __init__(self, path: Path, metadata: dict[str, str]) -> None:
        self.path, self.metadata, self.folder = path, metadata, shard_folder(path)
        self.names: list[str] = []  # of the rows that no shard holds yet
        self.parts: list[torch.Tensor] = []
        self.skipped: dict[str, str] = {}
        self.done: set[str] = set()  # pictures that are encoded or skipped, here and by earlier runs
        self.shards = sorted(self.folder.glob("[!.]*.parquet"))
        for shard in map(embeddings.read, self.shards):
            if any(shard.metadata.get(name) != value for name, value in metadata.items()):
                recorded = {name: shard.metadata.get(name) for name in metadata if name != "probe"}
                raise UserError(
                    f"{self.folder} holds shards of another run ({recorded}): remove it, or give another file to write"
                )
            self.done |= {*shard.names, *shard.skipped}

    def add(self, shard: Shard) -> None:
        """Keep a shard, on disk once there are enough rows for a file."""
        self.names += shard.names
        self.skipped |= shard.skipped
        self.done |= {*shard.names, *shard.skipped}
        if shard.names:
            self.parts.append(shard.z_i)
        if len(self.names) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that no shard holds yet."""
        if self.names:
            path = self.folder / f"{len(self.shards):06d}.parquet"
            embeddings.write(path, [self._rest()], self.metadata)
            self.shards.append(path)
            self.names, self.parts, self.skipped = [], [], {}

    def join(self) -> Written:
        """Write the Parquet out of all shards, and remove their folder.

        Raises:
            UserError: there are no rows, or the file can't be written.
        """
        rest = [self._rest()] if self.names or self.skipped else []
        of_files = (embeddings.read(path) for path in self.shards)
        written = embeddings.write(self.path, (part for parts in (of_files, rest) for part in parts), self.metadata)
        shutil.rmtree(self.folder, ignore_errors=True)
        return written

    def _rest(self) -> Embeddings:
        width = 0 if self.parts or not self.shards else embeddings.width(self.shards[0])
        z_i = torch.cat(self.parts) if self.parts else torch.empty(0, width)
        return Embeddings(tuple(self.names), z_i, self.skipped)


def shard_folder(path: Path) -> Path:
    """The folder of the shards of an unfinished Parquet."""
    return path.with_name(f"{path.name}.shards")


@contextlib.contextmanager
def resume(path: Path, metadata: dict[str, str]) -> Iterator[PartialEmbeddings]:
    """The shards that an interrupted run left, locked against another run; a block that fails keeps its rows.

    Raises:
        UserError: another run writes the same file, or as for `PartialEmbeddings`.
    """
    folder = shard_folder(path)
    folder.mkdir(exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another run writes {path}: wait for its end, or give another file to write") from error
        partial = PartialEmbeddings(path, metadata)
        try:
            yield partial
        except BaseException:
            partial.flush()
            raise
    finally:
        with contextlib.suppress(OSError):  # not there, or not empty
            folder.rmdir()
        os.close(lock)
