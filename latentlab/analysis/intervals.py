"""Numbers with their n and a 95% interval, as rows of plain data: ready for JSON, a table or a caption."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from scipy.special import stdtrit
from torch import Tensor

from ..errors import UserError


def proportion(hits: Tensor | Sequence[bool], /, **where: Any) -> dict:
    """How many of N are right: {**where, value, n, low, high}, the interval Wilson's (1927) of 95%.

    It lies within 0 to 1 and is never empty, even when all or none are right.

    Args:
        hits: (N,), True or False each.
        where: what the row is about, such as model="emoji", word="pizza".

    Returns:
        Python numbers, to 4 decimals; low and high are None for n = 1, which is an example and no measurement.

    Raises:
        UserError: no hits to count, not (N,), or other values than True and False.
    """
    column = _column(hits, "hits")
    if not ((column == 0) | (column == 1)).all():
        raise UserError("hits hold other values than True and False: compare first, like ranks == 0")
    n, right = len(column), int(column.sum())
    row = {**where, "value": round(right / n, 4), "n": n, "low": None, "high": None}
    if n > 1:
        from scipy.stats import binomtest  # slow to import; whoever loads a model has it already

        ends = binomtest(right, n).proportion_ci(method="wilson")
        row |= {"low": round(float(ends.low), 4), "high": round(float(ends.high), 4)}
    return row


def mean(values: Tensor | Sequence[float], /, **where: Any) -> dict:
    """The mean of N numbers: {**where, value, n, low, high}, low and high being mean ± t s/√N.

    s is the sample's standard deviation, and t the 97.5% quantile of Student's distribution with N - 1 degrees of
    freedom: 1.96 for many, 2.78 for five, 12.7 for two, since s itself is uncertain (Student 1908).  The paired
    difference of two columns is the mean of their differences: mean(after - before).

    Args:
        values: (N,).
        where: what the row is about.

    Returns:
        Python numbers, to 6 digits; low and high are None for n = 1.

    >>> mean([1, 2, 3], model="emoji")
    {'model': 'emoji', 'value': 2.0, 'n': 3, 'low': -0.484138, 'high': 4.48414}

    Raises:
        UserError: no values, not (N,), or values that are not finite.
    """
    column = _column(values, "values")
    if not column.isfinite().all():
        lost = int((~column.isfinite()).sum())
        raise UserError(f"{lost} of {len(column)} values are not finite: find out why, or leave them out and say so")
    n = len(column)
    half = _student(n) * column.std().item() / math.sqrt(n) if n > 1 else math.nan
    return _row(where, column.mean().item(), n, half)


def mean_of_pairs(among: Tensor, /, **where: Any) -> dict:
    """The mean over all pairs of N samples, such as their distances: {**where, value, n, low, high}, n being N.

    The N (N - 1) / 2 pairs share their samples, so they are no independent numbers: the interval is `jackknife`'s, a
    sample at a time.

    Args:
        among: (N, N), symmetrical; the diagonal does not count.
        where: what the row is about.

    Returns:
        Python numbers, to 6 digits; low and high are None for two samples, which are one pair.

    Raises:
        UserError: fewer than two samples, not (N, N), or values that are not finite.
    """
    values = torch.as_tensor(among).detach().cpu().double()
    n = len(values) if values.ndim else 0
    if values.shape != (n, n) or n < 2:
        raise UserError(f"among is {tuple(values.shape)}, wanted (N, N) with N at least 2: a number for each pair")
    if not values.isfinite().all():
        raise UserError("some of the pairs' values are not finite: find out why, or leave those samples out")
    of_each = values.sum(1) - values.diagonal()  # (N,)
    total = of_each.sum() / 2
    if n == 2:
        return _row(where, total.item(), n, math.nan)
    return jackknife(total.item() / math.comb(n, 2), (total - of_each) / math.comb(n - 1, 2), n, **where)


def jackknife(value: float, without: Tensor, n: int, /, **where: Any) -> dict:
    """A statistic of n samples, with the interval that follows from leaving out each of g parts of them in turn.

    value ± t s, s² = (g - 1)/g Σ (m₋ₖ - m̄)², m₋ₖ the statistic without part k and t as in `mean`, of g - 1 degrees.
    Arvesen 1969 for single samples, g = n; Kott 2001 for groups of them.

    Args:
        without: (g,), the m₋ₖ, two or more.
        where: what the row is about.

    Returns:
        {**where, value, n, low, high}, Python numbers to 6 digits.
    """
    parts = len(without)
    return _row(where, value, n, _student(parts) * without.std(correction=0).item() * math.sqrt(parts - 1))


def side(row: Mapping[str, Any], than: float = 0.0) -> int:
    """1 where a row's whole interval lies above a number, -1 where it lies below, 0 where neither can be told.

    >>> side({"low": 0.1, "high": 0.4}), side({"low": -0.1, "high": 0.4}), side({"low": None, "high": None})
    (1, 0, 0)
    """
    if row["low"] is None:
        return 0
    return int(row["low"] > than) - int(row["high"] < than)


def format_interval(row: dict, digits: str = ".3g") -> str:
    """A row's number with its interval, where it has one, like 0.72 (0.65 – 0.78).

    >>> format_interval({"value": 0.72, "n": 50, "low": 0.65, "high": 0.78})
    '0.72 (0.65 – 0.78)'
    """
    value, *ends = (format(row[key], digits) for key in ("value", "low", "high") if row[key] is not None)
    return f"{value} ({' – '.join(ends)})" if ends else value


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown: the heads, and a line for each row."""
    head, *body = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join([head, "|---" * len(heads) + "|", *body])


def _student(n: int) -> float:
    """The 97.5% quantile of Student's distribution with n - 1 degrees of freedom."""
    return float(stdtrit(n - 1, 0.975))


def _row(where: dict, value: float, n: int, half: float) -> dict:
    """A row whose interval is value ± half; none where half is NaN."""
    centre, low, high = (None if math.isnan(x) else float(f"{x:.6g}") for x in (value, value - half, value + half))
    return {**where, "value": centre, "n": n, "low": low, "high": high}


def _column(values: Tensor | Sequence[float], name: str) -> Tensor:
    column = torch.as_tensor(values).detach().cpu().double()
    if column.ndim != 1 or not len(column):
        raise UserError(f"{name} are {tuple(column.shape)}, wanted (N,) with N at least 1: one number for each picture")
    return column
