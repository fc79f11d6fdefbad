"""Make the finished examples of the page Edit anew: python docs/edits.py."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import latentlab
from latentlab import experiments
from latentlab.experiments.history import History, State
from latentlab.plotting import save

FOLDER = Path(latentlab.__file__).parent / "app" / "edits"


def ellipse(height: int, width: int, box: tuple[float, float, float, float]) -> Tensor:
    """A mask (H, W) like a finger paints it: an ellipse in a box of top, left, bottom, right, in shares."""
    top, left, bottom, right = box
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    rows, columns = (2 * y - top - bottom) / (bottom - top), (2 * x - left - right) / (right - left)
    return rows**4 + columns**4 < 1


def background(history: History) -> Tensor:
    """A mask (H, W) of what has about the corners' colour and is connected with them, and a rim where it shows."""
    picture = history.pixels[0]
    corners = (slice(None, None, picture.shape[1] - 1), slice(None, None, picture.shape[2] - 1))
    alike = (picture - picture[:, *corners].mean((1, 2), keepdim=True)).abs().amax(0) < 0.3
    mask = torch.zeros_like(alike)
    mask[corners] = True
    while not torch.equal(grown := widened(mask, 1) & (alike | mask), mask):
        mask = grown
    return widened(mask, round(picture.shape[-1] / 64))


def widened(mask: Tensor, reach: int) -> Tensor:
    """A mask (H, W) with all that lies within a square's reach of it."""
    return F.max_pool2d(mask[None].float(), 2 * reach + 1, 1, reach)[0] > 0


class Session:
    """Edits one after another on one lab, each with a seed that was chosen from a sheet of several.

    Args:
        sheets: a folder for those sheets; None for none.
    """

    def __init__(self, lab: latentlab.Lab, name: str, prompt: str, seed: int, sheets: Path | None):
        self.lab, self.name, self.sheets = lab, name, sheets
        pixels = experiments.generate(lab, prompt, seeds=[seed]).pixels
        self.history = History((State(pixels),), 0, pixels.shape[-1]).rounded()

    def edit(self, prompt: str = "", seed: int = 0, **params: Any) -> Session:
        if self.sheets is not None and "mask" in params:
            candidates = experiments.edit(self.lab, self.history, prompt=prompt, seeds=range(6), **params)
            save(candidates.figure(), self.sheets / f"{self.name}-{len(self.history.states)}.png")
        edited = experiments.edit(self.lab, self.history, prompt=prompt, seeds=[seed], preview_every=0, **params)
        self.history = edited.history
        return self

    def paint(self, prompt: str, seed: int, box: tuple[float, float, float, float]) -> Session:
        return self.edit(prompt, seed, mask=ellipse(*self.history.pixels.shape[-2:], box))


def sessions(lab: latentlab.Lab, sheets: Path | None) -> Iterator[Session]:
    """Yield each example."""
    yellow = Session(lab, "1-a-penguin-on-yellow", "a penguin on an orange background", 4, sheets)
    yield yellow.edit("a penguin on a yellow background", 0, mask=background(yellow.history))
    cube = Session(lab, "2-a-red-cube-beside-the-penguin", "a penguin on a white background", 4, sheets)
    yield cube.edit(grow="right").paint("a penguin left of a red cube on white", 2, (0.1, 0.65, 0.97, 1.02))
    room = Session(lab, "3-a-room-built-in-four-edits", "an alarm clock on a pink background", 1, sheets)
    room.edit(grow=["right", "right", "bottom", "bottom"])
    room.paint("a guitar on a pink background", 2, (0.04, 0.54, 0.47, 0.96))
    room.paint("a television on a pink background", 2, (0.54, 0.04, 0.97, 0.46))
    yield room.paint("a christmas tree on a pink background", 0, (0.54, 0.54, 0.97, 0.97))


def main() -> None:
    """Write one JSON file for each example, and with --sheets the candidates of each edit to look at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=Path, help="a folder for the candidates")
    sheets = parser.parse_args().sheets
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(exist_ok=True)
    written = []
    for session in sessions(latentlab.load("emoji"), sheets):
        written.append(session.history.save(FOLDER / f"{session.name}.json"))
        print(written[-1], f"{written[-1].stat().st_size / 1000:.0f} kB", session.history, flush=True)
    for path in {*FOLDER.glob("*.json")} - {*written}:
        path.unlink()


if __name__ == "__main__":
    main()
