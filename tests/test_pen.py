"""The sheet: strokes as JSON, there and back, and what a visitor may send."""

import html
import json
import re

import pytest
import torch

from latentlab import UserError
from latentlab.app import model_cache
from latentlab.app.pages import draw
from latentlab.app.pen import MAX_STROKES, blank_sheet, parsed_sheet, sheet_of
from latentlab.experiments.stages import run_to_end
from latentlab.strokes import WIDTHS, Strokes


def stroke(**changes):
    return {"pen": [[0.1, 0.1], [0.5, 0.4], [0.9, 0.9]], "width": 0.03, "colour": "#ff0000"} | changes


def test_a_drawing_s_strokes_come_back_from_its_sheet():
    paths = Strokes.random(5, seeds=[3], paper=torch.ones(1, 3, 1, 1)).paths()
    data = html.unescape(re.search("data-strokes='(.*?)'", sheet_of(paths))[1])
    back = parsed_sheet(data)
    for name, tolerance in (("curves", 1e-4), ("widths", 1e-4), ("colours", 0.01)):
        torch.testing.assert_close(getattr(back, name), getattr(paths, name).detach(), atol=tolerance, rtol=0)


def test_a_pen_s_stroke_becomes_one_cubic_of_its_colour_and_a_width_in_range():
    paths = parsed_sheet(json.dumps([stroke(width=5)]))
    assert paths.curves.shape == (1, 1, 1, 4, 2) and paths.widths.item() == pytest.approx(WIDTHS[1])
    assert paths.colours[0, 0].tolist() == [1, -1, -1]


@pytest.mark.parametrize("text", ["", "  ", "[]"])
def test_an_empty_sheet_has_no_strokes(text):
    assert parsed_sheet(text) is None and "data-strokes='[]'" in blank_sheet()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "4",
        "[4]",
        '[{"pen": [[0, 0], [1, 1]]}]',
        json.dumps([stroke(pen=[[0, 0]])]),
        json.dumps([stroke(pen="drop")]),
        json.dumps([stroke(colour="<script>")]),
        json.dumps([stroke(width="wide")]),
        json.dumps([{"curve": [[0, 0]], "width": 0.1, "colour": "red"}]),
        "[" * 5000,
    ],
)
def test_a_sheet_that_cannot_be_read_is_refused_in_a_sentence(text):
    with pytest.raises(UserError, match=r"empty the sheet|points|is no colour"):
        parsed_sheet(text)


def test_what_the_pen_drew_is_gone_on_from_whatever_style_is_chosen(lab):
    """The page draws closed shapes by default, which once left the visitor's strokes out."""
    model_cache.set_lab(lab)
    stream = draw.run("toy", "a cat", "strokes", "shapes", 4, 1, "", "", 10, 0, json.dumps([stroke()]))
    result = run_to_end(stream).result
    assert not result.paths.closed and result.paths.widths.shape[1] == 4


def test_more_strokes_than_are_drawn_are_refused():
    with pytest.raises(UserError, match=f"at most {MAX_STROKES} are drawn"):
        parsed_sheet(json.dumps([stroke()] * (MAX_STROKES + 1)))
