"""Feature pictures, on the toy, whose z_i is the mean colour of four quarters."""

import dataclasses

import pytest
import torch

from latentlab import UserError, decoding, experiments, models
from latentlab.latents import Latent
from latentlab.noise import draw_x_T

SMALL_RUN = {"components": [0, 1], "signs": (1, -1), "canvas": "pixels", "steps": 2, "views": 0, "decoder_steps": 2}


@pytest.fixture(scope="module")
def drawn(lab, directions):
    params = {"components": [0, 2], "canvas": "pixels", "steps": 80, "views": 0, "sigma": 1.0}
    return experiments.visualise(lab, directions, **params)


def test_the_climb_reaches_the_direction_where_it_can_be_reached_in_closed_form(drawn):
    assert (drawn.drawn_cosines > 0.95).all() and len(drawn.drawn_cosines) == 4


def test_opposite_signs_draw_opposite_pictures_around_the_mean(lab, directions, drawn):
    z_i = lab.encoder.encode_image(drawn.pixels) - directions.mean.float()
    assert torch.cosine_similarity(z_i[0], z_i[1], dim=0) < -0.9
    assert (drawn.components, drawn.signs) == ((0, 0, 2, 2), (1, -1, 1, -1))


def test_the_decoder_s_pictures_are_of_the_moved_mean(lab, directions, drawn):
    z_i = directions.traverse(directions.mean.float()[None], 2, [-1.0])
    x_0 = decoding.decode(lab.decoder, Latent(z_i, draw_x_T(lab.decoder, [0])), steps=25)
    torch.testing.assert_close(drawn.decoded[3:], lab.decoder.to_pixels(x_0), atol=1e-4, rtol=0)
    last = drawn.value("cosine of the drawing", component=2, sign=-1)
    assert last == pytest.approx(drawn.drawn_cosines[3].item(), abs=1e-4)
    assert f"{drawn.drawn_cosines.min():.2f}" in drawn.summary() and drawn.figure()


def test_any_direction_is_a_target_and_a_clip_alone_only_draws(lab, normal):
    alone = dataclasses.replace(lab, prior=None, decoder=None)
    result = experiments.visualise(alone, normal(2, 12), **{**SMALL_RUN, "steps": 60, "components": [1], "signs": [1]})
    assert len(result.decoded) == 0 and result.drawn_cosines[0] > 0.9 and result.figure()
    assert isinstance(alone, models.Lab) and "decoder" not in result.summary()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"components": []}, "give one or more"),
        ({"signs": [2]}, "signs 1 or -1"),
        ({"components": [99]}, "99"),
        ({"canvas": "oil"}, "canvas is 'oil'"),
    ],
)
def test_what_cannot_be_visualised_is_refused(lab, directions, params, message):
    with pytest.raises(UserError, match=message):
        experiments.visualise(lab, directions, **{**SMALL_RUN, **params})


def test_directions_without_rows_are_refused(lab, normal):
    with pytest.raises(UserError, match=r"give \(N, D\)"):
        experiments.visualise(lab, normal(12), **SMALL_RUN)
