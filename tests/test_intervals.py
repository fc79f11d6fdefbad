"""Intervals: scipy's numbers, hand values, rows of plain JSON, and no number that would mean nothing."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentlab.errors import UserError
from latentlab.intervals import mean, proportion, wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (1, 7), (37, 50), (50, 50), (13, 4000)])
def test_wilsons_interval_is_scipys(hits, n):
    oracle = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    z = stats.norm.ppf(0.975)
    assert wilson(hits, n, z) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert wilson(hits, n) == pytest.approx((oracle.low, oracle.high), abs=2e-5)  # 1.96 is z to three digits


def test_wilsons_interval_by_hand():
    # p = 1/2, n = 4, z = 2: (1/2 + 1/2 ± 2 √(1/16 + 1/16)) / 2
    assert wilson(2, 4, 2) == pytest.approx((0.5 - math.sqrt(1 / 8), 0.5 + math.sqrt(1 / 8)))


@pytest.mark.parametrize("n", [1, 3, 5, 12, 50, 10**6])
@pytest.mark.parametrize("p", [0.0, 1 / 3, 1.0])
def test_wilsons_interval_holds_the_proportion_stays_within_0_and_1_and_has_a_width(p, n):
    hits = round(p * n)
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1 and low < high
    assert math.copysign(1, low) == 1  # never -0.0


def test_a_larger_z_is_a_wider_interval():
    assert wilson(3, 10, 2.58)[0] < wilson(3, 10)[0] < wilson(3, 10)[1] < wilson(3, 10, 2.58)[1]


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 5), (float("nan"), 5)])
def test_hits_that_are_no_proportion_are_refused(hits, n):
    with pytest.raises(UserError, match=f"{hits} hits of {n}: .*at least one trial"):
        wilson(hits, n)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor], ids=["list", "numpy", "torch"])
def test_a_proportion_counts_with_its_interval(kind):
    low, high = wilson(3, 4)
    wanted = {"model": "emoji", "word": "pizza", "value": 0.75, "n": 4, "low": round(low, 4), "high": round(high, 4)}
    assert proportion(kind([True, False, True, True]), model="emoji", word="pizza") == wanted


def test_a_mean_has_numpys_standard_error(normal):
    values = 5 + 2 * normal(40)
    row, half = mean(values), 1.96 * np.std(values.numpy(), ddof=1) / math.sqrt(40)
    center = values.numpy().mean()
    assert [row["value"], row["low"], row["high"]] == pytest.approx([center, center - half, center + half], rel=1e-5)
    assert row["n"] == 40


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_mean_keeps_its_digits_at_any_scale(scale):
    row = mean(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64) * scale)
    assert row["value"] == pytest.approx(7 / 3 * scale, rel=1e-5)
    assert row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize("row", [proportion([True], case=1), mean([2.5], case=1)], ids=["proportion", "mean"])
def test_one_observation_has_a_value_and_no_interval(row):
    assert list(row) == ["case", "value", "n", "low", "high"]
    assert row["value"] in (1.0, 2.5) and row["n"] == 1 and row["low"] is row["high"] is None


def test_rows_are_plain_json():
    rows = [proportion(torch.tensor([True, False])), mean(torch.tensor([1.0, 2.0]), unit="dB"), mean([1])]
    assert json.loads(json.dumps(rows)) == rows
    assert all(type(v) in (int, float, str, type(None)) for row in rows for v in row.values())


@pytest.mark.parametrize("count", [proportion, mean])
@pytest.mark.parametrize("given", [[], torch.zeros(2, 3), torch.tensor(1.0)], ids=["none", "(2, 3)", "()"])
def test_what_is_not_one_number_a_picture_is_refused(count, given):
    with pytest.raises(UserError, match=r"wanted \(N,\) with N at least 1"):
        count(given)


@pytest.mark.parametrize("given", [torch.tensor([0, 1, 2]), [0.5, 1.0], [True, float("nan")]])
def test_a_proportion_of_what_is_not_true_or_false_is_refused(given):
    with pytest.raises(UserError, match="other values than True and False: compare first"):
        proportion(given)


def test_a_mean_of_values_that_are_not_finite_is_refused_with_their_number():
    with pytest.raises(UserError, match="2 of 4 values are not finite"):
        mean([1.0, float("inf"), 2.0, float("nan")])
