"""The guidance sweep: its pairs, and what its sentence may claim."""

from __future__ import annotations

import pytest
import torch

from latentlab import UserError, experiments

SMALL_RUN = {"prompts": "a cat", "guidances": (1, 2), "prior_guidances": (1.0,), "seeds": range(3), "steps": 3}


def test_a_guidance_sweep_holds_every_pair_and_guidance_1_of_both_is_generate(lab):
    result = experiments.guide(lab, "a cat", guidances=(1, 3), prior_guidances=(1, 2), seeds=[0, 1], steps=4)
    assert result.pixels.shape[:3] == (2, 2, 2)
    alike = {"steps": 4, "guidance": 1, "prior_guidance": 1, "solver": "ddim", "candidates": 2}
    plain = experiments.generate(lab, "a cat", seeds=[0, 1], **alike)
    torch.testing.assert_close(result.pixels[0, 0], plain.pixels, atol=1 / 255, rtol=0)


def guided(table):
    """A sweep of the decoder's guidance, 1 and 3, that measured this table."""
    return experiments.GuidanceResult(
        pixels=None,
        latent=None,
        prompts=("a cat",),
        prior_guidances=(1.0,),
        guidances=(1.0, 3.0),
        seeds=(0,),
        by="classifier-free",
        table=table,
        settings={},
    )


@pytest.mark.parametrize(
    ("score", "distance", "sentence"),
    [
        ((0.9, 0.8), (0.1, 0.3), "the score is higher (0.90 against 0.60) and the distance among samples is lower"),
        ((0.9, 0.8), (0.7, 0.5), "the score is higher (0.90 against 0.60) and the distance among samples is higher"),
        ((0.9, 0.8), (0.4, 0.2), "and no difference in distance among samples can be told from n = 6"),
        ((0.9, 0.5), (0.1, 0.3), "no difference in score can be told from n = 6"),
        ((0.9, None), (0.1, None), "no difference in score can be told from n = 6 and no difference in distance"),
    ],
)
def test_what_guidance_gains_and_loses_follows_from_the_intervals(score, distance, sentence):
    def rows(quantity, guidance, value, end):
        low, high = (None, None) if end is None else sorted((end, 2 * value - end))
        where = {"prior_guidance": 1.0, "guidance": guidance, "quantity": quantity}
        return {**where, "value": value, "n": 6, "low": low, "high": high}

    table = (
        rows("CLIP score", 1.0, 0.6, 0.55),
        rows("CLIP score", 3.0, *score),
        rows("distance among samples", 1.0, 0.4, 0.35),
        rows("distance among samples", 3.0, *distance),
    )
    result = guided(table)
    assert sentence in result.summary()
    assert "lose in variety" not in result.summary()


def test_a_guidance_that_scores_best_unguided_is_compared_with_nothing():
    cell = {"quantity": "CLIP score", "prior_guidance": 1.0, "n": 6}
    table = tuple(
        {**cell, "guidance": g, "value": v, "low": v - 0.01, "high": v + 0.01} for g, v in ((1, 0.9), (3, 0.5))
    )
    result = guided(table)
    assert result.summary() == "The CLIP score is highest, 0.90, at guidance 1 of the decoder and 1 of the prior."


@pytest.mark.parametrize("prior_guidance", [-1.0, float("nan")])
def test_a_guidance_of_the_prior_that_is_no_number_from_0_up_is_refused(lab, prior_guidance):
    with pytest.raises(UserError, match="prior's guidance is"):
        experiments.guide(lab, "a cat", prior_guidances=[prior_guidance])
