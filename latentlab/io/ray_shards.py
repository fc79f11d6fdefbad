"""The shards of a corpus on a Ray cluster: Ray Data hands parts to actors that hold the encoder. Only here is ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import UserError
from .partitions import moments_path, write_shard
from .parts import Corpus, Part


class ShardWriter:
    """An actor's encoder; it writes one shard at a time, whole, so that a part which is tried twice is written once."""

    def __init__(self, load: Callable[[], Any], source: Corpus, folder: Path, metadata: dict[str, str], batch: int):
        self.encoder, self.source, self.folder = load().encoder, source, folder
        self.metadata, self.batch = metadata, batch

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        part = Part(**{name: row[name] for name in ("name", "kind", "path", "start", "stop")})
        if moments_path(self.folder, part.name).exists():  # another node wrote it before it was lost
            return {"name": part.name}
        report = write_shard(self.encoder, self.source, part, self.folder, self.metadata, batch=self.batch)
        return {"name": report["name"]}


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
        UserError: ray is not installed, or its cluster does not answer.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("the engine ray needs Ray Data: pip install 'latentlab[ray]'") from error
    if not parts:
        return
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise UserError(f"Ray's cluster does not answer ({error}): start it, or unset RAY_ADDRESS") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    gpus = ray.cluster_resources().get("GPU", 0)
    rows = ray.data.from_items([asdict(part) for part in parts], override_num_blocks=len(parts))
    written = rows.map(
        ShardWriter,
        fn_constructor_args=(load, source, folder.absolute(), metadata, batch),
        concurrency=min(workers, len(parts)),
        num_gpus=1 if gpus >= workers else 0,
        max_restarts=-1,
        max_task_retries=-1,
    )
    for row in written.iter_rows():
        yield {"name": row["name"], "skipped": {}}
