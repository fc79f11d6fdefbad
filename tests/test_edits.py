"""Interpolation and text diff: ends, lengths, even turns, NumPy's numbers, the order of the rows, and refusals."""

import numpy as np
import pytest
import torch
from conftest import as_dictionary

from latentlab.edits import interpolate, move, text_diff
from latentlab.errors import UserError
from latentlab.latents import Latent
from latentlab.slerp import angle, normalize

THETAS = [0.0, 0.1, 0.35, 0.5, 1.0]
SHAPE = (3, 5, 8)  # not square


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def oracle(a, b, theta):
    """The textbook's slerp of two float64 vectors; the length is interpolated linearly."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    length_a, length_b = np.linalg.norm(a), np.linalg.norm(b)
    omega = np.arccos(a @ b / (length_a * length_b))
    direction = np.sin((1 - theta) * omega) * a / length_a + np.sin(theta * omega) * b / length_b
    return direction / np.sin(omega) * ((1 - theta) * length_a + theta * length_b)


@pytest.fixture
def ends(normal):
    """Two pictures' latents, the second z_i three times as long."""
    return Latent(normal(1, 12), normal(1, *SHAPE)), Latent(3 * normal(1, 12), normal(1, *SHAPE))


@pytest.fixture
def latent(normal):
    """Three pictures' latents, z_i of different lengths."""
    return Latent(normal(3, 12) * torch.tensor([[1.0], [5.0], [0.2]]), normal(3, *SHAPE))


@pytest.fixture
def captions(normal):
    return normal(1, 12), normal(1, 12)


def test_interpolate_and_text_diff_are_public_names():
    assert interpolate is interpolate and text_diff is text_diff


# Interpolation


def test_interpolation_starts_at_one_picture_and_ends_at_the_other(ends):
    interpolated = interpolate(*ends, [0.0, 1.0])
    for row, end in zip(interpolated, ends):
        close(row.z_i, end.z_i)
        close(row.x_T, end.x_T)


@pytest.mark.parametrize("theta", THETAS)
def test_interpolation_is_numpys_slerp_of_z_i_and_of_all_of_x_T(ends, theta):
    a, b = ends
    interpolated = interpolate(a, b, theta)
    assert interpolated.z_i.shape == (1, 12) and interpolated.x_T.shape == (1, *SHAPE)
    close(interpolated.z_i[0], torch.from_numpy(oracle(a.z_i, b.z_i, theta)))
    close(interpolated.x_T.flatten(), torch.from_numpy(oracle(a.x_T, b.x_T, theta)))


def test_interpolation_turns_evenly(ends):
    a, b = ends
    thetas = torch.linspace(0, 1, 9)
    interpolated = interpolate(a, b, thetas)
    close(angle(a.z_i, interpolated.z_i), thetas.double() * angle(a.z_i, b.z_i), 1e-7)
    flat = interpolated.x_T.flatten(1)
    close(angle(a.x_T.flatten(1), flat), thetas.double() * angle(a.x_T.flatten(1), b.x_T.flatten(1)), 1e-7)


def test_the_length_of_z_i_goes_linearly(ends):
    a, b = ends
    thetas = torch.tensor(THETAS, dtype=torch.float64)
    close(interpolate(a, b, thetas).z_i.norm(dim=-1), torch.lerp(a.z_i.norm(), b.z_i.norm(), thetas))


def test_interpolated_noise_stays_in_the_shell_where_gaussian_noise_lies(normal):
    a, b = (Latent(normal(1, 4), normal(1, 4, 32, 48)) for _ in range(2))
    dims = 4 * 32 * 48
    norms = interpolate(a, b, torch.linspace(0, 1, 9)).x_T.flatten(1).norm(dim=-1)
    assert ((norms - dims**0.5).abs() < 4 * 0.5**0.5).all()  # |x| of N(0, 1) is √D, give or take √½
    straight = torch.lerp(a.x_T, b.x_T, 0.5).norm()  # which falls into the hole in the middle
    assert straight < 0.75 * dims**0.5


def test_a_fixed_x_T_stays_and_z_i_is_still_interpolated(ends, normal):
    fixed = normal(1, *SHAPE)
    interpolated = interpolate(*ends, THETAS, noise=fixed)
    assert torch.equal(interpolated.x_T, fixed.expand(len(THETAS), -1, -1, -1))
    assert torch.equal(interpolated.z_i, interpolate(*ends, THETAS).z_i)


def test_an_interpolation_backwards_is_the_same_path(ends):
    thetas = torch.tensor(THETAS, dtype=torch.float64)
    there, back = interpolate(*ends, thetas), interpolate(*ends[::-1], 1 - thetas)
    close(there.z_i, back.z_i)
    close(there.x_T, back.x_T)


@pytest.mark.parametrize("theta", [0.25, [0.25], (0.25,), torch.tensor(0.25), torch.tensor([0.25])])
def test_theta_may_be_a_number_a_list_or_a_tensor(ends, latent, captions, theta):
    assert torch.equal(interpolate(*ends, theta).z_i, interpolate(*ends, torch.tensor([0.25])).z_i)
    assert len(text_diff(latent, *captions, theta)) == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_lower_precision_rounds_only_the_result(ends, captions, dtype):
    exact = [e.to(dtype).to(torch.float64) for e in ends]
    captions, fine = [z.to(dtype) for z in captions], [z.to(dtype).double() for z in captions]
    pairs = [
        (interpolate(*(e.to(dtype) for e in ends), THETAS), interpolate(*exact, THETAS)),
        (text_diff(ends[0].to(dtype), *captions, THETAS), text_diff(exact[0], *fine, THETAS)),
    ]
    for rounded, wanted in pairs:
        rounding = {"rtol": torch.finfo(dtype).eps, "atol": 1e-6}
        torch.testing.assert_close(rounded.z_i, wanted.z_i.to(dtype), **rounding)
        torch.testing.assert_close(rounded.x_T, wanted.x_T.to(dtype), **rounding)


@pytest.mark.parametrize("which", ["a", "b"])
def test_more_than_one_row_is_refused_by_name(ends, latent, which):
    pair = (latent, ends[1]) if which == "a" else (ends[0], latent)
    with pytest.raises(UserError, match=rf"{which} has 3 rows, wanted one: {which}\[0\]"):
        interpolate(*pair, 0.5)


@pytest.mark.parametrize("shapes", [((1, 11), (1, *SHAPE)), ((1, 12), (1, 3, 8, 5))], ids=["z_i", "x_T"])
def test_latents_of_two_models_are_refused_with_both_shapes(ends, normal, shapes):
    other = Latent(*(normal(*shape) for shape in shapes))
    with pytest.raises(UserError, match=r"a is Latent\(.*\) and b is Latent\(.*\), wanted the same.*one model"):
        interpolate(ends[0], other, 0.5)


@pytest.mark.parametrize("shape", [(2, *SHAPE), SHAPE, (1, 3, 8, 5)])
def test_a_fixed_x_T_of_another_shape_is_refused(ends, normal, shape):
    with pytest.raises(UserError, match=r"noise is .*, wanted \(1, 3, 5, 8\)"):
        interpolate(*ends, 0.5, noise=normal(*shape))


def test_an_unknown_kind_of_noise_is_refused(ends):
    with pytest.raises(UserError, match="noise is 'lerp': give 'slerp', or the x_T"):
        interpolate(*ends, 0.5, noise="lerp")


@pytest.mark.parametrize("part", ["z_i", "x_T"])
def test_opposite_ends_are_refused(ends, part):
    a, b = ends
    b = Latent(-a.z_i, b.x_T) if part == "z_i" else Latent(b.z_i, -2 * a.x_T)
    with pytest.raises(UserError, match="opposite directions"):
        interpolate(a, b, 0.5)


@pytest.mark.parametrize("theta", [-0.01, 1.01, [0.5, 2.0], float("nan"), torch.tensor([0.0, float("inf")])])
def test_a_theta_outside_0_to_1_is_refused(ends, latent, captions, theta):
    for edit in (lambda: interpolate(*ends, theta), lambda: text_diff(latent, *captions, theta)):
        with pytest.raises(UserError, match=r"theta is .*, wanted fractions of the arc, from 0 to 1"):
            edit()


@pytest.mark.parametrize("theta", [[], torch.zeros(2, 1)], ids=["none", "(2, 1)"])
def test_a_theta_of_another_shape_is_refused(ends, latent, captions, theta):
    for edit in (lambda: interpolate(*ends, theta), lambda: text_diff(latent, *captions, theta)):
        with pytest.raises(UserError, match=r"theta is \(.*\), wanted a number or \(T,\): torch\.linspace"):
            edit()


# Text diff


def test_text_diff_at_0_is_the_picture_itself(latent, captions):
    edited = text_diff(latent, *captions, 0.0)
    close(edited.z_i, latent.z_i)
    assert torch.equal(edited.x_T, latent.x_T)


def test_text_diff_at_1_points_from_one_caption_to_the_other(latent, captions):
    z_t0, z_t = captions
    edited = text_diff(latent, z_t0, z_t, 1.0)
    close(normalize(edited.z_i), normalize(z_t - z_t0).expand(3, -1))


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("rows", [1, 3])
def test_text_diff_is_numpys_slerp_towards_the_difference(latent, normal, theta, rows):
    z_t0, z_t = normal(1, 12), normal(rows, 12)
    edited = text_diff(latent, z_t0, z_t, theta)
    for k in range(3):
        z_i, change = latent.z_i[k].numpy(), (z_t[k % rows] - z_t0[0]).numpy()
        wanted = oracle(z_i, change / np.linalg.norm(change) * np.linalg.norm(z_i), theta)
        close(edited.z_i[k], torch.from_numpy(wanted))


def test_text_diff_keeps_the_length_of_z_i_and_turns_evenly(latent, captions):
    thetas = torch.linspace(0, 0.5, 6)
    edited = text_diff(latent, *captions, thetas)
    close(edited.z_i.norm(dim=-1), latent.z_i.norm(dim=-1).repeat_interleave(6))
    whole = angle(latent.z_i, captions[1] - captions[0])
    turned = angle(edited.z_i, latent.z_i.repeat_interleave(6, 0)).view(3, 6)
    torch.testing.assert_close(turned, whole[:, None] * thetas.double(), rtol=1e-7, atol=1e-7)


def test_text_diff_gives_all_thetas_of_the_first_latent_first(latent, captions):
    edited = text_diff(latent, *captions, THETAS)
    assert len(edited) == 3 * len(THETAS)
    for b in range(3):
        for k, theta in enumerate(THETAS):
            alone, row = text_diff(latent[b], *captions, theta), edited[b * len(THETAS) + k]
            close(row.z_i, alone.z_i)
            assert torch.equal(row.x_T, latent.x_T[b : b + 1])


def test_only_the_difference_of_the_captions_matters_and_not_its_length(latent, captions, normal):
    z_t0, z_t = captions
    shift = normal(1, 12)
    close(text_diff(latent, z_t0 + shift, z_t + shift, 0.3).z_i, text_diff(latent, z_t0, z_t, 0.3).z_i)
    close(text_diff(latent, 7 * z_t0, 7 * z_t, 0.3).z_i, text_diff(latent, z_t0, z_t, 0.3).z_i)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_two_equal_captions_are_refused_even_when_the_last_digit_differs(latent, captions, dtype):
    z_t = captions[0].to(dtype).expand(3, -1)
    again = z_t * (1 + 2 * torch.finfo(dtype).eps)
    for z_t0 in (z_t, again):
        with pytest.raises(UserError, match=r"one embedding, so there is no direction.*say different things"):
            text_diff(latent.to(dtype), z_t0, z_t, 0.3)


def test_one_pair_of_equal_captions_among_others_is_refused(latent, normal):
    z_t0, z_t = normal(3, 12), normal(3, 12)
    z_t[1] = z_t0[1]
    with pytest.raises(UserError, match="one embedding"):
        text_diff(latent, z_t0, z_t, 0.3)


@pytest.mark.parametrize("which", ["z_t0", "z_t"])
@pytest.mark.parametrize("shape", [(1, 11), (2, 12), (12,)])
def test_captions_of_another_shape_are_refused_by_name(latent, normal, which, shape):
    embeddings = {"z_t0": normal(1, 12), "z_t": normal(3, 12), which: normal(*shape)}
    with pytest.raises(UserError, match=rf"{which} is \({', '.join(map(str, shape))},?\), wanted \(1 or 3, 12\)"):
        text_diff(latent, theta=0.3, **embeddings)


def test_a_z_i_opposite_to_the_change_is_refused(latent, captions):
    z_t0, z_t = captions
    with pytest.raises(UserError, match="opposite directions"):
        text_diff(Latent(z_t0 - z_t, latent.x_T[:1]), z_t0, z_t, 0.3)


def test_a_move_along_several_directions_is_the_sum_of_the_moves_along_each(directions, normal):
    z_i = normal(1, 12)
    moves = [(directions, 0, 1.5), (directions, 2, -0.5), (as_dictionary(directions), 3, 2.0)]
    steps = [d.traverse(z_i, k, [distance]) - z_i for d, k, distance in moves]
    close(move(z_i, moves), z_i + sum(steps))
    assert torch.equal(move(z_i, []), z_i)


def test_a_move_along_a_direction_that_is_not_there_is_refused(directions, normal):
    with pytest.raises(UserError, match="component"):
        move(normal(1, 12), [(directions, 99, 1.0)])
