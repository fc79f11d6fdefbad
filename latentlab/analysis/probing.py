"""How well single directions of z_i tell known facts about pictures apart: AUROC, held out, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import rankdata
from torch import Tensor

from ..errors import UserError


def auroc(scores: Tensor, labels: Tensor) -> Tensor:
    """The probability that a picture with the fact scores higher than one without it; ties count a half.

    (R - n₁ (n₁ + 1) / 2) / (n₁ n₀), R the sum of the ranks of those with the fact.  Mann and Whitney 1947.

    Args:
        scores: (N, K), of each picture along each direction. labels: (N, V), True or False, for each fact.

    Returns:
        (K, V).

    Raises:
        UserError: other shapes, or a fact that holds for all pictures or for none.
    """
    if scores.ndim != 2 or labels.ndim != 2 or len(scores) != len(labels):
        raise UserError(f"scores {tuple(scores.shape)}, labels {tuple(labels.shape)}: give (N, K) and (N, V)")
    ranks = torch.from_numpy(rankdata(scores.detach().cpu().double().numpy(), axis=0))  # (N, K)
    facts = labels.cpu().double()
    with_fact = facts.sum(0)
    without = len(facts) - with_fact
    if not (with_fact > 0).all() or not (without > 0).all():
        raise UserError("a fact holds for all pictures or for none: leave it out")
    return (ranks.T @ facts - with_fact * (with_fact + 1) / 2) / (with_fact * without)


def auroc_row(value: float, with_fact: int, without: int, /, **where: Any) -> dict:
    """An AUROC with its 95% interval: {**where, value, n, low, high}, n being all pictures.

    s² = (A (1 - A) + (n₁ - 1)(A / (2 - A) - A²) + (n₀ - 1)(2 A² / (1 + A) - A²)) / (n₁ n₀).  Hanley and McNeil 1982.
    """
    a, n1, n0 = value, with_fact, without
    variance = a * (1 - a) + (n1 - 1) * (a / (2 - a) - a * a) + (n0 - 1) * (2 * a * a / (1 + a) - a * a)
    half = 1.96 * math.sqrt(max(variance, 0.0) / (n1 * n0))
    low, high = max(0.0, a - half), min(1.0, a + half)
    return {**where, "value": round(a, 4), "n": n1 + n0, "low": round(low, 4), "high": round(high, 4)}


@dataclass(frozen=True)
class Scores:
    """The scores (N, K) of one kind of directions for the pictures that choose and for those that are held out."""

    chosen_on: Tensor
    held_out: Tensor


def best_directions(scores: Mapping[str, Scores], chosen_on: Tensor, held_out: Tensor) -> dict[str, Tensor]:
    """For each kind, the held-out AUROC (V,) of the direction that tells each fact best on the first half.

    A direction may tell a fact by falling, so its sign is chosen on the first half, too.

    Args:
        chosen_on, held_out: (N, V), the facts of the two halves.
    """
    values = {}
    for kind, score in scores.items():
        first, second = auroc(score.chosen_on, chosen_on), auroc(score.held_out, held_out)
        best = (first - 0.5).abs().argmax(0, keepdim=True)  # (1, V)
        rising = first.gather(0, best)[0] >= 0.5
        value = second.gather(0, best)[0]
        values[kind] = torch.where(rising, value, 1 - value)
    return values


def best_facts(score: Scores, chosen_on: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """For each direction the fact that it tells best on the first half, (K,), and its held-out AUROC, (K,)."""
    first, second = auroc(score.chosen_on, chosen_on), auroc(score.held_out, held_out)
    fact = (first - 0.5).abs().argmax(1, keepdim=True)
    value, rising = second.gather(1, fact)[:, 0], first.gather(1, fact)[:, 0] >= 0.5
    return fact[:, 0], torch.where(rising, value, 1 - value)
