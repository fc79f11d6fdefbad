"""What `figures` draws shows itself in a notebook, and is as large as it says."""

import io

import pytest
import torch
from PIL import Image

from latentlab import figures

PIXELS = torch.zeros(3, 3, 8, 8)
TABLE = [{"quantity": "cosine", "k": k, "value": 0.5, "low": None, "high": None} for k in (1, 2, 4)]


@pytest.mark.parametrize(
    "drawn",
    [
        figures.grid(PIXELS, titles=["a", "b", "c"]),
        figures.rows({"first": PIXELS, "second": PIXELS}),
        figures.curves(TABLE, x="k", quantities=["cosine"]),
        figures.matrix(torch.eye(3), pixels=PIXELS, labels=["a", "b", "c"]),
        figures.plane({"points": torch.zeros(4, 2)}),
        figures.Figure(),
    ],
    ids=["grid", "rows", "curves", "matrix", "plane", "own"],
)
def test_a_figure_shows_itself_without_pyplot(drawn):
    """IPython knows matplotlib's own figures only once pyplot is imported, and prints <Figure size …> before."""
    picture = Image.open(io.BytesIO(drawn._repr_png_()))
    assert picture.size == tuple(round(100 * inches) for inches in drawn.get_size_inches())
