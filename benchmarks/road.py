"""The paper's comparisons for every system of the road: python benchmarks/road.py.

The same held-out prompts and seeds for each system, one picture a prompt.  Measured are the Fréchet distance in CLIP's
space and the CMMD to the real scenes, CLIP score, accuracy (is a picture's own prompt the nearest of all; does the
judge name its thing), recall, the recall of each artist's style, and binding: how often both colours stand where a
prompt of two coloured solids puts them.  Ramesh et al. 2022, tables 1 and 2, figures 13 and 14.

CLIP's own drawings take seconds each, so that this system draws fewer prompts (`--strokes`), and no distances, which
depend on the number of pictures.  Its accuracy is among all prompts, as that of the others.  With one thread 256
prompts and 128 of solids take about eight minutes of one core.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

import latentlab
from latentlab import experiments, grammar, plotting
from latentlab.analysis import distances, intervals
from latentlab.experiments.binding import at_place, observed
from latentlab.experiments.road_systems import SYSTEMS
from latentlab.experiments.stages import cosine
from latentlab.io import atomic, images
from latentlab.models.judge import judge_of
from latentlab.slerp import normalize
from latentlab.training.comparison import held_out_scenes
from latentlab.training.drawings import load_sprites
from latentlab.training.rendering import Renderer
from latentlab.training.things import things

CLOUDS = ("Fréchet distance", "CMMD", "recall")  # of all pictures together; two systems' intervals are compared
EACH = (
    "CLIP score",
    "accuracy",
    "the judge's accuracy",
    "both colours at their place",
    "CLIP reads it as asked",
)  # of each prompt; two systems are compared prompt by prompt
COSTS = ("seconds of one core", "evaluations", "parameters")
LOWER = ("Fréchet distance", "CMMD")  # of the quantities that are compared, these are better when they are lower
SHOWN = 32  # pictures of a contact sheet

Values = Mapping[str, Tensor]  # quantity -> a number for each prompt


class Scenes:
    """Held-out scenes: their prompts, things, artists, and z_i of their pictures."""

    def __init__(self, lab: latentlab.Lab, count: int) -> None:
        sprites = load_sprites()
        scenes = held_out_scenes(sprites, count)
        self.prompts = [scene.caption for scene in scenes]
        self.things = [scene.name for scene in scenes]
        self.styles = [scene.layers[0].key.partition("/")[0] for scene in scenes]
        self.real = lab.encoder.encode_image(Renderer(sprites, lab.device)(scenes, lab.require_decoder().image_size))
        self.z_t = lab.encoder.encode_text(self.prompts)


def of_each(lab: latentlab.Lab, scenes: Scenes, pixels: Tensor, z: Tensor) -> dict[str, Tensor]:
    """What is measured of each of the first N prompts' pictures (N, 3, H, W), whose embeddings are z (N, D)."""
    own = torch.arange(len(z), device=z.device)
    values = {
        "CLIP score": cosine(z, scenes.z_t[: len(z)]),
        "accuracy": (normalize(z) @ normalize(scenes.z_t).T).argmax(1) == own,
    }
    if judge := judge_of(lab):
        labels = [thing.phrases[0] for thing in things()]
        named = judge.zero_shot(pixels, labels).argmax(1).tolist()
        wanted = [thing.name for thing in things()]
        values["the judge's accuracy"] = torch.tensor([wanted[k] == own for k, own in zip(named, scenes.things)])
    return values


def of_clouds(scenes: Scenes, z: Tensor) -> dict[str, dict]:
    """The distances of all pictures' embeddings (N, D) to the real scenes', and what they recall."""
    rows = distances.compared(scenes.real, z, scenes.styles)
    return {f"recall of {row['kind']}" if "kind" in row else row["quantity"]: row for row in rows}


def binding(lab: latentlab.Lab, name: str, count: int, steps: int) -> dict[str, Tensor]:
    """Of a system's pictures of two coloured solids: are the colours right, and does CLIP read them so."""
    asked = grammar.arrangements(count, seed=0)
    drawn = experiments.road(lab, [a.caption for a in asked], systems=[name], steps=steps)
    side = lab.require_decoder().image_size
    read_as, colours, _ = observed(lab, asked, images.resize(drawn.pixels[0], side).unsqueeze(1))
    return {
        "both colours at their place": torch.tensor([all(at_place(a, row[0])) for a, row in zip(asked, colours)]),
        "CLIP reads it as asked": torch.tensor([row[0] == a for a, row in zip(asked, read_as)]),
    }


def measure(lab: latentlab.Lab, scenes: Scenes, name: str, count: int, solids: int, steps: int) -> dict[str, Any]:
    """A system's pictures of the first prompts and of solids: numbers of each, z_i, costs, and pictures to look at."""
    start = time.process_time()
    drawn = experiments.road(lab, scenes.prompts[:count], systems=[name], seeds=[0], steps=steps)
    seconds = (time.process_time() - start) / count
    pixels = drawn.pixels[0]
    z = lab.encoder.encode_image(images.resize(pixels, lab.encoder.image_size))
    costs = {row["quantity"]: row for row in drawn.table if row["quantity"] in COSTS}
    costs[COSTS[0]] = {"value": seconds, "low": None, "high": None}
    values = of_each(lab, scenes, pixels, z) | binding(lab, name, solids, steps)
    return {"values": values, "z": z, "costs": costs, "shown": pixels[:SHOWN].clone()}


def row_of(values: Tensor) -> dict[str, Any]:
    return intervals.proportion(values) if values.dtype == torch.bool else intervals.mean(values)


def apart(rows: Mapping[str, dict], best: str, name: str, quantity: str) -> bool:
    """Whether two intervals leave no doubt that `best` is better."""
    sign = -1 if quantity in LOWER else 1
    low, high = ("high", "low") if sign < 0 else ("low", "high")
    return sign * rows[best][low] > sign * rows[name][high]


def paired(values: Mapping[str, Values], first: str, second: str, quantity: str) -> dict[str, Any]:
    """The mean difference of two systems over the prompts that both drew."""
    columns = [values[name][quantity].double().cpu() for name in (first, second)]
    n = min(map(len, columns))
    return intervals.mean(columns[0][:n] - columns[1][:n])


def sentence(rows: Mapping[str, Mapping[str, dict]], values: Mapping[str, Values], quantity: str) -> str:
    """Which system is best in a quantity, as far as the intervals allow it to be said.

    Args:
        rows: system -> quantity -> row with its interval.
        values: system -> quantity -> a number for each prompt, of the quantities in `EACH`.
    """
    sign = -1 if quantity in LOWER else 1
    measured = {name: row[quantity] for name, row in rows.items() if quantity in row}
    common = min((len(values[name][quantity]) for name in measured if quantity in EACH), default=0)

    def height(name: str) -> float:
        """What is compared: of single prompts the mean over those that all systems drew."""
        return float(values[name][quantity][:common].double().mean()) if common else sign * measured[name]["value"]

    best, *others = sorted(measured, key=height, reverse=True)

    def beaten(name: str) -> bool:
        if quantity in EACH:
            return intervals.side(paired(values, best, name, quantity)) > 0
        return apart(measured, best, name, quantity)

    worse, same = [n for n in others if beaten(n)], [n for n in others if not beaten(n)]
    parts = [f"{best} is better than {', '.join(worse)}"] if worse else [f"{best} has the best value"]
    parts += [f"no difference to {', '.join(same)} can be told"] if same else []
    return f"{quantity}: {'; '.join(parts)}."


def binding_sentence(values: Mapping[str, Values], glide: str, unclip: str) -> str:
    """Whether unCLIP binds worse than GLIDE, as Ramesh et al. 2022, section 7, say."""
    difference = paired(values, unclip, glide, EACH[3])
    verdict = {1: "binds better than", -1: "binds worse than", 0: "can't be told to bind otherwise than"}
    points = intervals.format_interval({k: difference[k] * 100 for k in ("value", "low", "high")}, "+.0f")
    told = verdict[intervals.side(difference)]
    return f"{unclip} {told} {glide}: {points} percentage points of {difference['n']} prompts, by the colours."


def main(
    count: Annotated[int, typer.Option("--prompts", min=40, help="Number of held-out prompts.")] = 256,
    solids: Annotated[int, typer.Option(min=2, help="Number of prompts of two coloured solids.")] = 128,
    strokes: Annotated[int, typer.Option(min=2, help="How many of both CLIP's own drawing gets.")] = 24,
    systems: Annotated[str, typer.Option(help="Systems, separated by commas.")] = ",".join(SYSTEMS),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the decoder.")] = 12,
    sheets: Annotated[Path | None, typer.Option(help="A folder for a contact sheet of each system.")] = None,
    kept: Annotated[Path | None, typer.Option(help="A folder of finished systems, from which a run goes on.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare the systems of the embedded model."""
    for folder in (sheets, kept):
        if folder:
            atomic.writable_folder(folder).mkdir(parents=True, exist_ok=True)
    lab = replace(latentlab.load("emoji"), upsampler=None)
    scenes = Scenes(lab, count)
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    values: dict[str, dict[str, Tensor]] = {}
    for name in (name for name in SYSTEMS if name in systems.split(",")):
        if reason := SYSTEMS[name].missing(lab):
            typer.echo(f"{SYSTEMS[name].title} is left out: {reason}", err=True)
            continue
        title = SYSTEMS[name].title
        some, bound = (min(n, strokes) if name == "draw" else n for n in (count, solids))
        path = kept / f"{name}-{lab.weights}-{some}-{bound}-{steps}.pt" if kept else None
        if path and path.is_file():
            measured = torch.load(path, weights_only=True)
        else:
            measured = measure(lab, scenes, name, some, bound, steps)
            if path:
                with atomic.atomic_write(path) as part:
                    torch.save(measured, part)
        values[title] = measured["values"]
        rows[title] = {q: row_of(column) for q, column in values[title].items()} | measured["costs"]
        rows[title] |= of_clouds(scenes, measured["z"]) if some == count else {}
        typer.echo(f"{title}: accuracy {intervals.format_interval(rows[title]['accuracy'], '.1%')}", err=True)
        if sheets:
            titles = [textwrap.fill(prompt, 22) for prompt in scenes.prompts[:SHOWN]]
            figure = plotting.grid(measured["shown"], titles=titles, columns=8, heading=title)
            plotting.save(figure, sheets / f"{name}.png", dpi=80)
    if not rows:
        raise typer.BadParameter(f"none of {systems} is a system that the embedded model has: {', '.join(SYSTEMS)}")
    glide, unclip = SYSTEMS["glide"].title, [SYSTEMS[n].title for n in SYSTEMS if n.startswith("unclip")]
    said = [sentence(rows, values, q) for q in (*CLOUDS, *EACH) if any(q in row for row in rows.values())]
    said += [binding_sentence(values, glide, name) for name in unclip if {glide, name} <= rows.keys()]
    if as_json:
        print(json.dumps({"prompts": count, "weights": lab.weights, "rows": rows, "sentences": said}))
        return
    print(table_of(rows) + "\n\n" + "\n".join(said))


def table_of(rows: Mapping[str, Mapping[str, dict]]) -> str:
    """A line for every quantity, a column for every system; n stands behind a number where it differs by system."""
    quantities = list(dict.fromkeys(q for row in rows.values() for q in row))
    order = [*CLOUDS, *EACH, *(q for q in quantities if q.startswith("recall of")), *COSTS]
    lines = []
    for quantity in (q for q in order if q in quantities):
        cells = [rows[title].get(quantity) for title in rows]
        counts = {cell["n"] for cell in cells if cell and cell.get("n")}
        named = quantity if len(counts) != 1 or quantity in COSTS else f"{quantity}, n = {counts.pop()}"
        several = len(counts) > 1 and quantity not in COSTS
        lines.append([named, *(cell_of(cell, with_n=several) for cell in cells)])
    return intervals.markdown(["", *rows], lines)


def cell_of(row: Mapping[str, Any] | None, *, with_n: bool) -> str:
    if row is None:
        return "–"
    text = intervals.format_interval(dict(row)) if row["value"] < 1000 else f"{row['value']:,.0f}"
    return f"{text}, n = {row['n']}" if with_n else text


if __name__ == "__main__":
    typer.run(main)
