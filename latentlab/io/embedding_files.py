"""Rows of z_i in files: .parquet, .npy, .safetensors. Only this module imports pyarrow."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .atomic import open_tensors

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("z_i", "image_embedding", "embedding")  # ours, and what others call it
LABELS = ("path", "name", "image_path")
CHECKSUM = "z_i_crc32"  # of all rows; Parquet's own checksums leave out where the pages lie
MAKE = "`latentlab embed FOLDER --out FILE.parquet` writes such a file"


def write_parquet(
    path: Path, groups: Iterable[tuple[list[str], Tensor]], metadata: Callable[[], dict[str, str]]
) -> tuple[int, int]:
    """Write names and z_i (B, D), each pair as a row group, into the columns path and z_i; nothing if there is none.

    Args:
        metadata: asked for after the last group.

    Returns:
        How many rows, and D.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, count, width, checksum = None, 0, 0, 0
    try:
        for names, z_i in groups:
            if writer is None:
                width = z_i.shape[1]
                schema = pa.schema({"path": pa.string(), "z_i": pa.list_(pa.float32(), width)})
                options = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
                writer = pq.ParquetWriter(path, schema, **options)
            flat = pa.array(z_i.numpy().reshape(-1))
            checksum = zlib.crc32(z_i.contiguous().numpy().data, checksum)
            columns = [pa.array(names, pa.string()), pa.FixedSizeListArray.from_arrays(flat, width)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(names)
        if writer is not None:
            writer.add_key_value_metadata({**metadata(), CHECKSUM: f"{checksum:08x}"})
    finally:
        if writer is not None:
            writer.close()
    return count, width


def read_parquet(path: Path, size: int, column: str | None, named: bool) -> Iterator[tuple[list[str], Tensor]]:
    """Yield a Parquet file's names and z_i (N, D) by `size` rows at most; no names where `named` is False.

    Raises:
        UserError: a damaged file; after its last row, if only the checksum of all rows tells.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Without the first two a large row group is read at once, even for its first row.
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False, page_checksum_verification=True) as file:
            column = _column(path, file.schema_arrow, column)
            label = [c for c in LABELS if named and c in file.schema_arrow.names][:1]
            wanted = (file.metadata.metadata or {}).get(CHECKSUM.encode()) if column == COLUMNS[0] else None
            row, checksum = 0, 0
            for part in file.iter_batches(size, columns=[column, *label]):
                names = _labels(part.column(label[0])) if label else []
                z_i = _matrix(path, part, column, row)
                if wanted is not None:
                    checksum = zlib.crc32(z_i.numpy().data, checksum)
                yield [str(row + k) if n is None else n for k, n in enumerate(names)], z_i
                row += part.num_rows
            if wanted is not None and wanted != f"{checksum:08x}".encode():
                raise UserError(f"{path.name} holds other numbers than were written: {MAKE}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one from a column's name
        raise UserError(f"{path.name} is not a whole Parquet ({error}): {MAKE}") from error


def _labels(column: pa.Array) -> list[str | None]:
    """Names as text; what is not UTF-8 in them is replaced."""
    import pyarrow as pa
    import pyarrow.types as types

    text = types.is_string(column.type) or types.is_large_string(column.type) or types.is_binary(column.type)
    raw = column.cast(pa.binary() if text else pa.string()).to_pylist()
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in raw]


def _column(path: Path, schema: pa.Schema, column: str | None) -> str:
    """The column asked for, or the first of the usual names, if it holds lists of floats."""
    import pyarrow.types as types

    there = ", ".join(schema.names)
    name = next((c for c in ((column,) if column else COLUMNS) if c in schema.names), None)
    if name is None:
        wanted = column or " or ".join(COLUMNS)
        raise UserError(f"{path.name} has no column {wanted}, it has {there}: name the one that holds z_i")
    kind = schema.field(name).type
    lists = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    if not lists or not types.is_floating(kind.value_type):
        raise UserError(f"{path.name}'s column {name} holds {kind}, wanted lists of floats; it has {there}")
    return name


def _matrix(path: Path, part: pa.RecordBatch, name: str, row: int) -> Tensor:
    """A column of lists as (B, D)."""
    import pyarrow.compute as pc

    column = part.column(name)
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != lengths[0])
    if column.null_count:
        missing = int(np.flatnonzero(lengths == -1)[0])
        raise UserError(f"{path.name} has no {name} in row {row + missing}: leave such rows out")
    if len(odd):
        raise ragged(path, row, lengths[0], row + odd[0], lengths[odd[0]])
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(flat.reshape(len(column), lengths[0]).copy())


def read_npy(path: Path, size: int, *_: Any) -> Iterator[tuple[list[str], Tensor]]:
    """Yield the z_i (N, D) of a NumPy array by `size` rows at most; it has no names."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, RecursionError, SyntaxError, TokenError) as error:  # the header is Python
        raise UserError(f"{path.name} is not a whole NumPy array ({error}): numpy.save it again") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or array.dtype.itemsize > 8:
        actual = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise UserError(f"{path.name} holds {actual}, wanted floats (N, D): numpy.save z_i alone")
    for start in range(0, len(array), size):
        native = array[start : start + size].astype(array.dtype.newbyteorder("="))
        yield [], torch.from_numpy(native)


def read_safetensors(path: Path, size: int, *_: Any) -> Iterator[tuple[list[str], Tensor]]:
    """Yield the tensor `z_i` (N, D) of a safetensors file by `size` rows at most; it has no names."""
    with open_tensors(path, "z_i", kind="set of embeddings", hint=MAKE) as file:
        rows = file.get_slice("z_i")
        shape, kind = rows.get_shape(), rows.get_dtype()
        if len(shape) != 2 or kind not in ("F64", "F32", "F16", "BF16"):
            raise UserError(f"{path.name} holds z_i {kind} {tuple(shape)}, wanted floats (N, D): save it again")
        for start in range(0, shape[0], size):
            yield [], rows[start : start + size]


def count(path: Path) -> int:
    """How many rows a file has, by its header."""
    if path.suffix.lower() == ".npy":
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    if path.suffix.lower() == ".safetensors":
        with open_tensors(path, "z_i", kind="set of embeddings", hint=MAKE) as file:
            return int(file.get_slice("z_i").get_shape()[0])
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows


def ragged(path: Path, row: int, length: int, other: int, other_length: int) -> UserError:
    """The error about a file whose rows `row` and `other` hold embeddings of different lengths."""
    where = f"{length} numbers in row {row} and {other_length} in row {other}"
    return UserError(f"{path.name} has {where}: keep only rows of one model")


READERS = {".parquet": read_parquet, ".npy": read_npy, ".safetensors": read_safetensors}


def metadata(path: Path) -> dict[str, str]:
    """What a file says of itself."""
    if path.suffix.lower() == ".safetensors":
        with open_tensors(path, kind="set of embeddings", hint=MAKE) as file:
            return dict(file.metadata() or {})
    if path.suffix.lower() == ".npy":
        return {}
    import pyarrow.parquet as pq

    raw = pq.read_metadata(path).metadata or {}
    metadata = {k.decode(errors="replace"): v.decode(errors="replace") for k, v in raw.items()}
    for file_format_only in ("ARROW:schema", CHECKSUM):  # the first is pyarrow's own, in base64
        metadata.pop(file_format_only, None)
    return metadata


def checked_rows(
    path: Path, size: int, column: str | None, width: int | None, named: bool = False
) -> Iterator[tuple[list[str], Tensor]]:
    """Read names and z_i of some rows at a time, of any format, finite and of one width.

    Raises:
        UserError: as for `embeddings.batches`.
    """
    if not path.exists():
        raise UserError(f"{path} is not there: {MAKE}")
    reader = READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        raise UserError(f"{path.name} is of no kind that is read: give one of {', '.join(READERS)}")
    if path.stat().st_size == 0:
        raise UserError(f"{path.name} is empty: {MAKE}")
    row, columns = 0, 0
    for names, z_i in reader(path, size, column, named):
        if not z_i.shape[1]:
            break
        columns = columns or z_i.shape[1]
        if z_i.shape[1] != columns:
            raise ragged(path, 0, columns, row, z_i.shape[1])
        if width is not None and width != columns:
            raise UserError(f"{path.name} holds z_i of width {columns}, wanted {width}: embed with the model it is for")
        bad = not_finite_rows(z_i)
        if bad:
            raise UserError(f"{path.name} is not finite in row {first_three([row + k for k in bad])}: leave those out")
        yield names or [str(k) for k in range(row, row + len(z_i))] if named else [], z_i
        row += len(z_i)
    if row == 0:
        raise UserError(f"{path.name} holds no numbers: {MAKE}")


def not_finite_rows(z_i: Tensor) -> list[int]:
    """The rows of z_i (B, D) that hold a value that is not finite."""
    if z_i.sum().isfinite():  # as it is in nearly every file, and a sum is cheaper than to look at each value
        return []
    return (~z_i.isfinite().all(1)).nonzero().flatten().tolist()


def first_three(things: list) -> str:
    """Name the first three of some things, and say how many more there are."""
    more = f" and {len(things) - 3} more" if len(things) > 3 else ""
    return ", ".join(map(str, things[:3])) + more
