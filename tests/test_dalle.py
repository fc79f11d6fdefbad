"""The experiment on DALL·E 1: its pictures, their ranking, and a picture's beginning continued."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import toy_pictures

from latentlab import UserError, experiments

SMALL_RUN = {"prompt": "a cat", "seeds": (0, 1, 2)}


@pytest.fixture(scope="module")
def drawn(lab):
    return experiments.dalle(lab, **SMALL_RUN)


def test_a_caption_gives_one_picture_a_seed(lab, drawn):
    assert drawn.pixels.shape == (3, 3, 8, 8)
    alone = experiments.dalle(lab, "a cat", seeds=[2])
    torch.testing.assert_close(alone.pixels, drawn.pixels[2:])


def test_the_best_by_clip_come_first_and_the_others_are_kept(lab, drawn):
    ranked = experiments.dalle(lab, **SMALL_RUN, best=1)
    order = drawn.similarity.argsort(descending=True)
    assert ranked.seeds == (int(order[0]),) and ranked.others.seeds == tuple(order[1:].tolist())
    assert ranked.similarity[0] == drawn.similarity.max()
    assert ranked.summary().startswith("The best 1 of 3 pictures of “a cat” by DALL·E 1, 4 tokens each")


def test_the_upper_half_of_a_picture_is_kept(lab):
    picture = toy_pictures(1)
    result = experiments.dalle(lab, **SMALL_RUN, picture=picture)
    beginning = lab.require_dalle().upper_part(picture)
    assert result.given == 2 and result.tokens[:, :2].equal(beginning.expand(3, -1))
    assert result.pixels[:, :, :4].equal(result.beginning[:, :, :4].expand(3, -1, -1, -1))
    assert "the last 2 of 4 tokens new" in result.summary()
    assert len(result.figure().axes) >= 4


def test_progress_counts_tokens_and_shows_pictures(lab):
    *progress, result = experiments.dalle.stream(lab, **SMALL_RUN, preview_every=2)
    assert [(p.stage, p.step, p.steps) for p in progress] == [("tokens", k, 4) for k in (1, 2, 3, 4)]
    assert progress[1].pixels.shape == result.pixels.shape


def test_a_cold_temperature_makes_all_seeds_draw_alike(lab):
    assert len(experiments.dalle(lab, **SMALL_RUN, temperature=1e-3).tokens.unique(dim=0)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " "}, "the caption is empty"),
        ({"best": 4}, "best is 4 of 3 pictures"),
        ({"temperature": 0}, "temperature is 0"),
        ({"picture": toy_pictures(1), "share": 1.0}, "share of the picture to keep is 1.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(lab, changes, message):
    with pytest.raises(UserError, match=message):
        experiments.dalle(lab, **{**SMALL_RUN, **changes})


def test_a_lab_without_dalle_says_what_to_load(lab):
    with pytest.raises(UserError, match=r"this model has no DALL·E 1: .*dvae` and then `dalle`"):
        experiments.dalle(dataclasses.replace(lab, load_dalle=None), **SMALL_RUN)
