"""Noise levels, the DDIM step, and guidance, against diffusers and algebra, and what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DPMSolverMultistepScheduler

from latentlab.diffusion import (
    CLEAN,
    Conditioning,
    abar_at,
    cosine_abar,
    ddim_step,
    dpm_solver_step,
    evaluate,
    guided,
    levels,
    to_eps,
)
from latentlab.errors import UserError

LINEAR = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).neg().add(1).cumprod(0)
STOCK = {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False, "set_alpha_to_one": True}


# Schedules and levels


def test_cosine_abar_is_diffusers_squaredcos_cap_v2():
    stock = DDIMScheduler(**STOCK).alphas_cumprod
    torch.testing.assert_close(cosine_abar().float(), stock, rtol=2e-4, atol=0)


def test_cosine_abar_is_nichols_closed_form_except_at_the_capped_end():
    f = (torch.arange(1001, dtype=torch.float64) / 1000 + 0.008).div(1.008).mul(math.pi / 2).cos() ** 2
    torch.testing.assert_close(cosine_abar()[:-1], (f / f[0])[1:-1], rtol=1e-9, atol=0)
    assert cosine_abar()[-1] > f[-1] / f[0]


@pytest.mark.parametrize("T", [10, 1000])
def test_cosine_abar_decreases_within_0_and_1(T):
    abar = cosine_abar(T)
    assert abar.shape == (T,)
    assert (abar.diff() < 0).all() and abar[0] < 1 and abar[-1] > 0


def test_abar_is_1_at_the_clean_picture():
    assert abar_at(LINEAR, CLEAN) == 1
    assert abar_at(LINEAR, 999) == LINEAR[999].item()


@pytest.mark.parametrize("abar", [cosine_abar(), cosine_abar(37), LINEAR], ids=["cosine", "short", "linear"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 16, 25, 33])
def test_levels_fall_from_the_last_usable_time_to_clean(abar, steps):
    times = levels(abar, steps)
    assert len(times) == steps + 1
    assert times[-1] == CLEAN
    assert all(a > b for a, b in itertools.pairwise(times))
    assert 1 / math.sqrt(abar[times[0]]) <= 35
    assert times[0] == len(abar) - 1 or 1 / math.sqrt(abar[times[0] + 1]) > 35


@pytest.mark.parametrize("steps", [500, 700, 978, 979, 980])
def test_levels_never_repeat_however_many_there_are(steps):
    times = levels(cosine_abar(), steps)
    assert len(set(times)) == steps + 1 and times == sorted(times, reverse=True)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_levels_are_equal_strides_up_to_rounding(steps):
    strides = [a - b for a, b in itertools.pairwise(levels(cosine_abar(), steps))]
    assert max(strides) - min(strides) <= 1


@pytest.mark.parametrize("times", [[980, 960, 20, 0, CLEAN], (999, CLEAN), range(50, -2, -1), torch.tensor([7, 3, -1])])
def test_explicit_times_are_kept(times):
    assert levels(LINEAR, times) == [int(t) for t in times]


@pytest.mark.parametrize("steps", [0, -3, 1000, 10**6])
def test_an_impossible_number_of_steps_is_refused(steps):
    with pytest.raises(UserError, match=rf"steps is {steps}: give a number from 1 to \d+"):
        levels(cosine_abar(), steps)


@pytest.mark.parametrize(
    "times",
    [[500, 500, CLEAN], [0, 500, CLEAN], [1000, 20, CLEAN], [500, 0, -2], [CLEAN], [], [500], [500, 20], [500, 20, 0]],
    ids=str,
)
def test_explicit_times_that_do_not_fall_to_clean_are_refused(times):
    with pytest.raises(UserError, match=r"must decrease, from below 1000 to -1 \(clean\)"):
        levels(LINEAR, times)


# The step


@pytest.fixture
def state(normal):
    """x and the noise in it, two rows, not square."""
    return normal(2, 3, 5, 8), normal(2, 3, 5, 8)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_steps_in_sequence_are_diffusers_ddim(normal, state, eta):
    stock = DDIMScheduler(**STOCK, timestep_spacing="leading")
    stock.set_timesteps(50)
    abar, times = cosine_abar(), [*stock.timesteps.tolist(), CLEAN]
    ours = theirs = state[0]
    for t, t_next in itertools.pairwise(times):
        eps, fresh = normal(*ours.shape), normal(*ours.shape)
        ours = ddim_step(ours, eps, abar_at(abar, t), abar_at(abar, t_next), eta=eta, noise=fresh)
        theirs = stock.step(eps, t, theirs, eta=eta, variance_noise=fresh if eta else None).prev_sample
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 8, 12])
def test_dpm_solver_steps_in_sequence_are_diffusers_second_order_solver(normal, state, steps):
    stock = DPMSolverMultistepScheduler(beta_schedule="squaredcos_cap_v2", final_sigmas_type="zero")
    abar, times = cosine_abar(), levels(cosine_abar(), steps)
    stock.set_timesteps(timesteps=times[:-1])
    ours, theirs, before = state[0], state[0], None
    for t, t_next in itertools.pairwise(times):
        eps, a = normal(*ours.shape), abar_at(abar, t)
        x_0 = ddim_step(ours, eps, a, 1.0)
        ours, before = dpm_solver_step(ours, x_0, a, abar_at(abar, t_next), before), (x_0, a)
        theirs = stock.step(eps, t, theirs).prev_sample
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_first_step_of_dpm_solver_is_ddims(state):
    x, eps = state
    x_0 = ddim_step(x, eps, 0.3, 1.0)
    torch.testing.assert_close(dpm_solver_step(x, x_0, 0.3, 0.6), ddim_step(x, eps, 0.3, 0.6))
    torch.testing.assert_close(dpm_solver_step(x, x_0, 0.3, 1.0, (x_0 + 1, 0.1)), x_0)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_one_ddim_step_is_diffusers_to_1e_5(state, normal, eta):
    stock = DDIMScheduler(**STOCK, timestep_spacing="leading")
    stock.set_timesteps(50)
    fresh, abar = normal(*state[0].shape), cosine_abar()
    for t in stock.timesteps.tolist():
        ours = ddim_step(*state, abar_at(abar, t), abar_at(abar, max(t - 20, CLEAN)), eta=eta, noise=fresh)
        theirs = stock.step(state[1], t, state[0], eta=eta, variance_noise=fresh if eta else None).prev_sample
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_ddim_steps_towards_noise_are_diffusers_ddim_inverse(lab, x_0, z_i):
    stock = DDIMInverseScheduler(**STOCK, timestep_spacing="leading")
    stock.set_timesteps(50)
    abar, cond = cosine_abar(), Conditioning(z_i)
    ours = theirs = x_0
    for s, t in itertools.pairwise([CLEAN, *stock.timesteps.tolist()]):
        left = max(s, 0)  # eps is taken at the level being left
        ours = ddim_step(ours, lab.decoder.eps(ours, left, cond), abar_at(abar, s), abar_at(abar, t))
        theirs = stock.step(lab.decoder.eps(theirs, left, cond), t, theirs).prev_sample
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.7), (0.9, 0.001), (0.5, 1.0), (0.5, 0.5)])
def test_a_step_forth_and_back_with_the_same_eps_is_the_identity(state, a, b):
    x, eps = state
    torch.testing.assert_close(ddim_step(ddim_step(x, eps, a, b), eps, b, a), x, rtol=1e-10, atol=1e-10)


def test_two_steps_with_one_eps_are_one_long_step(state):
    x, eps = state
    halfway = ddim_step(x, eps, 0.1, 0.4)
    torch.testing.assert_close(ddim_step(halfway, eps, 0.4, 0.8), ddim_step(x, eps, 0.1, 0.8), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("b", [0.01, 0.6, 1.0])
def test_a_step_with_the_true_noise_gives_the_picture_noised_to_the_next_level(state, b):
    x_0, eps = state
    noised = math.sqrt(0.3) * x_0 + math.sqrt(0.7) * eps
    wanted = math.sqrt(b) * x_0 + math.sqrt(1 - b) * eps
    torch.testing.assert_close(ddim_step(noised, eps, 0.3, b), wanted, rtol=1e-12, atol=1e-12)


def test_with_eta_1_the_step_is_ddpms_posterior(state, normal):
    (x, eps), fresh, a, b = state, normal(2, 3, 5, 8), 0.3, 0.5
    x_0 = (x - math.sqrt(1 - a) * eps) / math.sqrt(a)
    alpha = a / b  # Ho et al. 2020, equation 7
    mean = math.sqrt(b) * (1 - alpha) / (1 - a) * x_0 + math.sqrt(alpha) * (1 - b) / (1 - a) * x
    wanted = mean + math.sqrt((1 - b) / (1 - a) * (1 - alpha)) * fresh
    torch.testing.assert_close(ddim_step(x, eps, a, b, eta=1.0, noise=fresh), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_the_last_step_adds_no_noise(state, normal, eta):
    x_0 = ddim_step(*state, 0.9, 1.0, eta=eta, noise=normal(2, 3, 5, 8) * 100)
    torch.testing.assert_close(x_0, ddim_step(*state, 0.9, 1.0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [-0.1, 1.01, float("nan")])
def test_eta_outside_0_to_1_is_refused(state, eta):
    with pytest.raises(UserError, match=r"eta is .*from 0 \(deterministic\) to 1 \(ancestral\)"):
        ddim_step(*state, 0.3, 0.5, eta=eta, noise=state[1])


@pytest.mark.parametrize(("to", "with_noise"), [(0.5, False), (0.1, True)], ids=["without noise", "while inverting"])
def test_eta_needs_noise_and_a_step_towards_the_clean_picture(state, to, with_noise):
    with pytest.raises(UserError, match="needs `noise`, and a step towards the clean picture"):
        ddim_step(*state, 0.3, to, eta=0.5, noise=state[1] if with_noise else None)


# What a network may predict


@pytest.mark.parametrize("abar", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["eps", "v", "x_0"])
def test_predictions_of_eps_v_and_x_0_give_the_same_eps(state, abar, kind):
    x_0, eps = state
    x_t = math.sqrt(abar) * x_0 + math.sqrt(1 - abar) * eps
    prediction = {"eps": eps, "v": math.sqrt(abar) * eps - math.sqrt(1 - abar) * x_0, "x_0": x_0}[kind]
    torch.testing.assert_close(to_eps(prediction, x_t, abar, kind), eps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["v", "x_0"])
def test_a_prediction_read_as_eps_is_diffusers_reading(state, normal, kind):
    stock = DDIMScheduler(**STOCK, prediction_type={"v": "v_prediction", "x_0": "sample"}[kind])
    stock.set_timesteps(50)
    x_t, prediction = state
    a, b = stock.alphas_cumprod[500].item(), stock.alphas_cumprod[480].item()
    ours = ddim_step(x_t, to_eps(prediction, x_t, a, kind), a, b)
    torch.testing.assert_close(ours, stock.step(prediction, 500, x_t).prev_sample, rtol=1e-5, atol=1e-5)


def test_an_unknown_kind_of_prediction_is_refused(state):
    with pytest.raises(ValueError, match="kind is 'score', not 'eps', 'v' or 'x_0'"):
        to_eps(*state, 0.5, "score")


# Guidance


class Linear:
    """A prediction from x and all of the conditioning, so that swapped halves would show. It records its batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, x, cond):
        self.batches.append(len(x))
        assert len(cond) == len(x)
        bias = cond.z_i.sum(-1) + (0 if cond.text is None else cond.text.sum((-1, -2)))
        return 2 * x + bias.view(-1, 1, 1, 1)


@pytest.fixture(params=["with text", "without text"])
def conditions(request, normal):
    """A conditioning of three rows and a null conditioning."""
    text = normal(3, 4, 6) if request.param == "with text" else None
    null = Conditioning(torch.zeros(3, 5, dtype=torch.float64), None if text is None else torch.zeros_like(text))
    return Conditioning(normal(3, 5), text), null


def test_guidance_1_is_one_evaluation_of_the_batch(normal, conditions):
    predict, x = Linear(), normal(3, 2, 4, 7)
    assert torch.equal(guided(predict, x, *conditions, 1.0), Linear()(x, conditions[0]))
    assert predict.batches == [3]


@pytest.mark.parametrize("g", [0.0, 0.5, 2.0, 8.0])
def test_guidance_extrapolates_from_the_null_prediction_through_the_conditional_one(normal, conditions, g):
    predict, x = Linear(), normal(3, 2, 4, 7)
    with_cond, null = (Linear()(x, cond) for cond in conditions)
    torch.testing.assert_close(
        guided(predict, x, *conditions, g), null + g * (with_cond - null), rtol=1e-12, atol=1e-12
    )
    assert predict.batches == [6]


def test_a_conditioning_expands_from_one_row_and_stays_as_it_is_when_it_fits(normal):
    one = Conditioning(normal(1, 5), normal(1, 4, 6)).expand(3)
    assert one.z_i.shape == (3, 5) and one.text.shape == (3, 4, 6)
    assert torch.equal(one[1:2].z_i, one[:1].z_i)
    assert Conditioning(normal(3, 5)).expand(3).text is None


def test_another_number_of_conditioning_rows_is_refused(normal):
    with pytest.raises(UserError, match="2 conditions for 3 pictures"):
        Conditioning(normal(2, 5)).expand(3)


# Many rows


@pytest.mark.parametrize(
    ("rows", "guidance", "wanted"),
    [(2, 1.0, [2, 2, 1]), (4, 1.0, [4, 1]), (4, 3.0, [2, 2, 1]), (5, 3.0, [2, 2, 1]), (1, 3.0, [1] * 5), (9, 1.0, [5])],
)
def test_rows_are_evaluated_in_batches_each_with_its_own_conditioning(spied, lab, normal, rows, guidance, wanted):
    spy, x_t, cond = spied(lab.decoder, rows), normal(5, 3, 8, 8), Conditioning(normal(5, 12))
    eps = evaluate(spy, x_t, 300, cond, guidance)
    assert spy.calls == [(count, 300, guidance) for count in wanted]
    torch.testing.assert_close(eps, lab.decoder.eps(x_t, 300, cond, guidance), rtol=0, atol=1e-14)


def test_evaluating_zero_rows_gives_zero_rows(lab):
    nothing = evaluate(lab.decoder, torch.zeros(0, 3, 8, 8), 300, Conditioning(torch.zeros(0, 12)))
    assert nothing.shape == (0, 3, 8, 8)


def test_steps_may_be_an_integer_of_numpy(lab):
    assert levels(lab.decoder.abar, np.int64(7)) == levels(lab.decoder.abar, 7)
