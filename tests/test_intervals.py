"""Intervals: scipy's numbers, values by hand, rows of plain JSON, and inputs that are refused."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentlab.analysis.intervals import (
    difference,
    format_interval,
    jackknife,
    markdown,
    mean,
    mean_of_pairs,
    proportion,
    share,
)
from latentlab.errors import UserError


def rights(hits, n):
    return [True] * hits + [False] * (n - hits)


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (1, 7), (37, 50), (50, 50), (13, 4000)])
def test_the_interval_of_a_proportion_is_wilsons(hits, n):
    p, z = hits / n, stats.norm.ppf(0.975)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    wanted = [(p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    row = proportion(rights(hits, n))
    assert [row["low"], row["high"]] == pytest.approx(wanted, abs=5.1e-5)  # rounded to 4 decimals


@pytest.mark.parametrize("n", [3, 5, 12, 50, 1000])
@pytest.mark.parametrize("p", [0.0, 1 / 3, 1.0])
def test_the_interval_of_a_proportion_holds_it_stays_within_0_and_1_and_has_a_width(p, n):
    row = proportion(rights(round(p * n), n))
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1 and row["low"] < row["high"]
    assert math.copysign(1, row["low"]) == 1  # never -0.0


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor], ids=["list", "numpy", "torch"])
def test_a_proportion_has_its_interval(kind):
    wanted = {"model": "emoji", "word": "pizza", "value": 0.75, "n": 4, "low": 0.3006, "high": 0.9544}
    assert proportion(kind([True, False, True, True]), model="emoji", word="pizza") == wanted


@pytest.mark.parametrize("hits", [0, 3, 100, 400])
def test_the_share_of_many_independent_cases_has_nearly_the_interval_of_a_proportion(hits):
    wanted, row = proportion(rights(hits, 400)), share(rights(hits, 400))
    assert row["value"] == wanted["value"]
    assert [row["low"], row["high"]] == pytest.approx([wanted["low"], wanted["high"]], abs=0.003)


@pytest.mark.parametrize("rates", [[1.0] * 6, [0.0] * 3, [1.0, 1.0, 0.9], [0.5] * 4])
def test_the_interval_of_a_share_stays_within_0_and_1_and_has_a_width(rates):
    row = share(rates)
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1 and row["low"] < row["high"]


def test_groups_that_are_all_equal_have_the_interval_of_as_many_single_cases():
    row, alone = share([False] * 12, groups=[k % 6 for k in range(12)]), proportion([False] * 6)
    assert [row["low"], row["high"]] == pytest.approx([alone["low"], alone["high"]], abs=1e-4)


def test_cases_that_agree_within_their_groups_count_once_for_each_group():
    cases, groups = [hit for hit in rights(9, 18) for _ in range(5)], [k for k in range(18) for _ in range(5)]
    row, of_each = share(cases, groups=groups), share(rights(9, 18))
    assert (row["value"], row["n"]) == (0.5, 90)
    assert [row["low"], row["high"]] == pytest.approx([of_each["low"], of_each["high"]], abs=1e-4)
    alone = proportion(cases)
    assert row["high"] - row["low"] > 2 * (alone["high"] - alone["low"])


def test_the_interval_of_a_share_holds_the_truth_in_95_of_100_worlds_of_clustered_cases():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        chances = random.beta(1, 2, 12)[:, None]  # of each picture; 1/3 on average
        hits = random.random((12, 5)) < chances
        row = share(hits.reshape(-1), groups=np.arange(12).repeat(5))
        held += row["low"] <= 1 / 3 <= row["high"]
    assert held / 400 == pytest.approx(0.95, abs=0.035)


def test_the_share_of_one_group_is_an_example_without_an_interval():
    row = share([True, False, True], groups=[4, 4, 4], word="pizza")
    assert row == {"word": "pizza", "value": 0.6667, "n": 3, "low": None, "high": None}


def test_a_share_refuses_numbers_beyond_0_to_1_and_groups_of_another_length():
    with pytest.raises(UserError, match="outside 0 to 1"):
        share([0.5, 1.2])
    with pytest.raises(UserError, match="2 groups for 3 values"):
        share([0.5, 0.1, 0.2], groups=[0, 1])


def test_the_difference_of_two_shares_has_newcombes_interval():
    row = difference(proportion(rights(56, 70)), proportion(rights(48, 80)), word="pizza")  # his example (a)
    assert [row["value"], row["low"], row["high"]] == pytest.approx([0.2, 0.0524, 0.3339], abs=2e-4)
    assert (row["word"], row["n"]) == ("pizza", 70)


def test_the_difference_from_a_single_case_is_an_example():
    assert difference(proportion([True]), proportion(rights(3, 4)))["low"] is None


def test_an_interval_ends_where_the_values_of_its_quantity_do():
    free, cut = mean([0.9, 1.0, 0.6]), mean([0.9, 1.0, 0.6], within=(-1, 1))
    assert free["high"] > 1 == cut["high"] and cut["low"] == free["low"]
    among = torch.tensor([[0.0, 0.01, 0.3], [0.01, 0.0, 0.02], [0.3, 0.02, 0.0]])
    assert mean_of_pairs(among)["low"] < 0 == mean_of_pairs(among, within=(0, 2))["low"]
    assert mean([0.5], within=(0, 1))["low"] is None


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_the_interval_of_a_mean_is_scipys_of_student(normal, n):
    values = 5 + 2 * normal(n)
    row, column = mean(values), values.numpy()
    low, high = stats.t.interval(0.95, n - 1, column.mean(), stats.sem(column))
    assert [row["value"], row["low"], row["high"]] == pytest.approx([column.mean(), low, high], rel=1e-5)
    assert row["n"] == n


def covered(draws, interval):
    """How often an interval of the draws holds the truth, which is 0."""
    rows = [interval(draw) for draw in draws]
    return np.mean([row["low"] <= 0 <= row["high"] for row in rows])


def test_the_interval_of_three_numbers_holds_the_truth_in_95_of_100_cases(normal):
    assert covered(normal(600, 3), mean) == pytest.approx(0.95, abs=0.03)


def test_the_mean_of_pairs_leaves_each_sample_out_once(normal):
    among = normal(5, 5)
    among = among + among.T
    pairs = torch.ones(5, 5).triu(1).bool()
    without = []
    for k in range(5):
        rest = [j for j in range(5) if j != k]
        without.append(among[rest][:, rest][torch.ones(4, 4).triu(1).bool()].mean())
    error = math.sqrt(4 / 5 * (torch.stack(without) - torch.stack(without).mean()).square().sum())
    half, row = stats.t.ppf(0.975, 4) * error, mean_of_pairs(among, eta=1.0)
    value = among[pairs].mean().item()
    assert [row["value"], row["low"], row["high"]] == pytest.approx([value, value - half, value + half], rel=1e-5)
    assert (row["n"], row["eta"]) == (5, 1.0)


def test_pairs_that_share_their_samples_get_a_wider_interval_than_as_many_numbers_would(normal):
    draws = normal(300, 8)
    truth = 2 / math.sqrt(math.pi)  # the mean distance of two standard normal numbers
    among = (draws[:, :, None] - draws[:, None]).abs() - truth
    pairs = torch.ones(8, 8).triu(1).bool()
    assert covered(among, mean_of_pairs) > 0.9 > 0.8 > covered(among[:, pairs], mean)


def test_two_samples_are_one_pair_without_an_interval():
    row = mean_of_pairs(torch.tensor([[0.0, 0.3], [0.3, 0.0]]))
    assert (row["value"], row["n"], row["low"], row["high"]) == (pytest.approx(0.3), 2, None, None)


@pytest.mark.parametrize("among", [torch.zeros(1, 1), torch.zeros(3, 2), torch.zeros(3), torch.tensor(1.0)])
def test_pairs_of_fewer_than_two_samples_are_refused(among):
    with pytest.raises(UserError, match=r"wanted \(N, N\) with N at least 2"):
        mean_of_pairs(among)


def test_pairs_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="not finite"):
        mean_of_pairs(torch.full((3, 3), float("nan")))


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
@pytest.mark.parametrize("values", [[], torch.zeros(2, 3), torch.tensor(1.0)], ids=["none", "(2, 3)", "()"])
def test_values_of_another_shape_than_one_per_picture_are_refused(count, values):
    with pytest.raises(UserError, match=r"wanted \(N,\) with N at least 1"):
        count(values)


@pytest.mark.parametrize("values", [torch.tensor([0, 1, 2]), [0.5, 1.0], [True, float("nan")]])
def test_a_proportion_of_values_other_than_true_and_false_is_refused(values):
    with pytest.raises(UserError, match="other values than True and False: compare first"):
        proportion(values)


def test_a_mean_of_values_that_are_not_finite_is_refused_with_their_number():
    with pytest.raises(UserError, match="2 of 4 values are not finite"):
        mean([1.0, float("inf"), 2.0, float("nan")])


def test_a_row_is_formatted_with_its_interval_where_it_has_one():
    row = proportion([True] * 7 + [False] * 3)
    assert format_interval(row, ".0%") == "70% (40% – 89%)"
    assert format_interval(mean([2.5])) == "2.5"


def test_a_markdown_table_has_a_line_for_the_heads_and_one_for_each_row():
    table = markdown(["a", "b"], (cells for cells in (["1", "2"], ["3", ""])))
    assert table.splitlines() == ["| a | b |", "|---|---|", "| 1 | 2 |", "| 3 |  |"]


def test_the_jackknife_of_a_mean_over_groups_is_students_interval_of_the_groups_means(normal):
    groups = normal(20, 6).mean(1)  # without one of 20 groups of one size a mean moves by 1/19 of how far it is off
    without = (groups.sum() - groups) / 19
    row, wanted = jackknife(groups.mean().item(), without, 120, what="x"), mean(groups)
    assert (row["low"], row["high"]) == pytest.approx((wanted["low"], wanted["high"]), rel=1e-4)
    assert (row["n"], row["what"]) == (120, "x")
