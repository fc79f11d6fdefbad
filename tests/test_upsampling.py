"""The upsampler's sampler, on a network whose large picture is known exactly."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from latentlab.diffusion import abar_at, cosine_abar, levels
from latentlab.errors import UserError
from latentlab.io import images
from latentlab.upsampling import upsample


class Enlarger:
    """The exact denoiser of x_0 ~ N(half of the enlarged small picture, s²); its pictures add the other half."""

    abar, low, high, steps, max_batch_size = cosine_abar(), 6, 15, 4, 3

    def __init__(self, spread=0.0):
        self.spread, self.calls = spread, []

    def large(self, pixels):
        return F.interpolate(pixels, (self.high, self.high), mode="nearest")

    def to_pixels(self, x_0, pixels):
        return x_0 + self.large(pixels) / 2

    def eps(self, x_t, t, pixels):
        self.calls.append((len(x_t), t))
        a = abar_at(self.abar, t)
        return math.sqrt(1 - a) * (x_t - math.sqrt(a) * self.large(pixels) / 2) / (a * self.spread**2 + 1 - a)


@pytest.fixture
def pixels(rng):
    return torch.rand(3, 3, 6, 6, generator=rng) * 1.6 - 0.8


@pytest.mark.parametrize("steps", [None, 1, 9, [700, 20, -1]], ids=str)
def test_the_upsampler_gives_the_only_possible_large_picture(pixels, steps):
    upsampler = Enlarger()
    pixels_large = upsample(upsampler, pixels, seeds=[1, 2, 3], steps=steps)
    torch.testing.assert_close(pixels_large, upsampler.large(pixels), rtol=1e-4, atol=1e-4)


def test_none_takes_the_upsamplers_own_number_of_steps(pixels):
    upsampler = Enlarger()
    upsample(upsampler, pixels, seeds=[1, 2, 3])
    assert upsampler.calls == [(3, t) for t in levels(upsampler.abar, upsampler.steps)[:-1]]


@pytest.mark.parametrize("k", [0, 1, 2])
def test_sample_k_alone_is_sample_k_in_a_batch_to_one_grey_level(pixels, k):
    upsampler, seeds = Enlarger(0.3), [4, 5, 6]
    batch = images.to_pil(upsample(upsampler, pixels, seeds=seeds))
    alone = images.to_pil(upsample(upsampler, pixels[k : k + 1], seeds=seeds[k : k + 1]))
    assert abs(np.asarray(batch[k], int) - np.asarray(alone[0], int)).max() <= 1


def test_the_details_depend_on_the_seed_alone(pixels):
    same = pixels[:1].expand(3, -1, -1, -1)
    a, again, other = upsample(Enlarger(0.3), same, seeds=[1, 1, 2])
    assert torch.equal(a, again) and not torch.allclose(a, other)


def test_the_details_have_the_networks_own_spread(pixels):
    many = pixels[:1].expand(60, -1, -1, -1)
    rest = upsample(Enlarger(0.3), many, seeds=range(60), steps=200) - Enlarger().large(many)
    assert rest.std().item() == pytest.approx(0.3, rel=0.03)
    assert rest.mean().abs() < 5 * 0.3 / math.sqrt(rest.numel())


@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (2, 3, 15, 15), (2, 1, 6, 6), (3, 6, 6)])
def test_pictures_of_another_size_are_refused_with_what_to_do(shape):
    with pytest.raises(UserError, match=r"this upsampler wants \(B, 3, 6, 6\) and B seeds: images\.resize") as caught:
        upsample(Enlarger(), torch.zeros(shape), seeds=range(shape[0]))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("seeds", [[], [1], [1, 2, 3, 4]])
def test_another_number_of_seeds_is_refused(pixels, seeds):
    with pytest.raises(UserError, match=f"with {len(seeds)} seeds"):
        upsample(Enlarger(), pixels, seeds=seeds)
