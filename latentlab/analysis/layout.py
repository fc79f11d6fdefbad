"""A layout of many embeddings in the plane, with the way there for a new one and the way back for a new point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError
from ..slerp import normalize
from .pca import Directions

MOST = 5000  # embeddings for which t-SNE takes about a minute
NEIGHBOURS = 6


@dataclass(frozen=True, eq=False)
class Layout:
    """Embeddings and their places.

    Args:
        z_i: (N, D). xy: (N, 2), in [0, 1].

    Raises:
        UserError: fewer than two embeddings, or places of another number.
    """

    z_i: Tensor
    xy: Tensor

    def __post_init__(self) -> None:
        if len(self.z_i) < 2 or self.xy.shape != (len(self.z_i), 2):
            raise UserError(f"z_i {tuple(self.z_i.shape)} and xy {tuple(self.xy.shape)}: give (N, D) and (N, 2), N ≥ 2")

    @classmethod
    def fit(cls, z_i: Tensor, *, seed: int = 0) -> Layout:
        """Lay embeddings (N, D) out so that those with a large cosine lie together.

        t-SNE of the normalised embeddings (van der Maaten and Hinton 2008) where scikit-learn is installed and N is at
        most MOST; the first two principal components otherwise.
        """
        z = normalize(z_i).float().cpu()
        if len(z) > MOST or (xy := _tsne(z, seed)) is None:
            xy = Directions.fit(z, 2).project(z).float()
        low, high = xy.min(0).values, xy.max(0).values
        return cls(z_i, (xy - low) / (high - low).clamp_min(1e-9))

    def place(self, z_i: Tensor) -> Tensor:
        """Places (M, 2) of embeddings (M, D): the mean of the nearest embeddings' places, weighted by 1/d².

        Shepard 1968, “A two-dimensional interpolation function for irregularly-spaced data”; d² = 2 - 2 cos.
        """
        distance = torch.cdist(normalize(z_i).float(), normalize(self.z_i).float())
        return _weighted(distance, self.xy)

    def embed(self, xy: Tensor) -> Tensor:
        """Embeddings (M, D) at places (M, 2): the inverse of `place`, by the same weights.

        z_i = r Σ w_k z_k/|z_k| / |Σ w_k z_k/|z_k||,  r = Σ w_k |z_k|,  w_k ∝ 1/|xy - xy_k|²
        """
        distance = torch.cdist(xy.float(), self.xy.float())
        norms = self.z_i.norm(dim=1, keepdim=True)
        return normalize(_weighted(distance, self.z_i / norms)) * _weighted(distance, norms)


def nearest(xy: Tensor, at: Tensor) -> Tensor:
    """The rows (M, NEIGHBOURS) of the places xy (N, 2) on which `Layout.embed` at other places (M, 2) depends."""
    return torch.cdist(at.float(), xy.float()).topk(min(NEIGHBOURS, len(xy)), largest=False).indices


def _weighted(distance: Tensor, values: Tensor) -> Tensor:
    """The mean of the values (N, C) of each row's nearest neighbours, weighted by 1/distance²: (M, N) to (M, C)."""
    near = distance.topk(min(NEIGHBOURS, distance.shape[1]), largest=False)
    weights = near.values.clamp_min(1e-6) ** -2
    return ((weights / weights.sum(1, keepdim=True))[..., None] * values[near.indices]).sum(1)


def _tsne(z: Tensor, seed: int) -> Tensor | None:
    """The places that t-SNE gives, or None without scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError:
        return None
    perplexity = min(30.0, (len(z) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(z.numpy())
    return torch.from_numpy(places)
