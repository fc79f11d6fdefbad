"""Checkpoints as files: fetched from the hub into its cache, or in a folder; safetensors only."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from ..errors import UserError
from .registry import REGISTRY, HubSource

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
TEXTS = ("*.json", "*.txt")
TRANSPORTS = ("huggingface_hub", "httpx", "requests", "hf_xet")  # whose errors mean that the network failed
VARIANTS = ("*.fp16.*", "*.non_ema.*")  # copies of the same weights, which would only be downloaded on top
PIPELINES = {"UnCLIP": "karlo", "KandinskyV22": "kandinsky", "StableUnCLIP": "stable_unclip"}  # as published


def fetch(source: HubSource, *, local_only: bool = False) -> Path:
    """The folder of a repository's wanted files, downloaded where they are not cached yet.

    What is cached is taken without a look at the network.  A transfer that breaks goes on where it stopped; a run that
    is ended keeps the files that are whole, and begins the one it was in anew.  HF_HUB_OFFLINE is respected.

    Args:
        local_only: look into the cache and never at the network.

    Raises:
        UserError: nothing is cached and the hub can't be reached, or the repository is gated, gone or has no such
            revision.
    """
    from huggingface_hub import errors, snapshot_download

    local_only = local_only or cached(source) or not reachable()
    folders = ("",) if source.flat else tuple(f"{part}/" for part in source.parts)
    wanted = ["model_index.json", *(f + name for f in folders for name in (*TEXTS, "*.safetensors"))]
    try:
        return Path(
            snapshot_download(
                source.repo, revision=source.revision, allow_patterns=wanted, ignore_patterns=list(VARIANTS),
                local_files_only=local_only,
            )
        )  # fmt: skip
    except errors.GatedRepoError as error:
        raise UserError(
            f"{source.repo} is gated: accept its terms on https://huggingface.co/{source.repo}, then `hf auth login`"
        ) from error
    except (errors.RepositoryNotFoundError, errors.DisabledRepoError) as error:
        raise UserError(
            f"{source.repo} is not on the hub, or not for you: give a local copy, load(folder, family=…), or a mirror"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{source.repo} has no revision {source.revision}: give a local copy or a mirror") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
        raise UserError(
            f"{source.repo} is not cached, and the hub can't be reached: with a network, "
            f"`{command(source)}` fetches {f'its {source.gigabytes} GB' if source.gigabytes else 'it'}"
        ) from error
    except Exception as error:  # the hub's client raises its transport's own errors, too
        foreign = type(error).__module__.startswith(TRANSPORTS)
        if isinstance(error, OSError) and not foreign:
            raise UserError(
                f"{source.repo} can't be written into the cache ({error.strerror or error}): make room for its "
                f"{source.gigabytes} GB, or set HF_HOME to a folder that has it; then `{command(source)}`"
            ) from error
        if not foreign:
            raise
        raise UserError(f"{source.repo} can't be fetched ({error}): try `{command(source)}` again") from error


def reachable() -> bool:
    """Whether the hub answers at all: asked once and briefly, where a download would try again for half a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # of whatever transport the hub's client uses
        if isinstance(error, OSError) or type(error).__module__.startswith(TRANSPORTS):
            return False
        raise
    return True


def origin(folder: Path) -> tuple[str, str] | None:
    """The repository and the commit of a folder in the hub's cache, models--OWNER--NAME/snapshots/COMMIT."""
    if folder.parent.name != "snapshots":
        return None
    return folder.parents[1].name.removeprefix("models--").replace("--", "/"), folder.name


def command(source: HubSource) -> str:
    """The command line that fetches a source into the hub's cache."""
    for row in REGISTRY.values():
        if source in row.sources:
            return f"latentlab fetch {row.name}"
    return f"latentlab fetch {source.repo}@{source.revision} --family {source.role}"


def cached(source: HubSource) -> bool:
    """Whether every part of a source is in the hub's cache; never looks at the network."""
    try:
        folder = fetch(source, local_only=True)
        return all(weights(place(folder, part)) or not needs_weights(part) for part in source.parts)
    except UserError:
        return False


def layout(folder: Path) -> str | None:
    """The family that a folder's model_index.json names, None where it names none that is known."""
    try:
        found = json.loads((folder / "model_index.json").read_text("utf-8")).get("_class_name", "")
    except (OSError, ValueError, AttributeError):
        return None
    return next((family for start, family in PIPELINES.items() if found.startswith(start)), None)


def holds(folder: Path, source: HubSource) -> bool:
    """Whether a folder is a copy of a source: it has the first part, and is not laid out as another family."""
    if source.flat and folder.name == source.name:
        return (folder / "config.json").is_file()
    return (folder / source.parts[0]).is_dir() and (source.flat or layout(folder) in (None, source.layout))


def place(folder: Path, part: str) -> Path:
    """Where a part lies: its own subfolder, or the folder itself for a repository that is one network."""
    one = not (folder / part).is_dir() and (folder / "config.json").is_file()
    return folder if one else folder / part


def needs_weights(part: str) -> bool:
    return not part.endswith(("scheduler", "tokenizer", "extractor", "image_processor"))


def indispensable(part: str) -> bool:
    """Whether a model can't be loaded without a part: what the configs of others leave out has published values."""
    return needs_weights(part) or part.endswith("tokenizer")


def weights(folder: Path) -> list[Path]:
    """A part's safetensors files: those of its index where it has one, else the only one.

    Raises:
        UserError: there are pickles and no safetensors, or a file of the index is missing.
    """
    for index in sorted(folder.glob("*.safetensors.index.json")):
        try:
            listed = sorted({folder / name for name in json.loads(index.read_text("utf-8"))["weight_map"].values()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{index} is no index of safetensors files ({error!r}): delete {index.resolve()}"
            ) from error
        for file in listed:
            if not file.is_file():
                raise UserError(f"{file} is missing, and {index.name} lists it")
        return listed
    found = [file for file in sorted(folder.glob("*.safetensors")) if ".fp16." not in file.name]
    if not found and any(file.suffix in PICKLES for file in folder.glob("*")):
        raise UserError(pickled(folder))
    return found[:1]


def pickled(where: str | Path) -> str:
    """Why pickles are not read, and the way out."""
    return (
        f"{where} offers its weights only as pickles, which can run any code when they are read: ask its author for "
        "safetensors, or convert it where you trust it: "
        "from_pretrained(folder, use_safetensors=False).save_pretrained(folder)"
    )


def offers_pickles(source: HubSource, part: str) -> bool:
    """Whether a part that came without safetensors is on the hub as a pickle; False where the hub can't be asked."""
    from huggingface_hub import HfApi

    try:
        names = HfApi().list_repo_files(source.repo, revision=source.revision)
    except Exception:  # whatever goes wrong here, the part is missing, and that is said
        return False
    return any(name.startswith(f"{part}/") and name.endswith(PICKLES) for name in names)


def parameters(file: Path) -> int:
    """How many numbers a safetensors file holds, from its header; the file must be as long as the header says.

    Raises:
        UserError: the file is cut off, or no safetensors file.
    """
    try:
        with open(file, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > file.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        wanted = 8 + length + max((entry["data_offsets"][1] for entry in entries), default=0)
        count = sum(math.prod(entry["shape"]) for entry in entries)
    except (struct.error, ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{file} is no whole safetensors file ({error}): delete {file.resolve()}") from error
    if (
        file.stat().st_size < wanted
    ):  # the hub's cache holds links: as long as their target is there, it counts as whole
        raise UserError(f"{file} has {file.stat().st_size} of {wanted} bytes: delete {file.resolve()}")
    return count


def recognise(folder: Path) -> str | None:
    """The row that a folder's own files say it is of, None where they don't."""
    found = layout(folder)
    if found != "stable_unclip":
        return {"karlo": "karlo", "kandinsky": "kandinsky22"}.get(found)
    try:
        width = json.loads((folder / "image_normalizer" / "config.json").read_text("utf-8"))["embedding_dim"]
    except (OSError, ValueError, KeyError):
        return None
    return {1024: "stable-unclip-h", 768: "stable-unclip-l"}.get(width)
