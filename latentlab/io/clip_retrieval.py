"""A set of z_i in the layout that clip-retrieval indexes: unit vectors in .npy files beside their pictures' paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import UserError
from ..slerp import normalize
from . import embedding_files, partitions
from .atomic import atomic_write
from .embeddings import ROWS

IMAGES, METADATA = "img_emb", "metadata"


def write(source: Path, folder: Path) -> int:
    """Write img_emb/img_emb_000000.npy, … and metadata/metadata_000000.parquet, … with the column image_path.

    The vectors are ẑ_i in float16, as `clip-retrieval inference` writes them.

    Args:
        source: a file of z_i, or the folder of shards of `latentlab embed`.
        folder: a new one.

    Returns:
        How many rows.

    Raises:
        UserError: the folder holds something, or the source can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds files: give a new folder")
    count = 0
    with atomic_write(folder) as unfinished:
        for k, (names, z_i) in enumerate(_parts(source)):
            for name in (IMAGES, METADATA):
                (unfinished / name).mkdir(parents=True, exist_ok=True)
            np.save(unfinished / IMAGES / f"{IMAGES}_{k:06d}.npy", normalize(z_i.float()).half().numpy())
            pq.write_table(pa.table({"image_path": names}), unfinished / METADATA / f"{METADATA}_{k:06d}.parquet")
            count += len(names)
    return count


def _parts(source: Path) -> Iterator[tuple[list[str], Tensor]]:
    """Names and z_i of a file by some rows, or of a folder by its shards."""
    paths = [source]
    if source.is_dir():
        partitions.merged(source)  # refuse shards that are missing or of another CLIP
        paths = [path for path in sorted(source.glob("*.parquet")) if not path.name.startswith(".")]
    for path in paths:
        yield from embedding_files.checked_rows(path, ROWS, None, None, named=True)
