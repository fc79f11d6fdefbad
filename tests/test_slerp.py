"""Angles and slerp: the ends, even steps, precision, and vectors that are refused."""

import math

import numpy as np
import pytest
import torch

from latentlab.errors import UserError
from latentlab.slerp import angle, normalize, slerp

THETAS = [0.0, 0.1, 0.25, 0.5, 0.8, 1.0]


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def at_angle(degrees, lengths=(1.0, 1.0)):
    """Two vectors in three dimensions with that angle between them."""
    radians = math.radians(degrees)
    a = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[math.cos(radians), math.sin(radians), 0.0]], dtype=torch.float64)
    return a * lengths[0], b * lengths[1]


def test_normalize_gives_unit_length_and_keeps_the_direction(normal):
    z = normal(4, 7) * 100
    close(normalize(z).norm(dim=-1), torch.ones(4, dtype=torch.float64))
    close(normalize(z) * z.norm(dim=-1, keepdim=True), z)


def test_normalize_leaves_a_zero_vector_at_zero():
    assert torch.equal(normalize(torch.zeros(2, 5)), torch.zeros(2, 5))


@pytest.mark.parametrize("degrees", [0.0, 1e-9, 1e-4, 0.5, 30, 90, 150, 179.999, 180 - 1e-7, 180])
def test_angle_is_exact_however_small_or_nearly_opposite(degrees):
    a, b = at_angle(degrees, (3.0, 0.2))
    assert angle(a, b).item() == pytest.approx(math.radians(degrees), rel=1e-12, abs=1e-15)


def test_angle_is_numpys_arccos_in_general_position(normal):
    a, b = normal(5, 9), normal(5, 9)
    cosine = (a * b).sum(-1) / a.norm(dim=-1) / b.norm(dim=-1)
    close(angle(a, b), torch.from_numpy(np.arccos(cosine.numpy())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slerp_starts_at_a_and_ends_at_b(normal, dtype):
    a, b = normal(6, 11).to(dtype) * 9, normal(6, 11).to(dtype) / 7
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(slerp(a, b, 0.0), a, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(slerp(a, b, 1.0), b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("theta", THETAS)
def test_slerp_between_equal_vectors_stays_there(normal, theta):
    a = normal(3, 8)
    close(slerp(a, a, theta), a)


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("degrees", [1e-6, 1.0, 60, 90, 179])
def test_slerp_turns_by_theta_times_the_whole_angle(theta, degrees):
    a, b = at_angle(degrees, (2.0, 5.0))
    interpolated = slerp(a, b, theta)
    assert angle(a, interpolated).item() == pytest.approx(theta * math.radians(degrees), rel=1e-9, abs=1e-15)
    assert angle(interpolated, b).item() == pytest.approx((1 - theta) * math.radians(degrees), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("theta", THETAS)
def test_the_length_of_slerp_goes_linearly_from_a_to_b(normal, theta):
    a, b = normal(4, 6), normal(4, 6) * 12
    close(slerp(a, b, theta).norm(dim=-1), torch.lerp(a.norm(dim=-1), b.norm(dim=-1), theta))


@pytest.mark.parametrize("theta", THETAS)
def test_slerp_is_the_textbook_formula(normal, theta):
    a, b = normalize(normal(4, 6)), normalize(normal(4, 6))
    omega = torch.arccos((a * b).sum(-1, keepdim=True))
    wanted = (torch.sin((1 - theta) * omega) * a + torch.sin(theta * omega) * b) / torch.sin(omega)
    close(slerp(a, b, theta), wanted)


@pytest.mark.parametrize("theta", THETAS)
def test_slerp_backwards_is_the_same_arc(normal, theta):
    a, b = normal(2, 5), normal(2, 5)
    close(slerp(a, b, theta), slerp(b, a, 1 - theta))


def test_slerp_keeps_float64_digits_between_nearly_equal_vectors(normal):
    a = normal(1, 16)
    step = normal(1, 16) * 1e-10
    close(slerp(a, a + step, 0.5) - a, step / 2, 1e-15)  # arccos of the dot product would give an angle of exactly 0


def test_slerp_takes_a_theta_for_each_row(normal):
    a, b, theta = normal(3, 7), normal(3, 7), torch.tensor([[0.0], [0.3], [0.9]])
    rows = [slerp(a[k : k + 1], b[k : k + 1], float(theta[k])) for k in range(3)]
    torch.testing.assert_close(slerp(a, b, theta), torch.cat(rows), rtol=1e-6, atol=1e-6)


def test_slerp_broadcasts_one_vector_against_many_and_many_thetas(normal):
    a, b = normal(1, 7), normal(4, 7)
    close(slerp(a, b, 0.4), slerp(a.expand(4, 7), b, 0.4))
    assert slerp(a, b[:, None], torch.linspace(0, 1, 5).view(5, 1)).shape == (4, 5, 7)


def test_slerp_refuses_opposite_directions_even_in_one_row_of_a_batch(normal):
    a = normal(3, 5)
    b = torch.cat([normal(2, 5), -2 * a[2:]])
    with pytest.raises(UserError, match=r"opposite directions.*third point"):
        slerp(a, b, 0.5)


@pytest.mark.parametrize("zero_first", [True, False])
def test_slerp_refuses_a_zero_vector_even_in_one_row_of_a_batch(normal, zero_first):
    full, holed = normal(2, 5), torch.cat([normal(1, 5), torch.zeros(1, 5, dtype=torch.float64)])
    with pytest.raises(UserError, match="zero vector"):
        slerp(*((holed, full) if zero_first else (full, holed)), 0.5)
