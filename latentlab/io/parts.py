"""The pictures of a large corpus in parts: files of a folder, WebDataset's tars, Parquets of bytes or of paths."""

from __future__ import annotations

import functools
import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import UserError
from . import images
from .atomic import utf8
from .embeddings import list_files, may_be_picture
from .reading import Read

KINDS = {".tar": "tar", ".parquet": "parquet"}
BYTES = ("image", "jpg", "png", "webp", "bytes", "image_bytes")  # columns of Parquets that hold pictures
PATHS = ("path", "image_path", "file", "filename")


@dataclass(frozen=True)
class Part:
    """Some pictures: the files `start` to `stop` of a folder's list, one tar, or the rows of one Parquet.

    Args:
        name: of the shard's files. kind: "files", "tar" or "parquet".
        path: the folder, the tar or the Parquet.
    """

    name: str
    kind: str
    path: str
    start: int = 0
    stop: int = 0


@dataclass(frozen=True)
class Corpus:
    """A source in parts.

    Args:
        source: the folder or file. parts: in order. fingerprint: of the names and sizes of what it consists of.
        files: of a folder of pictures, the list that its parts count by.
    """

    source: Path
    parts: tuple[Part, ...]
    fingerprint: str
    files: tuple[Path, ...] = ()

    def pictures(self, part: Part, *, alpha: bool = False) -> Iterator[tuple[str, Read]]:
        """The names of a part's pictures, each with what reads it or raises the reason why it can't.

        Args:
            alpha: as for `images.open_image`.
        """
        if part.kind == "files":
            for path in self.files[part.start : part.stop]:
                name = utf8(path.relative_to(self.source).as_posix())
                yield name, functools.partial(images.open_image, path, alpha=alpha)
        elif part.kind == "tar":
            yield from _of_tar(Path(part.path), alpha)
        else:
            yield from _of_parquet(Path(part.path), alpha)


def corpus(source: Path, rows: int) -> Corpus:
    """The parts of a folder of pictures, of a tar or a Parquet, or of a folder of tars or Parquets.

    img2dataset's folders are read in each of its formats: files, webdataset and parquet.

    Args:
        rows: the number of files in a part, where pictures are single files.

    Raises:
        UserError: no such source, or nothing in it that may be a picture.
    """
    paths = [source] if source.is_file() else list_files(source)
    sizes = "\n".join(f"{utf8(str(path))} {path.stat().st_size}" for path in paths)
    fingerprint = hashlib.sha256(sizes.encode()).hexdigest()[:16]
    tars = [path for path in paths if path.suffix == ".tar"]
    pictures = [path for path in paths if path.suffix not in KINDS and may_be_picture(path)]
    tables = [] if tars or pictures else [path for path in paths if path.suffix == ".parquet"]  # else they are captions
    if tars or tables:
        shards = tars or tables
        parts = [Part(f"{k:06d}", KINDS[path.suffix], str(path)) for k, path in enumerate(shards)]
        return Corpus(source, tuple(parts), fingerprint)
    if not pictures or source.is_file():
        raise UserError(f"{source} holds no pictures: give a folder of them, or of .tar or .parquet files")
    starts = range(0, len(pictures), rows)
    parts = [
        Part(f"{k:06d}", "files", str(source), start, min(start + rows, len(pictures)))
        for k, start in enumerate(starts)
    ]
    return Corpus(source, tuple(parts), fingerprint, tuple(pictures))


def _broken(message: str) -> Read:
    def read() -> Image.Image:
        raise UserError(message)

    return read


def _of_tar(path: Path, alpha: bool) -> Iterator[tuple[str, Read]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and may_be_picture(Path(member.name)) and not Path(member.name).name.startswith("."):
                    file = archive.extractfile(member)
                    data = file.read(images.MAX_BYTES + 1) if file else b""
                    yield member.name, functools.partial(_decoded, data, member.name, alpha)
    except (tarfile.TarError, EOFError, OSError) as error:
        yield path.name, _broken(f"{path.name} is not a whole tar ({error}): make it again")


def _decoded(data: bytes, name: str, alpha: bool) -> Image.Image:
    return images.decode_image(data, Path(name).name, alpha=alpha)


def _of_parquet(path: Path, alpha: bool) -> Iterator[tuple[str, Read]]:
    """The pictures in a column of bytes, also Hugging Face's {bytes, path}, or at a column's paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            content = _first(BYTES, names) or _first(PATHS, names)
            if content is None:
                raise UserError(f"{path.name} has the columns {', '.join(names)}: name one {BYTES[0]} or {PATHS[0]}")
            label = _first(("key", "id", *PATHS), names)
            row = 0
            for batch in file.iter_batches(64, columns=list(dict.fromkeys([content, label or content]))):
                labels = batch.column(label).to_pylist() if label else [None] * batch.num_rows
                for name, value in zip(labels, batch.column(content).to_pylist()):
                    text = utf8(str(name)) if name is not None else f"{path.name}/{row}"
                    yield text, functools.partial(_picture, value, text, path.parent, alpha)
                    row += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield path.name, _broken(f"{path.name} is not a whole Parquet ({error}): make it again")


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _picture(value: Any, name: str, folder: Path, alpha: bool) -> Image.Image:
    value = value.get("bytes") or value.get("path") if isinstance(value, dict) else value
    if isinstance(value, bytes):
        return _decoded(value, name, alpha)
    if isinstance(value, str):
        return images.open_image(folder / value, alpha=alpha)
    raise UserError(f"{name} has no picture: leave it out")
