"""Inversion and reconstruction: what both latents bring back, what it costs, and refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import Grain, toy_pictures

from latentlab import UserError, experiments
from latentlab.experiments import Progress
from latentlab.io import images
from latentlab.latents import Latent
from latentlab.noise import draw_x_T

SMALL_RUN = {"pictures": toy_pictures(2), "steps": 3, "method": "naive", "seed": 4}


def test_an_inversion_shows_at_once_what_the_first_stage_keeps(miniature):
    pixels = toy_pictures(2, miniature.image_size)
    first = next(iter(experiments.invert.stream(miniature, pixels, steps=2)))
    original = images.resize(pixels, miniature.decoder.image_size)
    torch.testing.assert_close(first.pixels, miniature.decoder.to_pixels(miniature.decoder.to_x0(original)))
    unseen = experiments.invert.stream(miniature, pixels, steps=2, preview_every=0)
    assert not any(isinstance(value, Progress) and value.pixels is not None for value in unseen)


def test_both_latents_bring_a_picture_back_and_z_i_alone_does_not(lab):
    result = experiments.reconstruct(lab, toy_pictures(), steps=50, iterations=20, tolerance=1e-7)
    assert (result.psnr > 60).all()
    assert (images.psnr(result.inverted.original, result.from_z_i) < 25).all()


def test_another_x_T_loses_nothing_where_it_is_the_same_x_T(lab, inversion):
    x_T = draw_x_T(lab.require_decoder(), [3, 4])
    inversion = dataclasses.replace(inversion, latent=Latent(inversion.latent.z_i, x_T))
    result = experiments.reconstruct(lab, inversion, seed=3)
    assert result.value("PSNR from another x_T") == pytest.approx(result.value("PSNR"), abs=0.01)
    decibels, likeness = f"{result.psnr.mean():.1f} dB", f"{result.cosine.mean():.2f}"
    assert f"x_T reaches {decibels} and {likeness}." in result.summary()


def test_a_reconstruction_depends_on_its_own_seed_and_not_on_its_place(lab, inversion):
    lab = dataclasses.replace(lab, upsampler=Grain())
    both = experiments.reconstruct(lab, inversion, seed=3)
    alone = experiments.reconstruct(lab, inversion.row(1), seed=4)
    for name in ("large", "large_from_z_i"):
        torch.testing.assert_close(getattr(both, name)[1:], getattr(alone, name), atol=1 / 255, rtol=0)


def test_the_evaluations_of_a_reconstruction_are_those_of_both_ways(lab):
    result = experiments.reconstruct(lab, toy_pictures(), steps=10, iterations=3, tolerance=0)
    assert result.evaluations == 10 * 3 + 10


@pytest.mark.parametrize(("method", "evaluations"), [("bdia", 10 + 9), ("edict", 20 + 20)])
def test_an_exact_method_brings_pictures_back_beside_what_z_i_says_alone(lab, method, evaluations):
    result = experiments.reconstruct(lab, toy_pictures(), steps=10, method=method)
    assert (result.psnr > 90).all() and result.inverted.converged.all()
    assert result.evaluations == evaluations
    assert (images.psnr(result.inverted.original, result.from_z_i) < 25).all()
    assert torch.equal(result.from_z_i, experiments.reconstruct(lab, toy_pictures(), steps=10).from_z_i)


def test_the_settings_of_what_was_inverted_before_are_those_of_its_inversion(lab, inversion):
    settings = experiments.reconstruct(lab, inversion, steps=7, tolerance=0.5).settings
    assert inversion.settings.items() <= settings.items() and settings["steps"] == 20


def test_numbers_hold_whether_each_pictures_inversion_converged(lab):
    solved, unsolved = (experiments.reconstruct(lab, toy_pictures(), steps=10, iterations=n) for n in (20, 1))
    assert solved.numbers()["converged"] is True and unsolved.numbers(1)["converged"] is False


def test_pictures_of_the_wrong_shape_are_refused(lab):
    with pytest.raises(UserError, match=r"wanted \(B, 3, H, W\)"):
        experiments.reconstruct(lab, torch.zeros(3, 8, 8))


@pytest.mark.parametrize(
    "pixels", [torch.full((1, 3, 8, 8), 255.0), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(0, 3, 8, 8)]
)
def test_pictures_outside_their_range_are_refused(lab, pixels):
    with pytest.raises(UserError, match=r"floats in \[-1, 1\]"):
        experiments.invert(lab, pixels)
