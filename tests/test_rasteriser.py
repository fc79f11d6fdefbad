"""The rasteriser: against resvg's pixels, an exact disc, a loop over strokes, and finite differences."""

import io

import pytest
import torch
from PIL import Image

from latentlab import UserError
from latentlab.io import images
from latentlab.rasteriser import SHARPNESS, Chains, inside, pieces, rasterise
from latentlab.strokes import Paths, catmull_rom

WHITE = torch.ones(1, 3, 1, 1)


@pytest.fixture
def strokes(rng):
    """Two pictures of five strokes of two cubics each."""
    middles = torch.rand(2, 5, 1, 1, 2, generator=rng) * 0.6 + 0.2
    curves = middles + 0.12 * torch.randn(2, 5, 2, 4, 2, generator=rng)
    curves[:, :, 1, 0] = curves[:, :, 0, 3]
    widths = torch.rand(2, 5, generator=rng) * 0.06 + 0.02
    return curves, widths, torch.rand(2, 5, 3, generator=rng) * 2 - 1


@pytest.fixture
def shapes(rng):
    """Two pictures of four closed shapes, some of which cross themselves."""
    knots = torch.rand(2, 4, 1, 2, generator=rng) * 0.6 + 0.2 + 0.15 * torch.randn(2, 4, 5, 2, generator=rng)
    curves = catmull_rom(knots, closed=True)
    return curves, torch.full((2, 4), 0.01), torch.rand(2, 4, 3, generator=rng) * 2 - 1


def straight(start, end):
    start, end = torch.tensor(start), torch.tensor(end)
    return torch.stack([start.lerp(end, k / 3) for k in range(4)]).view(1, 1, 1, 4, 2)


def exact(svg, size, factor=8):
    """resvg's rendering at many times the size, averaged over each pixel."""
    resvg = pytest.importorskip("resvg_py")
    png = bytes(resvg.svg_to_bytes(svg_string=svg, width=size * factor, height=size * factor))
    large = images.to_tensor(Image.open(io.BytesIO(png)).convert("RGB"))
    return torch.nn.functional.avg_pool2d(large, factor)


@pytest.mark.parametrize("kind", ["strokes", "shapes"])
def test_pixels_are_those_of_the_svg_in_an_exact_renderer(kind, request):
    parts = request.getfixturevalue(kind)
    paths = Paths(*parts, paper=torch.tensor([0.9, 0.5, -0.2]).view(1, 3, 1, 1), closed=kind == "shapes")
    pixels = paths.render(64)
    for row in range(2):
        difference = (pixels[row] - exact(paths.svg(row), 64)[0]).abs() / 2
        # The filter is wider than a pixel, so an edge is softer: it differs by a few grey levels on average.
        assert difference.mean() < 0.01 and difference.max() < 0.35
        assert (difference > 0.1).float().mean() < 0.02


def test_a_dot_covers_the_area_of_its_disc():
    curves = torch.full((1, 1, 1, 4, 2), 0.5)
    ink = (1 - rasterise(curves, torch.tensor([[0.5]]), -torch.ones(1, 1, 3), WHITE, 64)) / 2
    assert ink[0, 0].mean() == pytest.approx(torch.pi / 16, rel=0.01)
    assert ink[0, 0, 32, 32] == pytest.approx(1, abs=1e-4) and ink[0, 0, 2, 2] < 1e-6


def test_the_profile_of_a_straight_stroke_is_its_formula_and_its_area_its_width():
    size, width = 40, 0.1
    pixels = rasterise(straight([-1.0, 0.5], [2.0, 0.5]), torch.tensor([[width]]), -torch.ones(1, 1, 3), WHITE, size)
    alpha = (1 - pixels[0, 0, :, 20]) / 2
    d, half = (torch.arange(size) + 0.5 - size / 2).abs(), width * size / 2
    wanted = torch.sigmoid(SHARPNESS * (half + d)) + torch.sigmoid(SHARPNESS * (half - d)) - 1
    torch.testing.assert_close(alpha, wanted, atol=2e-5, rtol=0)
    assert alpha.sum() == pytest.approx(width * size, rel=0.01)


def test_the_last_stroke_lies_on_top():
    curves = straight([0.0, 0.5], [1.0, 0.5]).expand(1, 2, -1, -1, -1)
    colours = torch.tensor([[[1.0, -1, -1], [-1, -1, 1]]])
    pixels = rasterise(curves, torch.full((1, 2), 0.5), colours, WHITE, 16)
    torch.testing.assert_close(pixels[0, :, 8, 8], colours[0, 1], atol=1e-4, rtol=0)


def loop(curves, widths, colours, paper, size):
    """The same formulas, a stroke after another and each piece for every pixel."""
    line = torch.arange(size, dtype=curves.dtype) + 0.5
    pixels = torch.cartesian_prod(line, line).flip(1)
    picture = paper.flatten()[:, None].to(curves).expand(3, size * size)
    for curve, width, colour in zip(curves, widths * size, colours):
        starts, edges = (part[0, 0] for part in pieces(curve[None, None] * size))
        offset = pixels[:, None] - starts
        along = ((offset * edges).sum(-1) / edges.square().sum(-1).clamp_min(1e-12)).clamp(0, 1)
        gap = (offset - along[..., None] * edges).square().sum(-1)
        d = (gap + 1e-8).sqrt().min(1).values
        alpha = torch.sigmoid(SHARPNESS * (width / 2 + d)) + torch.sigmoid(SHARPNESS * (width / 2 - d)) - 1
        picture = picture * (1 - alpha) + colour[:, None] * alpha
    return picture.view(3, size, size)


def test_all_strokes_at_once_are_the_loop_over_strokes_and_so_are_the_gradients(strokes, rng):
    leaves = [part[:1].double().requires_grad_() for part in strokes]
    weights = torch.randn(3, 24, 24, generator=rng, dtype=torch.float64)
    outputs = [rasterise(*leaves, WHITE.double(), 24)[0], loop(*(part[0] for part in leaves), WHITE, 24)]
    torch.testing.assert_close(*outputs, atol=1e-4, rtol=0)
    gradients = [torch.autograd.grad((out * weights).sum(), leaves) for out in outputs]
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, atol=2e-3 * theirs.abs().max().item(), rtol=0)


@pytest.mark.parametrize("closed", [True, False])
def test_the_gradient_is_that_of_finite_differences(closed, rng):
    centres = torch.rand(1, 2, 1, 2, generator=rng) * 0.5 + 0.25
    knots = centres + 0.15 * torch.randn(1, 2, 4, 2, generator=rng)
    ends = torch.rand(1, 2, generator=rng) * 0.1 + 0.02, torch.rand(1, 2, 3, generator=rng) * 2 - 1
    leaves = [part.double().requires_grad_() for part in (knots, *ends)]
    weights = torch.randn(3, 24, 24, generator=rng, dtype=torch.float64)

    def value(knots, *others):  # a step of the knots keeps the joints of the curve closed
        curves = catmull_rom(knots, closed=closed)
        return (rasterise(curves, *others, WHITE.double(), 24, closed=closed) * weights).sum()

    gradients = torch.autograd.grad(value(*leaves), leaves)
    for place, leaf in enumerate(leaves):
        direction, step = torch.randn(leaf.shape, generator=rng, dtype=torch.float64), 1e-8  # kinks are narrow
        moved = [[*leaves[:place], leaf + by * direction, *leaves[place + 1 :]] for by in (step, -step)]
        wanted = (value(*moved[0]) - value(*moved[1])).item() / (2 * step)
        assert (gradients[place] * direction).sum().item() == pytest.approx(wanted, rel=0.02, abs=1e-2)


def _inside(curves, points):
    """Whether the points are inside the only chain of these curves."""
    return inside(Chains(*(part[0] for part in pieces(curves))), points[None])[0]


def test_inside_is_the_even_odd_rule():
    corners = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])
    square = torch.cat([straight(a.tolist(), b.tolist()) for a, b in zip(corners, corners.roll(-1, 0))], 2)
    points = torch.tensor([[5.0, 5.0], [0.5, 5.0], [5.0, 0.5], [8.9, 8.9], [9.5, 9.5]])
    assert _inside(square * 10, points).tolist() == [True, False, False, True, False]
    twice = torch.cat([square, square], 2)
    assert not _inside(twice * 10, points).any()


@pytest.mark.parametrize("curves", [torch.zeros(1, 0, 1, 4, 2), torch.zeros(1, 2, 4, 2), torch.zeros(0, 1, 1, 4, 2)])
def test_no_strokes_or_another_shape_is_refused(curves):
    with pytest.raises(UserError, match=r"wanted \(B, K, M, 4, 2\) with at least one stroke"):
        rasterise(curves, torch.zeros(1, 1), torch.zeros(1, 1, 3), WHITE, 8)
