"""Count, mean and scatter of many z_i: all that PCA needs of them, in one pass."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..io.atomic import open_tensors, save_tensors

ROWS = 4096  # so many are centred at once, in float64: they stay in the cache, and the result does not depend on it
EPS = torch.finfo(torch.float64).eps


def rows(z: Tensor, name: str = "z_i", width: int | None = None) -> Tensor:
    """(B, D) in float64 on the CPU, where every build of torch has it."""
    _check_shape(z, name, width)
    bad = (~z.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        where = f"row {bad[0]}" if len(bad) == 1 else f"{len(bad)} rows, the first is {bad[0]}"
        raise UserError(f"{name} is not finite in {where}: leave those out, or encode in float32")
    return z.detach().cpu().double()


def _check_shape(z: Tensor, name: str, width: int | None = None) -> None:
    if not isinstance(z, Tensor) or z.ndim != 2 or not z.shape[1] or not z.is_floating_point():
        actual = f"{z.dtype} {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
        raise UserError(f"{name} is {actual}, wanted a tensor of floats (B, D): encoder.encode_image gives one")
    if width is not None and z.shape[1] != width:
        raise UserError(f"{name} has width {z.shape[1]}, wanted {width}: take all of them from the same CLIP")


@dataclass(frozen=True, repr=False, eq=False)
class Moments:
    """The count, mean and scatter of any number of z_i; merged parts equal the whole.

    Args:
        count: of the pictures.
        mean: (D,), float64.
        scatter: (D, D), float64, Σ (z_i - mean)(z_i - mean)ᵀ.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    def __repr__(self) -> str:
        return f"Moments({self.count} of width {len(self.mean)})"

    @staticmethod
    def of(z_i: Tensor) -> Moments:
        """Of a batch (B, D), which may be empty.

        Raises:
            UserError: z_i is not (B, D), or not finite.
        """
        _check_shape(z_i, "z_i")
        moments = functools.reduce(Moments.merge, map(_moments, z_i.detach().cpu().split(ROWS)))
        if not moments.mean.isfinite().all():  # as it is only where a row is not: cheaper than to look at all values
            rows(z_i)
        return moments

    def update(self, z_i: Tensor) -> Moments:
        """These and a batch (B, D) more.

        Raises:
            UserError: z_i is not (B, D) of the same D, or not finite.
        """
        return self.merge(Moments.of(z_i))

    @staticmethod
    def merge_all(parts: Iterable[Moments]) -> Moments | None:
        """The moments of all parts together, merged in a tree; None of no parts.

        Only as many parts are held as the tree is deep.

        Raises:
            UserError: parts of different widths.
        """
        stack: list[tuple[int, Moments]] = []  # each with the depth of its tree, which falls from left to right
        for part in parts:
            depth = 0
            while stack and stack[-1][0] == depth:
                part, depth = stack.pop()[1].merge(part), depth + 1
            stack.append((depth, part))
        return functools.reduce(Moments.merge, [part for _, part in stack]) if stack else None

    def save(self, path: str | Path, metadata: dict[str, str]) -> None:
        """Write a safetensors file with the three and the metadata, whole or not at all."""
        tensors = {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}
        save_tensors(path, tensors, {**metadata, "format": "latentlab.Moments"})

    @staticmethod
    def load(path: str | Path) -> tuple[Moments, dict[str, str]]:
        """Read what `save` wrote, and its metadata.

        Raises:
            UserError: no such file, not one of moments, or values that are not finite.
        """
        hint = "`latentlab embed` writes such a file beside each shard"
        with open_tensors(path, "count", "mean", "scatter", kind="file of moments", hint=hint) as file:
            count, mean, scatter = (file.get_tensor(name) for name in ("count", "mean", "scatter"))
            metadata = dict(file.metadata() or {})
        if scatter.shape != (len(mean), len(mean)) or not scatter.isfinite().all() or not mean.isfinite().all():
            raise UserError(f"{Path(path).name} holds no moments: embed its shard again")
        return Moments(int(count), mean, scatter), metadata

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together.

        S = S_a + S_b + δ δᵀ n_a n_b / n with δ = mean_b - mean_a.  Chan, Golub and LeVeque 1979, for vectors; unlike
        Σ z zᵀ - n mean meanᵀ it does not cancel where the mean is large.

        Raises:
            UserError: the two are of different widths.
        """
        if len(self.mean) != len(other.mean):
            raise UserError(
                f"z_i of width {len(other.mean)} beside others of width {len(self.mean)}: "
                "take all of them from the same CLIP"
            )
        count = self.count + other.count
        share = other.count / max(count, 1)
        delta = other.mean - self.mean
        scatter = torch.outer(delta, delta * (self.count * share))
        return Moments(count, self.mean + share * delta, scatter.add_(self.scatter).add_(other.scatter))


def _moments(z: Tensor) -> Moments:
    centred = z.to(torch.float64, copy=True)
    mean = centred.mean(0) if len(z) else centred.new_zeros(z.shape[1])
    x = centred.sub_(mean).numpy()
    with np.errstate(invalid="ignore", over="ignore"):  # `of` names the rows that are not finite
        scatter = torch.from_numpy(x.T @ x)  # by NumPy, which calls syrk: half the work of a product in torch
    return Moments(len(z), mean, scatter)
