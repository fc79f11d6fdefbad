"""Many small pictures in the cells of one image, an atlas, which a browser loads and draws at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from .images import to_tensor

SIDE = 64  # pixels of a cell


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """An atlas of `count` cells, SIDE pixels each, row by row with `columns` in a row."""

    atlas: Image.Image
    columns: int
    count: int

    @classmethod
    def of(cls, pictures: Sequence[Image.Image], columns: int = 64) -> Thumbnails:
        """Lay out square pictures in an atlas."""
        rows = math.ceil(len(pictures) / columns)
        atlas = Image.new("RGB", (SIDE * columns, SIDE * rows), "gray")
        for k, picture in enumerate(pictures):
            cell = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            atlas.paste(cell, (k % columns * SIDE, k // columns * SIDE))
        return cls(atlas, columns, len(pictures))

    def __getitem__(self, k: int) -> Image.Image:
        """The picture in cell k."""
        left, top = k % self.columns * SIDE, k // self.columns * SIDE
        return self.atlas.crop((left, top, left + SIDE, top + SIDE)).convert("RGB")

    def pixels(self, start: int, stop: int) -> Tensor:
        """The pictures from `start` to before `stop` as (B, 3, SIDE, SIDE) in [-1, 1]."""
        return to_tensor(*(self[k] for k in range(start, min(stop, self.count))))
