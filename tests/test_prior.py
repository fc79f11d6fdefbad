"""The prior's sampler: closed form on the toy, the best of several candidates, and a network with an exact answer."""

import itertools
import math

import numpy as np
import pytest
import torch

from latentlab.diffusion import abar_at, cosine_abar, ddim_step, levels, to_eps
from latentlab.errors import UserError
from latentlab.noise import SeededNoise
from latentlab.prior import PriorConditioning, sample
from latentlab.slerp import normalize

PROMPTS = ["a cat", "a dog", "a red apple"]


class Spread:
    """The exact prior of z_i ~ N(z_t, s²): what it draws depends on the seed. Guidance pushes away from zero."""

    abar, width, max_batch_size = cosine_abar(), 10, 1000

    def __init__(self, spread=1.0):
        self.spread, self.evaluations = spread, []

    def encode_prompt(self, prompts):
        rows = [torch.randn(self.width, generator=torch.Generator().manual_seed(len(c))) for c in prompts]
        return PriorConditioning(torch.stack(rows).double(), torch.zeros(len(prompts), 4, 7))

    def x_0(self, x_t, t, cond, guidance=1.0):
        assert len(cond) == len(x_t) == len(cond.tokens)
        self.evaluations.append((len(x_t), t))
        a, mean = abar_at(self.abar, t), guidance * cond.z_t
        gain = math.sqrt(a) * self.spread**2 / (a * self.spread**2 + 1 - a)
        return mean + gain * (x_t - math.sqrt(a) * mean)

    def to_z_i(self, x_0):
        return 3 * x_0


def likeness(prior, z_i, prompts):
    return (normalize(z_i) * normalize(prior.encode_prompt(prompts).z_t)).sum(-1)


@pytest.mark.parametrize("steps", [1, 5, [900, 30, -1]], ids=str)
@pytest.mark.parametrize("candidates", [1, 3])
def test_on_the_toy_z_i_is_z_t(lab, steps, candidates):
    z_t = lab.encoder.encode_text(PROMPTS)
    z_i = sample(lab.prior, PROMPTS, seeds=[1, 2, 3], steps=steps, candidates=candidates)
    torch.testing.assert_close(z_i, z_t, rtol=1e-4, atol=1e-4)


def test_one_prompt_serves_every_seed():
    prior = Spread()
    z_i = sample(prior, PROMPTS[:1], seeds=[1, 2, 1])
    assert z_i.shape == (3, prior.width)
    assert torch.equal(z_i[0], z_i[2]) and not torch.allclose(z_i[0], z_i[1])


@pytest.mark.parametrize("candidates", [1, 2, 5])
def test_the_candidate_with_the_largest_cosine_to_the_prompt_is_chosen(candidates):
    prior, seeds = Spread(), [7, 8, 9]
    cond = prior.encode_prompt(PROMPTS)
    draws = SeededNoise(seeds, (candidates, prior.width), stream="prior", dtype=cond.z_t.dtype)()
    drawn = []
    for k in range(candidates):  # each candidate sampled by itself
        x_t, times = draws[:, k], levels(prior.abar, 6)
        for t, t_next in itertools.pairwise(times):
            a = abar_at(prior.abar, t)
            x_0 = prior.x_0(x_t, t, cond, 1.0)
            x_t = ddim_step(x_t, to_eps(x_0, x_t, a, "x_0"), a, abar_at(prior.abar, t_next))
        drawn.append(prior.to_z_i(x_t))
    scores = torch.stack([likeness(prior, z_i, PROMPTS) for z_i in drawn])
    wanted = torch.stack(drawn)[scores.argmax(0), range(3)]
    torch.testing.assert_close(sample(prior, PROMPTS, seeds=seeds, steps=6, candidates=candidates), wanted)


def test_the_best_of_more_candidates_is_nearer_to_the_prompt():
    prior, seeds = Spread(2.0), range(100)
    near = [
        likeness(prior, sample(prior, PROMPTS[:1], seeds=seeds, candidates=n), PROMPTS[:1]).mean() for n in (1, 2, 8)
    ]
    assert near[0] < near[1] < near[2]


@pytest.mark.parametrize("k", [0, 1, 2])
def test_sample_k_alone_is_sample_k_in_a_batch(k):
    prior, seeds = Spread(), [4, 5, 6]
    batch = sample(prior, PROMPTS, seeds=seeds, candidates=3)
    alone = sample(prior, PROMPTS[k : k + 1], seeds=seeds[k : k + 1], candidates=3)
    torch.testing.assert_close(batch[k], alone[0], rtol=1e-6, atol=1e-6)


def test_a_sample_depends_on_its_prompt_and_seed_alone():
    once, again, other = (sample(Spread(), PROMPTS, seeds=s) for s in ([1, 2, 3], [1, 2, 3], [1, 2, 4]))
    assert torch.equal(once, again)
    assert torch.equal(once[:2], other[:2]) and not torch.allclose(once[2], other[2])


def test_the_draws_have_the_priors_own_mean_and_spread():
    prior, count = Spread(0.7), 400
    z_i = sample(prior, PROMPTS[:1], seeds=range(count), steps=200, candidates=1) / 3  # to_z_i multiplies by 3
    rest = (z_i - prior.encode_prompt(PROMPTS[:1]).z_t).numpy()
    assert abs(rest.mean()) < 5 * 0.7 / math.sqrt(rest.size)
    assert rest.std() == pytest.approx(0.7, rel=5 / math.sqrt(2 * rest.size))


def test_guidance_scales_the_networks_prediction():
    z_i = [sample(Spread(1e-3), PROMPTS, seeds=[1, 2, 3], guidance=g, steps=50) for g in (1.0, 2.5)]
    np.testing.assert_allclose(z_i[1], 2.5 * z_i[0], atol=0.05)


def test_all_candidates_go_through_the_network_in_one_batch():
    prior = Spread()
    sample(prior, PROMPTS, seeds=[1, 2, 3], candidates=2, steps=7)
    assert prior.evaluations == [(6, t) for t in levels(prior.abar, 7)[:-1]]


@pytest.mark.parametrize(("guidance", "rows"), [(1.0, [5, 5, 2]), (3.0, [2] * 6)])
def test_no_more_rows_than_max_batch_size_go_through_the_network_and_the_draws_stay_the_same(guidance, rows):
    params = {"seeds": [1, 2, 3, 4], "candidates": 3, "steps": 2, "guidance": guidance}
    for prompts in (PROMPTS[:1], [*PROMPTS, "a house"]):
        whole, chunked = Spread(), Spread()
        chunked.max_batch_size = 5
        torch.testing.assert_close(sample(chunked, prompts, **params), sample(whole, prompts, **params))
        assert [count for count, _ in chunked.evaluations] == [n for n in rows for _ in range(2)]


@pytest.mark.parametrize(("prompts", "seeds"), [(2, 3), (3, 1), (0, 2)])
def test_prompts_and_seeds_of_different_numbers_are_refused(lab, prompts, seeds):
    with pytest.raises(UserError, match=f"{prompts} prompts for {seeds} seeds: give one prompt for all"):
        sample(lab.prior, PROMPTS[:prompts], seeds=range(seeds))


@pytest.mark.parametrize("candidates", [0, -1])
def test_no_candidate_is_refused(lab, candidates):
    with pytest.raises(UserError, match=f"candidates is {candidates}: give 1 or more"):
        sample(lab.prior, PROMPTS, seeds=[1, 2, 3], candidates=candidates)
