"""Make the finished examples of the page Edit anew: python docs/edits.py."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import latentlab
from latentlab import experiments
from latentlab.experiments.history import History, State

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
    """Edits one after another on one lab."""

    def __init__(self, lab: latentlab.Lab, prompt: str, seed: int):
        self.lab = lab
        pixels = experiments.generate(lab, prompt, seeds=[seed]).pixels
        self.history = History((State(pixels),), 0, pixels.shape[-1]).rounded()

    def paint(self, box: tuple[float, float, float, float], prompt: str = "", seed: int = 0) -> Session:
        mask = ellipse(*self.history.pixels.shape[-2:], box)
        return self.edit(mask=mask, prompt=prompt, seeds=[seed])

    def edit(self, **params) -> Session:
        self.history = experiments.edit(self.lab, self.history, preview_every=0, **params).history
        return self


def main() -> None:
    """Write one JSON file for each example."""
    lab = latentlab.load("emoji")
    penguin = Session(lab, "a penguin on an orange background", 0)
    penguin.edit(mask=background(penguin.history), prompt="a penguin on a yellow background", seeds=[3])
    cube = Session(lab, "a penguin on an orange background", 0).edit(grow=["right", "right"])
    cube.paint((0.12, 0.54, 0.9, 0.97), "a red cube on an orange background")
    room = Session(lab, "a television on yellow", 0).edit(grow=["right", "right"])
    room.paint((0.1, 0.53, 0.95, 0.98), "a cactus on yellow").edit(grow=["top", "top"])
    room.paint((0.04, 0.05, 0.48, 0.47), "an alarm clock on yellow").paint(
        (0.04, 0.53, 0.48, 0.97), "a guitar on yellow"
    )
    FOLDER.mkdir(exist_ok=True)
    sessions = {"1-a-penguin-on-yellow": penguin, "2-a-cube-beside-a-penguin": cube, "3-a-living-room": room}
    for name, session in sessions.items():
        path = session.history.save(FOLDER / f"{name}.json")
        print(path, f"{path.stat().st_size / 1000:.0f} kB", session.history)


if __name__ == "__main__":
    main()
