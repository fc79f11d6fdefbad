"""The rows of the miniature's report, and the table of them in the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..analysis import intervals

Row = dict[str, Any]  # name, value, n, interval, least, goal, unit


def proportion(name: str, right: Tensor, least: float | None = None, goal: float | None = None) -> Row:
    return _row(name, intervals.proportion(right), 4, least, goal, "")


def mean(name: str, values: Tensor, unit: str, least: float | None = None, goal: float | None = None) -> Row:
    return _row(name, intervals.mean(values), 3, least, goal, unit)


def _row(
    name: str, estimate: Mapping[str, Any], digits: int, least: float | None, goal: float | None, unit: str
) -> Row:
    interval = None if estimate["low"] is None else [round(estimate[k], digits) for k in ("low", "high")]
    return {
        "name": name,
        "value": round(estimate["value"], digits),
        "n": estimate["n"],
        "interval": interval,
        "least": least,
        "goal": goal,
        "unit": unit,
    }


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = []
    for row in rows:
        interval = "" if row["interval"] is None else f"{row['interval'][0]:g} – {row['interval'][1]:g}"
        bounds = ["" if row[k] is None else f"{row[k]:g}" for k in ("least", "goal")]
        lines.append([row["name"], f"{row['value']:g} {row['unit']}".strip(), interval, str(row["n"]), *bounds])
    return intervals.markdown(["number", "value", "95% interval", "n", "at least", "goal"], lines)


def write_card(rows: list[Row], card: Path) -> None:
    """Put the table between the card's two marks."""
    begin, end = "<!-- report -->", "<!-- /report -->"
    text = card.read_text("utf-8")
    head, rest = text.split(begin, 1)
    card.write_text(f"{head}{begin}\n{table(rows)}\n{end}{rest.split(end, 1)[1]}", "utf-8")
