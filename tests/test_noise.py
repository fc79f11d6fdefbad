"""Seeded noise: a sample is the same in any batch, streams and seeds are independent, and what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch

from latentlab.errors import UserError
from latentlab.noise import SeededNoise, draw_x_T

STREAMS = ("x_T", "eta", "prior", "upsampler")


@pytest.mark.parametrize("stream", STREAMS)
def test_a_sample_draws_the_same_alone_and_in_any_batch(stream):
    batch = SeededNoise([5, 6, 7], (3, 4, 9), stream=stream)
    alone = SeededNoise([6], (3, 4, 9), stream=stream)
    assert all(torch.equal(batch()[1:2], alone()) for _ in range(3))


def test_noise_for_a_decoder_has_its_shape_and_the_seeds_order(lab):
    x_T = draw_x_T(lab.decoder, [4, 9])
    assert x_T.shape == (2, *lab.decoder.shape)
    assert torch.equal(x_T.flip(0), draw_x_T(lab.decoder, [9, 4]))
    assert draw_x_T(lab.decoder, [4], dtype=torch.float64).dtype == torch.float64


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs().item()


@pytest.mark.parametrize("pair", [*itertools.combinations(STREAMS, 2)], ids="-".join)
@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**40 + 3, -1])
def test_streams_of_one_seed_are_uncorrelated(pair, seed):
    a, b = (SeededNoise([seed], (3, 64, 64), stream=stream)() for stream in pair)
    assert correlation(a, b) < 5 / math.sqrt(a.numel())


@pytest.mark.parametrize("other", [1, 2, -7, 2**31, 2**32, 2**32 + 7])
def test_seeds_of_one_stream_are_uncorrelated(other):
    a, b = SeededNoise([7, 7 + other], (3, 64, 64))()
    assert correlation(a, b) < 5 / math.sqrt(a.numel())


def test_successive_draws_are_uncorrelated():
    draw = SeededNoise([3], (3, 64, 64))
    assert correlation(draw(), draw()) < 5 / math.sqrt(3 * 64 * 64)


def test_noise_is_standard_normal():
    sample = SeededNoise(range(8), (3, 64, 64))()
    assert sample.mean().abs() < 5 / math.sqrt(sample.numel())
    assert (sample.var() - 1).abs() < 5 * math.sqrt(2 / sample.numel())


def test_drawing_leaves_torchs_global_generator_alone():
    before = torch.get_rng_state()
    SeededNoise([1, 2], (4,))()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seeds", ["12", [1.5], [], 3, [None]])
def test_seeds_that_are_no_integers_are_refused_wherever_noise_is_drawn(lab, seeds):
    with pytest.raises(UserError, match="seeds is"):
        draw_x_T(lab.decoder, seeds)


@pytest.mark.parametrize("seeds", [np.arange(2), torch.arange(2)])
def test_seeds_may_be_integers_of_numpy_or_torch(lab, seeds):
    assert torch.equal(draw_x_T(lab.decoder, seeds), draw_x_T(lab.decoder, [0, 1]))
