"""The world of notebook 11: pictures that show their facts, repeat by seed, and differ, and its denoiser."""

import random

import pytest
import torch

from latentlab.errors import UserError
from latentlab.grammar import COLOURS, colour_at
from latentlab.training.minute import SHAPES, Denoiser, draw, world

PAIRS = [("red", "ball"), ("blue", "star"), ("green", "cone"), ("purple", "cube")]


@pytest.fixture(scope="module")
def drawn():
    return world(PAIRS, ("white", "black"), 3, side=32)


def test_every_picture_shows_its_colour_on_its_ground(drawn):
    facts, pixels = drawn
    assert len(facts) == len(pixels) == len(PAIRS) * 2 * 3
    assert [name for name, _ in colour_at(pixels)] == [colour for colour, _, _ in facts]
    corners = (pixels[:, :, 0, 0] + 1) * 127.5
    grounds = torch.tensor([COLOURS[ground] for _, _, ground in facts], dtype=torch.float32)
    assert torch.allclose(corners, grounds, atol=1.0)


def test_pictures_of_one_fact_stand_side_by_side_and_differ(drawn):
    facts, pixels = drawn
    for k in range(0, len(facts), 3):
        assert len(set(facts[k : k + 3])) == 1
        assert not torch.equal(pixels[k], pixels[k + 1])


def test_pictures_repeat_by_seed_and_differ_between_seeds():
    again, other = (world(PAIRS, ["gray"], 2, seed=seed)[1] for seed in (0, 1))
    assert torch.equal(again, world(PAIRS, ["gray"], 2)[1])
    assert not torch.equal(again, other)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_solid_stays_within_the_picture(shape):
    rng = random.Random(0)
    for _ in range(30):
        picture = draw(("red", shape, "white"), rng, side=32)
        edges = [
            picture.crop(box).getextrema() for box in ((0, 0, 32, 1), (0, 31, 32, 32), (0, 0, 1, 32), (31, 0, 32, 32))
        ]
        assert all(low >= 245 for edge in edges for low, _ in edge)


def test_shapes_differ_more_than_draws_of_one_shape():
    means = torch.stack([world([("red", shape)], ["white"], 20, seed=1)[1].mean(0) for shape in SHAPES])
    between = (means[:, None] - means).square().mean((2, 3, 4))
    again = torch.stack([world([("red", shape)], ["white"], 20, seed=2)[1].mean(0) for shape in SHAPES])
    within = (means - again).square().mean((1, 2, 3))
    assert between[~torch.eye(len(SHAPES)).bool()].min() > 3 * within.max()


@pytest.mark.parametrize("fact", [("mauve", "ball", "white"), ("red", "egg", "white"), ("red", "ball", "mauve")])
def test_an_unknown_colour_shape_or_ground_is_refused_by_name(fact):
    with pytest.raises(UserError, match=r"mauve|egg"):
        draw(fact, random.Random(0))


def test_an_empty_world_is_refused():
    with pytest.raises(UserError, match="0 grounds"):
        world(PAIRS, [], 3)


def test_the_denoiser_depends_on_state_time_and_embedding():
    torch.manual_seed(0)
    network = Denoiser(6, 4, width=16)
    x_t, t, z_i = torch.randn(3, 6, 1, 1), torch.tensor([0, 500, 980]), torch.randn(3, 4)
    v = network(x_t, t, z_i)
    assert v.shape == x_t.shape
    for other in (network(x_t + 1, t, z_i), network(x_t, t + 5, z_i), network(x_t, t, z_i + 1)):
        assert ((other - v).flatten(1).abs().amax(1) > 1e-4).all()
