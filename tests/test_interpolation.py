"""Interpolations: their ends, their noise, animations, and refusals."""

from __future__ import annotations

import pytest
import torch
from conftest import spied_lab, toy_pictures

from latentlab import UserError, experiments
from latentlab.io import images
from latentlab.noise import draw_x_T

SMALL_RUN = {"pictures": toy_pictures(2), "thetas": torch.linspace(0, 1, 4), "seeds": (5, 6), "steps": 2}


def test_an_interpolation_of_x_T_too_begins_and_ends_at_the_two_pictures(lab, inversion):
    result = experiments.interpolate(lab, inversion, thetas=5)
    assert (images.psnr(result.pixels[0, [0, -1]], inversion.original) > 50).all()
    assert result.value("PSNR of the ends") > 50


def test_an_interpolation_of_latents_has_no_picture_to_compare_its_ends_with(lab, inversion):
    result = experiments.interpolate(lab, inversion.latent, thetas=3, steps=inversion.steps)
    assert not any(row["quantity"] == "PSNR of the ends" for row in result.table)
    assert "The ends reconstruct" not in result.summary()


@pytest.mark.parametrize("thetas", [[0, 0.5], [0.5, 1]])
def test_an_interpolation_without_an_end_reports_no_psnr_of_the_ends(lab, inversion, thetas):
    result = experiments.interpolate(lab, inversion, thetas=thetas)
    assert not any(row["quantity"] == "PSNR of the ends" for row in result.table)
    assert "The ends reconstruct" not in result.summary()


def test_an_interpolation_with_x_T_fixed_decodes_from_the_seeds_noise(lab, inversion):
    result = experiments.interpolate(lab, inversion, thetas=[0, 1], seeds=[5, 6])
    from latentlab.decoding import decode
    from latentlab.latents import Latent

    x_T = draw_x_T(lab.decoder, [6]).expand(2, -1, -1, -1)
    expected = lab.decoder.to_pixels(decode(lab.decoder, Latent(inversion.latent.z_i, x_T), steps=inversion.steps))
    torch.testing.assert_close(result.pixels[1], expected, atol=1 / 255, rtol=0)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_plays_the_frames_forwards_and_backwards(lab, inversion, tmp_path, suffix):
    from PIL import Image

    result = experiments.interpolate(lab, inversion, thetas=5)
    with Image.open(result.save_animation(tmp_path / f"path{suffix}")) as movie:
        assert movie.n_frames == 8
    with pytest.raises(UserError, match="no animation"):
        result.save_animation(tmp_path / "path.png")


def test_an_interpolation_of_one_picture_or_one_frame_is_refused(lab, inversion):
    with pytest.raises(UserError, match="1 pictures"):
        experiments.interpolate(lab, inversion.row(0))
    with pytest.raises(UserError, match="1 frames"):
        experiments.interpolate(lab, inversion, thetas=1)


@pytest.mark.parametrize(("pixels", "message"), [(toy_pictures(1), "no way between"), (-toy_pictures(1), "opposite")])
def test_an_interpolation_between_equal_or_opposite_ends_is_refused(lab, pixels, message):
    with pytest.raises(UserError, match=message):
        experiments.interpolate(lab, torch.cat([toy_pictures(1), pixels]), steps=2)


def test_an_interpolation_checks_its_thetas_before_it_inverts(lab):
    watched, spy = spied_lab(lab)
    with pytest.raises(UserError, match="theta"):
        experiments.interpolate(watched, toy_pictures(), thetas=[0, 2])
    assert not spy.calls
