"""Zero-shot classification: accuracy and refusals."""

from __future__ import annotations

import pytest
import torch
from conftest import toy_pictures

from latentlab import UserError, experiments
from latentlab.experiments.classification import answer
from latentlab.training.confidence import least_sure

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


@pytest.mark.parametrize(("sure_above", "words"), [(0.7, "thinks that"), (0.72, "is unsure")])
def test_an_answer_is_unsure_below_the_measured_probability(sure_above, words):
    text = answer([("a bus", 0.71), ("a taxi", 0.2)], sure_above=sure_above)
    assert words in text and ("not seen this style" in text) == ("unsure" in words)


@pytest.mark.parametrize(
    ("right", "least"),
    [([1, 1, 1, 1], 0.1), ([1, 1, 1, 0], 0.4), ([1, 0, 1, 1], 0.9), ([0, 0, 0, 0], 1.0)],
)
def test_the_least_sure_probability_leaves_the_wanted_share_of_right_labels(right, least):
    top = torch.tensor([0.9, 0.6, 0.4, 0.1])
    shuffled = torch.tensor([2, 0, 3, 1])
    assert least_sure(top[shuffled], torch.tensor(right).bool()[shuffled], 0.9) == pytest.approx(least)
