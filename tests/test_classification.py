"""Zero-shot classification: accuracy and refusals."""

from __future__ import annotations

import pytest
from conftest import toy_pictures

from latentlab import UserError, experiments

SMALL_RUN = {"pixels": toy_pictures(2), "labels": ["a cat", "a dog"], "templates": ["{}"]}


def test_the_accuracy_is_the_share_of_pictures_whose_truth_is_the_first_label(lab):
    labels = ["a cat", "a dog", "a fox"]
    blind = experiments.classify(lab.encoder, toy_pictures(4), labels)
    right = [blind.top(k, 1)[0][0] for k in range(4)]
    wrong = [blind.top(k, 3)[2][0] for k in range(4)]
    assert experiments.classify(lab.encoder, toy_pictures(4), labels, truth=right).value("top-1 accuracy") == 1
    assert experiments.classify(lab.encoder, toy_pictures(4), labels, truth=wrong).value("top-1 accuracy") == 0


@pytest.mark.parametrize("labels", [[], ["a cat"], ["a cat", "a cat"]])
def test_fewer_than_two_different_labels_are_refused(lab, labels):
    with pytest.raises(UserError, match="labels are"):
        experiments.classify(lab.encoder, toy_pictures(), labels)
