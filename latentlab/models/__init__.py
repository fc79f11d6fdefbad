"""A registry of labs: one row binds CLIP, prior, decoder and upsampler, so that by name they always fit."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch

    from ..diffusion import Decoder
    from ..directions import Directions
    from ..encoding import Encoder
    from ..prior import Prior
    from ..upsampling import Upsampler


@dataclass(frozen=True)
class Row:
    """What can be known of a model without loading it."""

    name: str
    family: str  # the module in this package that loads it
    about: str
    clip: str
    licence: str

    @property
    def folder(self) -> Path:
        """Where an embedded model's weights and gallery lie."""
        return Path(__file__).parent.parent / "weights" / self.name

    @property
    def megabytes(self) -> float:
        """What the weights take on disk; 0 where nothing is loaded."""
        return round(sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()) / 2**20, 1)


ROWS = {
    row.name: row
    for row in (
        Row("emoji", "emoji", "the embedded miniature, trained on emoji", "own (64 px, 256-d)", "Apache-2.0"),
        Row("toy", "toy", "a Gaussian decoder whose exact x_T is known", "own (closed form)", "Apache-2.0"),
    )
}


@dataclass(frozen=True)
class Lab:
    """A whole unCLIP stack; functions take the part that they use."""

    name: str
    encoder: Encoder
    prior: Prior
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


def load(name: str = "emoji", *, device: str | torch.device | None = None) -> Lab:
    """A lab by name, on the device asked for, or on a GPU if there is one.

    Raises:
        UserError: unknown name or device, or weights that are missing or damaged.
    """
    import torch

    family = import_module(f".{row(name).family}", __package__)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.empty(0, device=device).device
        torch.ones(1, device=device).sum().item()  # some backends can be named, but not computed on
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        usable = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise UserError(f"device {str(device)!r} can't be used here: give {usable}") from error
    return family.load(name, device=device)


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
