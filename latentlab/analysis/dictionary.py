"""A dictionary of features of z_i, as `sparse_autoencoder.fit` makes it: few of them describe one picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from ..io.atomic import open_tensors, save_tensors
from .covariance import rows
from .naming import Name, name_directions

TENSORS = ("mean", "scale", "encoder", "bias", "features", "frequency", "strength", "explained", "count")


@dataclass(frozen=True, repr=False, eq=False)
class Dictionary:
    """Features of z_i, of which few are active at a time: z_i ≈ mean + s Σ_k a_k f_k.  Gao et al. 2024, section 2.

    a = TopK(ReLU(W (z_i - mean) / s + b)).  The names of its methods are those of `pca.Directions`.

    Args:
        mean: (D,). scale: s, the root of the variance per dimension. encoder: (K, D), W. bias: (K,), b.
        features: (K, D), the rows f_k, of length 1. active: how many a_k are not zero, at most.
        frequency: (K,), the share of the fitted pictures in which a feature is active.
        strength: (K,), the mean of a_k where it is active; 1 where it never is.
        explained: the share of the variance that the features hold. count: of the pictures.
        metadata: what is known of them, like the model; `save` and `load` keep it.
        file: the name of the file that they were loaded from.

    Raises:
        UserError: shapes that disagree, or values that are not finite.
    """

    mean: Tensor
    scale: float
    encoder: Tensor
    bias: Tensor
    features: Tensor
    active: int
    frequency: Tensor
    strength: Tensor
    explained: float
    count: int
    metadata: dict[str, str] = field(default_factory=dict)
    file: str = ""

    kind, unit = "feature", "×"  # what a figure calls one of them, and its distances: multiples of its strength

    def __post_init__(self) -> None:
        count, width = self.features.shape if self.features.ndim == 2 else (0, 0)
        wanted = {"mean": (width,), "encoder": (count, width), "bias": (count,), "frequency": (count,)}
        wrong = [name for name, shape in wanted.items() if tuple(getattr(self, name).shape) != shape]
        if wrong or not count or not 1 <= self.active <= count:
            raise UserError(f"features are {tuple(self.features.shape)}, {wrong or 'active'} disagree: fit makes them")
        if not all(getattr(self, name).isfinite().all() for name in (*wanted, "features", "strength")):
            raise UserError("the dictionary holds values that are not finite: fit it again")

    def __repr__(self) -> str:
        return (
            f"Dictionary({len(self)} features of width {len(self.mean)}, at most {self.active} active at a time, "
            f"of {self.count} pictures)"
        )

    def __len__(self) -> int:
        """K, how many features there are."""
        return len(self.features)

    def as_setting(self) -> dict[str, str | int]:
        """How many features and pictures, a checksum of all numbers, and the file, as a result records them."""
        checksum = hashlib.sha256()
        for tensor in (self.mean, self.encoder, self.bias, self.features):
            checksum.update(tensor.contiguous().numpy().tobytes())
        identity: dict[str, str | int] = {"features": len(self), "rows": self.count}
        return identity | {"checksum": checksum.hexdigest()[:12]} | ({"file": self.file} if self.file else {})

    def encode(self, z_i: Tensor) -> Tensor:
        """a: (B, D) to (B, K), at most `active` of them above 0 in each row.

        Raises:
            UserError: z_i is not (B, D) of this D, or not finite.
        """
        x = (rows(z_i, width=len(self.mean)).float() - self.mean) / self.scale
        return top_k((x @ self.encoder.T + self.bias).relu(), self.active).to(z_i.device)

    def reconstruct(self, z_i: Tensor) -> Tensor:
        """What the features keep of z_i: (B, D) to (B, D).

        Raises:
            UserError: as for `encode`.
        """
        return (self.mean + self.scale * self.encode(z_i).cpu() @ self.features).to(z_i)

    def traverse(self, z_i: Tensor, feature: int, strengths: Sequence[float] | Tensor) -> Tensor:
        """z_i + a strength_k s f_k for each a: (1, D) to (S, D).

        Raises:
            UserError: not one z_i, a feature that is not there, or strengths that are not finite.
        """
        z = rows(z_i, width=len(self.mean))
        strengths = torch.as_tensor(strengths, dtype=torch.float64).cpu()
        if len(z) != 1 or not 0 <= feature < len(self):
            raise UserError(
                f"{len(z)} z_i and feature {feature}: give one z_i, and a feature from 0 to {len(self) - 1}"
            )
        if strengths.ndim != 1 or not len(strengths) or not strengths.isfinite().all():
            raise UserError(f"strengths are {strengths.tolist()}: give a list of finite numbers, like [0, 1, 2]")
        step = self.scale * self.strength[feature].item() * self.features[feature].double()
        return (z + strengths[:, None] * step).to(z_i)

    def exchange(self, z_i: Tensor, features: Sequence[int]) -> Tensor:
        """Two pictures with each other's strength of some features: z_1 + s Σ_k (a_k(z_2) - a_k(z_1)) f_k, and z_2.

        Args:
            z_i: (2, D).

        Returns:
            (2, D), whose sum is that of z_i.

        Raises:
            UserError: not two z_i, or a feature that is not there.
        """
        chosen = list(features)
        if len(z_i) != 2 or not all(0 <= k < len(self) for k in chosen):
            raise UserError(f"{len(z_i)} z_i and features {chosen}: give two z_i, and features below {len(self)}")
        a = self.encode(z_i).cpu()[:, chosen]
        return z_i + (self.scale * (a.flip(0) - a) @ self.features[chosen]).to(z_i)

    def differing(self, z_i: Tensor, count: int) -> list[int]:
        """The features whose strengths differ most between two z_i (2, D), the greatest difference first."""
        a = self.encode(z_i)
        return (a[0] - a[1]).abs().argsort(descending=True, stable=True)[:count].tolist()

    def leading(self, z_i: Tensor, count: int) -> list[int]:
        """The features that are strongest in all z_i (B, D) together, the strongest first."""
        return self.encode(z_i).sum(0).argsort(descending=True, stable=True)[:count].tolist()

    def name(self, z_t: Tensor, captions: Sequence[str], *, top: int = 5) -> tuple[Name, ...]:
        """The captions of a vocabulary that go most with and against each feature (`naming.name_directions`).

        Raises:
            UserError: as for `name_directions`.
        """
        return name_directions(self.features.double(), z_t, captions, top=top)

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file with everything, and more metadata if given, whole or not at all."""
        values = {name: getattr(self, name) for name in TENSORS} | {"active": self.active}
        tensors = {name: torch.as_tensor(value).contiguous().clone() for name, value in values.items()}
        save_tensors(path, tensors, {**self.metadata, **(metadata or {}), "format": "latentlab.Dictionary"})

    @staticmethod
    def load(path: str | Path) -> Dictionary:
        """Read what `save` wrote, with its metadata.

        Raises:
            UserError: no such file, not a Dictionary, or values that are not finite.
        """
        names, hint = (*TENSORS, "active"), "`latentlab features fit` writes such a file"
        with open_tensors(path, *names, kind="dictionary", hint=hint) as file:
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = {k: v for k, v in (file.metadata() or {}).items() if k != "format"}
        if any(tensors[name].numel() != 1 for name in ("scale", "explained", "count", "active")):
            raise UserError(f"{Path(path).name} wants one number as scale, explained, count and active: fit it again")
        numbers = {name: kind(tensors.pop(name)) for name, kind in NUMBERS.items()}
        return Dictionary(**tensors, **numbers, metadata=metadata, file=Path(path).name)


NUMBERS = {"scale": float, "explained": float, "count": int, "active": int}


def top_k(activations: Tensor, k: int) -> Tensor:
    """The k largest of each row; the others are zero."""
    values, indices = activations.topk(k, dim=-1)
    return torch.zeros_like(activations).scatter(-1, indices, values)
