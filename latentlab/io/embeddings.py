"""Encode a folder of pictures into a Parquet of z_i, and read z_i from .parquet, .npy and .safetensors files."""

from __future__ import annotations

import functools
import json
import mimetypes
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .. import __version__
from ..clip import square
from ..errors import UserError
from . import embedding_files, images
from .atomic import atomic_write, utf8
from .reading import read_ahead

if TYPE_CHECKING:
    from ..clip import Encoder

FORMAT = "latentlab.Embeddings"
ROWS = 8192


@dataclass(frozen=True, repr=False, eq=False)
class Embeddings:
    """The z_i of many pictures.

    Args:
        names: N, the pictures' paths below their folder, or their row numbers where the file has none.
        z_i: (N, D), in CLIP's own scale, unless the file's maker normalised it.
        skipped: the pictures that could not be read, each with the reason.
        metadata: what the file says of itself, like the model.

    Raises:
        UserError: names and z_i of different numbers.
    """

    names: tuple[str, ...]
    z_i: Tensor
    skipped: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.z_i.ndim != 2 or len(self.names) != len(self.z_i):
            raise UserError(
                f"{len(self.names)} names and z_i {tuple(self.z_i.shape)}: give (N, D), with one name for each row"
            )

    def __repr__(self) -> str:
        return f"Embeddings({len(self)} of width {self.z_i.shape[1]}, {len(self.skipped)} skipped)"

    def __len__(self) -> int:
        return len(self.names)


class Shard(NamedTuple):
    """Some pictures of a folder, encoded: `step` of `steps` files are done.

    `skipped` are those among them that could not be read; the last shard may hold nothing else.
    """

    stage: str
    step: int
    steps: int
    names: tuple[str, ...]
    z_i: Tensor  # (B, D), float32
    skipped: dict[str, str]


@dataclass(frozen=True)
class Written:
    """What `write` wrote: `count` rows of `width`."""

    path: Path
    count: int
    width: int
    skipped: dict[str, str]


# From pictures


def list_files(folder: str | Path) -> list[Path]:
    """All files below a folder, sorted, without hidden ones: the pictures among them show when they are opened.

    Raises:
        UserError: no such folder, or no files in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give one with pictures ({', '.join(images.FORMATS)})")
    visible = (p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    paths = sorted(p for p in visible if p.is_file())
    if not paths:
        raise UserError(f"{folder} holds no pictures: give a folder with some ({', '.join(images.FORMATS)})")
    return paths


def embed(
    encoder: Encoder, folder: str | Path, *, fit: str = "model", batch: int = 64, done: Collection[str] = ()
) -> Iterator[Shard]:
    """Encode all pictures below a folder, in the order of their paths, a shard at a time.

    A picture that can't be read is skipped and named. A file whose name says that it is something else, like the
    captions beside a picture, is ignored.

    Args:
        fit: "model" sizes pictures by the model's own preprocessing; the others are those of `images.square`.
        batch: the number of pictures that are encoded together.
        done: names of files to leave out, because an earlier run encoded or skipped them.

    Raises:
        UserError: no such folder, no picture in it that can be read, or parameters out of their range.
    """
    if batch < 1:
        raise UserError(f"batch is {batch}: give how many pictures to encode together, from 1")
    paths, z_i = list_files(folder), None
    names: list[str] = []
    pictures: list[Image.Image] = []
    skipped: dict[str, str] = {}
    todo = {path: name for path, name in _names(paths, Path(folder)).items() if name not in done}
    readers = (
        ((path, name), functools.partial(images.open_image, path, alpha=fit == "subject"))
        for path, name in todo.items()
    )
    sized = read_ahead(readers, functools.partial(square, encoder, fit=fit))
    for step, ((path, name), picture) in enumerate(sized, len(paths) - len(todo) + 1):
        if not isinstance(picture, UserError):
            names.append(name)
            pictures.append(picture)
        elif may_be_picture(path):
            skipped[name] = utf8(str(picture))
        if len(pictures) == batch or step == len(paths):
            if pictures:
                z_i = encoder.encode_image(images.to_tensor(*pictures)).float().cpu()
            elif z_i is None and not done:
                reason = next(iter(skipped.values()), f"give one with {', '.join(images.FORMATS)}")
                raise UserError(f"nothing in {folder} can be read as a picture ({len(paths)} tried): {reason}")
            z_i = torch.empty(0, 0) if z_i is None else z_i[: len(names)]
            yield Shard("embed", step, len(paths), tuple(names), z_i, skipped)
            names, pictures, skipped = [], [], {}


def _names(paths: Sequence[Path], folder: Path) -> dict[Path, str]:
    """The name of each file below a folder, as it is stored."""
    return {path: utf8(path.relative_to(folder).as_posix()) for path in paths}


def may_be_picture(path: Path) -> bool:
    """Whether a file may be a picture by its name; the captions beside a picture are not."""
    kind = mimetypes.guess_type(path.name)[0]
    return kind is None or kind.startswith("image/")


# To a file


def write(path: str | Path, shards: Iterable[Shard | Embeddings], metadata: dict[str, str] | None = None) -> Written:
    """Write shards as they come into a Parquet with the columns path and z_i, whole or not at all.

    z_i is stored in float32, so `read` returns the same bits.

    Args:
        shards: as `embed` yields them; or whole sets, [embeddings].
        metadata: of the encoder, like the model and its weights; it says so itself if z_i is normalised.

    Raises:
        UserError: no rows, widths that differ, values that are not finite, or a file that can't be written.
    """
    skipped: dict[str, str] = {}

    def about() -> dict[str, str]:
        ours = {"format": FORMAT, "latentlab": __version__, "skipped": json.dumps(skipped)}
        return {"normalised": "no", **(metadata or {}), **ours}

    with atomic_write(path) as part:
        count, width = embedding_files.write_parquet(part, _groups(shards, skipped), about)
        if not count:
            raise UserError(f"there is nothing to write into {Path(path).name}: give at least one embedding")
    return Written(Path(path), count, width, skipped)


def _groups(shards: Iterable[Shard | Embeddings], skipped: dict[str, str]) -> Iterator[tuple[list[str], Tensor]]:
    """Shards gathered into row groups; what they skipped is added up."""
    names: list[str] = []
    parts: list[Tensor] = []
    width: int | None = None
    for shard in shards:
        skipped |= shard.skipped
        z_i = shard.z_i.detach().to("cpu").float()  # (B, D)
        width = width or z_i.shape[1]
        if z_i.shape[1] != width:
            raise UserError(f"z_i of widths {width} and {z_i.shape[1]}: encode all pictures with the same model")
        bad = embedding_files.not_finite_rows(z_i)
        if bad:
            names_of_bad = embedding_files.first_three([shard.names[k] for k in bad])
            raise UserError(f"z_i is not finite for {names_of_bad}: encode in float32")
        names += shard.names
        parts.append(z_i)
        if len(names) >= ROWS:
            yield names, torch.cat(parts)
            names, parts = [], []
    if names:
        yield names, torch.cat(parts)


# From a file


def read(path: str | Path, *, column: str | None = None, width: int | None = None) -> Embeddings:
    """All of a .parquet, .npy or .safetensors file; its names, where it has a column path, name or image_path.

    Args:
        column: of a Parquet; by default z_i, or else image_embedding or embedding.
        width: the D that is wanted; any by default.

    Raises:
        UserError: as for `batches`.
    """
    names, parts = [], []
    for some, z_i in embedding_files.checked_rows(Path(path), ROWS, column, width, named=True):
        names += some
        parts.append(z_i)
    metadata = embedding_files.metadata(Path(path))
    try:
        skipped = json.loads(metadata.pop("skipped", "{}")) if metadata.get("format") == FORMAT else {}
    except ValueError as error:
        message = f"the list of skipped pictures of {Path(path).name} is damaged ({error}): {embedding_files.MAKE}"
        raise UserError(message) from error
    return Embeddings(tuple(names), torch.cat(parts), skipped, metadata)


def batches(
    path: str | Path, size: int = ROWS, *, column: str | None = None, width: int | None = None
) -> Iterator[Tensor]:
    """The z_i of a file, (B, D) at a time with B up to `size`, for what does not fit into memory.

    Args:
        column, width: as for `read`.

    Raises:
        UserError: no such file, another kind of file, an empty or a broken one, no such column, another width, lists
            of different lengths, values that are missing or not finite, or a size below 1.
    """
    if size < 1:
        raise UserError(f"size is {size}: give how many rows to read at a time, from 1")
    yield from (z_i for _, z_i in embedding_files.checked_rows(Path(path), size, column, width))


def shards(path: str | Path, *, column: str | None = None) -> Iterator[Shard]:
    """The z_i of a file as `batches` gives them, without names, each with how many rows are read by then.

    Raises:
        UserError: as for `batches`.
    """
    row, total = 0, 0
    for z_i in batches(path, column=column):
        row, total = row + len(z_i), total or embedding_files.count(Path(path))
        yield Shard("read", row, total, (), z_i, {})


def width(path: str | Path, *, column: str | None = None) -> int:
    """D of a file, from its first row.

    Raises:
        UserError: as for `batches`.
    """
    return next(batches(path, 1, column=column)).shape[1]


def clip_metadata(path: str | Path) -> dict[str, str]:
    """What a file records of the CLIP that made its z_i: its model, its weights, a probe of it, and the scale of z_i.

    Raises:
        UserError: as for `batches`.
    """
    width(path)  # refuse what can't be read
    recorded = embedding_files.metadata(Path(path))
    return {name: recorded[name] for name in ("model", "weights", "probe", "normalised") if name in recorded}
