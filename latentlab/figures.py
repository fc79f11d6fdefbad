"""Pictures and numbers as matplotlib figures: returned, never shown or saved."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from .images import to_pil


def grid(
    pixels: Tensor, *, titles: Sequence[str] = (), columns: int | None = None, heading: str | None = None
) -> Figure:
    """Pictures in rows, a title above each.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
        titles: one a picture, or none.
        columns: as many as make the figure about as wide as a page by default.
    """
    pictures = to_pil(pixels)
    columns = columns or min(len(pictures), 8 if len(pictures) > 6 else 4)
    rows = math.ceil(len(pictures) / columns)
    figure = Figure((1.6 * columns, (1.85 if titles else 1.62) * rows + (0.3 if heading else 0)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for k, axis in enumerate(axes):
        axis.axis("off")
        if k < len(pictures):
            axis.imshow(pictures[k], interpolation="nearest")
            if titles:
                axis.set_title(titles[k], fontsize=8)
    if heading:
        figure.suptitle(heading, fontsize=11)
    return figure


def rows(named: Mapping[str, Tensor], *, titles: Sequence[str] = ()) -> Figure:
    """Named rows of pictures, one under another.

    Args:
        named: label -> (N, 3, H, W) in [-1, 1], all of one N.
        titles: N, above the first row.
    """
    count = len(next(iter(named.values())))
    figure = Figure((1.55 * count + 0.4, 1.62 * len(named) + (0.4 if titles else 0)), layout="constrained")
    axes = figure.subplots(len(named), count, squeeze=False)
    for line, (label, pixels) in zip(axes, named.items()):
        for axis, picture in zip(line, to_pil(pixels)):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(label, fontsize=9)
    for axis, title in zip(axes[0], titles):
        axis.set_title(textwrap.fill(title, 20), fontsize=8)
    return figure
