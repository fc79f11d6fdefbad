"""The toy's DALL·E 1 has a distribution that is known exactly."""

import torch

from latentlab import models
from latentlab.models.toy_dalle import LEVELS


def test_pictures_of_the_levels_survive_their_tokens():
    dvae = models.load("toy").require_dalle().dvae
    quarters = torch.tensor(LEVELS)[torch.randint(0, 3, (5, 3, 2, 2), generator=torch.Generator().manual_seed(0))]
    pixels = quarters.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert dvae.to_pixels(dvae.to_tokens(pixels)).equal(pixels)


def test_samples_have_the_exact_distribution():
    toy = models.load("toy").require_dalle()
    *_, tokens = toy.sample_steps(["a cat"], seeds=range(4000))
    expected = toy.logits(["a cat"])[0].softmax(-1)
    for k in range(4):
        shares = tokens[:, k].bincount(minlength=27) / 4000
        assert (shares - expected[k]).abs().max() < 0.03
