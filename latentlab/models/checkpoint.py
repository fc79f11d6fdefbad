"""The networks of a published checkpoint, loaded part by part, and what their configs say."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import nn

from ..errors import UserError
from .hub import (
    command,
    fetch,
    holds,
    indispensable,
    layout,
    needs_weights,
    offers_pickles,
    origin,
    parameters,
    pickled,
    place,
    weights,
)
from .offload import HEADROOM, Turns, free_gigabytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import CLIPTokenizer

    from .registry import HubSource, ModelSpec

N = TypeVar("N", bound=nn.Module)


class Checkpoint:
    """The parts of one model, wherever they lie, loaded onto one device in one precision.

    Args:
        model: the registry's entry.
        user_folder: a folder with the user's own parts; parts that it lacks come from the model's repositories.
        dtype: None takes float16 on a GPU and float32 elsewhere.
        offload: keep on the device only the network that is running; None does so where the networks don't all fit.
            The others wait in the machine's memory, or on disk where memory is short.

    Raises:
        UserError: a part is missing, cut off or a pickle, or there is not enough memory.
    """

    def __init__(
        self,
        model: ModelSpec,
        user_folder: Path | None,
        *,
        device: torch.device,
        dtype: torch.dtype | None = None,
        offload: bool | None = None,
    ) -> None:
        self.model, self.user_folder, self.device = model, user_folder, device
        self.dtype = dtype or (torch.float16 if device.type == "cuda" else torch.float32)
        self.folders = self._locate(user_folder)
        parts = [(source.role, part) for source in model.sources for part in source.parts if needs_weights(part)]
        self.files = {key: self._files(*key) for key in parts}
        sizes = [self._count(*key) * self.dtype.itemsize / 1e9 for key in parts]
        self.turns = self._plan(sum(sizes), max(sizes), offload)
        self.weights = self._digest(user_folder)

    def _locate(self, user_folder: Path | None) -> dict[str, Path]:
        """Find the user's own parts, and the repository of every source of which they lack a part."""
        sources = self.model.sources
        self.own = {
            (source.role, part): folder for source in sources for part, folder in self._own(user_folder, source)
        }
        if user_folder is not None and not self.own:
            subfolders = ", ".join(f"{source.parts[0]}/" for source in sources)
            other = layout(user_folder)
            raise UserError(
                f"{user_folder} has no part of {self.model.name}, which wants {subfolders} in subfolders"
                + (f": it has the layout of {other}" if other else ": give the folder that model_index.json is in")
            )
        return {s.role: fetch(s) for s in sources if not all((s.role, part) in self.own for part in s.parts)}

    def _own(self, user_folder: Path | None, source: HubSource) -> Iterator[tuple[str, Path]]:
        """Yield the parts of a source that a folder has.

        Two sources of a model may have parts of the same name; such a part belongs to the source whose first part is
        beside it.
        """
        bases = [user_folder / source.name, user_folder] if user_folder else []
        whole = next((base for base in bases if holds(base, source)), None)
        names = [part for other in self.model.sources for part in other.parts]
        for part in source.parts:
            loose = [base for base in bases if names.count(part) == 1 and layout(base) in (None, source.layout)]
            for base in [whole] if whole else loose:
                flat = source.flat and base == whole
                if (base / part).is_dir() or flat or (whole and not indispensable(part)):
                    yield part, place(base, part)
                    break

    def _files(self, role: str, part: str) -> list[Path]:
        """The files that hold a part's weights."""
        folder, source = self.folder(role, part), self._source(role)
        with self._repair_named(role, part):
            files = weights(folder)
        if files:
            return files
        if (role, part) not in self.own and offers_pickles(source, part):
            raise UserError(pickled(f"{source.repo}/{part}"))
        raise UserError(f"{folder} holds no safetensors file: {self._repair(role, part)}")

    def _count(self, role: str, part: str) -> int:
        """The number of a part's parameters; its files must be complete."""
        with self._repair_named(role, part):
            return sum(map(parameters, self.files[role, part]))

    @contextmanager
    def _repair_named(self, role: str, part: str) -> Iterator[None]:
        """Add the command that repairs a file to the message of an error about it."""
        try:
            yield
        except UserError as error:
            message = str(error)
            joint = "" if "only as pickles" in message else ", then " if "delete" in message else ": "
            raise UserError(message + (joint and f"{joint}{self._repair(role, part)}")) from error

    def _source(self, role: str) -> HubSource:
        return next(source for source in self.model.sources if source.role == role)

    def _repair(self, role: str, part: str) -> str:
        """The command or the action that brings a part's files back."""
        if (role, part) not in self.own or self.user_folder is None:
            return f"`{command(self._source(role))}`"
        published = origin(self.user_folder)
        if published is None:
            return "copy the folder again"
        return f"`latentlab fetch {'@'.join(published)} --family {self.model.name}`"

    def tokenizer(self, role: str, part: str) -> CLIPTokenizer:
        """A CLIP tokenizer from its subfolder."""
        from transformers import CLIPTokenizer

        folder = self.folder(role, part)
        if not (folder / "vocab.json").is_file() or not (folder / "merges.txt").is_file():
            raise UserError(f"{folder} lacks vocab.json or merges.txt of a tokenizer: {self._repair(role, part)}")
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)

    def folder(self, role: str, part: str) -> Path:
        return self.own.get((role, part)) or place(self.folders[role], part)

    def _plan(self, total: float, largest: float, offload: bool | None) -> Turns | None:
        """Decide whether the networks take turns on the device, and where the waiting ones are kept."""
        free = free_gigabytes(self.device)
        offload = total + HEADROOM > free if offload is None else offload
        needed = (largest if offload else total) + HEADROOM
        if needed > free:
            least = self.dtype.itemsize == 2
            ways = ([] if offload else ["offload=True (--offload)"]) + ([] if least else ["dtype='bfloat16' (--dtype)"])
            raise UserError(
                f"{self.model.name} in {str(self.dtype).removeprefix('torch.')} wants {needed:.1f} GB of memory on "
                f"{self.device}{', one network at a time,' * offload} and {free:.1f} GB are free: "
                + " or ".join([*(f"give {way}" for way in ways), "close something", "load('emoji')"])
            )
        if not offload:
            return None
        cpu = torch.device("cpu")
        return Turns(self.device, on_disk=self.device.type == "cpu" or total + HEADROOM > free_gigabytes(cpu))

    def _digest(self, user_folder: Path | None) -> str:
        """The repositories' commits, or for a user's own files a hash of one megabyte of every file."""
        if user_folder is None:  # the cache names a snapshot's folder by its commit
            return " ".join(dict.fromkeys(f"{s.repo}@{self.folders[s.role].name[:12]}" for s in self.model.sources))
        published = origin(user_folder)
        name = f"{published[0]}@{published[1][:12]} " if published else f"{user_folder.name}@"
        digest = hashlib.sha256()
        for file in sorted(file for files in self.files.values() for file in files):
            size = file.stat().st_size
            with open(file, "rb") as stream:
                stream.seek(size // 2)
                digest.update(f"{file.name} {size}".encode() + stream.read(2**20))
        return name + digest.hexdigest()[:12]

    def network(self, kind: type[N], role: str, part: str, *, stays: bool = False) -> N:
        """A network from its subfolder, frozen, on the device or waiting for its turn there.

        Args:
            stays: keep it on the device; for a small network whose attributes are used without calling it.

        Raises:
            UserError: its weights do not fit its config, or some are missing.
        """
        folder = self.folder(role, part)
        module = self._read(kind, folder)
        if self.turns and not stays:
            return self.turns.add(module, lambda: self._read(kind, folder))
        return module.to(self.device)

    def _read(self, kind: type[N], folder: Path) -> N:
        precision = "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
        options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
        try:
            with quiet():
                loaded = cast("Any", kind).from_pretrained(folder, **options, **{precision: self.dtype})
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            first = str(error).strip().splitlines()[:1]
            raise UserError(f"{folder} can't be loaded as {kind.__name__} ({', '.join(first)})") from error
        module, info = cast("tuple[N, dict[str, Any]]", loaded)
        if missing := sorted(info["missing_keys"]):
            raise UserError(
                f"{folder} lacks {len(missing)} weights of a {kind.__name__}, like {missing[0]}: it is of another "
                "family, or half a checkpoint"
            )
        return module.eval().requires_grad_(False)

    def config(self, role: str, part: str, file: str) -> dict[str, Any]:
        """The values of a part's JSON file; none where the checkpoint lacks it, so that published defaults hold."""
        path = self.folder(role, part) / file
        if not path.is_file():
            return {}
        try:
            return cast("dict[str, Any]", json.loads(path.read_text("utf-8")))
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error}): {self._repair(role, part)}") from error

    def scheduler(self, role: str, part: str) -> dict[str, Any]:
        """The config of a scheduler."""
        return self.config(role, part, "scheduler_config.json")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers and diffusers about surplus keys; `Checkpoint` itself refuses missing ones."""
    import diffusers.utils.logging as diffusers
    import transformers.utils.logging as transformers

    before = [(library, library.get_verbosity()) for library in (diffusers, transformers)]
    bars = transformers.is_progress_bar_enabled()
    for library, _ in before:
        library.set_verbosity_error()
    transformers.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity in before:
            library.set_verbosity(verbosity)
        if bars:
            transformers.enable_progress_bar()
