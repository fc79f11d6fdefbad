"""Diagrams are valid SVG, light the part at hand, and the files in docs/diagrams are the current ones."""

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from latentlab.diagrams import DIAGRAMS, NARROW, PIPELINE, STAGES, diagram
from latentlab.diagrams.drawing import HEIGHT, arrow, subscripts
from latentlab.errors import UserError

FOLDER = Path(__file__).parents[1] / "docs" / "diagrams"
each_diagram = pytest.mark.parametrize("name", DIAGRAMS)


@each_diagram
def test_a_diagram_is_valid_svg_whose_edges_join_its_boxes(name):
    drawn = DIAGRAMS[name]
    root = ElementTree.fromstring(drawn.svg())
    assert root.tag.endswith("svg") and len(root.findall(".//{*}path")) == len(drawn.edges)
    assert {end for edge in drawn.edges for end in edge[:2]} == drawn.boxes.keys()


@pytest.mark.parametrize("drawn", [*DIAGRAMS.values(), NARROW], ids=[*DIAGRAMS, "narrow"])
def test_no_two_boxes_overlap_and_all_lie_on_the_sheet(drawn):
    width, height = drawn.size
    boxes = drawn.boxes.values()
    assert all(box.x >= 0 and box.x + box.width <= width and 0 <= box.y <= height - HEIGHT for box in boxes)
    for a, b in combinations(boxes, 2):
        beside = a.x + a.width < b.x or b.x + b.width < a.x
        assert beside or abs(a.y - b.y) > HEIGHT, (a.label, b.label)


def test_the_pipeline_for_a_phone_has_the_same_boxes_and_arrows_and_fits_its_width():
    assert {name: box.label for name, box in NARROW.boxes.items()} == {n: b.label for n, b in PIPELINE.boxes.items()}
    assert [edge[:2] for edge in NARROW.edges] == [edge[:2] for edge in PIPELINE.edges]
    assert NARROW.size[0] < 390 - 2 * 16  # a phone's width without its margins


@each_diagram
def test_the_file_in_the_docs_is_the_current_diagram(name):
    assert (FOLDER / f"{name}.svg").read_text("utf-8") == DIAGRAMS[name].svg() + "\n"


def test_only_the_part_at_hand_is_lit():
    svg = diagram("pipeline", "prior", "z_i").svg()
    assert svg.count('<g class="lit">') == 2 and svg.count('class="lit"/>') == 1  # the arrow between them
    assert '<g class="lit">' not in diagram("pipeline").svg()


def test_the_parts_of_every_stage_are_boxes_of_the_pipeline():
    for parts in STAGES.values():
        diagram("pipeline", *parts)


def test_a_diagram_or_a_box_that_there_is_not_is_refused():
    with pytest.raises(UserError, match="there is no diagram “unclip”: give one of pipeline"):
        diagram("unclip")
    with pytest.raises(UserError, match="has no box sampler: give some of x_t, decoder"):
        diagram("step", "sampler")


@pytest.mark.parametrize(
    ("end", "head"), [((9, 0), "m-5-4l5 4l-5 4"), ((-9, 0), "m5-4l-5 4l5 4"), ((0, 9), "m-4-5l4 5l4-5")]
)
def test_an_arrow_points_where_its_line_goes(end, head):
    assert arrow([(0, 0), end]).endswith(head)


def test_what_follows_an_underscore_is_lowered():
    assert '<tspan dy="3" font-size="9.5">i</tspan>' in subscripts("z_i")
    assert subscripts("a < b") == "a &lt; b"
