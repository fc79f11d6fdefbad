"""What CLIP's own drawings show: captions on canvases, recognised by CLIP over views and by a second encoder.

    python benchmarks/draw.py                                # 32 captions on all canvases, and the rasteriser's speed
    python benchmarks/draw.py --captions 2 --canvases strokes,pixels --steps 20   # a try

Seconds are of a whole run; those of the rasteriser are the shortest of several interleaved tries, forward and back.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torchvision.utils import make_grid

import latentlab
from latentlab.analysis.intervals import format_interval, markdown, mean, proportion
from latentlab.experiments.drawing_stages import CANVASES
from latentlab.io import images
from latentlab.rasteriser import rasterise
from latentlab.strokes import Strokes

TILE = 128  # side of a drawing on the contact sheet


def rows_of(lab: latentlab.Lab, captions: list[str], canvas: str, views: int, steps: int) -> tuple[list[str], Tensor]:
    """One line of the table, and the drawings (N, 3, TILE, TILE)."""
    results, seconds = [], []
    for caption in captions:
        start = time.perf_counter()
        results.append(latentlab.draw(lab, caption, canvas=canvas, views=views, steps=steps))
        seconds.append(time.perf_counter() - start)
    names = dict.fromkeys(row["encoder"] for row in results[0].table if "encoder" in row)
    cells = [canvas, str(views), format_interval(mean([r.value("cosine") for r in results]), ".2f")]
    for name in names:
        plain = [r.value("top-1", encoder=name) == 1 for r in results]
        over = [r.value("top-1 over views", encoder=name) for r in results]
        cells += [format_interval(proportion(plain), ".0%"), format_interval(mean(over), ".0%")]
    return [*cells, f"{sum(seconds) / len(seconds):.1f}"], torch.cat([images.resize(r.pixels, TILE) for r in results])


def loop(canvas: Strokes, size: int) -> Tensor:
    """One stroke after another, each on the picture of those before."""
    paths = canvas.paths()
    picture = paths.paper.expand(1, 3, size, size)
    for k in range(paths.curves.shape[1]):
        one = slice(k, k + 1)
        picture = rasterise(paths.curves[:, one], paths.widths[:, one], paths.colours[:, one], picture, size)
    return picture


def rasteriser(count: int, size: int, tries: int = 7) -> str:
    """Times of all strokes at once and of the loop, with the largest difference of their pictures."""
    canvas = Strokes.random(count, seeds=[0], paper=torch.ones(1, 3, 1, 1))
    seconds: dict[str, list[float]] = {"at once": [], "loop": []}
    for _ in range(tries):
        pictures = []
        for name, render in (("at once", canvas.render), ("loop", lambda side: loop(canvas, side))):
            start = time.perf_counter()
            picture = render(size)
            picture.square().sum().backward()
            seconds[name].append(time.perf_counter() - start)
            pictures.append(picture.detach())
    ours, theirs = (min(times) for times in seconds.values())
    apart = (pictures[0] - pictures[1]).abs().max().item()
    times = f"{1e3 * ours:.0f} ms, a loop {1e3 * theirs:.0f} ms ({theirs / ours:.1f} times)"
    return f"{count} strokes at {size} pixels: {times}, {apart:.0e} apart"


def main(
    captions: Annotated[int, typer.Option(help="Number of captions.")] = 32,
    canvases: Annotated[str, typer.Option(help="Canvases, separated by commas.")] = ",".join(CANVASES),
    steps: Annotated[int, typer.Option(help="Steps of each climb.")] = 120,
    out: Annotated[Path, typer.Option(help="The contact sheet, a row for each canvas.")] = Path("drawings.png"),
) -> None:
    lab = latentlab.load("emoji", device="cpu")
    every = max(1, len(lab.things) // captions)
    chosen, lines, sheets = list(lab.things[::every][:captions]), [], []
    for canvas in canvases.split(","):
        for views in (0, 4):
            line, sheet = rows_of(lab, chosen, canvas, views, steps)
            typer.echo(" ".join(line), err=True)
            lines.append(line)
            sheets.append(sheet)
    heads = ["canvas", "views", "cosine", "CLIP", "CLIP, views", "judge", "judge, views", "seconds"]
    typer.echo(markdown(heads, lines))
    grid = make_grid(torch.cat(sheets), len(chosen), pad_value=-0.5)
    images.save_png(images.to_pil(grid[None])[0], out, {"captions": chosen})
    for count, size in ((24, 64), (256, 64), (24, 224)):
        typer.echo(rasteriser(count, size))


if __name__ == "__main__":
    typer.run(main)
