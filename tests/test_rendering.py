"""Random variations of drawings: they change drawings alone, stay within their bounds, and repeat by seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentlab.training import rendering
from latentlab.training.drawings import Sprites
from latentlab.training.rendering import Renderer
from latentlab.training.scenes import Layer, Scene


def scene(key: str) -> Scene:
    return Scene((120, 60, 200), (Layer(key, size=0.7),), "", "single")


@pytest.fixture(scope="module")
def render(sprites):
    return Renderer(sprites)


def varied(render, scenes, seed=0):
    return render(scenes, 32, vary=torch.Generator().manual_seed(seed))


def test_variation_changes_drawings_and_leaves_solids_signs_and_labels(render):
    keys = ["noto/fox", "solid/red/cube", "sign/dog", "label/dog"]
    scenes = [scene(k) for k in keys]
    change = (varied(render, scenes) - render(scenes, 32)).abs().flatten(1).amax(1)
    assert change[0] > 0.1
    assert (change[1:] < 1e-5).all()


def test_variation_is_seeded(render):
    scenes = [scene("noto/fox")] * 2
    assert torch.equal(varied(render, scenes), varied(render, scenes))
    assert not torch.equal(varied(render, scenes), varied(render, scenes, seed=1))
    one, other = varied(render, scenes)
    assert not torch.equal(one, other)


def test_variation_stays_within_the_range_of_pictures(render):
    pictures = varied(render, [scene(k) for k in ("noto/fox", "white", "symmetrical")] * 8)
    assert pictures.isfinite().all() and pictures.abs().max() <= 1


def test_no_colour_leaks_outside_a_drawing(render):
    pictures = varied(render, [scene("white")] * 8)
    ground = torch.tensor([120, 60, 200]) / 127.5 - 1
    corner = pictures[:, :, 0, 0]
    torch.testing.assert_close(corner, ground.expand_as(corner), atol=1e-2, rtol=0)


def test_a_grey_drawing_stays_grey_when_its_colours_turn():
    grey = torch.tensor([150.0, 150.0, 150.0, 255.0]).view(1, 4, 1, 1).expand(8, 4, 2, 2)
    turned = rendering._recoloured(grey, torch.ones(8), torch.Generator().manual_seed(0))[:, :3]
    assert (turned.amax(1) - turned.amin(1)).max() < 2
    assert turned[:, 0, 0, 0].std() > 5


RESTYLED = ("_outlined", "_in_lines", "_in_grey", "_in_one_colour")


@pytest.fixture
def drawing():
    """Two colours side by side on nothing: premultiplied (8, 4, 64, 64)."""
    drawn = torch.zeros(8, 4, 64, 64)
    drawn[:, :, 20:44, 16:32] = torch.tensor([200.0, 60.0, 30.0, 255.0]).view(4, 1, 1)
    drawn[:, :, 20:44, 32:48] = torch.tensor([30.0, 90.0, 220.0, 255.0]).view(4, 1, 1)
    return drawn


@pytest.mark.parametrize("name", RESTYLED)
def test_a_restyled_drawing_stays_where_it_was(drawing, name):
    ground = torch.full((8, 3), 200.0)
    restyled = getattr(rendering, name)(drawing, ground, torch.Generator().manual_seed(0))
    assert restyled.shape == drawing.shape and restyled.min() >= 0
    assert (restyled[:, :3] <= restyled[:, 3:] + 1e-3).all() and restyled[:, 3].max() <= 255 + 1e-3
    assert not restyled[:, :, :17].any() and not restyled[:, 3, :, :13].any()  # at most two pixels further out
    edge = restyled[:, 3, 20:44, 16]
    assert (edge > 200).all()


def test_an_outline_is_dark_and_leaves_the_middle_alone(drawing):
    outlined = rendering._outlined(drawing, torch.zeros(8, 3), torch.Generator().manual_seed(0))
    assert (outlined[:, 3, 19, 24] == 255).all() and (outlined[:, :3, 19, 24] < 80).all()
    torch.testing.assert_close(outlined[:, :, 30, 22], drawing[:, :, 30, 22])


def test_a_grey_drawing_has_no_hue(drawing):
    grey = rendering._in_grey(drawing, torch.zeros(8, 3), torch.Generator())
    torch.testing.assert_close(grey[:, 0], grey[:, 2])


def test_about_half_of_all_drawings_are_restyled_and_nothing_else_is(drawing):
    many = drawing[:1].expand(2000, -1, -1, -1)[:, :, ::8, ::8]
    drawings = torch.arange(2000) % 2 == 0
    restyled = rendering._restyled(many, torch.zeros(2000, 3), drawings, torch.Generator().manual_seed(0))
    changed = (restyled - many).abs().flatten(1).amax(1) > 1e-3
    assert not changed[~drawings].any()
    assert changed[drawings].float().mean() == pytest.approx(0.54, abs=0.05)


def test_ink_and_fill_colour_a_drawing_in_one_ink():
    pixels = np.zeros((1, 4, 8, 8), np.uint8)
    pixels[0, :, 1:7, 1:7] = 255
    pixels[0, 1:, 2:6, 2:6] = 0  # a ring, whose red channel has the hole filled
    render = Renderer(Sprites(pixels, {"tabler/fox": 0}))
    bare, filled = (
        render([Scene((100, 100, 100), (Layer("tabler/fox", size=2.0, ink=(0, 0, 0), fill=fill),), "", "single")], 16)[
            0
        ]
        for fill in (None, (250, 200, 0))
    )
    to_grey = torch.tensor([100.0, 100.0, 100.0]) / 127.5 - 1
    torch.testing.assert_close(bare[:, 8, 8], to_grey, atol=0.01, rtol=0)
    torch.testing.assert_close(filled[:, 8, 8], torch.tensor([250.0, 200.0, 0.0]) / 127.5 - 1, atol=0.02, rtol=0)


def test_pictures_are_drawn_alike_under_autocast(render):
    scenes = [scene("noto/fox")] * 8
    with torch.autocast("cpu", torch.bfloat16):
        inside = varied(render, scenes)
    torch.testing.assert_close(inside, varied(render, scenes))


def test_restyling_leaves_the_shapes_and_colours_of_the_drawings_that_it_does_not_touch(render):
    scenes = [scene("noto/fox")] * 32 + [Scene((0, 0, 0), (Layer("noto/fox", size=0.2),), "", "single")] * 8
    generators = (torch.Generator().manual_seed(3) for _ in range(2))
    restyled, bent = (render(scenes, 32, vary=g, restyle=restyle) for g, restyle in zip(generators, (True, False)))
    equal = (restyled == bent).flatten(1).all(1)
    assert 0.2 < equal.float().mean() < 0.8  # about half of the drawings are restyled


def test_other_hues_are_turned_by_any_angle_and_keep_their_luma():
    drawn = torch.tensor([140.0, 120.0, 110.0, 255.0]).view(1, 4, 1, 1).expand(64, 4, 1, 1)
    weak = torch.full((64,), 1e-6)
    turned, same = (
        rendering._recoloured(drawn, weak, torch.Generator().manual_seed(0), share)[:, :3] for share in (1.0, 0.0)
    )
    torch.testing.assert_close(same, drawn[:, :3], atol=0.1, rtol=0)
    torch.testing.assert_close(rendering._luma(turned), rendering._luma(drawn[:, :3]), atol=0.2, rtol=0)
    assert [set(turned.argmax(1).flatten().tolist()), set(turned.argmin(1).flatten().tolist())] == [{0, 1, 2}] * 2
