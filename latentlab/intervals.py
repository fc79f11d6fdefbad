"""Numbers with their n and a 95% interval, as rows of plain data: ready for JSON, a table or a caption."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import UserError


def wilson(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a proportion, within 0 to 1 and never empty, even when all or none are hits.

    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n), p = hits/n.  Wilson 1927.

    Args:
        z: 1.96 for 95%.

    Raises:
        UserError: no trials, or more hits than trials.
    """
    if not (n >= 1 and 0 <= hits <= n):
        raise UserError(f"{hits} hits of {n}: an interval wants at least one trial, and 0 to n of them hits")
    p, d = hits / n, 1 + z * z / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The end at p is p itself, where rounding would put it a hair beyond.
    return (0.0 if hits == 0 else (middle - half) / d), (1.0 if hits == n else (middle + half) / d)


def proportion(hits: Tensor | Sequence[bool], /, **where) -> dict:
    """How many of N are right: {**where, value, n, low, high}, the interval Wilson's.

    Args:
        hits: (N,), True or False each.
        where: what the row is about, such as model="emoji", word="pizza".

    Returns:
        Python numbers, to 4 decimals; low and high are None for n = 1, which is an example and no measurement.

    Raises:
        UserError: no hits to count, not (N,), or other values than True and False.
    """
    found = _column(hits, "hits")
    if not ((found == 0) | (found == 1)).all():
        raise UserError("hits hold other values than True and False: compare first, like ranks == 0")
    n, right = len(found), int(found.sum())
    low, high = wilson(right, n) if n > 1 else (None, None)
    return {**where, "value": round(right / n, 4), "n": n, "low": _rounded(low, ".4f"), "high": _rounded(high, ".4f")}


def mean(values: Tensor | Sequence[float], /, **where) -> dict:
    """The mean of N numbers: {**where, value, n, low, high}, low and high being mean ± 1.96 s/√N.

    s is the sample's standard deviation; the normal interval is a little narrow for N below about 30.  The paired
    difference of two columns is the mean of their differences: mean(after - before).

    Args:
        values: (N,).
        where: what the row is about.

    Returns:
        Python numbers, to 6 digits; low and high are None for n = 1.

    Raises:
        UserError: no values, not (N,), or values that are not finite.
    """
    found = _column(values, "values")
    if not found.isfinite().all():
        lost = int((~found.isfinite()).sum())
        raise UserError(f"{lost} of {len(found)} values are not finite: find out why, or leave them out and say so")
    n, value = len(found), found.mean().item()
    half = 1.96 * found.std().item() / math.sqrt(n) if n > 1 else None
    low, high = (None, None) if half is None else (value - half, value + half)
    return {
        **where,
        "value": _rounded(value, ".6g"),
        "n": n,
        "low": _rounded(low, ".6g"),
        "high": _rounded(high, ".6g"),
    }


def _column(values: Tensor | Sequence[float], name: str) -> Tensor:
    found = torch.as_tensor(values).detach().cpu().double()
    if found.ndim != 1 or not len(found):
        raise UserError(f"{name} are {tuple(found.shape)}, wanted (N,) with N at least 1: one number for each picture")
    return found


def _rounded(x: float | None, digits: str) -> float | None:
    return None if x is None else float(format(x, digits))
