"""Features among pictures: where they are active, what moving along them decodes to, and refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import as_dictionary, spied_lab, toy_pictures

from latentlab import UserError, experiments
from latentlab.analysis.dictionary import Dictionary

SMALL_RUN = {"pixels": toy_pictures(5), "strengths": (0, 2), "top": 2, "captions": ["a cat", "a dog"], "steps": 3}


@pytest.fixture(scope="module")
def dictionary(directions):
    return as_dictionary(directions)


def test_the_pictures_of_a_feature_are_those_of_its_largest_activations_and_blank_where_it_has_none(lab, dictionary):
    pixels = toy_pictures(9)
    result = experiments.features(lab, pixels, dictionary, features=[0, 3], strengths=[0], top=2, steps=1)
    a = dictionary.encode(lab.encoder.encode_image(pixels))[:, [0, 3]]
    assert torch.equal(result.activations, a)
    assert torch.equal(a.gather(0, result.strongest.T)[0], a.amax(0))
    inactive = dataclasses.replace(result, activations=torch.zeros_like(a))
    cells = [axes.images[0].get_array() for axes in inactive.figure().axes]
    assert [bool((cell == 255).all()) for cell in cells] == [True, True, False] * 2


def test_the_decoder_brings_a_feature_that_was_added_to_z_i(lab, dictionary):
    result = experiments.features(lab, toy_pictures(2), dictionary, features=[0], strengths=[0, 3], steps=20)
    assert result.value("rise of the feature, decoded", feature=0) > 0
    assert "1 of 1 features are stronger" in result.summary()


def test_a_walk_along_a_feature_is_in_strengths_and_called_a_feature(lab, inversion, dictionary):
    result = experiments.walk_components(lab, inversion.row(0), dictionary, components=(1,), sigmas=(0, 2), steps=1)
    assert "Moved along one feature by up to 2 ×" in result.summary()


def test_features_of_another_clip_or_beyond_the_last_are_refused_before_anything_is_decoded(lab, dictionary, tmp_path):
    watched, spy = spied_lab(lab)
    dictionary.save(tmp_path / "other.safetensors", {"model": "other", "weights": "abc"})
    other = Dictionary.load(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="the features are of the CLIP of other"):
        experiments.features(watched, toy_pictures(1), other)
    with pytest.raises(UserError, match="a feature from 0 to"):
        experiments.features(watched, toy_pictures(1), dictionary, features=[99])
    assert not spy.calls
