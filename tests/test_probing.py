"""AUROC of single directions: scikit-learn's numbers, and the direction that holds a fact is found."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score

from latentlab import UserError
from latentlab.analysis.probing import Scores, auroc, auroc_row, best_directions, best_facts
from latentlab.training import factors


@pytest.fixture
def labels(rng):
    return torch.rand(120, 2, generator=rng) < 0.3


@pytest.fixture
def scores(rng, labels):
    """The second direction holds the first fact, the third the second one, falling; with ties."""
    noise = torch.randn(120, 4, generator=rng)
    noise[:, 1] += 3 * labels[:, 0]
    noise[:, 2] -= 3 * labels[:, 1]
    return (4 * noise).round() / 4


def test_the_areas_are_scikit_learns_with_ties(scores, labels):
    areas = auroc(scores, labels)
    for k in range(4):
        for v in range(2):
            assert areas[k, v].item() == pytest.approx(roc_auc_score(labels[:, v], scores[:, k]))


def test_the_direction_that_holds_a_fact_is_found_by_either_sign(scores, labels):
    halves = Scores(scores[:60], scores[60:])
    areas = best_directions({"all": halves}, labels[:60], labels[60:])["all"]
    assert (areas > 0.9).all()
    fact, area = best_facts(halves, labels[:60], labels[60:])
    assert fact[1:3].tolist() == [0, 1] and (area[1:3] > 0.9).all()


def test_the_interval_holds_the_area_within_0_and_1_and_shrinks_with_n():
    few, many = (auroc_row(0.9, n, n) for n in (10, 1000))
    assert few["low"] < many["low"] < 0.9 < many["high"] < few["high"] <= 1
    assert auroc_row(1.0, 5, 5)["high"] == 1.0


def test_the_interval_of_a_mean_of_areas_ends_at_1(labels):
    facts = [("colour", "red"), ("colour", "blue")]
    (row,) = factors.factor_table({"texts": torch.tensor([1.0, 0.9])}, facts, labels)
    assert row["low"] < 0.95 and row["high"] == 1.0


def test_a_fact_of_all_pictures_is_refused(scores):
    with pytest.raises(UserError, match="for all pictures or for none"):
        auroc(scores, torch.ones(120, 1, dtype=torch.bool))


def test_facts_that_are_rare_in_a_half_are_left_out():
    row = {"thing": "apple", "place": "left", "style": "colours", "artist": "noto"}
    first = [{**row, "colour": "red" if k < 20 else "blue"} for k in range(40)]
    second = [{**row, "colour": "red" if k < 3 else "blue"} for k in range(40)]
    assert factors.common_facts(first, first) == [("colour", "blue")]  # the other value is the same fact
    third = [{**row, "colour": ("red", "blue", "green")[k % 3]} for k in range(40)]
    assert [value for _, value in factors.common_facts(third, third)] == ["blue", "green", "red"]
    assert factors.common_facts(first, second) == []


def test_the_factor_table_has_a_mean_with_its_interval_for_each_factor():
    facts = [("colour", "blue"), ("colour", "red"), ("thing", "apple")]
    labels = torch.arange(20)[:, None] < torch.tensor([5, 10, 8])
    rows = factors.factor_table({"texts": torch.tensor([0.8, 0.9, 0.95])}, facts, labels)
    assert [(row["factor"], row["values"]) for row in rows] == [("thing", 1), ("colour", 2)]
    assert all(row["low"] < row["value"] < row["high"] for row in rows)
    assert "| texts | 0.950 (" in factors.table({"n": 8, "table": rows})
