"""Latents that were saved give their pictures again, and begin every experiment on a picture."""

from __future__ import annotations

import pytest
import torch
from conftest import toy_pictures

from latentlab import UserError, experiments
from latentlab.latents import Latent

SMALL_RUN = {"latents": toy_pictures(2), "seed": 4, "steps": 3}


@pytest.mark.parametrize("method", ["fixed-point", "bdia"])
def test_decoded_latents_are_the_reconstruction(lab, method):
    result = experiments.reconstruct(lab, toy_pictures(1), steps=4, method=method)
    decoded = experiments.decode(lab, result.inverted.latent, steps=4)
    torch.testing.assert_close(decoded.pixels, result.large)
    assert decoded.settings["latents"] == result.inverted.latent.as_setting()


@pytest.mark.parametrize("name", ["vary", "diff", "walk_components", "interpolate"])
def test_an_experiment_on_latents_gives_what_it_gives_on_their_inversion(lab, inversion, directions, name):
    more = {"diff": ["a cat"], "walk_components": [directions]}.get(name, [])
    inverted = inversion if name == "interpolate" else inversion.row(0)
    experiment = experiments.EXPERIMENTS[name]
    ours = experiment(lab, inverted, *more)
    again = experiment(lab, inverted.latent, *more, steps=inverted.steps)
    torch.testing.assert_close(again.pixels, ours.pixels)


def test_truncation_takes_the_z_i_of_latents_as_it_is(lab, inversion, directions):
    latent = inversion.row(0).latent
    moved = Latent(latent.z_i + 1, latent.x_T)
    of_all = {"dims": (len(directions),), "steps": 2}
    ours, others = (experiments.truncate(lab, x, directions, **of_all) for x in (latent, moved))
    assert not torch.allclose(ours.pixels, others.pixels)


def test_latents_of_another_shape_or_none_are_refused(lab):
    with pytest.raises(UserError, match="no rows"):
        experiments.decode(lab, Latent(torch.zeros(0, 12), torch.zeros(0, 3, 8, 8)))
    with pytest.raises(UserError, match=r"x_T is \(1, 4, 8, 8\)"):
        experiments.decode(lab, Latent(torch.zeros(1, 12), torch.zeros(1, 4, 8, 8)))
