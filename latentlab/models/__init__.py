"""A registry of labs: one row binds CLIP, prior, decoder and upsampler, so that by name they always fit."""

from __future__ import annotations

import difflib
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .registry import PRECISIONS, REGISTRY, HubSource, ModelSpec

if TYPE_CHECKING:
    import torch

    from ..analysis.pca import Directions
    from ..clip import Encoder
    from ..diffusion import Decoder
    from ..prior import Prior
    from ..upsampling import Upsampler
    from .clip_only import NoDecoder


@dataclass(frozen=True)
class Lab:
    """A whole unCLIP stack, or a CLIP alone; functions take the part that they use."""

    name: str
    encoder: Encoder
    prior: Prior | None  # None: z_i comes from pictures alone
    decoder: Decoder | NoDecoder
    upsampler: Upsampler | None = None
    weights: str = ""  # what tells these weights from others of the same name
    things: tuple[str, ...] = ()  # what the model was made to draw, as captions; empty: anything
    words: tuple[str, ...] = ()  # what it was shown written; empty: anything

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def image_size(self) -> int:
        """The side of pictures that keep what the encoder and the decoder can see."""
        return max(self.encoder.image_size, self.decoder.image_size if self.has_decoder else 0)

    @property
    def has_decoder(self) -> bool:
        """Whether there is a decoder."""
        from .clip_only import NoDecoder

        return not isinstance(self.decoder, NoDecoder)


def spec(name: str) -> ModelSpec:
    """The registry's row.

    Raises:
        UserError: no model has that name.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"there is no model {name!r}: give one of {', '.join(REGISTRY)}{hint}")
    return REGISTRY[name]


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Put garbage collection off: nothing that a first load imports is garbage, and looking for it again and again
    takes a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_collecting_later()
def load(
    name: str | Path = "emoji",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    offload: bool | None = None,
    family: str | None = None,
) -> Lab:
    """A lab by name, or from a user's own checkpoint, on the device asked for, or on a GPU if there is one.

    Args:
        name: of a row; or a folder, or OWNER/NAME or OWNER/NAME@REVISION on the hub, that holds any parts of a
            family: the parts that it lacks are taken from where the family's row has them.  Or a CLIP alone, for what
            needs no decoder: open_clip's NAME:TAG, hf-hub:OWNER/NAME or a folder in its layout.
        dtype: float16, bfloat16 or float32; by default float16 on a GPU and float32 elsewhere.
        offload: keep on the device only the network that is running; by default where they don't all fit.
        family: the row that a user's own checkpoint is of; a folder with model_index.json says it itself.

    Raises:
        UserError: unknown name or device, weights that are missing or damaged, or too little memory.
    """
    from . import clip_only, precision

    device, dtype = precision.device(device), precision.dtype(dtype)
    if clip_only.named(str(name)) and family is None:
        if offload:
            raise UserError(f"{name} is one network, which stays on its device: leave offload")
        return clip_only.lab(str(name), device=device, dtype=dtype)
    found, given = _which(str(name), family)
    module = import_module(f".{found.family}", __package__)
    if found.sources:
        return module.load(found.name, device=device, dtype=dtype, offload=offload, given=given)
    if not precision.single(dtype) or offload:
        raise UserError(
            f"{found.name} is small and computes in float32, all of it on one device: leave dtype and offload"
        )
    return module.load(found.name, device=device)


def check(name: str, family: str | None = None) -> None:
    """Refuse a name that is neither a row's nor a checkpoint's nor an encoder's, before anything slow is imported.

    Raises:
        UserError: there is no such model, or no such family.
    """
    from . import clip_only

    if family is not None:
        spec(family)
    elif (
        name not in REGISTRY and "/" not in name and not Path(name).expanduser().is_dir() and not clip_only.named(name)
    ):
        spec(name)


def _which(name: str, family: str | None) -> tuple[ModelSpec, Path | None]:
    """The row, and the folder of a user's own parts."""
    from . import hub

    if name in REGISTRY and family in (None, name):
        return REGISTRY[name], None
    folder = Path(name).expanduser()
    repo, _, revision = name.partition("@")
    on_hub = repo.count("/") == 1 and not name.startswith(("/", ".", "~"))
    if family is None:
        check(name)
    if name in REGISTRY and not folder.is_dir():
        raise UserError(
            f"{name} is a model by itself: leave family (--family), or give a folder with parts of {family}"
        )
    if not folder.is_dir() and not on_hub:
        raise UserError(f"{name} is no folder, and no OWNER/NAME on the hub: give one of the two")
    family = family or hub.recognise(folder)
    found = spec(family) if family else None
    if found is None or not found.sources:
        names = ", ".join(row.name for row in REGISTRY.values() if row.sources)
        raise UserError(
            f"{name} is a checkpoint of {family or 'a family that it does not say'}: give family= (--family), one of "
            f"{names}"
        )
    if folder.is_dir():
        return found, folder
    parts = tuple(part for source in found.sources for part in source.parts)
    return found, hub.fetch(HubSource(found.name, found.family, repo, revision or "main", parts, 0))


def fetch(name: str, family: str | None = None) -> list[Path]:
    """Download all that a model is loaded from, without loading it; what is cached already is left as it is.

    Args:
        name, family: as for `load`.

    Returns:
        The folders in the hub's cache; none for what comes with the library.

    Raises:
        UserError: no such model, or it can't be fetched.
    """
    from . import clip_only, hub

    if clip_only.named(name) and family is None:
        clip_only.encoder(name)  # open_clip fetches where it loads
        return []
    found, given = _which(name, family)
    return ([given] if given else []) + [hub.fetch(source) for source in found.sources]


def availability(row: ModelSpec) -> dict:
    """Whether a model is here and can be loaded, without a look at the network.

    Returns:
        cached: True, False, or None for one that comes with the library; memory, least: gigabytes by precision, of all
        networks at once and of one at a time; turns: whether they have to take turns here; why_not: a sentence, empty
        where it can be loaded.
    """
    from . import hub, offload

    if not row.sources:
        return {"cached": None, "memory": {}, "least": {}, "turns": False, "why_not": ""}
    needs, least = (
        {name: round(count * size + offload.HEADROOM, 1) for name, size in PRECISIONS.items()}
        for count in (row.parameters, row.largest)
    )
    device, precision = offload.target()
    free = offload.free_gigabytes(device)
    short = least[precision] > free
    why_not = f"wants {least[precision]:.1f} GB of memory, {free:.1f} GB are free" if short else ""
    return {
        "cached": all(hub.cached(source) for source in row.sources), "memory": needs, "least": least,
        "turns": needs[precision] > free, "why_not": why_not,
    }  # fmt: skip


def listing() -> list[dict]:
    """Every row as plain values, with its `availability`."""
    facts = ("name", "family", "about", "clip", "licence", "megabytes", "parameters", "open_clip")
    return [
        {
            **{fact: getattr(row, fact) for fact in facts},
            "repositories": list(dict.fromkeys(f"{s.repo}@{s.revision}" for s in row.sources)),
            **availability(row),
        }
        for row in REGISTRY.values()
    ]


def gallery(name: str) -> list[tuple[Path, str]]:
    """Sample pictures that come with a model, each with its caption; none for a model that ships none."""
    folder = spec(name).folder / "gallery"
    listing = folder / "gallery.json"
    if not listing.is_file():
        return []
    return [(folder / file, caption) for file, caption in json.loads(listing.read_text("utf-8")).items()]


def directions(name: str) -> Directions | None:
    """The principal directions of z_i that come with a model, or None for a model that ships none."""
    from ..analysis.pca import Directions

    path = REGISTRY[name].folder / "directions" / "directions.safetensors" if name in REGISTRY else None
    return Directions.load(path) if path and path.is_file() else None
