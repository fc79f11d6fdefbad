"""The best of n by CLIP: the exact expectation over groups, and what its sentence may claim."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from latentlab import UserError, experiments
from latentlab.experiments.reranking import SCORE, best_of_n, distance_among

SMALL_RUN = {"prompts": ["a cat", "a dog", "a car"], "counts": (1, 2, 4), "systems": ("unclip",), "steps": 2}


@pytest.fixture(scope="module")
def reranked(lab):
    return experiments.rerank(lab, **{**SMALL_RUN, "systems": ("dalle", "unclip")})


def score(rows=2, count=6):
    return torch.randn(rows, count, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_the_expectation_is_that_over_all_groups(n):
    values, number = score(), torch.rand(2, 6, generator=torch.Generator().manual_seed(1))
    groups = [list(group) for group in itertools.combinations(range(6), n)]
    winners = torch.stack([torch.tensor(group)[values[:, group].argmax(1)] for group in groups], 1)
    expected = number.gather(1, winners).mean(1)
    assert torch.allclose((best_of_n(values, n) * number).sum(1), expected, atol=1e-6)


def test_the_clip_score_never_falls_with_n(reranked):
    for system in reranked.systems:
        rows = [r for r in reranked.table if r["system"] == system and r["quantity"] == SCORE]
        assert [r["n_best"] for r in rows] == [1, 2, 4]
        assert all(a["value"] <= b["value"] for a, b in itertools.pairwise(rows))


def test_the_best_of_all_is_certain_and_of_one_uniform():
    values = score()
    assert best_of_n(values, 6).argmax(1).equal(values.argmax(1)) and best_of_n(values, 6).max() == 1
    assert torch.allclose(best_of_n(values, 1), torch.full((2, 6), 1 / 6))


def test_the_distance_among_winners_of_one_is_that_among_all_samples():
    z = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(2))
    distances = torch.cdist(z, z)
    expected = distances.sum() / 30
    assert torch.allclose(distance_among(torch.full((1, 6), 1 / 6), distances)[0], expected)


def test_the_first_of_the_pictures_is_the_best_of_one(lab, reranked):
    assert reranked.pixels.shape[:3] == (2, 3, 3)
    alone = experiments.dalle(lab, "a cat", seeds=[0])
    torch.testing.assert_close(reranked.pixels[0, 0, 0], alone.pixels[0])
    first = experiments.dalle(lab, "a cat", seeds=range(4), best=1)
    torch.testing.assert_close(reranked.pixels[0, 0, -1], first.pixels[0])


def test_pictures_that_are_all_right_are_a_share_of_one():
    from latentlab.experiments.reranking import _Measured

    scores = score(rows=200, count=64)
    assert max(best_of_n(scores, n).sum(1).max() for n in (2, 4, 8, 16, 32)) > 1  # by rounding
    measured = _Measured(scores, {"accuracy": torch.ones(200, 64)}, torch.ones(200, 64, 64))
    rows = [row for row in measured.rows("dalle", (2, 4, 8, 16, 32)) if row["quantity"] == "accuracy"]
    assert all(row["value"] == row["high"] == 1 for row in rows)


def test_both_systems_are_drawn_and_told_apart(reranked):
    assert reranked.systems == ("dalle", "unclip")
    assert reranked.summary().startswith("DALL·E 1, best of 4 against 1: ")
    assert "unCLIP, best of 4 against 1" in reranked.summary()
    assert len(reranked.figure().axes) == 3
    assert reranked.pictures().axes


@pytest.mark.parametrize(
    ("gain", "end", "sentence"),
    [
        (0.2, 0.1, "CLIP score rises by 0.2 (0.1 – 0.3)"),
        (-0.2, -0.1, "CLIP score falls by 0.2 (0.1 – 0.3)"),
        (0.2, -0.1, "no difference in CLIP score can be told from n = 3"),
    ],
)
def test_what_ranking_gains_follows_from_the_interval(reranked, gain, end, sentence):
    low, high = sorted((end, 2 * gain - end))
    row = {"system": "dalle", "quantity": "gain", "gain": SCORE, "value": gain, "n": 3, "low": low, "high": high}
    assert sentence in dataclasses.replace(reranked, table=(row,)).summary()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": []}, "0 prompts"),
        ({"systems": ["glide"]}, r"the systems \['glide'\]"),
        ({"counts": (0, 2)}, r"the counts are \[0, 2\]"),
        ({"labels": ["a cat"]}, "“a dog” is none of the 1 labels"),
    ],
)
def test_what_cannot_be_ranked_is_refused(lab, changes, message):
    with pytest.raises(UserError, match=message):
        experiments.rerank(lab, **{**SMALL_RUN, **changes})


def test_a_lab_without_dalle_ranks_unclip_alone(lab):
    without = dataclasses.replace(lab, load_dalle=None)
    assert experiments.rerank(without, **SMALL_RUN).systems == ("unclip",)
    with pytest.raises(UserError, match="this model has no DALL·E 1"):
        experiments.rerank(without, **{**SMALL_RUN, "systems": ("dalle",)})
