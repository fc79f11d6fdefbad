"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError

PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A path to write a file or a folder to, moved to `path` when the block ends well and removed when it does not.

    Raises:
        UserError: the file can't be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # its own, beside another writer's
    try:
        yield part
        os.replace(part, path)
    except (OSError, SafetensorError) as error:  # safetensors has its own for a full disk, too
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} can't be written ({reason}): give a folder with room that can be written") from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(NotADirectoryError):  # the folder that it should be in is a file
            part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what killed runs were writing in a folder, files and folders; nothing else may write in it now."""
    for path in folder.glob(".*.part"):
        if PART.fullmatch(path.name):
            _remove(path)


def save_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    with atomic_write(path) as part:
        save_file(tensors, part, {name: utf8(value) for name, value in metadata.items()})


def utf8(name: str) -> str:
    """A file's name as text that can be stored and printed: names on Linux are bytes, and need not be UTF-8."""
    return name.encode("utf-8", "replace").decode("utf-8")


def writable_folder(folder: Path) -> Path:
    """The folder if it is one that can be written, or one that can be made; nothing is made yet.

    Raises:
        UserError: it is a file, or its nearest existing parent can't be written.
    """
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is a file: give a folder to write into")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{nearest} can't be written: give another folder")
    return folder


def read_json(path: Path, remedy: str) -> Any:
    """The value in a JSON file.

    Args:
        remedy: what brings the file back, for the refusal.

    Raises:
        UserError: the file is not whole.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not whole ({error}): {remedy}") from error


@contextmanager
def open_tensors(path: str | Path, *names: str, kind: str, hint: str) -> Iterator[safe_open]:
    """A safetensors file that holds tensors of these names, open for reading.

    Args:
        kind: what such a file is, in the refusals.
        hint: how one is made.

    Raises:
        UserError: no such file, not a whole safetensors file, or one without these names.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not there: {hint}")
    try:
        with safe_open(path, "pt") as file:
            if set(names) - set(file.keys()):
                wanted = " and ".join(", ".join(names).rsplit(", ", 1))
                raise UserError(f"{path.name} holds {sorted(file.keys())}, a {kind} wants {wanted}")
            yield file
    except SafetensorError as error:
        raise UserError(
            f"{path.name} is not a whole safetensors file ({error}): remove this {kind}, and make it again; {hint}"
        ) from error
