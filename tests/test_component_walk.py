"""Walks along principal components."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import spied_lab, toy_pictures

from latentlab import UserError, experiments
from latentlab.analysis import sparse_autoencoder
from latentlab.io import images

SMALL_RUN = {
    "picture": toy_pictures(1),
    "components": [0, 2],
    "sigmas": [-1, 0, 1],
    "captions": ["a cat", "a dog", "a fox"],
    "steps": 2,
}


def test_a_walk_along_a_component_at_0_reconstructs(lab, inversion, directions):
    result = experiments.walk_components(lab, inversion.row(0), directions, components=(0, 2), sigmas=(-1, 0, 1))
    assert (images.psnr(result.pixels[:, 1], inversion.original[:1].expand(2, -1, -1, -1)) > 50).all()
    assert not torch.equal(result.pixels[0, 0], result.pixels[0, 2])


@pytest.mark.parametrize("low, high", [(0.25, 0.5), (-0.5, 0.75)])
def test_the_summary_of_a_walk_gives_the_range_of_its_cosines(lab, inversion, directions, low, high):
    result = experiments.walk_components(lab, inversion.row(0), directions, components=(0,), sigmas=(-3, 1), steps=1)
    table = tuple({**row, "value": value} for row, value in zip(result.table, (high, low), strict=True))
    summary = dataclasses.replace(result, table=table).summary()
    assert "by up to 3 σ" in summary and f"are {low:.2f} to {high:.2f}." in summary


def test_a_component_walk_checks_its_arguments_before_it_inverts(lab, directions):
    watched, spy = spied_lab(lab)
    for params in ({"components": (99,)}, {"sigmas": (float("inf"),)}, {"sigmas": ()}):
        with pytest.raises(UserError, match=r"component|sigmas"):
            experiments.walk_components(watched, toy_pictures(1), directions, **params)
    assert not spy.calls


def test_without_numbers_a_walk_goes_along_the_first_components_or_the_strongest_features(lab, inversion, directions):
    one, params = inversion.row(0), {"sigmas": (0, 1), "steps": 1}
    walk = experiments.walk_components(lab, one, directions, **params)
    assert walk.components == tuple(range(min(4, len(directions))))
    z_i = lab.encoder.encode_image(toy_pictures(60))
    fitted = sparse_autoencoder.fit(z_i, 6, 2, steps=20)
    strongest = fitted.encode(one.latent.z_i)[0].argsort(descending=True, stable=True)[:4]
    assert experiments.walk_components(lab, one, fitted, **params).components == tuple(strongest.tolist())
