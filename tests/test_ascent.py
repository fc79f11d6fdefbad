"""Gradient ascent: its objective in closed form, views, memory, and numbers that are not finite."""

import pytest
import torch

from latentlab import UserError
from latentlab.ascent import Objective, Views, ascend
from latentlab.canvas import Pixels
from latentlab.slerp import normalize


@pytest.fixture
def grey():
    return torch.linspace(-0.2, 0.2, 8).expand(2, 3, 8, 8)


def climb(lab, canvas, objective, *, views=0, steps=60, encoder=None):
    return list(ascend(canvas, encoder or lab.encoder, objective, views=Views(views, 8), steps=steps, size=8))


def test_the_objective_is_the_weighted_mean_of_cosines(normal):
    z_i, z, centre = normal(4, 12), normal(2, 12), normal(12)
    cosines = normalize(z_i - centre) @ normalize(z).T
    torch.testing.assert_close(Objective(z, (2, -1), centre)(z_i), (2 * cosines[:, 0] - cosines[:, 1]) / 3)


def test_each_picture_climbs_to_its_own_targets_as_it_does_alone(lab, grey):
    z_t = lab.encoder.encode_text(["a cat", "a dog"])[:, None]
    both = Pixels(grey)
    climb(lab, both, Objective(z_t, (1.0,)), views=3, steps=5)
    for row, z in enumerate(z_t):
        alone = Pixels(grey[:1])
        climb(lab, alone, Objective(z, (1.0,)), views=3, steps=5)
        torch.testing.assert_close(both.pixels[row : row + 1], alone.pixels, atol=1e-5, rtol=0)


def test_pixels_reach_the_embedding_where_it_can_be_reached_in_closed_form(lab, grey):
    z_t = lab.encoder.encode_text("a cat")  # on the toy the mean colour of four quarters, all within -1 to 1
    canvas = Pixels(grey)
    *_, last = climb(lab, canvas, Objective(z_t, (1.0,)))
    assert (last.score > 0.99).all()
    torch.testing.assert_close(
        normalize(lab.encoder.encode_image(canvas.render(8))), normalize(z_t).expand(2, -1), atol=0.1, rtol=0
    )


def test_a_negative_caption_is_climbed_down(lab, grey):
    z_t = lab.encoder.encode_text("a cat")
    first, *_, last = climb(lab, Pixels(grey), Objective(z_t, (-1.0,)))
    assert (last.score > first.score).all() and (last.score > 0.9).all()


def test_views_are_the_same_for_a_seed_and_leave_torch_s_own_randomness_alone(grey):
    views, state = Views(3, 8), torch.random.get_rng_state()
    assert torch.equal(views(grey, 5, 1), views(grey, 5, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(views(grey, 5, 1), views(grey, 5, 2))
    assert not torch.equal(views(grey, 5, 1), views(grey, 6, 1))
    assert not torch.equal(views(grey, 5, 1), Views(3, 8, stream=1)(grey, 5, 1))
    assert views(grey, 5, 1).shape == grey.shape and (views(grey, 5, 1).abs() <= 1).all()


def test_a_white_picture_stays_white_in_every_view():
    white = torch.ones(1, 3, 16, 16)
    light = [Views(8, 16)(white, 1, k) for k in range(8)]  # the light may be dimmer, and is even
    assert all(picture.std() < 1e-5 for picture in light)


def test_a_picture_in_a_batch_climbs_as_it_does_alone(lab, grey):
    objective = Objective(lab.encoder.encode_text("a dog"), (1.0,))
    start = torch.cat([grey[:1], -grey[1:]])
    both, alone = Pixels(start), Pixels(start[1:])
    climb(lab, both, objective, views=2, steps=5), climb(lab, alone, objective, views=2, steps=5)
    torch.testing.assert_close(both.pixels[1:], alone.pixels, atol=1e-5, rtol=0)


def test_views_are_encoded_in_bounded_batches_with_the_same_gradient(lab, grey, monkeypatch):
    objective, sizes = Objective(lab.encoder.encode_text("a dog"), (1.0,)), []

    class Counted:
        scale = 1.0

        def encode_image(self, pixels):
            sizes.append(len(pixels))
            return lab.encoder.encode_image(pixels)

    pixels = []
    for limit in (64, 4):
        monkeypatch.setattr("latentlab.ascent.MAX_BATCH_SIZE", limit)
        canvas = Pixels(grey)
        climb(lab, canvas, objective, views=5, steps=2, encoder=Counted())
        pixels.append(canvas.pixels.detach())
    assert sizes == [10, 10, 4, 4, 2, 4, 4, 2]
    torch.testing.assert_close(*pixels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_climb_that_is_no_longer_finite_stops_at_its_last_good_step(lab, grey, value):
    class Breaks:
        scale, calls = 1.0, 0

        def encode_image(self, pixels):
            self.calls += 1
            return lab.encoder.encode_image(pixels) * (value if self.calls == 4 else 1)

    canvas = Pixels(grey)
    objective = Objective(lab.encoder.encode_text("a dog"), (1.0,))
    steps = climb(lab, canvas, objective, steps=9, encoder=Breaks())
    assert [step.good for step in steps] == [True, True, True, False]
    assert steps[-1].pixels.isfinite().all() and torch.equal(canvas.render(8), steps[-1].pixels)
    assert torch.equal(steps[-1].pixels, steps[-2].pixels)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, float("nan")), (1.0,), ()])
def test_weights_that_weigh_nothing_are_refused(normal, weights):
    with pytest.raises(UserError, match="weights"):
        Objective(normal(2, 12), weights)


def test_no_steps_are_refused(lab, grey):
    with pytest.raises(UserError, match="steps is 0: give at least 1"):
        climb(lab, Pixels(grey), Objective(torch.ones(1, 12), (1.0,)), steps=0)
