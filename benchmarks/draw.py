"""What CLIP's own drawings show: captions on canvases, recognised by CLIP over views and by a second encoder.

    python benchmarks/draw.py                                # 32 captions on all canvases, and the rasteriser's speed
    python benchmarks/draw.py --captions 2 --canvases strokes,pixels --steps 20   # a try

All captions climb in one batch, and seconds are a drawing's share of it. Those of the rasteriser are the shortest of
several interleaved tries, forward and back.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torchvision.utils import make_grid

import latentlab
from latentlab.analysis.intervals import format_interval, markdown, mean, proportion
from latentlab.ascent import Objective
from latentlab.experiments.drawing_stages import CANVASES, Climb, climb, new_canvas, recognisers_of, seen
from latentlab.io import images
from latentlab.rasteriser import rasterise
from latentlab.strokes import Strokes

SEEN = 8  # random views in which each drawing is to be recognised
TILE = 128  # side of a drawing on the contact sheet


def line_of(lab: latentlab.Lab, captions: list[str], canvas: str, views: int, steps: int) -> tuple[list[str], Tensor]:
    """One line of the table, and the drawings (N, 3, TILE, TILE), all climbed in one batch."""
    encoder, start = lab.encoder, time.perf_counter()
    objective = Objective(encoder.encode_text(captions)[:, None], [1.0])
    sheet = new_canvas(lab, canvas, start="noise", seeds=range(len(captions)))
    climbed = collect(climb(lab, sheet, objective, steps=steps, views=views, preview_every=0))
    seconds = (time.perf_counter() - start) / len(captions)
    small = images.resize(climbed.pixels, encoder.image_size)
    with torch.no_grad():
        cosine = objective(encoder.encode_image(small))
    cells = [canvas, str(views), format_interval(mean(cosine), ".2f")]
    own = torch.tensor([lab.things.index(caption) for caption in captions])
    measured = [small, *islice(seen(small, encoder.image_size), SEEN)]
    for recogniser in recognisers_of(lab, None).values():
        answers = [recogniser.zero_shot(part, lab.things).argmax(1) == own for part in measured]
        over = torch.stack(answers[1:]).float().mean(0)
        cells += [format_interval(proportion(answers[0]), ".0%"), format_interval(mean(over, within=(0, 1)), ".0%")]
    return [*cells, f"{seconds:.1f}"], images.resize(climbed.pixels, TILE)


def in_bfloat16(lab: latentlab.Lab) -> None:
    """Let CLIP's image tower compute in bfloat16, with channels last: 2.6 times as fast where the CPU has it."""
    tower = lab.encoder.model.visual.to(memory_format=torch.channels_last)
    tower.forward = torch.autocast(lab.device.type, torch.bfloat16)(tower.forward)


def collect(stream: Generator[object, None, Climb]) -> Climb:
    """What a generator returns."""
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            return stop.value


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
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Let CLIP climb in bfloat16.")] = False,
    out: Annotated[Path, typer.Option(help="The contact sheet, a row for each canvas.")] = Path("drawings.png"),
) -> None:
    lab = latentlab.load("emoji", device="cpu")
    if bfloat16:
        in_bfloat16(lab)
    every = max(1, len(lab.things) // captions)
    chosen, lines, sheets = list(lab.things[::every][:captions]), [], []
    for canvas in canvases.split(","):
        for views in (0, 4):
            line, sheet = line_of(lab, chosen, canvas, views, steps)
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
