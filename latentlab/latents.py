"""The bipartite latent (z_i, x_T): what CLIP sees and everything else; and an exact inversion's pair of states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import UserError
from .io.atomic import open_tensors, save_tensors

PAIRS = ("bdia", "edict")  # the methods whose latent is a pair of states


@dataclass(frozen=True, repr=False)
class Latent:
    """A picture as two latents.  Ramesh et al. 2022, section 3.

    Args:
        z_i: (B, D), CLIP image embedding, in CLIP's own scale.
        x_T: (B, C, H, W), decoder noise.

    Raises:
        UserError: the two disagree about B, or one has the wrong number of dimensions.
    """

    z_i: Tensor
    x_T: Tensor

    def __post_init__(self) -> None:
        if self.z_i.ndim != 2 or self.x_T.ndim != 4 or len(self.z_i) != len(self.x_T):
            raise UserError(
                f"z_i is {tuple(self.z_i.shape)} and x_T is {tuple(self.x_T.shape)}: a Latent wants (B, D) and "
                "(B, C, H, W) with the same B; z_i.expand(B, -1) repeats one embedding"
            )

    def __repr__(self) -> str:
        return f"Latent(z_i {tuple(self.z_i.shape)}, x_T {tuple(self.x_T.shape)})"

    def __len__(self) -> int:
        return len(self.z_i)

    def __getitem__(self, rows: int | slice | Tensor) -> Latent:
        """The chosen rows; a single index keeps the batch dimension."""
        rows = _batch(rows, self)
        return Latent(self.z_i[rows], self.x_T[rows])

    @staticmethod
    def stack(latents: Iterable[Latent]) -> Latent:
        """Several latents as one batch."""
        latents = list(latents)
        return Latent(torch.cat([la.z_i for la in latents]), torch.cat([la.x_T for la in latents]))

    def to(self, *args: Any, **kwargs: Any) -> Latent:
        """Both tensors moved or cast, as `Tensor.to` does."""
        return Latent(self.z_i.to(*args, **kwargs), self.x_T.to(*args, **kwargs))

    def as_setting(self) -> dict[str, str | int]:
        """How many rows, and a checksum of both tensors, as a result records them."""
        return _identity(self.z_i, self.x_T)

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file with z_i, x_T and the metadata, whole or not at all."""
        tensors = {"z_i": self.z_i.contiguous().cpu(), "x_T": self.x_T.contiguous().cpu()}
        save_tensors(path, tensors, {**(metadata or {}), "format": "latentlab.Latent"})

    @staticmethod
    def load(path: str | Path) -> Latent:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, not a latent, or values that are not finite.
        """
        tensors, metadata = _read(path)
        if metadata.get("format") == "latentlab.PairLatent":
            raise UserError(f"{Path(path).name} holds a pair of states of an exact inversion: PairLatent.load reads it")
        return _checked(Latent, path, tensors, "z_i", "x_T")


@dataclass(frozen=True, repr=False)
class PairLatent:
    """A picture as z_i and the two states that an exact inversion ends with (`exact_inversion`).

    It stands for one picture alone.  Neither state is the x_T of the paper.  The small difference between
    the two makes the way back exact, so the states cannot be interpolated or noised.

    Args:
        z_i: (B, D), CLIP image embedding, in CLIP's own scale.
        first, second: (B, C, H, W). BDIA's are at the first and the second of the times, EDICT's both at the first.
        method: "bdia" or "edict".
        times: the times visited, from noise to CLEAN; the way back visits the same.
        mix: BDIA's γ or EDICT's p, above 0 and up to 1.

    Raises:
        UserError: the tensors disagree about B, the states about their shape, an unknown method, or a mix out of range.
    """

    z_i: Tensor
    first: Tensor
    second: Tensor
    method: str
    times: tuple[int, ...]
    mix: float

    def __post_init__(self) -> None:
        fits = self.z_i.ndim == 2 and self.first.ndim == 4 and len(self.z_i) == len(self.first)
        if not fits or self.first.shape != self.second.shape:
            shapes = " and ".join(str(tuple(state.shape)) for state in (self.first, self.second))
            raise UserError(
                f"z_i is {tuple(self.z_i.shape)} and the states are {shapes}: a PairLatent wants (B, D) and twice "
                "(B, C, H, W) with the same B"
            )
        if self.method not in PAIRS:
            raise UserError(f"method is {self.method!r}: a PairLatent is of {' or '.join(PAIRS)}")
        if not 0 < self.mix <= 1:
            raise UserError(f"mix is {self.mix}: give a number above 0 and up to 1")

    def __repr__(self) -> str:
        return f"PairLatent({self.method}, z_i {tuple(self.z_i.shape)}, states {tuple(self.first.shape)})"

    def __len__(self) -> int:
        return len(self.z_i)

    def __getitem__(self, rows: int | slice | Tensor) -> PairLatent:
        """The chosen rows; a single index keeps the batch dimension."""
        rows = _batch(rows, self)
        return replace(self, z_i=self.z_i[rows], first=self.first[rows], second=self.second[rows])

    @property
    def x_T(self) -> Tensor:
        """A pair has no x_T: this raises, with the reason, for functions that need a Latent.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"this latent is {self.method}'s pair of states, which has no x_T: it gives back its own picture exactly, "
            "and interpolation or eta above 0 would mean nothing; invert with method='fixed-point' for those"
        )

    def to(self, *args: Any, **kwargs: Any) -> PairLatent:
        """The three tensors moved or cast, as `Tensor.to` does."""
        z_i, first, second = (tensor.to(*args, **kwargs) for tensor in (self.z_i, self.first, self.second))
        return replace(self, z_i=z_i, first=first, second=second)

    def as_setting(self) -> dict[str, str | int]:
        """How many rows, and a checksum of the three tensors, as a result records them."""
        return _identity(self.z_i, self.first, self.second)

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file with tensors, method, times, mix and metadata, whole or not at all."""
        tensors = {name: getattr(self, name).contiguous().cpu() for name in ("z_i", "first", "second")}
        inversion = {"method": self.method, "times": json.dumps(self.times), "mix": repr(self.mix)}
        save_tensors(path, tensors, {**(metadata or {}), "format": "latentlab.PairLatent", **inversion})

    @staticmethod
    def load(path: str | Path) -> PairLatent:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, not a pair, or values that are not finite.
        """
        tensors, metadata = _read(path)
        if metadata.get("format") == "latentlab.Latent":
            raise UserError(f"{Path(path).name} holds one x_T and no pair of states: Latent.load reads it")
        try:
            times = tuple(int(t) for t in json.loads(metadata["times"]))
            how = metadata["method"], times, float(metadata["mix"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{Path(path).name} does not say its method, times and mix: PairLatent.save writes them"
            ) from error
        return _checked(PairLatent, path, tensors, "z_i", "first", "second", how=how)


def load(path: str | Path) -> Latent | PairLatent:
    """Read what `Latent.save` or `PairLatent.save` wrote.

    Raises:
        UserError: no such file, not latents, or values that are not finite.
    """
    kind = _read(path)[1].get("format")
    return PairLatent.load(path) if kind == "latentlab.PairLatent" else Latent.load(path)


def metadata(path: str | Path) -> dict[str, str]:
    """The metadata in a file of `save`: `latentlab invert` writes the model, its weights, the steps and the method.

    Raises:
        UserError: no such file, or not a whole safetensors file.
    """
    return {name: value for name, value in _read(path)[1].items() if name != "format"}


def _batch(rows: int | slice | Tensor, latent: Latent | PairLatent) -> slice | Tensor:
    if not isinstance(rows, (int, Integral)):
        return rows
    if not -len(latent) <= rows < len(latent):
        kind = type(latent).__name__
        raise IndexError(f"row {rows} of a {kind} with {len(latent)} rows")  # ends `for` loops too
    return slice(int(rows), int(rows) + 1 or None)


def _identity(*tensors: Tensor) -> dict[str, str | int]:
    checksum = hashlib.sha256()
    for tensor in tensors:
        checksum.update(tensor.detach().cpu().contiguous().double().numpy().tobytes())
    return {"rows": len(tensors[0]), "checksum": checksum.hexdigest()[:12]}


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with open_tensors(path, kind="latent", hint="`latentlab invert IMAGE --out DIR` writes such a file") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _checked(kind: type, path: str | Path, tensors: dict[str, Tensor], *names: str, how: tuple = ()) -> Any:
    name = Path(path).name
    if set(names) - set(tensors):
        wanted = f"{', '.join(names[:-1])} and {names[-1]}"
        raise UserError(f"{name} holds {sorted(tensors)}, a {kind.__name__} wants {wanted}")
    latent = kind(*(tensors[n] for n in names), *how)
    if not all(tensors[n].isfinite().all() for n in names):
        raise UserError(f"{name} holds values that are not finite: save the latent again")
    return latent
