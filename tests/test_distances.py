"""Distances of clouds: closed forms on Gaussians, scipy's matrix root, and what must not change a distance."""

import math

import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import special_ortho_group

from latentlab.analysis.distances import cmmd, compared, frechet, jackknife, recalled
from latentlab.errors import UserError
from latentlab.slerp import normalize


@pytest.fixture
def clouds(normal):
    """Two clouds of unequal sizes about unequal directions: (60, 5) and (90, 5)."""
    return normal(60, 5) + 2, normal(90, 5) * torch.tensor([1, 0.5, 2, 1, 0.3]) + torch.tensor([2, 2, 1, 3, 2.0])


def test_frechet_is_the_formula_with_scipys_matrix_root(clouds):
    x, y = (normalize(c).numpy() for c in clouds)
    cov_x, cov_y = (torch.from_numpy(c).T.cov().numpy() for c in (x, y))
    root = sqrtm(cov_x @ cov_y).real
    wanted = ((x.mean(0) - y.mean(0)) ** 2).sum() + (cov_x + cov_y - 2 * root).trace()
    assert frechet(*clouds) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("distance", [frechet, cmmd])
def test_distances_do_not_depend_on_order_length_or_rotation(clouds, distance):
    x, y = clouds
    turn = torch.from_numpy(special_ortho_group.rvs(5, random_state=1))
    wanted = distance(x, y)
    assert distance(y, x) == pytest.approx(wanted, rel=1e-6)
    assert distance(3 * x, y * torch.rand(90, 1, dtype=torch.float64).add(0.1)) == pytest.approx(wanted, rel=1e-6)
    assert distance(x @ turn, y @ turn) == pytest.approx(wanted, rel=1e-6)


def test_frechet_of_a_cloud_with_itself_is_zero(clouds):
    assert frechet(clouds[0], clouds[0]) == pytest.approx(0, abs=1e-6)


def test_frechet_of_a_shifted_cloud_is_the_shift_squared():
    # Directions on a great circle near the pole: a turn about it moves the mean and keeps the covariance's spectrum.
    a = torch.tensor([[0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1]], dtype=torch.float64)
    height = (1 - a.square().sum(1, keepdim=True)).sqrt()
    up, down = torch.cat([a, height], 1), torch.cat([a, -height], 1)
    assert frechet(up, down) == pytest.approx(float((2 * height.mean()) ** 2), rel=1e-9)


def test_cmmd_is_the_double_sum_over_pairs(clouds):
    x, y = (normalize(c[:7]) for c in clouds)

    def k(a, b):
        return math.exp(-float((a - b).square().sum()) / 200)

    same = sum(k(a, b) for c in (x, y) for i, a in enumerate(c) for j, b in enumerate(c) if i != j) / 42
    assert cmmd(x, y) == pytest.approx(1000 * (same - 2 * sum(k(a, b) for a in x for b in y) / 49), rel=1e-6)


def test_cmmd_between_two_halves_of_one_cloud_is_zero_on_average(rng):
    distances = []
    for _ in range(200):
        x = torch.randn(40, 6, generator=rng, dtype=torch.float64) + 1
        distances.append(cmmd(x[:20], x[20:]))
    distances = torch.tensor(distances)
    assert abs(distances.mean()) < 4 * distances.std() / 200**0.5


def test_a_cloud_recalls_all_of_itself_and_nothing_that_is_far_away(clouds):
    x, _ = clouds
    assert recalled(x, x).all()
    assert not recalled(-x[:, :5], x).any()


def test_recall_reaches_exactly_as_far_as_the_kth_neighbour():
    angle = torch.tensor([0.0, 0.1, 0.3, 0.6], dtype=torch.float64)  # neighbours of the first at 0.1 and 0.3
    generated = torch.stack([angle.cos(), angle.sin()], 1)
    angles = torch.tensor([-0.09, -0.11, -0.29, -0.31], dtype=torch.float64)
    real = torch.stack([angles.cos(), angles.sin()], 1)
    assert recalled(real, generated[[0, 1]].repeat(1, 1), neighbours=1).tolist() == [True, False, False, False]
    assert recalled(real, generated, neighbours=2).tolist() == [True, True, True, False]


def test_the_jackknife_of_a_mean_is_its_standard_error(normal):
    x = normal(400, 1).abs() + 1
    y = torch.ones(400, 1, dtype=torch.float64)

    def gap(a, b):
        return (a.mean() - b.mean()).item()

    row = jackknife(gap, x, y, signal="x")
    assert row["value"] == pytest.approx(gap(x, y), rel=1e-3)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(2.09 * x.std().item() / 20, rel=0.5)
    assert row["n"] == 400 and row["signal"] == "x"


def test_the_jackknife_counts_several_draws_of_one_picture_as_one(normal):
    x, y = normal(60, 3) + 2, normal(60, 3) + 2

    def gap(a, b):
        return (a.mean(0) - b.mean(0)).norm().item()

    once, thrice = jackknife(gap, x, y), jackknife(gap, x, y.repeat_interleave(3, 0))
    assert (thrice["low"], thrice["high"]) == pytest.approx((once["low"], once["high"]), rel=1e-5)


@pytest.mark.parametrize("distance", [frechet, cmmd, recalled, lambda a, b: jackknife(frechet, a, b)])
def test_clouds_of_different_widths_or_too_few_points_are_refused(distance, normal):
    with pytest.raises(UserError, match="of one D"):
        distance(normal(50, 3), normal(50, 4))
    with pytest.raises(UserError, match="at least"):
        distance(normal(1, 3), normal(50, 3))


def test_every_kind_has_the_recall_of_its_own_pictures(clouds):
    real, generated = clouds
    kinds = ["a", "b", "b"] * 20
    rows = list(compared(real, generated, kinds, signal="prior"))
    assert [row["quantity"] for row in rows] == ["Fréchet distance", "CMMD", "recall", *["recall of a kind"] * 2]
    reached, own = recalled(real, generated).float(), torch.tensor([kind == "a" for kind in kinds])
    shares = reached.mean(), reached[own].mean(), reached[~own].mean()
    wanted = [frechet(real, generated), cmmd(real, generated), *shares]
    assert [row["value"] for row in rows] == pytest.approx([float(value) for value in wanted], abs=1e-4)
    assert all(row["signal"] == "prior" for row in rows) and [row.get("kind") for row in rows[3:]] == ["a", "b"]
