"""How far apart two clouds of embeddings are: generated pictures and real ones, as CLIP sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..slerp import normalize
from . import intervals

GROUPS = 20  # of the jackknife


def _clouds(real: Tensor, generated: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """The embeddings' directions in double precision, so that their lengths do not count."""
    if (
        real.ndim != 2
        or generated.ndim != 2
        or real.shape[1] != generated.shape[1]
        or min(len(real), len(generated)) < least
    ):
        raise UserError(
            f"embeddings are {tuple(real.shape)} and {tuple(generated.shape)}, wanted (N, D) and (M, D) of one D, "
            f"N and M at least {least}"
        )
    return normalize(real.detach().double()), normalize(generated.detach().double())


def frechet(real: Tensor, generated: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians fitted to directions.

    |μ - μ'|² + tr(Σ + Σ' - 2 (Σ Σ')^½).  Heusel et al. 2017, equation 6; there of Inception's features, here of CLIP's.

    It is biased upwards by about 1/N, so compare only clouds of the same sizes.

    Args:
        real: (N, D). generated: (M, D). Only their directions count.

    Raises:
        UserError: clouds of other widths, or of fewer than two.
    """
    real, generated = _clouds(real, generated, 2)
    values, vectors = torch.linalg.eigh(real.T.cov())
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    both = torch.linalg.eigvalsh(root @ generated.T.cov() @ root).clamp_min(0).sqrt().sum()
    spread = real.var(0).sum() + generated.var(0).sum()
    return ((real.mean(0) - generated.mean(0)).square().sum() + spread - 2 * both).item()


def cmmd(real: Tensor, generated: Tensor, *, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """The squared maximum mean discrepancy of two clouds of CLIP directions, unbiased, and without assuming Gaussians.

    scale · (E k(x, x') + E k(y, y') - 2 E k(x, y)), k(x, y) = exp(-|x - y|² / 2σ²).  Jayasumana et al. 2024, section 4.

    Args:
        real: (N, D). generated: (M, D). Only their directions count.
        sigma, scale: the paper's.

    Returns:
        About 0 for two draws of one distribution, a little below it as often as above.

    Raises:
        UserError: clouds of other widths, or of fewer than two.
    """
    real, generated = _clouds(real, generated, 2)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(x, y).square() / (2 * sigma**2))

    def within(x: Tensor) -> Tensor:  # without each with itself
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return scale * (within(real) + within(generated) - 2 * kernel(real, generated).mean()).item()


def recalled(real: Tensor, generated: Tensor, *, neighbours: int = 3) -> Tensor:
    """Which real embeddings lie within some generated one's distance to its k-th generated neighbour.

    Their share is the recall of Kynkäänniemi et al. 2019, equation 1: how much of the variety the samples cover.

    Args:
        real: (N, D). generated: (M, D). Only their directions count.

    Returns:
        (N,) booleans.

    Raises:
        UserError: clouds of other widths, or of no more than `neighbours`.
    """
    real, generated = _clouds(real, generated, neighbours + 1)
    radius = torch.cdist(generated, generated).kthvalue(neighbours + 1, dim=1).values  # the nearest of all is itself
    return (torch.cdist(real, generated) <= radius).any(1)


def jackknife(distance: Callable[[Tensor, Tensor], float], real: Tensor, generated: Tensor, /, **where: Any) -> dict:
    """A distance with a 95% interval by leaving out a twentieth of both clouds in turn.

    `intervals.jackknife` of 20 groups.  Resampling with repeats, as the bootstrap does, would put pairs of equal
    pictures into the clouds and so change the distance itself.

    Args:
        distance: of two clouds.
        real: (N, D). generated: (M, D); several for each real one stand side by side and are left out together.
        where: what the row is about.

    Returns:
        {**where, value, n, low, high}, n the number of generated ones.

    Raises:
        UserError: clouds of fewer than 40.
    """
    _clouds(real, generated, 2 * GROUPS)
    per_real = max(1, len(generated) // len(real))  # draws that share a real picture are not independent
    groups = torch.arange(len(real)) % GROUPS, torch.arange(len(generated)) // per_real % GROUPS
    without = [
        distance(*(cloud[(group != k).to(cloud.device)] for cloud, group in zip((real, generated), groups)))
        for k in range(GROUPS)
    ]
    return intervals.jackknife(
        distance(real, generated), torch.tensor(without, dtype=torch.float64), len(generated), **where
    )


def compared(real: Tensor, generated: Tensor, kinds: Sequence[str] = (), **where: Any) -> Iterator[dict]:
    """How far generated pictures' embeddings lie from the real ones, and which of these they reach.

    Args:
        real: (N, D). generated: (M, D).
        kinds: N, of the real ones; the recall of each kind has a row of its own.
        where: what the rows are about.

    Yields:
        A row of each quantity, with its 95% interval: Fréchet distance, CMMD, recall, recall of a kind.

    Raises:
        UserError: clouds of fewer than 40.
    """
    yield jackknife(frechet, real, generated, quantity="Fréchet distance", **where)
    yield jackknife(cmmd, real, generated, quantity="CMMD", **where)
    reached = recalled(real, generated)
    yield intervals.proportion(reached, quantity="recall", **where)
    for kind in dict.fromkeys(kinds):
        mine = torch.tensor([k == kind for k in kinds], device=reached.device)
        yield intervals.proportion(reached[mine], quantity="recall of a kind", kind=kind, **where)
