"""Generation: seeds, the best by CLIP, and refusals."""

from __future__ import annotations

import dataclasses
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


def test_the_best_pictures_are_those_nearest_to_the_caption_in_order(lab):
    generated = experiments.generate(lab, "a cat", seeds=range(6), steps=3)
    generated = dataclasses.replace(generated, similarity=torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2, 0.5]))
    best = generated.best(2)
    assert best.seeds == (1, 3)
    assert torch.equal(best.pixels, generated.pixels[[1, 3]]) and torch.equal(
        best.latent.x_T, generated.latent.x_T[[1, 3]]
    )
    for count in (0, 7):
        with pytest.raises(UserError, match="from 1 to"):
            generated.best(count)


@pytest.mark.parametrize(("caption", "seeds"), [("", [0]), ("  ", [0]), ("a cat", []), ("a cat", "12"), ("a cat", 3)])
def test_generate_refuses_an_empty_caption_and_seeds_that_are_no_integers(lab, caption, seeds):
    with pytest.raises(UserError, match=r"empty|seeds is"):
        experiments.generate(lab, caption, seeds=seeds)


@pytest.mark.parametrize("guidance", [-1.0, float("nan"), float("inf")])
def test_a_guidance_that_is_no_number_from_0_up_is_refused(lab, guidance):
    with pytest.raises(UserError, match="guidance is"):
        experiments.generate(lab, "a cat", guidance=guidance)
