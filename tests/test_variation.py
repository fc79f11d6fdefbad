"""Variations: η, seeds, and refusals."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from conftest import Grain, toy_pictures

from latentlab import UserError, experiments
from latentlab.io import images

SMALL_RUN = {"picture": toy_pictures(1), "etas": (0, 0.7), "seeds": np.arange(3), "steps": 2}


def test_eta_0_reconstructs_whatever_the_seed_and_eta_above_0_differs(lab, inversion):
    result = experiments.vary(lab, inversion.row(0), etas=(0, 0.8), seeds=[0, 1, 2])
    assert (images.psnr(result.pixels[0], inversion.original[:1].expand(3, -1, -1, -1)) > 50).all()
    assert result.spread[0].max() < 1e-5 < result.spread[1].min()
    assert result.value("distance among samples", eta=0.0) < 1e-6 < result.value("distance among samples", eta=0.8)


def test_eta_0_is_decoded_once_for_all_seeds(lab, inversion):
    rows = []
    decoder = lab.decoder

    class Counted:
        def __getattr__(self, name):
            return getattr(decoder, name)

        def eps(self, x_t, *args):
            rows.append(len(x_t))
            return decoder.eps(x_t, *args)

    counted = dataclasses.replace(lab, decoder=Counted())
    result = experiments.vary(counted, inversion.row(0), etas=(0, 0.5, 1), seeds=[0, 1, 2, 3], steps=2)
    assert set(rows) == {1 + 2 * 4} and result.pixels.shape[:2] == (3, 4)


@pytest.mark.parametrize("scale, deviation", [(0.0, "0.00"), (1.0, "0.50")])
def test_the_summary_of_variations_says_how_far_their_pixels_differ(lab, inversion, scale, deviation):
    result = experiments.vary(lab, inversion.row(0), etas=(1,), seeds=[0, 1], steps=2)
    result = dataclasses.replace(result, spread=torch.full_like(result.spread, scale / 2))
    assert f"their pixels differ by a standard deviation of {deviation}." in result.summary()


def test_a_sweep_over_eta_is_the_same_as_each_eta_alone(lab, inversion):
    lab = dataclasses.replace(lab, upsampler=Grain())
    both = experiments.vary(lab, inversion.row(0), etas=(0.3, 1), seeds=[4, 5])
    alone = experiments.vary(lab, inversion.row(0), etas=(1,), seeds=[4, 5])
    torch.testing.assert_close(both.pixels[1], alone.pixels[0], atol=1 / 255, rtol=0)


def test_variations_are_of_one_picture_and_of_eta_from_0_to_1(lab, inversion):
    with pytest.raises(UserError, match="2 pictures"):
        experiments.vary(lab, inversion)
    for etas in ((), (-0.1,), (1.2,), (float("nan"),), (0.5, 0.5)):
        with pytest.raises(UserError, match="etas is"):
            experiments.vary(lab, inversion.row(0), etas=etas)


@pytest.mark.parametrize("eta, shared", [(0.0, "They share x_T as well."), (0.5, "share a part of x_T"), (1.0, "")])
def test_the_summary_of_variations_says_what_they_share_besides_z_i(lab, inversion, eta, shared):
    summary = experiments.vary(lab, inversion.row(0), etas=(eta,), seeds=[0, 1], steps=2).summary()
    assert shared in summary and ("x_T" in summary) == bool(shared)
    assert re.search(r"their mean distance is \d\.\d\d \(1 - cosine\)", summary)
