"""Exact inversion: the formulas written out, and decoding that gives the picture back for any decoder."""

import math

import pytest
import torch

from latentlab.decoding import decode, sample_steps
from latentlab.diffusion import CLEAN, Conditioning, abar_at, ddim_step, levels
from latentlab.errors import UserError
from latentlab.exact_inversion import METHODS, ascend, bdia_step, edict_mix, edict_part
from latentlab.inversion import invert

TIMES = [900, 500, 100, CLEAN]


def rms(x):
    return x.double().square().mean().sqrt().item()


def run_ascend(decoder, x_0, z_i, times, **params):
    *_, (pair, evaluations) = ascend(decoder, x_0, Conditioning(z_i), times, **params)
    return pair, evaluations


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [2, 3, 20, 50])
def test_inverting_and_decoding_in_float64_gives_the_picture_to_the_last_digits(curved, x_0, z_i, method, steps):
    pair = invert(curved, x_0, Conditioning(z_i), steps=steps, method=method).latent
    assert rms(decode(curved, pair) - x_0) < 1e-11


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [20, 111])
def test_inverting_and_decoding_in_float32_gives_the_picture_at_more_than_60_dB(curved, x_0, z_i, method, steps):
    x_0, z_i = x_0.float(), z_i.float()
    decoded = decode(curved, invert(curved, x_0, Conditioning(z_i), steps=steps, method=method).latent)
    assert decoded.dtype == torch.float32
    assert 20 * math.log10(rms(x_0) / rms(decoded - x_0)) > 60


@pytest.mark.parametrize(("method", "mix"), [("bdia", 0.9), ("edict", 0.8), ("edict", 1.0)])
def test_inversion_is_exact_at_any_mix_and_the_pair_stores_it(curved, x_0, z_i, method, mix):
    pair, _ = run_ascend(curved, x_0, z_i, levels(curved.abar, 12), method=method, mix=mix)
    assert pair.mix == mix
    assert rms(decode(curved, pair) - x_0) < 1e-10


@pytest.mark.parametrize(("method", "most"), [("bdia", 0.01), ("edict", 0.1)])
def test_the_first_state_is_near_the_exact_x_T(lab, x_0, z_i, method, most):
    pair = invert(lab.decoder, x_0, Conditioning(z_i), steps=50, method=method).latent
    assert rms(pair.first - lab.decoder.exact_x_t(x_0, z_i, pair.times[0])) < most


def test_edict_refuses_so_many_steps_that_its_states_part_too_far_unless_it_does_not_mix(lab, x_0, z_i):
    with pytest.raises(UserError, match=r"steps is 112: edict's two states part .*at most 111, or method='bdia'"):
        invert(lab.decoder, x_0, Conditioning(z_i), steps=112, method="edict")
    pair, _ = run_ascend(lab.decoder, x_0, z_i, levels(lab.decoder.abar, 112), method="edict", mix=1.0)
    assert rms(decode(lab.decoder, pair) - x_0) < 1e-10


def test_a_bdia_step_is_the_papers_formula_written_out(normal):
    before, x, eps = normal(2, 3, 4, 5), normal(2, 3, 4, 5), normal(2, 3, 4, 5)
    a_2, a_1, a_0 = 0.3, 0.5, 0.8

    def change(a, b):  # Δ(a → b | x): what DDIM adds to x, equation by equation
        x_0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        return b**0.5 * x_0 + (1 - b) ** 0.5 * eps - x

    for gamma in (1.0, 0.6):
        wanted = before - (1 - gamma) * (before - x) - gamma * change(a_1, a_2) + change(a_1, a_0)
        torch.testing.assert_close(bdia_step(before, x, eps, (a_2, a_1, a_0), gamma), wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bdia_step(before, x, eps, (a_2, a_1, a_0), 0.0), ddim_step(x, eps, a_1, a_0))


def test_bdia_inverts_by_its_formula_after_one_naive_step(curved, x_0, z_i):
    cond, (a_3, a_2, a_1, a_0) = Conditioning(z_i), [abar_at(curved.abar, t) for t in TIMES]
    x_1 = ddim_step(x_0, curved.eps(x_0, 0, cond), a_0, a_1)
    x_2 = bdia_step(x_0, x_1, curved.eps(x_1, 100, cond), (a_0, a_1, a_2), 1 / 0.9)
    x_3 = bdia_step(x_1, x_2, curved.eps(x_2, 500, cond), (a_1, a_2, a_3), 1 / 0.9)
    pair, evaluations = run_ascend(curved, x_0, z_i, TIMES, method="bdia", mix=0.9)
    assert evaluations == 3 and pair.times == tuple(TIMES)
    torch.testing.assert_close(pair.first, x_3, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pair.second, x_2, rtol=1e-12, atol=1e-12)


def test_edict_decodes_by_the_papers_formula_and_its_states_take_turns(curved, x_0, z_i):
    pair, evaluations = run_ascend(curved, x_0, z_i, TIMES, method="edict")
    assert evaluations == 6
    cond, p, x, y = Conditioning(z_i), 0.93, pair.first, pair.second
    for t, s, step in zip(TIMES, TIMES[1:], sample_steps(curved, pair)):
        a_t, a_s = abar_at(curved.abar, t), abar_at(curved.abar, s)
        x_inter = ddim_step(x, curved.eps(y, t, cond), a_t, a_s)
        y_inter = ddim_step(y, curved.eps(x_inter, t, cond), a_t, a_s)
        x = p * x_inter + (1 - p) * y_inter
        y = p * y_inter + (1 - p) * x
        x, y = y, x
        torch.testing.assert_close(step.x_t, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(y, x_0, rtol=0, atol=1e-11)


def test_edict_part_undoes_edict_mix_and_a_mix_of_1_changes_nothing(normal):
    x, y = normal(2, 3, 4, 5), normal(2, 3, 4, 5)
    assert all(map(torch.equal, edict_mix(x, y, 1.0), (x, y)))
    for parted, wanted in zip(edict_part(*edict_mix(x, y, 0.93), 0.93), (x, y)):
        torch.testing.assert_close(parted, wanted, rtol=1e-12, atol=1e-12)
    mixed = edict_mix(x, y, 0.93)
    assert rms(mixed[0] - mixed[1]) == pytest.approx(0.93**2 * rms(x - y))


@pytest.mark.parametrize(("method", "up", "down"), [("bdia", 8, 7), ("edict", 16, 16)])
def test_inversion_and_decoding_count_their_evaluations(spy, x_0, z_i, method, up, down):
    inversion = invert(spy, x_0, Conditioning(z_i), steps=8, method=method)
    assert inversion.evaluations == len(spy.calls) == up
    spy.calls.clear()
    *_, last = sample_steps(spy, inversion.latent)
    assert last.evaluations == len(spy.calls) == down
    assert last.number == last.total


@pytest.mark.parametrize("method", METHODS)
def test_decoding_a_pair_visits_its_own_times_without_guidance(spy, x_0, z_i, method):
    pair = invert(spy, x_0, Conditioning(z_i), steps=TIMES, method=method).latent
    spy.calls.clear()
    decode(spy, pair)
    visited = [500, 100] if method == "bdia" else [900, 900, 500, 500, 100, 100]
    assert spy.calls == [(3, t, 1.0) for t in visited]


@pytest.mark.parametrize("method", METHODS)
def test_every_pair_that_inversion_yields_decodes_to_the_picture(curved, x_0, z_i, method):
    for pair, _ in ascend(curved, x_0, Conditioning(z_i), levels(curved.abar, 6), method=method):
        if method == "edict" or len(pair.times) > 2:
            assert rms(decode(curved, pair) - x_0) < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_a_row_of_a_pair_decodes_to_its_own_picture(curved, x_0, z_i, method):
    pair = invert(curved, x_0, Conditioning(z_i), steps=10, method=method).latent
    torch.testing.assert_close(decode(curved, pair[1]), x_0[1:2], rtol=0, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_decoding_a_pair_evaluates_no_more_rows_than_the_decoder_allows(spied, curved, x_0, z_i, method):
    pair = invert(curved, x_0, Conditioning(z_i), steps=5, method=method).latent
    spy = spied(curved, 2)
    torch.testing.assert_close(decode(spy, pair), x_0, rtol=0, atol=1e-11)
    assert {rows for rows, _, _ in spy.calls} == {1, 2}


@pytest.mark.parametrize("method", METHODS)
def test_text_of_one_row_reaches_every_row_in_inversion_and_decoding(spy, x_0, z_i, normal, method):
    text, seen = normal(1, 4, 6), []
    spy.eps = lambda x_t, t, cond, guidance: seen.append(cond.text.shape) or torch.zeros_like(x_t)
    pair = invert(spy, x_0, Conditioning(z_i[:1], text), steps=3, method=method).latent
    decode(spy, pair, text=text)
    assert set(seen) == {(3, 4, 6)}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"steps": 10}, "steps is 10"),
        ({"guidance": 2.0}, "guidance is 2"),
        ({"eta": 0.5, "seeds": [1, 2, 3]}, "eta is 0.5"),
        ({"seeds": [1, 2, 3]}, r"seeds is \[1, 2, 3\]"),
        ({"guidance_interval": (800, 300)}, r"guidance_interval is \(800, 300\)"),
    ],
    ids=["steps", "guidance", "eta", "seeds", "interval"],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_pair_refuses_settings_under_which_it_is_not_exact_and_gives_the_reason(
    lab, x_0, z_i, method, params, message
):
    pair = invert(lab.decoder, x_0, Conditioning(z_i), steps=4, method=method).latent
    with pytest.raises(UserError, match=rf"{message}.*{method}'s pair.*exact on no other.*fixed-point"):
        decode(lab.decoder, pair, **params)


def test_a_pair_of_another_model_is_refused_with_both_shapes(lab, miniature, x_0, z_i):
    pair = invert(lab.decoder, x_0, Conditioning(z_i), steps=4, method="bdia").latent
    with pytest.raises(UserError, match=r"states are \(3, 3, 8, 8\), this decoder wants .*same model"):
        decode(miniature.decoder, pair)


def test_bdia_in_a_single_step_is_refused(lab, x_0, z_i):
    with pytest.raises(UserError, match="steps is 1: bdia holds two states a step apart, give 2 or more"):
        invert(lab.decoder, x_0, Conditioning(z_i), steps=1, method="bdia")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mix", [0.0, -0.5, 1.1, float("nan")])
def test_a_mix_out_of_its_range_is_refused(lab, x_0, z_i, method, mix):
    with pytest.raises(UserError, match=r"mix is .*above 0 and up to 1"):
        run_ascend(lab.decoder, x_0, z_i, TIMES, method=method, mix=mix)
