"""Guidance by CLIP against classifier-free guidance at equal cost: python benchmarks/guidance.py.

One picture for each of many captions, from the same z_i and x_T.  Every way takes as many steps as its cost allows, a
step's cost being counted in evaluations of the decoder without guidance.  Measured: whether CLIP's zero-shot label
among all things is the caption's, the same by the judge, which no guidance has asked, the CLIP score, the Fréchet
distance and the CMMD of the z_i to those of held-out scenes, and the share of those that the pictures recall; with 95%
intervals.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from inversion import scenes
from torch import Tensor

import latentlab
from latentlab import plotting, prior
from latentlab.analysis import distances, intervals
from latentlab.experiments.guidance import guidance_params
from latentlab.experiments.stages import cosine, run_to_end, sample_images
from latentlab.latents import Latent
from latentlab.models.judge import Judge
from latentlab.noise import draw_x_T

# Evaluations of the unguided decoder that a step costs, backpropagation counted as two.
COSTS = {"classifier-free": 2, "clip": 4, "noised-clip": 2}
SCALES = {"classifier-free": (1.5, 2.0, 3.0, 4.0), "clip": (0.5, 1.0, 2.0, 5.0), "noised-clip": (0.5, 1.0, 2.0, 5.0)}


def ways(lab: latentlab.Lab) -> Iterator[tuple[str, float, int]]:
    """Each way to guide with its scale and a step's cost, no guidance first."""
    yield "classifier-free", 1.0, 1
    for by, scales in SCALES.items():
        if by != "noised-clip" or lab.noised_clip:
            yield from ((by, scale, COSTS[by]) for scale in scales)


def measure(lab: latentlab.Lab, judge: Judge, pixels: Tensor, z_t: Tensor, rows: list[int], real: Tensor) -> dict:
    """Every quantity's row for pictures (N, 3, H, W) of the things in these rows of `lab.things`."""
    z, wanted = lab.encoder.encode_image(pixels), torch.tensor(rows)
    labels = lab.encoder.zero_shot(pixels, lab.things).argmax(1).cpu()
    measured = {
        "accuracy": intervals.proportion(labels == wanted),
        "accuracy by the judge": intervals.proportion(judge.ranks(pixels, _names(judge, lab, rows)) == 0),
        "CLIP score": intervals.mean(cosine(z, z_t)),
    }
    if len(pixels) >= 40:
        measured |= {row["quantity"]: row for row in distances.compared(real, z)}
    return measured


def _names(judge: Judge, lab: latentlab.Lab, rows: list[int]) -> list[str]:
    from latentlab.training.things import things

    named = {thing.phrases[0]: thing.name for thing in things()}
    return [named[lab.things[k]] for k in rows]


def main(
    count: Annotated[int, typer.Option("--captions", min=8, max=187, help="Number of captions.")] = 64,
    budget: Annotated[int, typer.Option(min=8, help="Evaluations of the decoder for each picture.")] = 48,
    only: Annotated[str, typer.Option(help="A way to guide, as noised-clip; all of them by default.")] = "",
    sheet: Annotated[Path | None, typer.Option(help="Where to draw a contact sheet of the first pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare the ways of guidance on the embedded model."""
    lab, judge = latentlab.load("emoji"), Judge.load()
    rows = [(37 * k + 11) % len(lab.things) for k in range(count)]
    captions = [lab.things[k] for k in rows]
    kind, pictures = scenes(lab, 187)
    real, z_t = lab.encoder.encode_image(pictures), lab.encoder.encode_text(captions)
    latent = Latent(prior.sample(lab.prior, captions, seeds=range(count)), draw_x_T(lab.decoder, range(count)))
    text = lab.decoder.encode_prompt(captions)
    table: list[dict[str, Any]] = []
    shown: dict[str, Tensor] = {}
    for by, scale, cost in (way for way in ways(lab) if only in ("", way[0])):
        params = guidance_params(lab, by, scale, z_t)
        pixels = run_to_end(sample_images(lab, latent, text=text, steps=budget // cost, **params))
        name = f"{by} {scale:g}" if cost > 1 else "none"
        shown[name] = pixels[:8]
        table.append({"guidance": name, "steps": budget // cost, **measure(lab, judge, pixels, z_t, rows, real)})
        typer.echo(f"{name}: {intervals.format_interval(table[-1]['CLIP score'])}", err=True)
    if sheet:
        plotting.rows(shown, titles=captions[:8]).savefig(sheet, dpi=80)
    quantities = [name for name in table[0] if name not in ("guidance", "steps")]
    lines = [
        [row["guidance"], str(row["steps"]), *(intervals.format_interval(row[name]) for name in quantities)]
        for row in table
    ]
    heading = (
        f"{count} captions, {budget} evaluations a picture, distances to {len(real)} {kind}, weights {lab.weights}"
    )
    about = {"captions": count, "budget": budget, "real": kind, "weights": lab.weights, "rows": table}
    markdown = intervals.markdown(["guidance", "steps", *quantities], lines)
    print(json.dumps(about) if as_json else f"{heading}; mean and 95% interval.\n\n{markdown}")


if __name__ == "__main__":
    typer.run(main)
