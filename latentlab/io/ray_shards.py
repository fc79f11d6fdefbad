"""The shards of a corpus on a Ray cluster: Ray Data hands parts to actors that hold the encoder. Only here is ray."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import UserError
from .partitions import is_finished, write_shard
from .parts import Corpus, Part


class ShardWriter:
    """An actor's encoder; it writes one shard at a time, whole, so that a part which is tried twice is written once.

    What it refuses is in its reports, because Ray passes on an exception as text only.
    """

    def __init__(self, load: Callable[[], Any], source: Corpus, folder: Path, metadata: dict[str, str], batch: int):
        self.source, self.folder, self.metadata, self.batch = source, folder, metadata, batch
        self.refusal = ""
        try:
            self.encoder = load().encoder
        except UserError as error:
            self.refusal = str(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        part = Part(**{name: row[name] for name in ("name", "kind", "path", "start", "stop")})
        report = {"name": part.name, "refusal": self.refusal}
        if self.refusal or is_finished(self.folder, part.name):  # a lost node had finished it
            return report
        try:
            write_shard(self.encoder, self.source, part, self.folder, self.metadata, batch=self.batch)
        except UserError as error:
            report["refusal"] = str(error)
        return report


def write_shards(
    load: Callable[[], Any],
    source: Corpus,
    parts: list[Part],
    folder: Path,
    metadata: dict[str, str],
    *,
    batch: int,
    workers: int,
) -> Iterator[dict[str, Any]]:
    """Write shards with `workers` actors, each with a GPU where the cluster has some; yield what each reports.

    The folder must be one that every node reaches under the same path. RAY_ADDRESS names a running cluster; without it
    one is started on this machine.

    Raises:
        UserError: ray is not installed, its cluster does not answer or fails, or what an actor refuses.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("the engine ray needs Ray Data: pip install 'latentlab[ray]'") from error
    if not parts:
        return
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise UserError(f"Ray's cluster does not answer ({error}): start it, or unset RAY_ADDRESS") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it also logs what it raises
    gpus = ray.cluster_resources().get("GPU", 0)
    rows = ray.data.from_items([asdict(part) for part in parts], override_num_blocks=len(parts))
    written = rows.map(
        ShardWriter,
        fn_constructor_args=(load, source, folder.absolute(), metadata, batch),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(parts))),
        num_gpus=1 if gpus >= workers else 0,
    )  # Ray Data starts an actor of a lost node again on another one, and gives it the part that it had
    try:
        for row in written.iter_rows():
            if row["refusal"]:
                raise UserError(row["refusal"])
            yield {"name": row["name"], "skipped": {}}
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"Ray's cluster failed ({reason}): the same command goes on from here") from error


def _check_address(address: str) -> None:
    """Refuse a cluster at whose address nothing listens, for which Ray itself waits minutes.

    Raises:
        UserError: nothing answers there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):  # none, "auto" or "local", of which Ray itself knows at once
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"no Ray cluster answers at {address} ({reason}): start it, or unset RAY_ADDRESS") from error
