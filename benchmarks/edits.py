"""What the picture's own trajectory gains over RePaint at equal evaluations: python benchmarks/edits.py.

In every picture a thing is replaced by another one through a centred square mask of three sizes.  Measured: the PSNR
outside the mask, the change between neighbours across its border and beside it, whether CLIP's zero-shot label inside
the mask is the thing that was asked for, and the CLIP score; means with 95% intervals.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from inversion import scenes
from torch import Tensor

import latentlab
from latentlab import experiments, plotting
from latentlab.analysis import intervals

SIDES = (0.4, 0.6, 0.8)  # of the mask, in the picture's
QUANTITIES = (
    "PSNR outside", "change across the border", "change beside the border", "accuracy inside the mask", "CLIP score",
)  # fmt: skip


def methods(budget: int) -> dict[str, dict]:
    """Parameters of `edit` that spend so many evaluations of the decoder, the inversion's included."""
    return {
        "RePaint, 2 resamplings": {"known": "noised", "resamplings": 2, "eta": 1.0, "steps": budget // 2},
        "noised, once": {"known": "noised", "resamplings": 1, "steps": budget},
        "trajectory, once": {"known": "trajectory", "resamplings": 1, "steps": budget // 2},
        "trajectory, 2 resamplings": {"known": "trajectory", "resamplings": 2, "eta": 1.0, "steps": budget // 3},
    }


def centred(side: int, share: float) -> Tensor:
    first = round(side * (1 - share) / 2)
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[first : side - first, first : side - first] = True
    return mask


def measure(lab: latentlab.Lab, pictures: Tensor, share: float, params: dict) -> tuple[dict[str, dict], Tensor]:
    """Every quantity's row over the pictures, and the edits."""
    mask, values, edits = centred(pictures.shape[-1], share), {name: list[float]() for name in QUANTITIES}, []
    for k in range(len(pictures)):
        caption = lab.things[(37 * k + 11) % len(lab.things)]
        result = experiments.edit(lab, pictures[k : k + 1], mask, caption, seeds=[k], preview_every=0, **params)
        edits.append(result.pixels)
        for name in QUANTITIES:
            values[name].append(result.value(name))
    rows = {}
    for name, column in values.items():
        right = name.startswith("accuracy")
        rows[name] = (intervals.proportion([v == 1 for v in column]) if right else intervals.mean(column)) | {
            "side": share
        }
    return rows, torch.cat(edits)


def main(
    count: Annotated[int, typer.Option("--scenes", min=2, max=187, help="Number of pictures.")] = 64,
    budget: Annotated[int, typer.Option(min=6, help="Evaluations of the decoder for each edit.")] = 48,
    only: Annotated[str, typer.Option(help="One of the methods, by its name; all of them by default.")] = "",
    sheet: Annotated[Path | None, typer.Option(help="Where to draw a contact sheet of the first pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare edits on the embedded decoder."""
    lab = latentlab.load("emoji")
    kind, pictures = scenes(lab, count)
    rows, shown = [], {"original": pictures[:8]}
    for name, params in methods(budget).items():
        if only and name != only:
            continue
        for share in SIDES:
            measured, edits = measure(lab, pictures, share, params)
            rows.append({"method": name, "side": share, **measured})
            shown[f"{name}, {share:g}"] = edits[:8]
            typer.echo(f"{name}, {share:g}: {intervals.format_interval(measured['CLIP score'])}", err=True)
    if sheet:
        plotting.rows(shown).savefig(sheet, dpi=80)
    lines = [
        [row["method"], f"{row['side']:g}", *(intervals.format_interval(row[name]) for name in QUANTITIES)]
        for row in rows
    ]
    table = intervals.markdown(["method", "mask's side", *QUANTITIES], lines)
    heading = f"{len(pictures)} {kind}, {budget} evaluations an edit, weights {lab.weights}; mean and 95% interval.\n"
    measurement = {"pictures": kind, "n": len(pictures), "budget": budget, "weights": lab.weights, "rows": rows}
    print(json.dumps(measurement) if as_json else f"{heading}\n{table}")


if __name__ == "__main__":
    typer.run(main)
