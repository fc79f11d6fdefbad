"""Strokes: SVG, hand-drawn strokes, palettes, and the curves of the three styles."""

import re

import pytest
import torch

from latentlab import UserError
from latentlab.rasteriser import pieces
from latentlab.strokes import STYLES, Paths, Strokes, catmull_rom, fitted, hexadecimal, parsed_colours

WHITE = torch.ones(1, 3, 1, 1)


def drawn(style="strokes", count=3, seeds=(0, 1), **options):
    return Strokes.random(count, seeds=seeds, paper=WHITE, style=style, **options)


@pytest.mark.parametrize("style", STYLES)
def test_picture_k_depends_on_its_own_seed_alone(style):
    both, second = drawn(style), drawn(style, seeds=(1,))
    assert torch.equal(both.points[1:], second.points) and torch.equal(both.colours[1:], second.colours)
    assert not torch.equal(both.points[0], both.points[1])


@pytest.mark.parametrize("style", STYLES)
def test_every_style_renders_b_pictures_of_any_size(style):
    canvas = drawn(style)
    assert canvas.render(16).shape == (2, 3, 16, 16) and canvas.render(40).shape == (2, 3, 40, 40)
    assert (canvas.render(24).abs() <= 1 + 1e-5).all() and (canvas.render(24) < 0.9).any()


def test_a_line_is_continuous_and_smooth_and_a_shape_is_closed():
    line, shapes = drawn("line").paths().curves, drawn("shapes").paths().curves
    torch.testing.assert_close(line[:, :, 1:, 0], line[:, :, :-1, 3])
    torch.testing.assert_close(line[:, :, 1:, 1] - line[:, :, 1:, 0], line[:, :, :-1, 3] - line[:, :, :-1, 2])
    torch.testing.assert_close(shapes[:, :, 0, 0], shapes[:, :, -1, 3])
    assert line.shape[1] == 1 and shapes.shape[1] == 3


@pytest.mark.parametrize("closed", [True, False])
def test_the_curve_goes_through_its_knots_and_a_straight_one_stays_straight(closed, normal):
    knots = normal(2, 5, 2)
    curves = catmull_rom(knots, closed=closed)
    torch.testing.assert_close(curves[:, :, 0], knots[:, : curves.shape[1]])
    even = torch.linspace(0, 1, 5)[None, :, None].expand(-1, -1, 2)
    straight = catmull_rom(even, closed=False)
    torch.testing.assert_close(straight[0, :, 1], straight[0, :, 0] + 0.25 / 3)


def test_a_pen_s_straight_stroke_is_fitted_exactly_and_a_curved_one_within_a_hundredth():
    line = fitted([(0.1, 0.2), (0.3, 0.3), (0.9, 0.6)], 1)
    torch.testing.assert_close(
        line, torch.tensor([[[0.1, 0.2], [0.3667, 0.3333], [0.6333, 0.4667], [0.9, 0.6]]]), atol=1e-3, rtol=0
    )
    angles = torch.linspace(0, 2, 40)
    arc = 0.5 + 0.3 * torch.stack([angles.cos(), angles.sin()], 1)
    chain = pieces(fitted(arc.tolist(), 2)[None, None])
    radii = (chain.starts - 0.5).norm(dim=-1)
    assert (radii - 0.3).abs().max() < 0.01


@pytest.mark.parametrize(
    "points", [[], [(0.1, 0.2)], [(0.1, float("nan")), (0, 1)], ["ab", "cd"], [(1, 2, 3), (1, 2, 3)], 4]
)
def test_a_stroke_that_is_none_is_refused(points):
    with pytest.raises(UserError, match="points"):
        drawn().paths().add(points)


def test_a_stroke_by_hand_lies_on_top_in_its_colour_and_leaves_the_others():
    paths = drawn().paths()
    more = paths.add([(0.1, 0.5), (0.9, 0.5)], width=0.1, colour="red")
    assert more.curves.shape[1] == 4 and torch.equal(more.curves[:, :3], paths.curves)
    torch.testing.assert_close(more.render(32)[:, :, 16, 16], torch.tensor([[1.0, -1, -1]] * 2), atol=0.02, rtol=0)


def test_a_palette_holds_every_colour_and_its_gradient_reaches_the_colour_before():
    palette = parsed_colours(["black", "#e4003a", "gold"])
    canvas = drawn(palette=palette)
    inks = canvas.paths().colours
    assert (torch.cdist(inks.flatten(0, 1), palette).min(1).values < 1e-5).all()
    inks.sum().backward()
    torch.testing.assert_close(canvas.colours.grad, torch.ones_like(canvas.colours))


def test_the_svg_holds_every_stroke_in_order_with_its_colour_and_width():
    paths = drawn(count=5).paths()
    svg = paths.svg(1)
    colours = re.findall(r'stroke="(#\w+)"', svg)
    assert colours == [hexadecimal(colour) for colour in paths.colours[1]]
    assert [float(w) for w in re.findall(r'stroke-width="([\d.]+)"', svg)] == pytest.approx(
        (100 * paths.widths[1]).tolist(), abs=0.01
    )
    assert svg.count("<path") == 5 and 'fill="none"' in svg


def test_the_svg_of_a_picture_as_paper_holds_the_picture():
    paper = torch.rand(1, 3, 8, 8) * 2 - 1
    svg = Paths(
        *(part[:1] for part in (drawn().paths().curves, drawn().paths().widths, drawn().paths().colours)), paper
    ).svg()
    assert "data:image/png;base64," in svg


@pytest.mark.parametrize(
    ("count", "style", "message"), [(0, "strokes", "strokes is 0: give at least 1"), (4, "dots", "style is 'dots'")]
)
def test_no_strokes_or_an_unknown_style_is_refused(count, style, message):
    with pytest.raises(UserError, match=message):
        drawn(style, count)


def test_an_unknown_colour_is_refused():
    with pytest.raises(UserError, match="'blurple' is no colour"):
        parsed_colours(["black", "blurple"])
