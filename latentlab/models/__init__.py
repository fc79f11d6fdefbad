"""A registry of labs: one row binds CLIP, prior, decoder and upsampler, so that by name they always fit."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .rows import PRECISIONS, ROWS, Row, Source

if TYPE_CHECKING:
    import torch

    from ..diffusion import Decoder
    from ..directions import Directions
    from ..encoding import Encoder
    from ..prior import Prior
    from ..upsampling import Upsampler


@dataclass(frozen=True)
class Lab:
    """A whole unCLIP stack; functions take the part that they use."""

    name: str
    encoder: Encoder
    prior: Prior | None  # None: z_i comes from pictures alone
    decoder: Decoder
    upsampler: Upsampler | None = None
    weights: str = ""  # what tells these weights from others of the same name
    things: tuple[str, ...] = ()  # what the model was made to draw, as captions; empty: anything
    words: tuple[str, ...] = ()  # what it was shown written; empty: anything

    @property
    def device(self) -> torch.device:
        return self.encoder.device


def row(name: str) -> Row:
    """The registry's row.

    Raises:
        UserError: no model has that name.
    """
    if name not in ROWS:
        near = difflib.get_close_matches(name, ROWS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"there is no model {name!r}: give one of {', '.join(ROWS)}{hint}")
    return ROWS[name]


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
            family: the parts that it lacks are taken from where the family's row has them.
        dtype: float16, bfloat16 or float32; by default float16 on a GPU and float32 elsewhere.
        offload: keep in the GPU's memory only the network that is running; by default where they don't all fit.
        family: the row that a user's own checkpoint is of; a folder with model_index.json says it itself.

    Raises:
        UserError: unknown name or device, weights that are missing or damaged, or too little memory.
    """
    import torch

    found, given = _which(str(name), family)
    module = import_module(f".{found.family}", __package__)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.empty(0, device=device).device
        torch.ones(1, device=device).sum().item()  # some backends can be named, but not computed on
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        usable = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise UserError(f"device {str(device)!r} can't be used here: give {usable}") from error
    dtype = dtype if dtype is None or isinstance(dtype, torch.dtype) else getattr(torch, dtype, dtype)
    if dtype not in (None, torch.float16, torch.bfloat16, torch.float32):
        raise UserError(f"dtype is {dtype!r}: give float16, bfloat16 or float32")
    if found.sources:
        return module.load(found.name, device=device, dtype=dtype, offload=offload, given=given)
    if dtype not in (None, torch.float32) or offload:
        raise UserError(
            f"{found.name} is small and computes in float32, all of it on one device: leave dtype and offload"
        )
    return module.load(found.name, device=device)


def check(name: str) -> None:
    """Refuse a name that is neither a row's nor a checkpoint's, before anything slow is imported.

    Raises:
        UserError: there is no such model.
    """
    if name not in ROWS and name.count("/") == 0 and not Path(name).expanduser().is_dir():
        row(name)


def _which(name: str, family: str | None) -> tuple[Row, Path | None]:
    """The row, and the folder of a user's own parts."""
    from . import hub

    if name in ROWS and family is None:
        return ROWS[name], None
    folder = Path(name).expanduser()
    repo, _, revision = name.partition("@")
    on_hub = repo.count("/") == 1 and not name.startswith(("/", ".", "~"))
    if family is None:
        check(name)
    if not folder.is_dir() and not on_hub:
        raise UserError(f"{name} is no folder, and no OWNER/NAME on the hub: give one of the two")
    family = family or hub.recognise(folder)
    found = row(family) if family else None
    if found is None or not found.sources:
        names = ", ".join(row.name for row in ROWS.values() if row.sources)
        raise UserError(
            f"{name} is a checkpoint of {family or 'a family that it does not say'}: give family=, one of {names}"
        )
    if folder.is_dir():
        return found, folder
    parts = tuple(part for source in found.sources for part in source.parts)
    return found, hub.fetch(Source("given", found.family, repo, revision or "main", parts, 0))


def standing(row: Row) -> dict:
    """Whether a model is here and can be loaded, without a look at the network.

    Returns:
        cached: True, False, or None for one that comes with the library; memory: gigabytes by precision; why_not: a
        sentence, empty where it can be loaded.
    """
    from . import hub, memory

    if not row.sources:
        return {"cached": None, "memory": {}, "why_not": ""}
    here = all(hub.cached(source) for source in row.sources)
    needs = {name: round(row.parameters * size + memory.HEADROOM, 1) for name, size in PRECISIONS.items()}
    wanted, free = memory.room(needs)
    why_not = f"wants {wanted:.1f} GB of memory, {free:.1f} GB are free" if wanted > free else ""
    return {"cached": here, "memory": needs, "why_not": why_not}


def listing() -> list[dict]:
    """Every row as plain values, with its `standing`."""
    facts = ("name", "family", "about", "clip", "licence", "megabytes", "parameters", "open_clip")
    return [
        {
            **{fact: getattr(row, fact) for fact in facts},
            "repositories": list(dict.fromkeys(f"{s.repo}@{s.revision}" for s in row.sources)),
            **standing(row),
        }
        for row in ROWS.values()
    ]


def gallery(name: str) -> list[tuple[Path, str]]:
    """Sample pictures that come with a model, each with its caption; none for a model that ships none."""
    folder = row(name).folder / "gallery"
    listing = folder / "gallery.json"
    if not listing.is_file():
        return []
    return [(folder / file, caption) for file, caption in json.loads(listing.read_text("utf-8")).items()]


def directions(name: str) -> Directions | None:
    """The principal directions of z_i that come with a model, or None for a model that ships none."""
    from ..directions import Directions

    path = row(name).folder / "directions" / "directions.safetensors"
    return Directions.load(path) if path.is_file() else None
