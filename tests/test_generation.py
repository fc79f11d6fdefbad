"""Generation: seeds, the best by CLIP, and refusals."""

from __future__ import annotations

import json

import pytest
import torch

from latentlab import UserError, experiments

SMALL_RUN = {"prompt": "a cat", "seeds": range(3), "steps": 3}


def test_a_generated_picture_depends_on_its_own_seed_alone(lab):
    alone = experiments.generate(lab, "a cat", seeds=[7], steps=5)
    among = experiments.generate(lab, "a cat", seeds=[3, 7, 9], steps=5)
    torch.testing.assert_close(alone.pixels[0], among.pixels[1], atol=1 / 255, rtol=0)


def test_a_pictures_metadata_is_enough_to_generate_it_again(lab):
    solver = {"solver": "dpm++", "guidance_interval": (300, 800)}
    generated = experiments.generate(lab, "a dog", seeds=[4, 5], steps=6, guidance=1.5, **solver)
    settings = json.loads(json.dumps(generated.metadata(1)))
    names = ("steps", "guidance", "prior_steps", "prior_guidance", "candidates", *solver)
    params = {name: settings[name] for name in names}
    again = experiments.generate(lab, settings["prompt"], seeds=[settings["seed"]], **params)
    torch.testing.assert_close(again.pixels[0], generated.pixels[1], atol=1 / 255, rtol=0)


def test_the_best_pictures_are_those_nearest_to_the_prompt_in_order(lab):
    drawn = experiments.generate(lab, "a cat", seeds=range(6), steps=3)
    ranked = experiments.generate(lab, "a cat", seeds=range(6), steps=3, best=2)
    order = drawn.similarity.argsort(descending=True).tolist()
    assert [*ranked.seeds, *ranked.others.seeds] == order and len(ranked.seeds) == 2
    for part, rows in ((ranked, order[:2]), (ranked.others, order[2:])):
        assert torch.equal(part.latent.x_T, drawn.latent.x_T[rows])
        torch.testing.assert_close(part.similarity, drawn.similarity[rows])
    torch.testing.assert_close(ranked.pixels, drawn.pixels[order[:2]], atol=1 / 255, rtol=0)
    assert ranked.value("cosine to the prompt") == pytest.approx(ranked.similarity.mean().item())
    assert "The best 2 of 6 pictures" in ranked.summary() and ranked.settings["best"] == 2
    assert experiments.generate(lab, "a cat", seeds=[4], steps=3, best=1).others is None


@pytest.mark.parametrize("best", [0, 3, -1])
def test_more_best_pictures_than_seeds_or_none_are_refused(lab, best):
    with pytest.raises(UserError, match=f"best is {best} of 2 pictures"):
        experiments.generate(lab, "a cat", seeds=range(2), best=best)


@pytest.mark.parametrize(("prompt", "seeds"), [("", [0]), ("  ", [0]), ("a cat", []), ("a cat", "12"), ("a cat", 3)])
def test_generate_refuses_an_empty_prompt_and_seeds_that_are_no_integers(lab, prompt, seeds):
    with pytest.raises(UserError, match=r"empty|seeds is"):
        experiments.generate(lab, prompt, seeds=seeds)


@pytest.mark.parametrize("guidance", [-1.0, float("nan"), float("inf")])
def test_a_guidance_that_is_no_number_from_0_up_is_refused(lab, guidance):
    with pytest.raises(UserError, match="guidance is"):
        experiments.generate(lab, "a cat", guidance=guidance)
