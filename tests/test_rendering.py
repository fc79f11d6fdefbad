"""Drawings varied like another artist's: only what is a drawing, only as far as asked, the same for the same seed."""

from __future__ import annotations

import pytest
import torch

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


def test_a_grey_drawing_keeps_its_hue_and_no_colour_leaks_outside_it(render):
    pictures = varied(render, [scene("white")] * 8)
    ground = torch.tensor([120, 60, 200]) / 127.5 - 1
    corner = pictures[:, :, 0, 0]
    torch.testing.assert_close(corner, ground.expand_as(corner), atol=1e-2, rtol=0)
    centre = pictures[:, :, 16, 16]
    assert (centre.amax(1) - centre.amin(1)).max() < 0.02
