"""Inpainting: closed forms on the toy, the identities of masks and seams, and refusals."""

import itertools

import pytest
import torch

from latentlab import UserError, decoding, inpainting
from latentlab.diffusion import CLEAN, Conditioning, abar_at, ddim_step, levels
from latentlab.inversion import invert
from latentlab.latents import Latent
from latentlab.noise import SeededNoise, draw_x_T


@pytest.fixture
def cond(z_i):
    return Conditioning(z_i)


@pytest.fixture
def mask():
    """Of three pictures, a rectangle that is not square."""
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 1:4, 2:8] = True
    return mask


def painted(decoder, cond, mask, known, x_t, times, **params):
    *_, last = inpainting.inpaint_steps(decoder, cond, mask, known, x_t, times, seeds=[5, 6, 7], **params)
    return last


@pytest.mark.parametrize("kind", inpainting.KNOWN)
def test_the_known_part_of_x_0_comes_back_exactly_and_the_rest_does_not(lab, cond, x_0, mask, kind):
    times = levels(lab.decoder.abar, 6)
    draw = SeededNoise([0, 1, 2], lab.decoder.shape, dtype=x_0.dtype)
    known = (
        inpainting.trajectory(lab.decoder, x_0, cond, times)
        if kind == "trajectory"
        else inpainting.noised(x_0, lab.decoder.abar, draw)
    )
    last = painted(lab.decoder, cond, mask, known, draw(), times, resamplings=2)
    assert torch.equal(last.x_t.where(~mask, 0), x_0.where(~mask, 0))
    assert ((last.x_t - x_0).abs() * mask).sum((1, 2, 3)).gt(1).all()


def test_the_trajectory_nears_the_exact_path_of_x_0_as_steps_grow(lab, cond, x_0):
    def error(steps):
        times = levels(lab.decoder.abar, steps)
        t = times[steps // 2]
        known = inpainting.trajectory(lab.decoder, x_0, cond, times)
        assert torch.equal(known(CLEAN), x_0)
        return (known(t) - lab.decoder.exact_x_t(x_0, cond.z_i, t)).abs().mean()

    assert error(160) < 0.3 * error(40) and error(160) < 0.03


def test_the_path_of_an_inverted_picture_is_nearer_to_the_exact_one_than_the_naive_trajectory(lab, cond, x_0):
    steps = 20
    times = levels(lab.decoder.abar, steps)
    inversion = invert(lab.decoder, x_0, cond, steps=steps)
    naive = inpainting.trajectory(lab.decoder, x_0, cond, times)
    decoded = inpainting.decoded_trajectory(lab.decoder, x_0, inversion.latent, steps)
    assert torch.equal(decoded(times[0]), inversion.latent.x_T) and torch.equal(decoded(CLEAN), x_0)
    error = {known: 0.0 for known in (naive, decoded)}
    for t, s in itertools.pairwise(times):  # a path is consistent where DDIM's step from each state gives the next one
        for known in error:
            eps = lab.decoder.eps(known(t), t, cond)
            step = ddim_step(known(t), eps, abar_at(lab.decoder.abar, t), abar_at(lab.decoder.abar, s))
            error[known] += float((step - known(s)).abs().mean())
    assert error[decoded] < 0.1 * error[naive]


def test_the_noised_part_has_the_mean_and_the_spread_of_its_level(lab):
    x_0, a = torch.full((1, *lab.decoder.shape), 0.7), abar_at(lab.decoder.abar, 400)
    known = inpainting.noised(x_0, lab.decoder.abar, SeededNoise(range(60), lab.decoder.shape))
    state = known(400)
    assert state.mean().item() == pytest.approx(a**0.5 * 0.7, abs=0.03)
    assert state.std().item() == pytest.approx((1 - a) ** 0.5, rel=0.03)
    assert not torch.equal(state, known(400)) and torch.equal(known(CLEAN), x_0)


def test_a_mask_of_everything_is_plain_decoding(lab, cond, x_0):
    times, x_T = levels(lab.decoder.abar, 7), draw_x_T(lab.decoder, [0, 1, 2], dtype=torch.float64)
    known = inpainting.noised(x_0, lab.decoder.abar, lambda: torch.zeros_like(x_0))
    last = painted(lab.decoder, cond, torch.ones(1, 1, 8, 8).bool(), known, x_T, times, guidance=2.0)
    wanted = decoding.decode(lab.decoder, Latent(cond.z_i, x_T), steps=times, guidance=2.0)
    torch.testing.assert_close(last.x_t, wanted)


@pytest.mark.parametrize("resamplings", [1, 3])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_painted_part_has_the_toys_own_mean_and_spread(lab, z_i, mask, resamplings, eta):
    count = 120
    cond = Conditioning(z_i[:1].expand(count, -1))
    x_0, times = lab.decoder.mean(cond.z_i[:1]), levels(lab.decoder.abar, 60 * resamplings)
    known = inpainting.noised(x_0, lab.decoder.abar, SeededNoise(range(count), lab.decoder.shape, dtype=z_i.dtype))
    steps = inpainting.inpaint_steps(
        lab.decoder,
        cond,
        mask,
        known,
        draw_x_T(lab.decoder, range(count), dtype=z_i.dtype),
        times,
        seeds=range(count),
        resamplings=resamplings,
        eta=eta,
    )
    *_, last = steps
    residual = (last.x_t - x_0)[mask.expand_as(last.x_t)]
    assert residual.mean().abs() < 0.01
    assert residual.std().item() == pytest.approx(lab.decoder.spread, rel=0.08)


@pytest.mark.parametrize("resamplings", [1, 3])
def test_every_step_evaluates_once_a_resampling(spy, cond, x_0, mask, resamplings):
    times = levels(spy.abar, 4)
    known = inpainting.noised(x_0, spy.abar, SeededNoise([0, 1, 2], spy.shape, dtype=x_0.dtype))
    last = painted(spy, cond, mask, known, known(times[0]), times, resamplings=resamplings)
    assert [t for _, t, _ in spy.calls] == [t for t in times[:-1] for _ in range(resamplings)]
    assert last.evaluations == len(spy.calls)


@pytest.mark.parametrize("resamplings", [1, 2])
def test_known_cells_end_where_what_is_painted_and_what_is_known_were_encoded_together(
    lab, cond, x_0, mask, resamplings
):
    times, predicted, wanted = levels(lab.decoder.abar, 8), [], x_0 + 0.25
    known = inpainting.trajectory(lab.decoder, x_0, cond, times)

    def joined(prediction):
        predicted.append(prediction)
        return wanted

    last = painted(lab.decoder, cond, mask, known, known(times[0]), times, resamplings=resamplings, joined=joined)
    torch.testing.assert_close(last.x_t.where(~mask, 0), wanted.where(~mask, 0))
    assert len(predicted) == len(inpainting.REFRESHES)


@pytest.mark.parametrize(("strength", "count"), [(1.0, 10), (0.5, 5), (0.04, 1)])
def test_strength_is_the_share_of_the_steps(lab, strength, count):
    times = inpainting.times_from(lab.decoder.abar, 10, strength)
    assert times == levels(lab.decoder.abar, 10)[-1 - count :]


@pytest.mark.parametrize(
    ("rows", "columns", "cells"),
    [
        ((4, 12), (6, 14), [[row, column] for row in (1, 2) for column in (1, 2, 3)]),
        ((4, 8), (7, 13), [[1, 2]]),
        ((5, 6), (17, 26), [[1, 4], [1, 5], [1, 6]]),
    ],
    ids=["half of a cell", "less than half beside others", "a thin line"],
)
def test_a_cell_of_the_grid_is_painted_where_half_of_it_is_and_a_thin_line_takes_what_it_touches(
    lab, rows, columns, cells
):
    pixels = torch.zeros(1, 1, 32, 32).bool()
    pixels[..., slice(*rows), slice(*columns)] = True
    grid = inpainting.on_grid(pixels, lab.decoder)  # 4 × 4 pixels a cell
    assert grid.nonzero()[:, 2:].tolist() == cells


def test_a_border_beside_the_edge_of_the_picture_still_tells_what_lies_outside(lab):
    """A mask of 0.8 of the side once covered every cell of 8 × 8, and the background was painted in another colour."""
    pixels = torch.zeros(1, 1, 64, 64).bool()
    pixels[..., 6:-6, 6:-6] = True
    assert int(inpainting.on_grid(pixels, lab.decoder).sum()) == 36


def test_a_continuation_keeps_what_is_known_and_stays_between_its_extremes(normal, mask):
    values = normal(3, 2, 8, 8)
    whole = inpainting.continued(values, mask)
    assert torch.equal(whole.where(~mask, 0), values.where(~mask, 0))
    known = values.where(~mask, torch.nan).flatten(2)
    low, high = known.nan_to_num(nan=99).amin(2), known.nan_to_num(nan=-99).amax(2)
    assert (whole.flatten(2).amin(2) >= low - 1e-9).all() and (whole.flatten(2).amax(2) <= high + 1e-9).all()
    constant = inpainting.continued(torch.where(mask, 5.0, torch.full((1, 1, 8, 8), 0.25)), mask)
    torch.testing.assert_close(constant, torch.full_like(constant, 0.25))
    assert not inpainting.continued(values, mask | True).any()


def test_what_the_first_stage_shifts_is_taken_off_near_the_border_alone_and_the_outside_is_exact(normal, mask):
    original = 0.2 * normal(1, 3, 24, 24)
    mask = torch.zeros(1, 1, 24, 24).bool()
    mask[..., 12:] = True
    shift = torch.tensor([0.1, -0.2, 0.3]).view(3, 1, 1)
    change = inpainting.composed(original + shift, original, mask, reach=4) - original
    share = (change / shift)[..., 12, 12:]
    torch.testing.assert_close(share[..., 4:], torch.ones_like(share[..., 4:]))
    wanted = share.new_tensor([0, 1 / 4])  # 4 and 3 of their 9 columns are outside
    torch.testing.assert_close(share[..., :2], wanted.expand_as(share[..., :2]))
    other = inpainting.composed(normal(3, 3, 24, 24), original, mask, reach=4)
    assert torch.equal(other.where(~mask, 0), original.where(~mask, 0).expand_as(other))


def test_the_seam_is_the_change_across_the_border_alone(mask):
    pixels = torch.where(mask, 0.5, torch.zeros(2, 3, 8, 8))
    pixels[1] *= 2
    torch.testing.assert_close(inpainting.seam(pixels, mask), torch.tensor([0.5, 1.0]))
    inner = torch.zeros_like(mask)
    inner[..., 2, 3:6] = True
    assert not inpainting.seam(pixels, inner).any()


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.2, float("nan")])
def test_a_strength_outside_0_to_1_is_refused(lab, strength):
    with pytest.raises(UserError, match=r"strength is .*: give a number above 0 and up to 1"):
        inpainting.times_from(lab.decoder.abar, 10, strength)


@pytest.mark.parametrize(
    ("side", "resamplings", "message"), [(8, 0, "resamplings is 0"), (16, 1, r"mask is .*on_grid\(mask, decoder\)")]
)
def test_a_mask_of_another_grid_and_no_resampling_are_refused(lab, cond, x_0, side, resamplings, message):
    mask = torch.ones(1, 1, side, side).bool()
    with pytest.raises(UserError, match=message):
        painted(lab.decoder, cond, mask, lambda t: x_0, x_0, [500, CLEAN], resamplings=resamplings)
