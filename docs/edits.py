"""Make the finished examples of the page Edit anew: python docs/edits.py."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import latentlab
from latentlab import experiments
from latentlab.experiments import EditingResult
from latentlab.experiments.history import History, State
from latentlab.experiments.stages import cosine
from latentlab.io import images
from latentlab.plotting import save

FOLDER = Path(latentlab.__file__).parent / "app" / "edits"


def ellipse(height: int, width: int, box: tuple[float, float, float, float]) -> Tensor:
    """A mask (H, W) like a finger paints it: an ellipse in a box of top, left, bottom, right, in shares."""
    top, left, bottom, right = box
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    rows, columns = (2 * y - top - bottom) / (bottom - top), (2 * x - left - right) / (right - left)
    return rows**4 + columns**4 < 1


def background(history: History) -> Tensor:
    """A mask (H, W) of what has about the colour of the picture's corners."""
    picture = history.pixels[0]
    corners = picture[:, :: picture.shape[1] - 1, :: picture.shape[2] - 1].mean((1, 2))
    return (picture - corners[:, None, None]).abs().amax(0) < 0.3


class Session:
    """Edits one after another on one lab.  Of some seeds the picture that fits its prompt best for CLIP is kept."""

    def __init__(self, lab: latentlab.Lab, prompt: str, seed: int):
        self.lab = lab
        pixels = experiments.generate(lab, prompt, seeds=[seed]).pixels
        self.history = History((State(pixels),), 0, pixels.shape[-1]).rounded()
        self.candidates: list[EditingResult] = []

    def paint(self, box: tuple[float, float, float, float], prompt: str, seeds: Sequence[int] = range(4)) -> Session:
        height, width = self.history.pixels.shape[-2:]
        mask = ellipse(height, width, box)
        result = experiments.edit(self.lab, self.history, mask, prompt, seeds=seeds, preview_every=0)
        top, left, bottom, right = (round(edge * side) for edge, side in zip(box, (height, width) * 2))
        painted = images.resize(result.pixels[..., top:bottom, left:right], self.lab.image_size)
        best = int(cosine(self.lab.encoder.encode_image(painted), self.lab.encoder.encode_text(prompt)).argmax())
        self.candidates.append(result)
        chosen = replace(result, pixels=result.pixels[best : best + 1], seeds=(result.seeds[best],))
        self.history = chosen.history
        return self

    def edit(self, **params) -> Session:
        self.history = experiments.edit(self.lab, self.history, preview_every=0, **params).history
        return self


def sessions(lab: latentlab.Lab) -> Iterator[tuple[str, Session]]:
    """Yield each example with its name."""
    penguin = Session(lab, "a penguin on an orange background", 0)
    penguin.edit(mask=background(penguin.history), prompt="a penguin on a yellow background", seeds=[3])
    yield "1-a-penguin-on-yellow", penguin
    pair = Session(lab, "a penguin on an orange background", 0).edit(grow=["right", "right"])
    pair.paint((0.1, 0.54, 0.9, 0.97), "a red heart on an orange background")
    yield "2-a-penguin-and-a-heart", pair
    pair.edit(grow=["right", "right"]).paint((0.1, 0.69, 0.9, 0.98), "an alarm clock on an orange background")
    yield "3-three-in-a-row", pair


def main() -> None:
    """Write one JSON file for each example, and with --sheet the candidates of each edit to look at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", type=Path, help="a folder for the candidates")
    sheet = parser.parse_args().sheet
    if sheet is not None:
        sheet.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(exist_ok=True)
    for name, session in sessions(latentlab.load("emoji")):
        path = session.history.save(FOLDER / f"{name}.json")
        print(path, f"{path.stat().st_size / 1000:.0f} kB", session.history, flush=True)
        for k, result in enumerate(session.candidates if sheet else ()):
            save(result.figure(), sheet / f"{name}-{k}.png")


if __name__ == "__main__":
    main()
