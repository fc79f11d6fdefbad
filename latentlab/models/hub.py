"""The files of checkpoints, in the hub's cache or in a folder; only safetensors are read."""

from __future__ import annotations

import json
import math
from pathlib import Path

from ..errors import UserError
from .registry import REGISTRY, HubSource

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
TEXTS = ("*.json", "*.txt")
TRANSPORTS = ("huggingface_hub", "httpx", "requests", "hf_xet")  # an error of one of these means a failed network
VARIANTS = ("*.fp16.*", "*.non_ema.*")  # further copies of the same weights, which are not downloaded


def fetch(source: HubSource, *, local_only: bool = False) -> Path:
    """The folder of a repository's files, which are downloaded unless they are cached.

    Cached files are used without asking the network.  A broken transfer resumes where it stopped; an interrupted run
    keeps the complete files and starts the incomplete one again.  HF_HUB_OFFLINE is respected.

    Args:
        local_only: use the cache and never the network.

    Raises:
        UserError: nothing is cached and the hub can't be reached, or the repository is gated, gone or has no such
            revision.
    """
    from huggingface_hub import snapshot_download

    local_only = local_only or cached(source) or not reachable()
    folders = ("",) if source.flat else tuple(f"{part}/" for part in source.parts)
    wanted = ["model_index.json", *(f + name for f in folders for name in (*TEXTS, "*.safetensors"))]
    try:
        folder = snapshot_download(
            source.repo,
            revision=source.revision,
            allow_patterns=wanted,
            ignore_patterns=list(VARIANTS),
            local_files_only=local_only,
        )
    except Exception as error:  # the hub's client also raises the errors of its transport
        reason = _reason(error, source)
        if not reason:
            raise
        raise UserError(reason) from error
    return Path(folder)


def _reason(error: Exception, source: HubSource) -> str:
    """Why a repository can't be fetched and what to do; empty for an error that has nothing to do with the hub."""
    from huggingface_hub import errors

    repo, fetched = source.repo, command(source)
    size = f"its {source.gigabytes} GB"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is gated: accept its terms on https://huggingface.co/{repo}, then `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError | errors.DisabledRepoError):
        return f"{repo} is not on the hub, or not for you: give a local copy, load(folder, family=…), or a mirror"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {source.revision}: give a local copy or a mirror"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled | ConnectionError | TimeoutError):
        return (
            f"{repo} is not cached, and the hub can't be reached: with a network, "
            f"`{fetched}` fetches {size if source.gigabytes else 'it'}"
        )
    if type(error).__module__.startswith(TRANSPORTS):
        return f"{repo} can't be fetched ({error}): try `{fetched}` again"
    if isinstance(error, OSError):
        return (
            f"{repo} can't be written into the cache ({error.strerror or error}): make room for {size}, "
            f"or set HF_HOME to a folder that has it; then `{fetched}`"
        )
    return ""


def reachable() -> bool:
    """Whether the hub answers one short request; a download would retry for half a minute."""
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
    if names := [model.name for model in REGISTRY.values() if source in model.sources]:
        return f"latentlab fetch {min(names, key=len)}"  # the plain one of those that share a prior
    return f"latentlab fetch {source.repo}@{source.revision} --family {source.role}"


def cached(source: HubSource) -> bool:
    """Whether every part of a source is in the hub's cache; this function does not use the network."""
    try:
        folder = fetch(source, local_only=True)
        return all(weights(place(folder, part)) or not needs_weights(part) for part in source.parts)
    except UserError:
        return False


def layout(folder: Path) -> str | None:
    """The family whose layout a folder's own files name, or None where they name no registered family."""
    return next((model.family for model in REGISTRY.values() if model.has_layout(folder)), None)


def recognise(folder: Path) -> str | None:
    """The model that a folder's own files identify, or None where they identify none."""
    return next((model.name for model in REGISTRY.values() if model.recognises(folder)), None)


def holds(folder: Path, source: HubSource) -> bool:
    """Whether a folder is a copy of a source: it has the first part and does not have the layout of another family."""
    if source.flat and folder.name == source.name:
        return (folder / "config.json").is_file()
    return (folder / source.parts[0]).is_dir() and (source.flat or layout(folder) in (None, source.layout))


def place(folder: Path, part: str) -> Path:
    """The folder of a part: its own subfolder, or the given folder for a repository that is one network."""
    one = not (folder / part).is_dir() and (folder / "config.json").is_file()
    return folder if one else folder / part


def needs_weights(part: str) -> bool:
    """Whether a part of a checkpoint has weights; schedulers, tokenizers and image processors are configs alone."""
    return not part.endswith(("scheduler", "tokenizer", "extractor", "image_processor"))


def indispensable(part: str) -> bool:
    """Whether a model can't be loaded without a part; the other parts are configs that have published defaults."""
    return needs_weights(part) or part.endswith("tokenizer")


def weights(folder: Path) -> list[Path]:
    """A part's safetensors files: those that its index lists, or the only one where it has no index.

    Raises:
        UserError: the part has pickles and no safetensors, or a file of the index is missing.
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
    files = [file for file in sorted(folder.glob("*.safetensors")) if ".fp16." not in file.name]
    if not files and any(file.suffix in PICKLES for file in folder.glob("*")):
        raise UserError(pickled(folder))
    return files[:1]


def pickled(where: str | Path) -> str:
    """The message about a refused pickle, with the reason and what to do."""
    return (
        f"{where} offers its weights only as pickles, which can run any code when they are read: ask its author for "
        "safetensors, or convert it where you trust it: "
        "from_pretrained(folder, use_safetensors=False).save_pretrained(folder)"
    )


def offers_pickles(source: HubSource, part: str) -> bool:
    """Whether a part without safetensors is on the hub as a pickle; False where the hub does not answer."""
    from huggingface_hub import HfApi

    try:
        names = HfApi().list_repo_files(source.repo, revision=source.revision)
    except Exception:  # the caller reports the missing part in any case
        return False
    return any(name.startswith(f"{part}/") and name.endswith(PICKLES) for name in names)


def parameters(file: Path) -> int:
    """The number of parameters in a safetensors file, of which only the header is read.

    Raises:
        UserError: the file is truncated, or it is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as tensors:
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:  # the hub's cache holds links; their target is the file to delete
        raise UserError(f"{file} is not a complete safetensors file ({error}): delete {file.resolve()}") from error
