"""Pictures and numbers as matplotlib figures; every function returns its figure and displays nothing."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from .io.images import save_png, to_pil

FEW_PIXELS = 32
SHADES = [4 * round(value / 4) if value < 254 else 255 for value in range(256)]  # white stays white


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that a notebook displays at the end of a cell without pyplot."""

    def _ipython_display_(self) -> None:
        """Show it by our own PNG, also once pyplot is imported: IPython would then draw it in its own way."""
        from IPython.display import display

        display({"image/png": self._repr_png_(), "text/plain": repr(self)}, raw=True)

    def _repr_png_(self) -> bytes:
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=100)
        # 64 shades a colour make a file half as large; a palette of 256 would draw contours into smooth surfaces.
        Image.open(drawn).convert("RGB").point(SHADES * 3).save(small, "PNG")
        return small.getvalue()


def _draw(axis: Axes, picture: Image.Image) -> None:
    """A picture, enlarged smoothly unless its pixels are few enough to be looked at."""
    axis.imshow(picture, interpolation="nearest" if picture.width <= FEW_PIXELS else "bicubic")


def _show(axis: Axes, picture: Image.Image) -> None:
    _draw(axis, picture)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def grid(
    pixels: Tensor, *, titles: Sequence[str] = (), columns: int | None = None, heading: str | None = None
) -> Figure:
    """Pictures in rows, with a title above every picture.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
        titles: one a picture, or none.
        columns: by default as many as make the figure about as wide as a page.
    """
    pictures = to_pil(pixels)
    columns = columns or min(len(pictures), 8 if len(pictures) > 6 else 4)
    rows = math.ceil(len(pictures) / columns)
    lines = max((t.count("\n") + 1 for t in titles), default=0)
    tall = pixels.shape[-2] / pixels.shape[-1]
    height = (0.1 + 1.52 * tall + 0.16 * lines + 0.12 * bool(lines)) * rows + (0.3 if heading else 0)
    figure = Figure((1.6 * columns, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for k, axis in enumerate(axes):
        axis.axis("off")
        if k < len(pictures):
            _draw(axis, pictures[k])
            if titles:
                axis.set_title(titles[k], fontsize=8)
    if heading:
        figure.suptitle(heading, fontsize=11)
    return figure


def rows(
    named: Mapping[str, Tensor], *, titles: Sequence[str] = (), heading: str | None = None, wide_labels: bool = False
) -> Figure:
    """Named rows of pictures, one row under another.

    Args:
        named: label -> (N, 3, H, W) in [-1, 1], all of one N.
        titles: N, above the first row.
        wide_labels: set the labels beside the rows and not along them, as sentences need.
    """
    count = len(next(iter(named.values())))
    wrapped = [textwrap.fill(title, 20) for title in titles]
    above = 0.16 * max((t.count("\n") + 1 for t in wrapped), default=0) + (0.3 if heading else 0)
    figure = Figure((1.55 * count + (1.6 if wide_labels else 0.6), 1.62 * len(named) + 0.1 + above))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(named), count, squeeze=False)
    for line, (label, pixels) in zip(axes, named.items()):
        for axis, picture in zip(line, to_pil(pixels)):
            _show(axis, picture)
        if wide_labels:
            text = "\n".join(textwrap.fill(part, 20) for part in label.split("\n"))
            line[0].set_ylabel(text, fontsize=8, rotation=0, ha="right", va="center")
            for axis in line:
                axis.set_anchor("E")  # what is left of the width goes to the labels
        else:
            text = "\n".join(textwrap.fill(part, 24) for part in label.split("\n"))
            line[0].set_ylabel(text, fontsize=8)
    for axis, title in zip(axes[0], wrapped):
        axis.set_title(title, fontsize=8)
    if heading:
        figure.suptitle(heading, fontsize=10)
    return figure


def heat(values: Tensor, *, top: float) -> Tensor:
    """Numbers from 0 to `top` as colours: (B, H, W) to pictures (B, 3, H, W) in [-1, 1]."""
    colours = colormaps["magma"]((values.double() / top).clamp(0, 1).cpu().numpy())[..., :3]
    return torch.from_numpy(colours).permute(0, 3, 1, 2).to(values) * 2 - 1


def curves(
    table: Iterable[Mapping[str, Any]],
    *,
    x: str,
    quantities: Sequence[str],
    xlabel: str | None = None,
    log: bool = True,
) -> Figure:
    """Quantities of a tidy table against one of its coordinates, with 95% intervals as bands.

    Args:
        table: rows as in `experiments.Result.table`.
        x: the coordinate's name.
        log: makes the abscissa logarithmic, linear below 1 so that it has room for 0.
    """
    table = list(table)
    figure = Figure((6.4, 3.8), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel or x)
    for quantity in quantities:
        points = sorted((r for r in table if r["quantity"] == quantity), key=lambda r: r[x])
        xs, ys = [r[x] for r in points], [r["value"] for r in points]
        (line,) = axes.plot(xs, ys, marker="o", ms=3.5, lw=1.4, label=quantity)
        if all(r["low"] is not None for r in points):
            axes.fill_between(
                xs, [r["low"] for r in points], [r["high"] for r in points], color=line.get_color(), alpha=0.15
            )
    if log:
        axes.set_xscale("symlog", linthresh=1)
        ticks = sorted({r[x] for r in table if r["quantity"] in quantities})
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def panels(
    named: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], *, x: str, xlabel: str | None = None
) -> Figure:
    """A frame for every quantity, and in it a line for every name: rows of a table against one of its coordinates.

    The abscissa is logarithmic, and 95% intervals are bands.

    Args:
        named: quantity -> name -> rows as in `experiments.Result.table`, in the order of x.
    """
    figure = Figure((3.3 * len(named), 3.2), layout="constrained")
    for axes, (quantity, series) in zip(figure.subplots(1, len(named), squeeze=False)[0], named.items()):
        for name, points in series.items():
            xs = [row[x] for row in points]
            (line,) = axes.plot(xs, [row["value"] for row in points], marker="o", ms=3.5, lw=1.4, label=name)
            if points and all(row["low"] is not None for row in points):
                ends = ([row[end] for row in points] for end in ("low", "high"))
                axes.fill_between(xs, *ends, color=line.get_color(), alpha=0.15)
        axes.set_xscale("log", base=2)
        ticks = sorted({row[x] for points in series.values() for row in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set(title=quantity, xlabel=xlabel or x)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def lines(
    named: Mapping[str, tuple[Tensor | Sequence[float], Tensor | Sequence[float]]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    labels: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Named lines in one frame: name -> (x, y), both (N,); `labels`, name -> N, stand beside its points."""
    figure = Figure((6.6, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    for name, (x, y) in named.items():
        xs, ys = (torch.as_tensor(values).detach().cpu().numpy() for values in (x, y))
        (line,) = axes.plot(xs, ys, marker="o" if len(xs) <= 30 else None, ms=3.5, lw=1.4, label=name)
        for text, point in zip((labels or {}).get(name, ()), zip(xs, ys)):
            axes.annotate(text, point, (5, 4), textcoords="offset points", fontsize=8, color=line.get_color())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def spectrum(shares: Tensor, *, marks: Sequence[float] = (0.9, 0.99)) -> Figure:
    """The share of the variance that the first k components keep, against k, with marks at chosen shares.

    Args:
        shares: (K + 1,), as `pca.Directions.shares`.
        marks: shares whose smallest k is marked; a share that no k reaches is left out.
    """
    figure = Figure((6.4, 3.8), layout="constrained")
    axes = figure.add_subplot(xlabel="components kept", ylabel="share of the variance", ylim=(0, 1.03))
    axes.plot(range(len(shares)), shares.tolist(), lw=1.6)
    for mark in marks:
        k = int((shares >= mark - 1e-12).int().argmax())
        if shares[k] < mark - 1e-12:
            continue
        axes.plot([k, k, 0], [0, mark, mark], color="grey", lw=0.8, ls="--")
        text = f"{mark:.0%}: {k} of {len(shares) - 1}"
        left = k > len(shares) / 2
        place, side = ((-6, -12), "right") if left else ((6, -12), "left")
        box = {"fc": "white", "ec": "none", "pad": 1}
        axes.annotate(text, (k, mark), place, textcoords="offset points", fontsize=8, ha=side, bbox=box)
    axes.set_xlim(0, len(shares) - 1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def matrix(
    values: Tensor,
    *,
    pixels: Tensor,
    labels: Sequence[str],
    low: float | None = None,
    high: float | None = None,
    heading: str | None = None,
) -> Figure:
    """A heat map of pictures (rows) and labels (columns), with the number written in every cell.

    Args:
        values: (B, L). pixels: (B, 3, H, W). labels: L.
        low, high: the range of the colours, by default that of the values.
    """
    numbers = values.detach().double().cpu().numpy()
    count, width = numbers.shape
    figure = Figure((1.1 + 0.62 * width, 0.9 + 0.5 * count), layout="constrained")
    left, axes = figure.subplots(1, 2, width_ratios=(0.5, 0.62 * width))
    strip = torch.cat(list(pixels.detach().cpu()), 1)[None]  # the pictures, one under another
    left.imshow(to_pil(strip)[0], aspect="auto", interpolation="nearest")
    left.axis("off")
    image = axes.imshow(numbers, aspect="auto", cmap="viridis", vmin=low, vmax=high)
    shade = image.norm(numbers)
    for row in range(count):
        for column in range(width):
            colour = "black" if shade[row, column] > 0.6 else "white"
            text = f"{numbers[row, column]:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    names = [textwrap.fill(textwrap.shorten(x, 40, placeholder=" …"), 20) for x in labels]
    axes.set_xticks(range(width), names, rotation=40, ha="right", fontsize=8)
    axes.set_yticks([])
    if heading:
        figure.suptitle(textwrap.fill(heading, round(12 + 9 * width)), fontsize=9)
    return figure


def plane(points: Mapping[str, Tensor]) -> Figure:
    """Named clouds of points in two dimensions: name -> (N, 2)."""
    figure = Figure((4.8, 4.2), layout="constrained")
    axes = figure.add_subplot(aspect="equal", xlabel="first component", ylabel="second component")
    for name, xy in points.items():
        x, y = xy.detach().cpu().numpy().T
        axes.scatter(x, y, s=16, alpha=0.7, label=name)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(figure: Figure, path: str | Path, metadata: dict[str, Any] | None = None, *, dpi: int = 130) -> Path:
    """Write a figure, with its settings as metadata, as a PNG; the file appears only when it is complete."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return save_png(Image.open(buffer).convert("RGB"), path, metadata)
