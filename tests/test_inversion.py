"""Inversion: its error, its evaluations, and whether it reports both correctly."""

import itertools
import math

import pytest
import torch
from diffusers import DDIMInverseScheduler

from latentlab.decoding import decode
from latentlab.diffusion import CLEAN, Conditioning, abar_at, ddim_step, levels
from latentlab.errors import UserError
from latentlab.inversion import METHODS, invert, invert_steps, solve
from latentlab.latents import Latent
from latentlab.models.toy import ToyDecoder


def rms(x):
    return x.square().mean().sqrt().item()


def round_trip(decoder, x_0, z_i, steps, **params):
    """The RMS error of inverting and then decoding in as many steps, and the inversion."""
    inversion = invert(decoder, x_0, Conditioning(z_i), steps=steps, **params)
    return rms(decode(decoder, inversion.latent, steps=steps) - x_0), inversion


def states(latent):
    return (latent.x_T,) if isinstance(latent, Latent) else (latent.first, latent.second)


def test_inversion_error_halves_when_steps_double(lab, x_0, z_i):
    errors = [round_trip(lab.decoder, x_0, z_i, n, method="naive")[0] for n in (25, 50, 100, 200)]
    assert all(1.7 < a / b < 2.3 for a, b in itertools.pairwise(errors))


@pytest.mark.parametrize("iterations", [3, 4])
@pytest.mark.parametrize("budget", [60, 120, 240])
def test_fixed_point_beats_naive_by_far_at_the_same_number_of_evaluations(lab, x_0, z_i, budget, iterations):
    naive, _ = round_trip(lab.decoder, x_0, z_i, budget, method="naive")
    fixed, inversion = round_trip(lab.decoder, x_0, z_i, budget // iterations, iterations=iterations, tolerance=0.0)
    assert inversion.evaluations == budget
    assert 20 * math.log10(naive / fixed) > 6  # dB


@pytest.mark.parametrize("steps", [10, 50])
def test_fixed_point_iterated_to_its_end_undoes_decoding(lab, x_0, z_i, steps):
    error, _ = round_trip(lab.decoder, x_0, z_i, steps, iterations=200, tolerance=1e-13)
    assert error < 1e-9


def test_each_solved_step_satisfies_the_equation_of_decoding(lab, x_0, z_i):
    times, cond = levels(lab.decoder.abar, 12), Conditioning(z_i)
    x_s = x_0
    for (t, s), (_, _, inversion) in zip(
        reversed(list(itertools.pairwise(times))),
        invert_steps(lab.decoder, x_0, cond, steps=12, iterations=200, tolerance=1e-13),
    ):
        x_t = inversion.latent.x_T
        a_t, a_s = abar_at(lab.decoder.abar, t), abar_at(lab.decoder.abar, s)
        torch.testing.assert_close(ddim_step(x_t, lab.decoder.eps(x_t, t, cond), a_t, a_s), x_s, rtol=1e-9, atol=1e-9)
        x_s = x_t


def test_naive_inversion_is_diffusers_ddim_inverse(lab, x_0, z_i):
    stock = DDIMInverseScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False, set_alpha_to_one=True)
    stock.set_timesteps(50)
    times = stock.timesteps.tolist()
    x_t, cond = x_0, Conditioning(z_i)
    for s, t in itertools.pairwise([0, *times]):
        x_t = stock.step(lab.decoder.eps(x_t, s, cond), t, x_t).prev_sample
    ours = invert(lab.decoder, x_0, cond, steps=[*reversed(times), CLEAN], method="naive")
    torch.testing.assert_close(ours.latent.x_T, x_t, rtol=1e-5, atol=1e-5)


def test_inversion_leaves_z_i_unchanged(lab, x_0, z_i):
    assert torch.equal(invert(lab.decoder, x_0, Conditioning(z_i), steps=3).latent.z_i, z_i)


def test_one_conditioning_row_serves_every_picture(lab, x_0, z_i):
    one = invert(lab.decoder, x_0, Conditioning(z_i[:1]), steps=5)
    one_per_picture = invert(lab.decoder, x_0, Conditioning(z_i[:1].expand(3, -1)), steps=5)
    assert torch.equal(one.latent.x_T, one_per_picture.latent.x_T) and len(one.latent) == 3


@pytest.mark.parametrize("method", METHODS)
def test_each_step_reports_the_evaluations_so_far(spy, x_0, z_i, method):
    for number, total, inversion in invert_steps(spy, x_0, Conditioning(z_i), steps=8, method=method, iterations=5):
        assert inversion.evaluations == len(spy.calls)
        assert len(inversion.residual) == number and total == 8


def test_naive_takes_one_evaluation_a_step_and_has_no_residual(spy, x_0, z_i):
    inversion = invert(spy, x_0, Conditioning(z_i), steps=8, method="naive", iterations=5)
    assert inversion.evaluations == len(spy.calls) == 8
    assert inversion.residual.isnan().all()


def test_with_a_tolerance_of_0_every_iteration_is_spent(spy, x_0, z_i):
    inversion = invert(spy, x_0, Conditioning(z_i), steps=8, iterations=5, tolerance=0.0)
    assert inversion.evaluations == len(spy.calls) == 40


def test_a_step_ends_early_when_its_residual_is_below_the_tolerance(lab, x_0, z_i):
    inversion = invert(lab.decoder, x_0, Conditioning(z_i), steps=20, iterations=50, tolerance=1e-5)
    assert (inversion.residual < 1e-5).all()
    assert 20 < inversion.evaluations < 20 * 50


def test_a_looser_tolerance_needs_fewer_evaluations_and_leaves_a_larger_error(lab, x_0, z_i):
    tight, loose = (
        round_trip(lab.decoder, x_0, z_i, 20, iterations=50, tolerance=tolerance) for tolerance in (1e-8, 1e-3)
    )
    assert loose[1].evaluations < tight[1].evaluations
    assert loose[0] > tight[0]


def test_the_residual_bounds_how_far_x_t_is_from_solving_its_step(lab, x_0, z_i):
    cond, (t, _) = Conditioning(z_i), levels(lab.decoder.abar, 10)[-2:]
    _, _, inversion = next(invert_steps(lab.decoder, x_0, cond, steps=10, iterations=3, tolerance=0.0))
    x_t = inversion.latent.x_T
    again = ddim_step(x_0, lab.decoder.eps(x_t, t, cond), 1.0, abar_at(lab.decoder.abar, t))
    assert (again - x_t).square().flatten(1).mean(1).max().sqrt() <= inversion.residual[0]


def test_the_residual_is_the_last_change_of_the_sample_that_changed_most(lab, x_0, z_i):
    _, _, inversion = next(invert_steps(lab.decoder, x_0, Conditioning(z_i), steps=10, iterations=1))
    changes = (inversion.latent.x_T - x_0).square().flatten(1).mean(1).sqrt()
    assert inversion.residual[0].item() == pytest.approx(changes.max().item())
    assert changes.max() > 1.01 * changes.mean()


def test_the_worst_sample_decides_when_a_step_ends(lab, x_0, z_i):
    far = torch.cat([x_0[:2], x_0[2:] * 50])
    calm, wild = (invert(lab.decoder, x, Conditioning(z_i), steps=10, iterations=100, memory=0) for x in (x_0, far))
    assert (wild.residual < 2e-4).all()
    assert wild.evaluations > calm.evaluations


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_inverts_the_same_alone_and_in_a_batch(lab, x_0, z_i, method):
    params = {"steps": 10, "method": method, "tolerance": 0.0}
    batch = invert(lab.decoder, x_0, Conditioning(z_i), **params).latent
    alone = invert(lab.decoder, x_0[1:2], Conditioning(z_i[1:2]), **params).latent
    for together, single in zip(states(batch[1]), states(alone)):
        torch.testing.assert_close(together, single, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_inversion_never_uses_guidance(spy, x_0, z_i, method):
    invert(spy, x_0, Conditioning(z_i), steps=4, method=method)
    assert {guidance for _, _, guidance in spy.calls} == {1.0}


def test_invert_steps_evaluates_only_the_steps_that_are_consumed(spy, x_0, z_i):
    steps = invert_steps(spy, x_0, Conditioning(z_i), steps=9, method="naive")
    next(steps), next(steps)
    steps.close()
    assert len(spy.calls) == 2


def test_an_unknown_method_is_refused_with_the_methods_there_are(lab, x_0, z_i):
    with pytest.raises(UserError, match="method is 'null-text': give one of naive, fixed-point, bdia, edict"):
        invert(lab.decoder, x_0, Conditioning(z_i), method="null-text")


def test_no_iteration_at_all_is_refused(lab, x_0, z_i):
    with pytest.raises(UserError, match="iterations is 0: give 1 or more"):
        invert(lab.decoder, x_0, Conditioning(z_i), iterations=0)


@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (3, 8, 8), (2, 1, 8, 8), (2, 3, 16, 16)])
def test_an_x_0_that_does_not_fit_is_refused_with_what_to_do(lab, z_i, shape):
    with pytest.raises(UserError, match=r"this decoder wants \(B, 3, 8, 8\): decoder\.to_x0\(images\.resize") as caught:
        invert(lab.decoder, torch.zeros(shape), Conditioning(z_i[:1]))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_x_0_that_is_not_finite_is_refused(lab, x_0, z_i, value):
    x_0[2, 0, 3, 4] = value
    with pytest.raises(UserError, match="not finite"):
        invert(lab.decoder, x_0, Conditioning(z_i))


def test_a_negative_memory_is_refused(lab, x_0, z_i):
    with pytest.raises(UserError, match=r"memory is -1: give 0 \(plain iteration\) or more"):
        invert(lab.decoder, x_0, Conditioning(z_i), memory=-1)


# Anderson's acceleration, the guess, and which samples are evaluated


@pytest.mark.parametrize("steps", [10, 25, 50])
def test_anderson_needs_fewer_evaluations_than_plain_iteration_for_the_same_residual(curved, x_0, z_i, steps):
    params = {"steps": steps, "iterations": 200, "tolerance": 1e-10}
    plain, mixed = (invert(curved, x_0, Conditioning(z_i), memory=m, **params) for m in (0, 2))
    assert plain.converged.all() and mixed.converged.all()
    assert mixed.evaluations < plain.evaluations
    torch.testing.assert_close(mixed.latent.x_T, plain.latent.x_T, rtol=0, atol=1e-7)


@pytest.mark.parametrize("memory", [1, 2, 3])
def test_anderson_solves_a_linear_problem_with_as_many_slopes_as_it_remembers(normal, memory):
    # It is GMRES there (Walker & Ni 2011, theorem 2.2): k slopes take k + 1 evaluations, and one to see that f is 0.
    slopes = torch.linspace(-1.5, 0.9, memory, dtype=torch.float64).repeat(2, 4)
    wanted, start = normal(2, 4 * memory), normal(2, 4 * memory)

    def g(x, rows):
        return wanted[rows] + slopes[rows] * (x - wanted[rows])

    solution, residual, count = solve(g, start, iterations=30, memory=memory, tolerance=1e-5)
    assert (residual < 1e-5).all() and (count <= memory + 2).all()
    torch.testing.assert_close(solution, wanted, rtol=0, atol=1e-4)


def test_without_memory_solving_is_plain_iteration(normal):
    solution, _, _ = solve(lambda x, rows: x / 2 + 1, normal(2, 3), iterations=40, memory=0, tolerance=0.0)
    torch.testing.assert_close(solution, torch.full_like(solution, 2), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "g", [lambda x: torch.ones_like(x), lambda x: x, lambda x: x / 3], ids=["jump", "stay", "fall"]
)
def test_iterating_far_beyond_the_end_stays_finite(normal, g, dtype):
    solution, _, _ = solve(lambda x, rows: g(x), normal(3, 5).to(dtype), iterations=100, memory=5, tolerance=0.0)
    assert solution.isfinite().all()


def test_a_sample_that_turns_to_nan_spoils_no_other_and_counts_as_not_converged(lab, x_0, z_i):
    class Broken(ToyDecoder):
        def eps(self, x_t, t, cond, guidance=1.0):
            bad = (cond.z_i == z_i[1]).all(1)[:, None, None, None]
            return super().eps(x_t, t, cond, guidance).masked_fill(bad, float("nan"))

    inversion = invert(Broken(), x_0, Conditioning(z_i), steps=5)
    assert inversion.converged.tolist() == [True, False, True]
    sound = invert(lab.decoder, x_0[::2], Conditioning(z_i[::2]), steps=5).latent.x_T
    torch.testing.assert_close(inversion.latent.x_T[::2], sound, rtol=0, atol=1e-9)


def test_the_error_of_the_guess_falls_like_the_cube_of_the_step(spied, curved, x_0, z_i):
    # The noise prolonged over two steps is wrong by a square, and a step multiplies it by its own length.
    def error(steps):
        first, cond = {}, Conditioning(z_i)
        spy, plain = spied(curved), curved.eps
        spy.eps = lambda x, t, cond, guidance=1.0: first.setdefault(t, x) is None or plain(x, t, cond, guidance)
        times = levels(curved.abar, steps)
        inversions = invert_steps(spy, x_0, cond, steps=steps, iterations=100, tolerance=1e-12)
        ends = {t: inversion.latent.x_T for t, (_, _, inversion) in zip(times[-2::-1], inversions)}
        return rms(torch.stack([first[t] - ends[t] for t in times if 200 < t < 700]))

    assert error(20) / error(40) > 5


def test_a_solved_sample_is_evaluated_no_more(spied, curved, x_0, z_i):
    far = torch.cat([x_0[:2], x_0[2:] * 5])
    spy, cond = spied(curved), Conditioning(z_i)
    batch = invert(spy, far, cond, steps=10, tolerance=1e-6)
    alone = [invert(curved, far[k : k + 1], cond[k : k + 1], steps=10, tolerance=1e-6) for k in range(3)]
    spent = [inversion.evaluations for inversion in alone]
    assert batch.evaluations == max(spent) > min(spent)
    assert sum(rows for rows, _, _ in spy.calls) == sum(spent)
    torch.testing.assert_close(
        batch.latent.x_T, torch.cat([inversion.latent.x_T for inversion in alone]), rtol=0, atol=1e-10
    )


def test_converged_is_true_for_the_samples_whose_every_step_was_solved(curved, x_0, z_i):
    far = torch.cat([x_0[:2], x_0[2:] * 5])
    few, many = (invert(curved, far, Conditioning(z_i), steps=10, iterations=n, tolerance=1e-6) for n in (1, 50))
    assert not few.converged.any() and many.converged.all()
    some = [
        invert(curved, far, Conditioning(z_i), steps=10, iterations=n, tolerance=1e-6).converged for n in range(1, 20)
    ]
    assert any(row.any() and not row.all() for row in some)


def test_one_unsolved_step_makes_every_later_step_not_converged(curved, x_0, z_i):
    def inversions(tolerance):
        return invert_steps(curved, x_0, Conditioning(z_i), steps=40, iterations=1, tolerance=tolerance)

    *_, (_, _, last) = inversions(0.0)
    between = float(last.residual[0] * last.residual[-1]) ** 0.5
    assert last.residual[-1] < between < last.residual[0]
    assert not any(inversion.converged.any() for _, _, inversion in inversions(between))


@pytest.mark.parametrize(("method", "converged"), [("naive", False), ("bdia", True), ("edict", True)])
def test_naive_never_counts_as_converged_and_an_exact_method_always_does(lab, x_0, z_i, method, converged):
    inversion = invert(lab.decoder, x_0, Conditioning(z_i), steps=4, method=method)
    assert inversion.converged.tolist() == [converged] * 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_no_more_rows_than_the_decoder_allows_are_evaluated_and_nothing_changes(spied, curved, x_0, z_i, method, rows):
    spy = spied(curved, rows)
    bounded = invert(spy, x_0, Conditioning(z_i), steps=6, method=method)
    at_once = invert(curved, x_0, Conditioning(z_i), steps=6, method=method)
    assert max(count for count, _, _ in spy.calls) == rows
    assert bounded.evaluations == at_once.evaluations
    for a, b in zip(states(bounded.latent), states(at_once.latent)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_another_number_of_conditioning_rows_is_refused(lab, x_0, z_i):
    with pytest.raises(UserError, match="2 conditions for 3 pictures"):
        invert(lab.decoder, x_0, Conditioning(z_i[:2]))


@pytest.mark.parametrize("steps", [0, 5000, [10, 20, -1]], ids=str)
def test_impossible_steps_are_refused(lab, x_0, z_i, steps):
    with pytest.raises(UserError, match=r"steps is|times"):
        invert(lab.decoder, x_0, Conditioning(z_i), steps=steps)
