"""Numbers with their n and a 95% interval, as rows of plain data: ready for JSON, a table or a caption."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from scipy.special import ndtri, stdtrit
from torch import Tensor

from ..errors import UserError

NORMAL = float(ndtri(0.975))  # of an interval of 95%


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
        row |= dict(zip(("low", "high"), _wilson(right / n, n)))
    return row


def share(values: Tensor | Sequence[float], /, *, groups: Tensor | Sequence[int] | None = None, **where: Any) -> dict:
    """The mean of N shares, or of N cases in groups that are not independent: {**where, value, n, low, high}.

    The interval is Wilson's of N* = p (1 - p) / v · (1.96 / t)² cases: v is the mean's variance between the G groups,
    by the jackknife, and t Student's quantile of G - 1 degrees (Korn and Graubard 1998). Like that of `proportion` it
    lies within 0 to 1 and is never empty; where all groups are equal each counts as one case.

    Args:
        values: (N,), from 0 to 1: each picture's own rate, or booleans.
        groups: (N,), a number for each value, equal for those that belong together, such as one picture's cases; by
            default each value is its own group.
        where: what the row is about.

    Returns:
        Python numbers, to 4 decimals; low and high are None for a single group, which is an example.

    Raises:
        UserError: no values, not (N,), values outside 0 to 1, or another number of groups.

    >>> share([1.0, 1.0, 0.5, 0.0])
    {'value': 0.625, 'n': 4, 'low': 0.1178, 'high': 0.9541}
    """
    column = _column(values, "values")
    if not ((column >= 0) & (column <= 1)).all():
        raise UserError("values hold numbers outside 0 to 1: give shares, or booleans")
    n, p = len(column), column.mean().item()
    own = torch.arange(n) if groups is None else torch.as_tensor(groups).cpu()
    if own.shape != column.shape:
        raise UserError(f"{len(own)} groups for {n} values: give one for each")
    _, member = own.unique(return_inverse=True)
    sizes = member.bincount().double()  # (G,)
    row = {**where, "value": round(p, 4), "n": n, "low": None, "high": None}
    if len(sizes) > 1:
        without = (column.sum() - member.bincount(column)) / (n - sizes)
        v = (len(sizes) - 1) * without.var(correction=0).item()
        certain = (NORMAL / _student(len(sizes))) ** 2  # v is an estimate from few groups
        cases = p * (1 - p) / v * certain if v > 1e-12 else len(sizes)
        row |= dict(zip(("low", "high"), _wilson(p, cases)))
    return row


def _wilson(p: float, n: float) -> tuple[float, float]:
    """Wilson's interval of 95% for a share p of n cases, which need not be a whole number."""
    z2 = NORMAL**2
    centre, half = p + z2 / (2 * n), math.sqrt(z2 * p * (1 - p) / n + (z2 / (2 * n)) ** 2)
    low, high = ((centre + sign * half) / (1 + z2 / n) for sign in (-1, 1))
    return round(max(low, 0.0), 4), round(min(high, 1.0), 4)


def difference(row: Mapping[str, Any], other: Mapping[str, Any], /, **where: Any) -> dict:
    """How far one share is above another of other cases: {**where, value, n, low, high}, n the smaller of the two.

    The interval is Newcombe's (1998, method 10) from the two shares' own: with d = p - q it goes from
    d - √((p - p₋)² + (q₊ - q)²) to d + √((p₊ - p)² + (q - q₋)²).

    Args:
        row, other: from `proportion` or `share`.
        where: what the row is about.

    Returns:
        Python numbers, to 4 decimals; low and high are None where one of the two shares has none.
    """
    p, q = row["value"], other["value"]
    result = {**where, "value": round(p - q, 4), "n": min(row["n"], other["n"]), "low": None, "high": None}
    if row["low"] is not None and other["low"] is not None:
        below, above = math.hypot(p - row["low"], other["high"] - q), math.hypot(row["high"] - p, q - other["low"])
        result |= {"low": round(p - q - below, 4), "high": round(p - q + above, 4)}
    return result


def mean(values: Tensor | Sequence[float], /, *, within: tuple[float, float] | None = None, **where: Any) -> dict:
    """The mean of N numbers: {**where, value, n, low, high}, low and high being mean ± t s/√N.

    s is the sample's standard deviation, and t the 97.5% quantile of Student's distribution with N - 1 degrees of
    freedom: 1.96 for many, 2.78 for five, 12.7 for two, since s itself is uncertain (Student 1908).  The paired
    difference of two columns is the mean of their differences: mean(after - before).

    Args:
        values: (N,).
        within: the least and the largest value that the mean can have, such as -1 and 1 of cosines; the interval is
            cut there, since nothing beyond can be the mean.
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
    return _cut(_row(where, column.mean().item(), n, half), within)


def mean_of_pairs(among: Tensor, /, *, within: tuple[float, float] | None = None, **where: Any) -> dict:
    """The mean over all pairs of N samples, such as their distances: {**where, value, n, low, high}, n being N.

    The N (N - 1) / 2 pairs share their samples, so they are no independent numbers: the interval is `jackknife`'s, a
    sample at a time.

    Args:
        among: (N, N), symmetrical; the diagonal does not count.
        within: the least and the largest value that the mean can have, as in `mean`.
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
    row = jackknife(total.item() / math.comb(n, 2), (total - of_each) / math.comb(n - 1, 2), n, **where)
    return _cut(row, within)


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


def _cut(row: dict, within: tuple[float, float] | None) -> dict:
    """A row whose interval ends where the values of its quantity do."""
    if within is not None and row["low"] is not None:
        row |= {"low": max(row["low"], within[0]), "high": min(row["high"], within[1])}
    return row


def _column(values: Tensor | Sequence[float], name: str) -> Tensor:
    column = torch.as_tensor(values).detach().cpu().double()
    if column.ndim != 1 or not len(column):
        raise UserError(f"{name} are {tuple(column.shape)}, wanted (N,) with N at least 1: one number for each picture")
    return column
