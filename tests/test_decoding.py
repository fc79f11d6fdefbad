"""The sampler: it yields every step, gives the same alone and in a batch, and refuses what does not fit."""

import numpy as np
import pytest
import torch

from latentlab.decoding import SOLVERS, decode, pictures, sample_steps
from latentlab.diffusion import CLEAN, levels
from latentlab.errors import UserError
from latentlab.io import images
from latentlab.latents import Latent
from latentlab.noise import draw_x_T


@pytest.fixture
def latent(lab, z_i):
    """Three rows in the precision that models run in."""
    return Latent(z_i.float(), draw_x_T(lab.decoder, [3, 4, 5]))


def grey_levels(decoder, x_0):
    return np.stack([np.asarray(image, int) for image in images.to_pil(decoder.to_pixels(x_0))])


def test_sample_steps_reports_every_step_and_ends_at_the_result_of_decode(lab, latent):
    steps = list(sample_steps(lab.decoder, latent, steps=7))
    assert [(step.number, step.total, step.evaluations) for step in steps] == [(k, 7, k) for k in range(1, 8)]
    assert all(step.x_t.shape == step.x_0.shape == latent.x_T.shape for step in steps)
    assert torch.equal(steps[-1].x_t, decode(lab.decoder, latent, steps=7))


def test_at_the_last_step_the_expected_picture_is_the_picture(lab, latent):
    *_, last = sample_steps(lab.decoder, latent, steps=5)
    torch.testing.assert_close(last.x_t, last.x_0)


def test_sample_steps_evaluates_only_the_steps_that_are_consumed(spy, latent):
    steps = sample_steps(spy, latent, steps=7)
    assert spy.calls == []
    next(steps), next(steps)
    steps.close()
    assert len(spy.calls) == 2


@pytest.mark.parametrize("steps", [1, 6, [900, 500, 3, CLEAN]], ids=str)
def test_the_decoder_is_evaluated_once_at_each_level_but_the_last(spy, latent, steps):
    decode(spy, latent, steps=steps, guidance=2.5)
    assert spy.calls == [(3, t, 2.5) for t in levels(spy.abar, steps)[:-1]]


def test_a_number_of_steps_and_its_times_give_the_same_result(lab, latent):
    times = levels(lab.decoder.abar, 9)
    assert torch.equal(decode(lab.decoder, latent, steps=9), decode(lab.decoder, latent, steps=times))


def test_without_eta_the_seeds_change_nothing(lab, latent):
    assert torch.equal(decode(lab.decoder, latent), decode(lab.decoder, latent, seeds=[1, 2, 3]))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_sample_k_alone_is_sample_k_in_a_batch_to_one_grey_level(lab, z_i, eta, k):
    seeds = [3, 4, 5]

    def pictures(rows):
        latent = Latent(z_i[rows].float(), draw_x_T(lab.decoder, seeds[rows]))
        return grey_levels(lab.decoder, decode(lab.decoder, latent, eta=eta, seeds=seeds[rows]))

    assert abs(pictures(slice(k, k + 1))[0] - pictures(slice(0, 3))[k]).max() <= 1


def test_with_eta_a_sample_depends_on_its_seed_and_repeats_with_it(lab, latent):
    once, again, other = (decode(lab.decoder, latent, eta=0.6, seeds=s) for s in ([1, 2, 3], [1, 2, 3], [9, 2, 3]))
    assert torch.equal(once, again)
    assert not torch.allclose(once[0], other[0]) and torch.equal(once[1:], other[1:])


def test_the_noise_of_eta_is_independent_of_x_T(lab, latent):
    seeds, times = [3, 4, 5], [900, 500, CLEAN]  # x_T came from these seeds
    with_noise, without = (
        next(sample_steps(lab.decoder, latent, steps=times, eta=1.0, seeds=s)).x_t for s in (seeds, [10, 11, 12])
    )
    both = torch.stack([(with_noise - without).flatten(), latent.x_T.flatten()])
    assert torch.corrcoef(both)[0, 1].abs() < 5 / latent.x_T.numel() ** 0.5


def test_one_x_T_under_several_seeds_gives_several_variations(lab, latent):
    rows = decode(lab.decoder, latent[torch.tensor([0, 0, 0])], eta=0.6, seeds=[1, 2, 1])
    assert torch.equal(rows[0], rows[2]) and not torch.allclose(rows[0], rows[1])


def test_with_eta_1_the_pictures_have_the_toys_own_mean_and_spread(lab, z_i):
    count = 200
    latent = Latent(z_i[:1].expand(count, -1), draw_x_T(lab.decoder, range(count), dtype=torch.float64))
    x_0 = decode(lab.decoder, latent, eta=1.0, seeds=range(1000, 1000 + count), steps=400)
    rest = x_0 - lab.decoder.mean(z_i[:1])
    assert rest.mean().abs() < 5 * lab.decoder.spread / rest.numel() ** 0.5
    assert rest.std().item() == pytest.approx(lab.decoder.spread, rel=0.03)


def test_text_of_one_row_reaches_every_row(spy, latent, normal):
    seen = []
    spy.eps = lambda x_t, t, cond, guidance: seen.append(cond.text.shape) or torch.zeros_like(x_t)
    decode(spy, latent, text=normal(1, 4, 6), steps=2)
    assert seen == [(3, 4, 6)] * 2


@pytest.mark.parametrize("shape", [(2, 4, 6), (4, 4, 6), (4, 6)], ids=str)
def test_text_that_is_neither_one_row_nor_one_each_is_refused_with_its_shape(lab, latent, normal, shape):
    with pytest.raises(UserError, match=r"for 3 samples: give \(1, L, W\) for all or \(3, L, W\)") as caught:
        decode(lab.decoder, latent, text=normal(*shape))
    assert f"text is {shape}" in str(caught.value)


@pytest.mark.parametrize(("guidance", "rows"), [(1.0, 2), (2.5, 4), (2.5, 1)])
def test_no_more_rows_than_the_decoder_allows_are_evaluated_and_nothing_changes(spied, lab, latent, guidance, rows):
    spy = spied(lab.decoder, rows)
    bounded = decode(spy, latent, steps=5, guidance=guidance)
    assert {count for count, _, _ in spy.calls} == ({1} if rows == 1 else {2, 1})
    torch.testing.assert_close(bounded, decode(lab.decoder, latent, steps=5, guidance=guidance), rtol=0, atol=1e-6)


def test_pictures_are_converted_in_batches_and_none_is_left_out(spied, lab, latent):
    spy, seen = spied(lab.decoder, 2), []
    spy.to_pixels = lambda x_0: seen.append(len(x_0)) or lab.decoder.to_pixels(x_0)
    assert torch.equal(pictures(spy, latent.x_T), lab.decoder.to_pixels(latent.x_T))
    assert seen == [2, 1]


def test_decoding_needs_no_gradient(lab, latent):
    latent.z_i.requires_grad_()
    assert not decode(lab.decoder, latent, steps=2).requires_grad


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 4, 8, 8), (1, 3, 16, 16)])
def test_an_x_T_of_another_model_is_refused_with_both_shapes(lab, shape):
    with pytest.raises(UserError, match=r"this decoder wants \(B, 3, 8, 8\).*same model") as caught:
        decode(lab.decoder, Latent(torch.zeros(1, 12), torch.zeros(shape)))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("seeds", [None, [1], [1, 2, 3, 4]])
def test_eta_without_a_seed_for_each_sample_is_refused(lab, latent, seeds):
    with pytest.raises(UserError, match=r"one seed for each of 3 samples"):
        decode(lab.decoder, latent, eta=0.5, seeds=seeds)


@pytest.mark.parametrize("eta", [[-0.5, -0.2, -0.1], [0.0, float("nan"), 0.0], [0.0, 1.5, 0.5], float("nan")], ids=str)
def test_every_eta_of_a_list_is_checked(lab, latent, eta):
    with pytest.raises(UserError, match=r"eta is .*: give numbers from 0 \(deterministic\) to 1"):
        decode(lab.decoder, latent, eta=eta, seeds=[1, 2, 3])


@pytest.mark.parametrize(
    "params", [{"eta": -0.5}, {"eta": 1.5, "seeds": [1, 2, 3]}, {"steps": 0}, {"steps": [5, 9, -1]}]
)
def test_params_out_of_range_are_refused(lab, latent, params):
    with pytest.raises(UserError, match=r"eta is|steps is|times"):
        decode(lab.decoder, latent, **params)


# Solvers


def test_dpm_solver_is_nearer_to_the_exact_path_than_ddim_at_the_same_steps(lab, latent):
    exact = decode(lab.decoder, latent, steps=400)
    errors = {s: (decode(lab.decoder, latent, steps=12, solver=s) - exact).square().mean() for s in SOLVERS}
    assert errors["dpm++"] < errors["ddim"] / 3


def test_the_error_of_dpm_solver_falls_with_the_square_of_the_steps(lab, latent):
    exact = decode(lab.decoder, latent, steps=900)
    coarse, fine = ((decode(lab.decoder, latent, steps=n, solver="dpm++") - exact).abs().mean() for n in (20, 40))
    assert coarse / fine > 3


def test_guidance_is_used_within_its_interval_only(spy, latent):
    decode(spy, latent, steps=[900, 600, 300, 100, CLEAN], guidance=3.0, guidance_interval=(300, 800))
    assert [guidance for _, _, guidance in spy.calls] == [1.0, 3.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"solver": "euler"}, "solver is 'euler': give one of ddim, dpm"),
        ({"solver": "dpm++", "eta": 0.5, "seeds": [1, 2, 3]}, "use solver 'ddim' for variations"),
    ],
)
def test_a_solver_that_is_unknown_or_does_not_fit_is_refused(lab, latent, params, message):
    with pytest.raises(UserError, match=message):
        decode(lab.decoder, latent, **params)


@pytest.mark.parametrize(
    "interval", [(800, 300), (300,), (1, 2, 3), 300, (-5, 800), (300, 1000), (float("nan"), 9)], ids=str
)
def test_a_guidance_interval_that_is_not_two_of_the_decoders_times_is_refused(spy, latent, interval):
    with pytest.raises(UserError, match=r"guidance_interval is .*: give two times from 0 to 999, the least first"):
        decode(spy, latent, guidance_interval=interval)
    assert spy.calls == []
