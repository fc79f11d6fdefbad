"""Figures show themselves in a notebook without pyplot, and lines are drawn through their points."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from latentlab import plotting

PIXELS = torch.zeros(3, 3, 8, 8)
TABLE = [{"quantity": "cosine", "k": k, "value": 0.5, "low": None, "high": None} for k in (1, 2, 4)]


@pytest.mark.parametrize(
    "drawn",
    [
        plotting.grid(PIXELS, titles=["a", "b", "c"]),
        plotting.rows({"first": PIXELS, "second": PIXELS}),
        plotting.curves(TABLE, x="k", quantities=["cosine"]),
        plotting.panels({"cosine": {"a line": TABLE}}, x="k"),
        plotting.lines({"a line": ([0, 1], torch.ones(2))}),
        plotting.matrix(torch.eye(3), pixels=PIXELS, labels=["a", "b", "c"]),
        plotting.plane({"points": torch.zeros(4, 2)}),
        plotting.Figure(),
    ],
    ids=["grid", "rows", "curves", "panels", "lines", "matrix", "plane", "own"],
)
def test_a_figure_shows_itself_without_pyplot(drawn):
    """IPython knows matplotlib's own figures only once pyplot is imported, and prints <Figure size …> before."""
    picture = Image.open(io.BytesIO(drawn._repr_png_()))
    assert picture.size == tuple(round(100 * inches) for inches in drawn.get_size_inches())


def test_a_figure_shows_itself_alike_before_and_after_pyplot_is_imported(monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append(data))
    drawn = plotting.grid(PIXELS)
    drawn._ipython_display_()  # what IPython asks for before its own printers
    assert shown[0]["image/png"] == drawn._repr_png_()


def test_rows_of_wide_pictures_are_as_high_as_the_pictures():
    square, wide = (plotting.grid(torch.zeros(8, 3, 16, side), titles=["a"] * 8).get_size_inches() for side in (16, 64))
    assert wide[0] == square[0] and square[1] - wide[1] == pytest.approx(1.52 * 0.75 * 1)


def test_a_smooth_surface_has_no_contours_in_a_figure():
    ramp = torch.linspace(-1, 1, 256).expand(1, 3, 256, 256).clone()
    ramp[:, 1] = -ramp[:, 2].mT  # thousands of colours, more than a palette has
    picture = torch.from_numpy(np.array(Image.open(io.BytesIO(plotting.grid(ramp)._repr_png_())).convert("RGB")))
    inside = picture[20:140, 20:140].int()
    assert inside.diff(dim=0).abs().max() <= 8 and inside.diff(dim=1).abs().max() <= 8


def test_lines_draws_each_series_through_its_own_points_under_its_name():
    x, y = torch.linspace(0, 1, 5), torch.linspace(1, 3, 5)
    named, labels = {"rising": (x, y), "two points": ([0, 1], [2, 2])}, {"two points": ["a", "b"]}
    axes = plotting.lines(named, xlabel="θ", ylabel="length", labels=labels).axes[0]
    assert [(text.get_text(), *text.xy) for text in axes.texts] == [("a", 0, 2), ("b", 1, 2)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["rising", "two points"]
    assert axes.lines[0].get_xydata().tolist() == torch.stack([x, y], 1).tolist()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("θ", "length")
