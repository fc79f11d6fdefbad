"""What the model is known to fail at: counts, and colours of things: python benchmarks/limits.py.

The page Generate warns of both.  A picture's count is its number of connected areas that stand out from the ground; its
colour is `grammar.colour_at`.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
import typer
from scipy import ndimage
from torch import Tensor

import latentlab
from latentlab.analysis.intervals import proportion
from latentlab.grammar import colour_at

NUMBERS = {2: "two", 3: "three"}
PLURALS = ("dogs", "penguins", "strawberries", "cars", "ghosts", "tomatoes")
COLOURED = (
    ("purple", "banana"),
    ("blue", "strawberry"),
    ("red", "frog"),
    ("green", "pig"),
    ("yellow", "car"),
    ("pink", "tree"),
)
STANDS_OUT, LEAST = 0.35, 0.02  # the distance of a pixel from the ground in [-1, 1]; the share of the picture


def areas(pixels: Tensor) -> list[int]:
    """The number of connected areas of each picture (B, 3, H, W) that differ from the median of its border."""
    counts = []
    for picture in pixels.permute(0, 2, 3, 1).numpy():
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        mask = np.linalg.norm(picture - np.median(border, 0), axis=2) > STANDS_OUT
        labels, count = ndimage.label(ndimage.binary_closing(mask))
        sizes = ndimage.sum(mask, labels, range(1, count + 1))
        counts.append(int((np.asarray(sizes) > LEAST * mask.size).sum()))
    return counts


def main(
    seeds: Annotated[int, typer.Option(help="Pictures of each caption.")] = 8,
    steps: Annotated[int, typer.Option(help="Steps of the decoder.")] = 25,
) -> None:
    lab = dataclasses.replace(latentlab.load("emoji"), upsampler=None)

    def draw(caption: str) -> Tensor:
        return latentlab.generate(lab, caption, seeds=range(seeds), steps=steps).pixels.cpu()

    for number, word in NUMBERS.items():
        right = [count == number for plural in PLURALS for count in areas(draw(f"{word} {plural} on blue"))]
        print(proportion(right, quantity=f"exactly {word} things"))
    right = [
        name == colour for colour, thing in COLOURED for name, _ in colour_at(draw(f"a {colour} {thing} on white"))
    ]
    print(proportion(right, quantity="the colour of a thing as asked"))


if __name__ == "__main__":
    typer.run(main)
