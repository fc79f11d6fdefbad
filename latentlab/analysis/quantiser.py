"""z_i as a short sequence of whole numbers: its principal coordinates in quantiles, after that of its cosine to z_t."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from ..io.atomic import open_tensors, save_tensors
from ..slerp import normalize
from .pca import Directions

HINT = "`python -m latentlab.training prior --autoregressive` writes such a file"


@dataclass(frozen=True, eq=False, repr=False)
class Quantiser:
    """The code of an image embedding: 1 + K bins, of ẑ_i·ẑ_t and of the coordinates c_k = (z_i - mean)·u_k.

    Ramesh et al. 2022, section 2.2, with quantiles in place of equal intervals, so that every bin has examples.

    Args:
        directions: K principal components, in order of variance.
        edges: (1 + K, V - 1), the rising limits between the V bins of each number.
        centres: (1 + K, V), the mean of the examples in each bin.

    Raises:
        UserError: shapes that disagree, or edges that fall.
    """

    directions: Directions
    edges: Tensor
    centres: Tensor

    def __post_init__(self) -> None:
        count, bins = 1 + len(self.directions), self.centres.shape[-1]
        if self.centres.shape != (count, bins) or self.edges.shape != (count, bins - 1) or bins < 2:
            raise UserError(
                f"edges are {tuple(self.edges.shape)} and centres {tuple(self.centres.shape)} for {count - 1} "
                "components: Quantiser.fit makes them"
            )
        if not (self.edges.diff() >= 0).all() or not self.centres.isfinite().all():
            raise UserError("the limits between bins fall, or a centre is not finite: Quantiser.fit makes them")

    def __repr__(self) -> str:
        return f"Quantiser({len(self.directions)} components of width {self.width}, {self.bins} bins)"

    @property
    def bins(self) -> int:
        """V, the bins of each number."""
        return self.centres.shape[1]

    @property
    def length(self) -> int:
        """1 + K, the numbers of a code."""
        return len(self.centres)

    @property
    def width(self) -> int:
        """D, of z_i."""
        return len(self.directions.mean)

    @staticmethod
    def fit(directions: Directions | None, z_i: Tensor, z_t: Tensor, *, bins: int = 64) -> Quantiser:
        """The quantiles of examples.

        Args:
            directions: all of its components are used.
            z_i: (N, D), the examples. z_t: (N, D), of their captions.

        Raises:
            UserError: no directions, fewer than two bins, or fewer examples than bins.
        """
        if directions is None:
            raise UserError(
                "an autoregressive prior predicts z_i component by component, and this lab has no Directions: "
                "`latentlab pca` fits them on your pictures"
            )
        if not 2 <= bins <= len(z_i):
            raise UserError(f"bins is {bins} for {len(z_i)} examples: give at least 2, and at most one an example")
        values = _numbers(directions, z_i, z_t).T.contiguous()  # (1 + K, N)
        edges = values.quantile(torch.linspace(0, 1, bins + 1, dtype=values.dtype)[1:-1], dim=1).T.contiguous()
        codes = torch.searchsorted(edges, values, right=True)
        counts = torch.zeros(len(values), bins, dtype=values.dtype).scatter_add_(1, codes, torch.ones_like(values))
        sums = torch.zeros_like(counts).scatter_add_(1, codes, values)
        ends = torch.cat([edges[:, :1], edges, edges[:, -1:]], 1)
        middles = (ends[:, 1:] + ends[:, :-1]) / 2  # of bins that hold no example, because many are equal
        return Quantiser(directions, edges, torch.where(counts > 0, sums / counts.clamp_min(1), middles))

    def encode(self, z_i: Tensor, z_t: Tensor) -> Tensor:
        """z_i and z_t, (B, D) each, to the bins' numbers (B, 1 + K), 0 to V - 1."""
        values = _numbers(self.directions, z_i, z_t)
        return torch.searchsorted(self.edges, values.T.contiguous(), right=True).T.to(z_i.device)

    def decode(self, codes: Tensor) -> Tensor:
        """The bins' numbers (B, 1 + K) to z_i (B, D): mean + Σ_k centre_k u_k; the first number does not count.

        Raises:
            UserError: codes of another shape, or numbers outside the bins.
        """
        if codes.ndim != 2 or codes.shape[1] != self.length or not ((codes >= 0) & (codes < self.bins)).all():
            raise UserError(
                f"codes are {tuple(codes.shape)}, wanted (B, {self.length}) with numbers from 0 to {self.bins - 1}"
            )
        coordinates = self.centres.gather(1, codes.cpu().T)[1:].T  # (B, K)
        z_i = self.directions.mean + coordinates @ self.directions.components
        return z_i.float().to(codes.device)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file with the components and the bins, whole or not at all."""
        d = self.directions
        numbers = {"total": torch.tensor(d.total, dtype=torch.float64), "count": torch.tensor(d.count)}
        tensors = {"mean": d.mean, "components": d.components, "variance": d.variance, **numbers}
        tensors |= {"edges": self.edges, "centres": self.centres}
        save_tensors(path, tensors, {**d.metadata, "format": "latentlab.Quantiser"})

    @staticmethod
    def load(path: str | Path) -> Quantiser:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, or not one of a Quantiser.
        """
        with open_tensors(path, "edges", "centres", kind="quantiser", hint=HINT) as file:
            edges, centres = file.get_tensor("edges"), file.get_tensor("centres")
        return Quantiser(Directions.load(path), edges, centres)


def _numbers(directions: Directions, z_i: Tensor, z_t: Tensor) -> Tensor:
    """ẑ_i·ẑ_t and the coordinates: (B, 1 + K) in float64 on the CPU."""
    if len(z_i) != len(z_t):
        raise UserError(f"{len(z_i)} z_i and {len(z_t)} z_t: give one caption for each picture")
    z_i, z_t = z_i.detach().cpu().double(), z_t.detach().cpu().double()
    cosine = (normalize(z_i) * normalize(z_t)).sum(-1, keepdim=True)
    return torch.cat([cosine, directions.project(z_i)], 1)
