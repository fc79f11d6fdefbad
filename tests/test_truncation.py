"""Truncation: pictures from the first principal components."""

from __future__ import annotations

import pytest
import torch
from conftest import toy_pictures

from latentlab import UserError, experiments
from latentlab.analysis.pca import Directions

SMALL_RUN = {"pictures": toy_pictures(2), "dims": (0, 1, 12), "steps": 3}


def test_with_all_components_the_whole_z_i_is_decoded(lab, directions):
    result = experiments.truncate(lab, toy_pictures(), directions, dims=(0, len(directions)), steps=5)
    assert result.value("cosine of the truncated z_i to z_i", k=len(directions)) > 0.9999
    assert result.value("variance explained", k=len(directions)) == pytest.approx(1)
    torch.testing.assert_close(result.pixels[0, 0], result.pixels[1, 0])  # no component: one mean for all


@pytest.mark.parametrize(("count", "dims"), [(3, (1, 2)), (7, (1, 2, 4, 6)), (40, (1, 2, 4, 8, 12))])
def test_by_default_as_many_components_are_kept_as_there_are(lab, count, dims):
    directions = Directions.fit(lab.encoder.encode_image(toy_pictures(count)))
    assert experiments.truncate(lab, toy_pictures(1), directions, steps=2).dims == dims
    assert experiments.truncate.count_images(lab, toy_pictures(1), directions) == len(dims)


def test_zero_shot_accuracy_with_all_components_is_that_of_z_i(lab, directions):
    labels = ["a cat", "a dog", "a fox", "an owl"]
    truth = experiments.classify(lab.encoder, toy_pictures(6), labels, templates=["{}"])
    truth = [truth.top(k, 1)[0][0] for k in range(6)]
    result = experiments.truncate(
        lab, toy_pictures(6), directions, dims=(1, len(directions)), labels=labels, truth=truth, steps=3
    )
    assert result.value("zero-shot accuracy of z_i", k=len(directions)) == 1


def test_truncation_refuses_components_that_were_not_fitted_and_a_foreign_truth(lab, directions):
    with pytest.raises(UserError, match="n is"):
        experiments.truncate(lab, toy_pictures(), directions, dims=(len(directions) + 1,))
    with pytest.raises(UserError, match="each once"):
        experiments.truncate(lab, toy_pictures(), directions, dims=(2, 2))
    with pytest.raises(UserError, match="truth is"):
        experiments.truncate(lab, toy_pictures(), directions, dims=(1,), labels=["a cat"], truth=["a cat", "an owl"])
    with pytest.raises(UserError, match="one of the 0 labels"):
        experiments.truncate(lab, toy_pictures(), directions, dims=(1,), truth=["a cat", "a cat"])
