"""Published checkpoints: found in a folder, in the hub's cache or on the hub, and loaded from safetensors only."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..diffusion import cosine_abar
from ..errors import UserError

if TYPE_CHECKING:
    from . import Row, Source

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
TEXTS = ("*.json", "*.txt")
VARIANTS = ("*.fp16.*", "*.non_ema.*")  # copies of the same weights, which would only be downloaded on top
PIPELINES = {"UnCLIP": "karlo", "KandinskyV22": "kandinsky", "StableUnCLIP": "stable_unclip"}  # as published
HEADROOM = 1.5  # gigabytes beside the weights: activations of one batch


def fetch(source: Source, *, local_only: bool = False) -> Path:
    """The folder of a repository's wanted files, downloaded where they are not cached yet.

    What is cached is taken without a look at the network.  A download that was cut off goes on where it stopped;
    HF_HUB_OFFLINE is respected.

    Args:
        local_only: look into the cache and never at the network.

    Raises:
        UserError: nothing is cached and the hub can't be reached, or the repository is gated, gone or has no such
            revision.
    """
    from huggingface_hub import errors, snapshot_download

    local_only = local_only or cached(source)
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
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        raise UserError(
            f"{source.repo} is not cached, and the hub can't be reached: with a network, "
            f"`{command(source)}` fetches its {source.gigabytes} GB"
        ) from error
    except Exception as error:  # the hub's client raises its transport's own errors, too
        if not type(error).__module__.startswith(("huggingface_hub", "httpx", "requests", "hf_xet")):
            raise
        raise UserError(f"{source.repo} can't be fetched ({error}): try `{command(source)}` again") from error


def command(source: Source) -> str:
    """The command line that fetches a source into the hub's cache."""
    revision = f" --revision {source.revision}" if source.revision != "main" else ""
    parts = "" if source.flat else "".join(f' --include "{part}/*"' for part in source.parts)
    return f'hf download {source.repo}{revision}{parts} --exclude "*.bin" "*.fp16.*"'


def cached(source: Source) -> bool:
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


def holds(folder: Path, source: Source) -> bool:
    """Whether a folder is a copy of a source: it has the first part, and is not laid out as another family."""
    if source.flat and folder.name == source.name:
        return (folder / "config.json").is_file()
    return (folder / source.parts[0]).is_dir() and (source.flat or layout(folder) in (None, source.layout))


def place(folder: Path, part: str) -> Path:
    """Where a part lies: its own subfolder, or the folder itself for a repository that is one network."""
    return folder / part if (folder / part).is_dir() else folder


def needs_weights(part: str) -> bool:
    return not part.endswith(("scheduler", "tokenizer", "extractor", "image_processor"))


def weights(folder: Path) -> list[Path]:
    """A part's safetensors files: those of its index where it has one, else the only one.

    Raises:
        UserError: there are pickles and no safetensors, or a file of the index is missing.
    """
    for index in sorted(folder.glob("*.safetensors.index.json")):
        listed = sorted({folder / name for name in json.loads(index.read_text("utf-8"))["weight_map"].values()})
        for file in listed:
            if not file.is_file():
                raise UserError(f"{file} is missing, and {index.name} lists it: fetch it again")
        return listed
    found = [file for file in sorted(folder.glob("*.safetensors")) if ".fp16." not in file.name]
    if not found and any(file.suffix in PICKLES for file in folder.glob("*")):
        raise UserError(
            f"{folder} offers its weights only as pickles, which can run any code when they are read: ask its author "
            "for safetensors, or convert it where you trust it: "
            "from_pretrained(folder, use_safetensors=False).save_pretrained(folder)"
        )
    return found[:1]


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
        raise UserError(f"{file} is no whole safetensors file ({error}): delete it and fetch it again") from error
    if file.stat().st_size < wanted:
        raise UserError(f"{file} has {file.stat().st_size} of {wanted} bytes: delete it and fetch it again")
    return count


def free_gigabytes(device: torch.device) -> float:
    """Memory that is free on a device; infinite where it can't be asked."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e9
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
    except (OSError, ValueError, KeyError):
        return math.inf


def room(memory: Mapping[str, float]) -> tuple[float, float]:
    """Gigabytes that a model wants on the device that it would be loaded on, and that are free there."""
    if torch.cuda.is_available():
        return memory["float16"], free_gigabytes(torch.device("cuda"))
    return memory["float32"], free_gigabytes(torch.device("cpu"))


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


class Checkpoint:
    """The parts of one row, wherever they lie, loaded onto one device in one precision.

    Args:
        row: of the registry.
        given: a folder with the user's own parts: what it has is taken from it, the rest from the row's repositories.
        device, dtype: None takes what is there: float16 on a GPU, float32 elsewhere.
        offload: keep in the GPU's memory only the network that is running; None does so where they don't all fit.

    Raises:
        UserError: a part is missing, cut off or a pickle, or there is not enough memory.
    """

    def __init__(self, row: Row, given: Path | None, *, device: torch.device, dtype=None, offload: bool | None = None):
        self.row, self.device = row, device
        self.dtype = dtype or (torch.float16 if device.type == "cuda" else torch.float32)
        self.folders = self._locate(given)
        files = {(s.role, part): weights(self.folder(s.role, part)) for s in row.sources for part in s.parts}
        self.files = {key: found for key, found in files.items() if needs_weights(key[1])}
        for (role, part), found in self.files.items():
            if not found:
                raise UserError(f"{self.folder(role, part)} holds no safetensors file: {self._mend(role)}")
        sizes = [sum(map(parameters, found)) * self.dtype.itemsize / 1e9 for found in self.files.values()]
        self.turns = self._plan(sum(sizes), max(sizes), offload)
        self.weights = self._digest(given)

    def _locate(self, given: Path | None) -> dict[str, Path]:
        """Each source's folder: the user's where it has the source's first part, else the repository's."""
        own = {
            s.role: given and next((f for f in (given / s.name, given) if holds(f, s)), None) for s in self.row.sources
        }
        if given is not None and not any(own.values()):
            keys = ", ".join(f"{source.parts[0]}/" for source in self.row.sources)
            found = layout(given)
            raise UserError(
                f"{given} has no part of {self.row.name}, which wants {keys} in subfolders"
                + (f": it is laid out as {found}" if found else ": give the folder that model_index.json is in")
            )
        return {source.role: own[source.role] or fetch(source) for source in self.row.sources}

    def _mend(self, role: str) -> str:
        (source,) = (s for s in self.row.sources if s.role == role)
        return f"copy the folder again, or `{command(source)}`"

    def tokenizer(self, role: str, part: str):
        """A CLIP tokenizer from its subfolder."""
        from transformers import CLIPTokenizer

        folder = self.folder(role, part)
        if not (folder / "vocab.json").is_file() or not (folder / "merges.txt").is_file():
            raise UserError(f"{folder} lacks vocab.json or merges.txt of a tokenizer: {self._mend(role)}")
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)

    def folder(self, role: str, part: str) -> Path:
        return place(self.folders[role], part)

    def _plan(self, total: float, largest: float, offload: bool | None) -> Turns | None:
        """Whether the networks take turns on the device."""
        free = free_gigabytes(self.device)
        name = f"{self.row.name} in {str(self.dtype).removeprefix('torch.')}"
        if self.device.type == "cpu":
            if total + HEADROOM > free:
                raise UserError(
                    f"{name} wants {total + HEADROOM:.1f} GB of memory and {free:.1f} GB are free: close something, "
                    "give dtype=torch.bfloat16, or load('emoji')"
                )
            return None
        if offload is None:
            offload = total + HEADROOM > free
        if (largest if offload else total) + HEADROOM > free:
            raise UserError(
                f"{name} wants {(largest if offload else total) + HEADROOM:.1f} GB on {self.device} and {free:.1f} GB "
                f"are free: give {'dtype=torch.float16' if offload else 'offload=True'}, or load('emoji')"
            )
        return Turns(self.device) if offload else None

    def _digest(self, given: Path | None) -> str:
        """The repositories' commits, or a hash of what a user's own files hold, a megabyte of each."""
        if given is None:  # the cache names a snapshot's folder by its commit
            return " ".join(dict.fromkeys(f"{s.repo}@{self.folders[s.role].name[:12]}" for s in self.row.sources))
        digest = hashlib.sha256()
        for file in sorted(file for found in self.files.values() for file in found):
            size = file.stat().st_size
            with open(file, "rb") as stream:
                stream.seek(size // 2)
                digest.update(f"{file.name} {size}".encode() + stream.read(2**20))
        return f"{given.name}@{digest.hexdigest()[:12]}"

    def network(self, kind: type[nn.Module], role: str, part: str, *, stays: bool = False) -> nn.Module:
        """A network from its subfolder, frozen, on the device, or waiting for its turn there.

        Args:
            stays: never wait: for a small one that is used by other ways than calling it.

        Raises:
            UserError: its weights do not fit its config, or some are missing.
        """
        folder = self.folder(role, part)
        precision = "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
        options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
        try:
            with quiet():
                module, info = kind.from_pretrained(folder, **options, **{precision: self.dtype})
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            first = str(error).strip().splitlines()[:1]
            raise UserError(f"{folder} can't be loaded as {kind.__name__} ({', '.join(first)})") from error
        if missing := sorted(info["missing_keys"]):
            raise UserError(
                f"{folder} lacks {len(missing)} weights of a {kind.__name__}, like {missing[0]}: it is of another "
                "family, or half a checkpoint"
            )
        module.eval().requires_grad_(False)
        if self.turns and not stays:
            return self.turns.add(module)
        module.to(self.device)
        return module

    def config(self, role: str, part: str, file: str) -> dict:
        """A part's JSON file; empty where the checkpoint does not bring it, so that published defaults hold."""
        path = self.folder(role, part) / file
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error}): {self._mend(role)}") from error

    def scheduler(self, role: str, part: str, **published) -> dict:
        """A scheduler's config, with the published value of every key that the file lacks."""
        return {**published, **self.config(role, part, "scheduler_config.json")}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers and diffusers from writing of keys that a part does not need: what matters is refused."""
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


class Turns:
    """Networks that share a device: the one that is called moves in, and the one before it moves out.

    A hook of accelerate, because diffusers' autoencoders call it for `encode` and `decode`, too.
    """

    def __init__(self, device: torch.device):
        self.device, self.running = device, None

    def add(self, module: nn.Module) -> nn.Module:
        from accelerate.hooks import ModelHook, add_hook_to_module

        class Turn(ModelHook):
            def pre_forward(hook, module, *args, **kwargs):
                self.take(module)
                return args, kwargs

        return add_hook_to_module(module, Turn())

    def take(self, module: nn.Module) -> None:
        if self.running is not module:
            if self.running is not None:
                self.running.to("cpu")
            module.to(self.device)
            self.running = module


def same_width(widths: Mapping[str, int]) -> None:
    """Refuse parts whose embeddings differ in width.

    Raises:
        UserError: they do.
    """
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(f"the parts disagree about the width of z_i ({found}): take all from checkpoints of one family")


def abar_of(scheduler: Mapping) -> Tensor:
    """abar of a diffusers scheduler's config, in float64 and without any clipping.

    linear: β from beta_start to beta_end;  scaled_linear: √β from one to the other;  squaredcos_cap_v2: the cosine.
    """
    T, kind = scheduler.get("num_train_timesteps", 1000), scheduler.get("beta_schedule", "linear")
    start, end = scheduler.get("beta_start", 0.0001), scheduler.get("beta_end", 0.02)
    if kind == "squaredcos_cap_v2":
        return cosine_abar(T)
    if kind == "linear":
        betas = torch.linspace(start, end, T, dtype=torch.float64)
    elif kind == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, T, dtype=torch.float64) ** 2
    else:
        raise UserError(
            f"the scheduler's beta_schedule is {kind!r}: linear, scaled_linear or squaredcos_cap_v2 are known"
        )
    return (1 - betas).cumprod(0)


def prediction(scheduler: Mapping) -> str:
    """What the network predicts, as `diffusion.to_eps` calls it."""
    kinds = {"epsilon": "eps", "v_prediction": "v", "sample": "x_0"}
    found = scheduler.get("prediction_type", "epsilon")
    if found not in kinds:
        raise UserError(f"the scheduler's prediction_type is {found!r}: one of {', '.join(kinds)} is known")
    return kinds[found]


def side_of(network: nn.Module) -> int:
    """The side that a UNet was made for; its config may give both."""
    side = network.config.sample_size
    return side if isinstance(side, int) else side[0]
