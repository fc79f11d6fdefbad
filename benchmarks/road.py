"""The paper's comparisons for every system of the road: python benchmarks/road.py.

The same held-out prompts and seeds for each system, one picture a prompt.  Measured are the Fréchet distance in CLIP's
space and the CMMD to the real scenes, CLIP score, accuracy (is a picture's own prompt the nearest of all), recall, the
recall of each artist's style, and binding: how often both colours stand where a prompt of two coloured solids puts
them.  Ramesh et al. 2022, tables 1 and 2, figures 13 and 14.  CLIP's own drawings take seconds each, so that they are
left out unless `--systems` names them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

import latentlab
from latentlab import experiments, grammar, plotting
from latentlab.analysis import distances, intervals
from latentlab.experiments.binding import observed
from latentlab.experiments.road_systems import SYSTEMS
from latentlab.io import images
from latentlab.training.comparison import held_out_scenes
from latentlab.training.drawings import load_sprites
from latentlab.training.rendering import Renderer

BINDING = ("both colours at their place", "CLIP reads it as asked")
COSTS = ("seconds", "evaluations", "parameters")
LOWER = ("Fréchet distance", "CMMD")  # of the quantities that are compared, these are better when they are lower


def measure(lab: latentlab.Lab, pixels: Tensor, real: Tensor, styles: Sequence[str]) -> dict[str, dict]:
    """The distances of pictures (N, 3, H, W) to the real scenes' z_i, and what these recall."""
    z = lab.encoder.encode_image(images.resize(pixels, lab.encoder.image_size))
    reached = distances.recalled(real, z)
    rows = {
        "Fréchet distance": distances.jackknife(distances.frechet, real, z),
        "CMMD": distances.jackknife(distances.cmmd, real, z),
        "recall": intervals.proportion(reached),
    }
    for style in dict.fromkeys(styles):
        rows[f"recall of {style}"] = intervals.proportion(reached[[k for k, own in enumerate(styles) if own == style]])
    return rows


def binding(lab: latentlab.Lab, name: str, count: int, steps: int) -> dict[str, dict]:
    """A system's binding accuracy over random prompts of two coloured solids."""
    asked = grammar.arrangements(count, seed=0)
    drawn = experiments.road(lab, [a.caption for a in asked], systems=[name], steps=steps)
    side = lab.require_decoder().image_size
    _, _, table = observed(lab, asked, images.resize(drawn.pixels[0], side).unsqueeze(1))
    return {row["quantity"]: row for row in table if row["quantity"] in BINDING}


def sentence(rows: dict[str, dict[str, dict]], quantity: str) -> str:
    """Which system is best in a quantity, as far as the intervals allow it to be said."""
    sign = -1 if quantity in LOWER else 1
    best, *others = sorted(rows, key=lambda name: -sign * rows[name][quantity]["value"])

    def beaten(name: str) -> bool:
        low, high = ("high", "low") if sign < 0 else ("low", "high")
        return sign * rows[best][quantity][low] > sign * rows[name][quantity][high]

    worse, same = [n for n in others if beaten(n)], [n for n in others if not beaten(n)]
    parts = [f"{best} is better than {', '.join(worse)}"] if worse else [f"{best} has the best value"]
    parts += [f"no difference to {', '.join(same)} can be told"] if same else []
    return f"{quantity}: {'; '.join(parts)}."


def main(
    count: Annotated[int, typer.Option("--prompts", min=40, help="Number of held-out prompts.")] = 256,
    solids: Annotated[int, typer.Option(min=2, help="Number of prompts of two coloured solids.")] = 128,
    systems: Annotated[str, typer.Option(help="Systems, separated by commas.")] = ",".join(SYSTEMS).replace(
        "draw,", ""
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the decoder.")] = 25,
    sheet: Annotated[Path | None, typer.Option(help="Where to draw a contact sheet of the first 32 prompts.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare the systems of the embedded model."""
    lab, sprites = replace(latentlab.load("emoji"), upsampler=None), load_sprites()
    scenes = held_out_scenes(sprites, count)
    styles = [scene.layers[0].key.partition("/")[0] for scene in scenes]
    real = lab.encoder.encode_image(Renderer(sprites, lab.device)(scenes, lab.require_decoder().image_size))
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    shown: dict[str, Tensor] = {}
    for name in (name for name in SYSTEMS if name in systems.split(",")):
        if reason := SYSTEMS[name].missing(lab):
            typer.echo(f"{SYSTEMS[name].title} is left out: {reason}", err=True)
            continue
        drawn = experiments.road(lab, [scene.caption for scene in scenes], systems=[name], seeds=[0], steps=steps)
        (title,) = drawn.systems
        shown[title] = drawn.pixels[0, :32]
        table = {row["quantity"]: row for row in drawn.table}
        table |= measure(lab, drawn.pixels[0], real, styles)
        rows[title] = table | binding(lab, name, solids, steps)
        typer.echo(f"{title}: {intervals.format_interval(table['accuracy'], '.1%')}", err=True)
    if not rows:
        raise typer.BadParameter(f"none of {systems} is a system that the embedded model has: {', '.join(SYSTEMS)}")
    if sheet:
        for k in range(0, min(32, count), 8):
            figure = plotting.rows(
                {title: row[k : k + 8] for title, row in shown.items()}, titles=[s.caption for s in scenes[k : k + 8]]
            )
            plotting.save(figure, sheet.with_stem(f"{sheet.stem}-{k // 8 + 1}"), dpi=80)
    quantities = ["Fréchet distance", "CMMD", "CLIP score", "accuracy", "recall", *BINDING]
    if as_json:
        print(json.dumps({"prompts": count, "solids": solids, "weights": lab.weights, "rows": rows}))
        return
    styles_recalled = [q for q in next(iter(rows.values())) if q.startswith("recall of")]
    heads = [f"n = {count}, {solids} of solids", *quantities, *styles_recalled, *COSTS]
    lines = [[title, *(intervals.format_interval(table[q]) for q in heads[1:])] for title, table in rows.items()]
    print(intervals.markdown(heads, lines) + "\n")
    for quantity in quantities:
        print(sentence(rows, quantity))


if __name__ == "__main__":
    typer.run(main)
