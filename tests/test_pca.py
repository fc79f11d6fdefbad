"""Directions: scikit-learn's PCA for any shards, identities, traversals, names, files, and what is refused."""

import functools

import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA

import latentlab
from latentlab.analysis.covariance import Moments
from latentlab.analysis.pca import Directions
from latentlab.errors import UserError
from latentlab.slerp import normalize

N, D = 50, 9


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def same(a, b):
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("mean", "components", "variance")) and (
        (a.total, a.count) == (b.total, b.count)
    )


@pytest.fixture
def z(normal):
    """Fifty z_i with a different variance along each of nine oblique axes, far from zero."""
    axes, _ = torch.linalg.qr(normal(D, D))
    return normal(N, D) * torch.arange(D, 0, -1.0) @ axes + 20 * normal(1, D)


@pytest.fixture
def fitted(z):
    return Directions.fit(z)


@pytest.fixture
def oracle(z):
    return PCA(svd_solver="full").fit(z.numpy())


# Scikit-learn's PCA


def test_components_are_scikit_learns_up_to_their_sign(fitted, oracle):
    wanted = torch.from_numpy(oracle.components_)
    close((fitted.components * wanted).sum(1).abs(), torch.ones(D, dtype=torch.float64))


def test_mean_and_variances_are_scikit_learns(fitted, oracle):
    close(fitted.mean, torch.from_numpy(oracle.mean_))
    close(fitted.variance, torch.from_numpy(oracle.explained_variance_))
    close(fitted.shares[1:], torch.from_numpy(oracle.explained_variance_ratio_).cumsum(0))


@pytest.mark.parametrize("n", [1, 4, D])
def test_projections_and_reconstructions_are_scikit_learns(z, normal, n):
    oracle, other = PCA(n, svd_solver="full").fit(z.numpy()), normal(7, D) + z[:7]
    fitted = Directions.fit(z, n)
    projected, wanted = fitted.project(other), torch.from_numpy(oracle.transform(other.numpy()))
    assert projected.shape == (7, n)
    signs = (fitted.components * torch.from_numpy(oracle.components_)).sum(1).sign()
    close(projected, wanted * signs)
    close(fitted.reconstruct(other, n), torch.from_numpy(oracle.inverse_transform(wanted.numpy())))


@pytest.mark.parametrize("rows", [2, 5, D, D + 1])
def test_few_pictures_span_one_direction_fewer_as_in_scikit_learn(z, rows):
    oracle, fitted = PCA(rows - 1, svd_solver="full").fit(z[:rows].numpy()), Directions.fit(z[:rows])
    assert len(fitted) == rows - 1
    close(fitted.variance, torch.from_numpy(oracle.explained_variance_))


# Shards


def test_moments_are_count_mean_and_scatter(z):
    moments = Moments.of(z)
    assert moments.count == N
    close(moments.mean, z.mean(0))
    close(moments.scatter, z.T.cov() * (N - 1))


@pytest.mark.parametrize("order", ["as given", "sorted", "reversed"])
@pytest.mark.parametrize("sizes", [[25, 25], [1, 49], [49, 1], [7, 0, 20, 3, 20], [1] * N], ids=str)
def test_merged_shards_give_the_moments_of_the_whole_in_any_order(z, order, sizes):
    z = z[z[:, 0].argsort()] if order == "sorted" else z
    shards = [Moments.of(part) for part in z.split(sizes)]
    shards = shards[::-1] if order == "reversed" else shards
    moments, whole = functools.reduce(Moments.merge, shards), Moments.of(z)
    assert moments.count == N
    close(moments.mean, whole.mean)
    close(moments.scatter, whole.scatter)


def test_merging_changes_neither_part(z):
    a, b = Moments.of(z[:20]), Moments.of(z[20:])
    a.merge(b)
    close(a.scatter, Moments.of(z[:20]).scatter, 0)
    close(b.scatter, Moments.of(z[20:]).scatter, 0)


def test_a_large_mean_loses_no_digits_of_the_scatter(z):
    far = z + 1e6
    merged = Moments.of(far[:20]).update(far[20:])
    torch.testing.assert_close(merged.scatter, Moments.of(z).scatter, rtol=1e-7, atol=1e-5)


def test_the_scatter_does_not_depend_on_how_many_rows_are_centred_at_once(z, monkeypatch):
    whole = Moments.of(z)
    monkeypatch.setattr("latentlab.analysis.covariance.ROWS", 8)
    close(Moments.of(z).scatter, whole.scatter)


@pytest.mark.parametrize("batches", [lambda z: z.split(11), lambda z: iter(z.split(1)), lambda z: [z[:0], z, z[:0]]])
def test_a_fit_of_batches_is_the_fit_of_the_whole(z, fitted, batches):
    from_batches = Directions.fit(batches(z))
    for name in ("mean", "components", "variance"):
        close(getattr(from_batches, name), getattr(fitted, name))
    assert from_batches.count == N


# Identities


def test_components_are_orthonormal_and_their_largest_entry_is_positive(fitted):
    close(fitted.components @ fitted.components.T, torch.eye(D, dtype=torch.float64))
    peak = fitted.components.abs().argmax(1)
    assert (fitted.components[range(D), peak] > 0).all()


def test_the_order_of_the_pictures_changes_no_sign(z, fitted):
    close(Directions.fit(z.flip(0)).components, fitted.components)


def test_projected_pictures_have_no_mean_and_the_variances(z, fitted):
    c = fitted.project(z)
    close(c.mean(0), torch.zeros(D, dtype=torch.float64))
    close(c.T.cov(), fitted.variance.diag())


def test_all_components_give_z_i_back_and_none_the_mean(z, fitted, normal):
    other = normal(4, D) * 30
    close(fitted.reconstruct(other, D), other)
    close(fitted.reconstruct(other, 0), fitted.mean.expand(4, D))


def test_pictures_in_the_span_are_reconstructed_and_others_lose_what_is_orthogonal_to_it(z, normal):
    fitted = Directions.fit(z[:4])
    close(fitted.reconstruct(z[:4], 3), z[:4])
    other = normal(5, D)
    lost = other - fitted.reconstruct(other, 3)
    assert (lost.norm(dim=1) > 0.1).all()
    close(lost @ fitted.components.T, torch.zeros(5, 3, dtype=torch.float64))


@pytest.mark.parametrize("n", range(D + 1))
def test_the_error_of_reconstructing_from_n_components_is_the_unexplained_variance(z, fitted, n):
    lost = (z - fitted.reconstruct(z, n)).square().sum() / (N - 1)
    assert lost.item() == pytest.approx((1 - fitted.explained(n)) * fitted.total, abs=1e-9)


def test_fitting_fewer_components_gives_the_first_ones_and_the_same_total_variance(z, fitted):
    few = Directions.fit(z, 3)
    assert torch.equal(few.components, fitted.components[:3]) and torch.equal(few.variance, fitted.variance[:3])
    assert few.total == fitted.total and few.explained(2) == fitted.explained(2)


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 0.9, 0.99, 1])
def test_needed_is_the_least_n_that_keeps_the_share(fitted, share):
    n = fitted.needed(share)
    assert fitted.explained(n) >= share - 1e-12
    assert n == 0 or fitted.explained(n - 1) < share


def test_rounding_of_the_total_does_not_ask_for_more_components_than_there_are():
    variance = torch.tensor([3.0, 2.0, 1.0])
    fitted = Directions(torch.zeros(3), torch.eye(3), variance, total=6 * (1 + 1e-15), count=9)
    assert fitted.explained(3) < 1 and fitted.needed(1) == 3


def test_variances_of_four_two_and_one_have_shares_of_four_six_and_seven_sevenths():
    z = torch.diag(torch.tensor([2.0, 2.0**0.5, 1.0])).repeat(2, 1)
    z[3:] *= -1
    fitted = Directions.fit(z)
    close(fitted.shares, torch.tensor([0, 4, 6, 7], dtype=torch.float64) / 7, 1e-6)
    assert [fitted.needed(s) for s in (0.5, 0.6, 0.9)] == [1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_results_have_the_dtype_of_their_input(z, fitted, dtype):
    z = z.to(dtype)
    assert Directions.fit(z).components.dtype == torch.float64
    for result in (fitted.project(z), fitted.reconstruct(z, 2), fitted.traverse(z[:1], 0, [1])):
        assert result.dtype == dtype
    torch.testing.assert_close(fitted.reconstruct(z, D), z)


def test_duplicates_and_constant_columns_add_no_direction(z):
    flat = torch.cat([z[:5], z[:5], z[:5]])
    flat[:, 2] = 7.3
    assert len(Directions.fit(flat)) == 4


# Traversals


@pytest.mark.parametrize("k", [0, 3, D - 1])
def test_a_traversal_changes_one_coefficient_by_sigma_standard_deviations(z, fitted, k):
    sigmas = [-2.0, -0.5, 0.0, 1.0, 3.0]
    traversed = fitted.traverse(z[4:5], k, sigmas)
    assert traversed.shape == (5, D)
    wanted = torch.zeros(5, D, dtype=torch.float64)
    wanted[:, k] = torch.tensor(sigmas, dtype=torch.float64) * z_std(fitted, z, k)
    close(fitted.project(traversed) - fitted.project(z[4:5]), wanted)
    close(traversed[2], z[4])


def z_std(fitted, z, k):
    return fitted.project(z)[:, k].std()


def test_sigmas_may_be_a_tensor(z, fitted):
    assert torch.equal(fitted.traverse(z[:1], 1, torch.tensor([-1, 2])), fitted.traverse(z[:1], 1, [-1, 2]))


# Names


@pytest.fixture
def axes():
    """Pictures that differ along the axes 0, 1, 2 of four, most along 0; so component k is axis k."""
    scale = torch.tensor([3.0, 2.0, 1.0])
    return Directions.fit(torch.cat([torch.diag(scale), -torch.diag(scale)]) @ torch.eye(3, 4) + 5)


def vocabulary():
    """A caption at either end of each axis, all of them shifted by the modality gap."""
    ends = torch.cat([torch.eye(3, 4), -torch.eye(3, 4)])
    gap = torch.tensor([0.0, 0.0, 0.0, 2.0])
    return normalize(ends + gap), ["hot", "large", "old", "cold", "small", "new"]


def test_a_component_is_named_by_the_captions_at_its_ends(axes):
    z_t, captions = vocabulary()
    names = axes.name(z_t, captions, top=1)
    assert [name.component for name in names] == [0, 1, 2]
    assert [name.rising[0][0] for name in names] == ["hot", "large", "old"]
    assert [name.falling[0][0] for name in names] == ["cold", "small", "new"]
    for name in names:
        assert name.rising[0][1] == pytest.approx(1) and name.falling[0][1] == pytest.approx(-1)


def test_neither_the_gap_nor_the_length_of_a_caption_changes_a_name(axes):
    z_t, captions = vocabulary()
    scaled = z_t * torch.tensor([1.0, 9, 2, 30, 1, 4])[:, None]
    for names in (axes.name(z_t, captions), axes.name(scaled, captions)):
        assert [[c for c, _ in name.rising] for name in names] == [["hot"], ["large"], ["old"]]
        assert [[c for c, _ in name.falling] for name in names] == [["cold"], ["small"], ["new"]]


def test_scores_are_the_cosines_of_the_centred_directions(fitted, normal):
    z_t = normal(12, D)
    captions = [f"caption {k}" for k in range(12)]
    centred = normalize(z_t) - normalize(z_t).mean(0)
    wanted = torch.cosine_similarity(fitted.components[:, None], centred[None], dim=-1)
    for name, row in zip(fitted.name(z_t, captions, top=12), wanted):
        scores = dict(name.rising) | dict(name.falling)
        assert scores == {c: pytest.approx(s, abs=1e-12) for c, s in zip(captions, row.tolist())}
        assert all(s > 0 for _, s in name.rising) and all(s < 0 for _, s in name.falling)
        for side in (name.rising, name.falling):
            assert [abs(s) for _, s in side] == sorted((abs(s) for _, s in side), reverse=True)


def test_only_the_top_captions_are_named(fitted, normal):
    captions = [str(k) for k in range(40)]
    names = fitted.name(normal(40, D), captions, top=3)
    assert {len(name.rising) for name in names} == {len(name.falling) for name in names} == {3}


def test_a_caption_that_is_the_mean_has_no_direction(axes):
    z_t, captions = vocabulary()
    z_t[:, 3] = 1  # so that all are of one length, and their mean keeps its place when it is normalised
    z_t[:, :3] *= 1e-3
    thing = z_t.mean(0, keepdim=True) + torch.tensor([[1e-8, 0, 0, 0]])
    names = axes.name(torch.cat([z_t, thing]), [*captions, "thing"], top=9)
    assert [c for name in names for c, _ in (*name.rising, *name.falling) if c == "thing"] == []
    assert [name.rising[0][0] for name in names] == ["hot", "large", "old"]


# Files


def test_saved_directions_load_as_they_were_with_their_metadata(z, tmp_path):
    path = tmp_path / "pca of mine.safetensors"
    fitted = Directions.fit(z, 4, metadata={"model": "toy"})
    fitted.save(path, {"folder": "süß 🐶"})
    loaded = Directions.load(path)
    assert same(loaded, fitted) and loaded.metadata == {"model": "toy", "folder": "süß 🐶"}
    assert [p.name for p in tmp_path.iterdir()] == ["pca of mine.safetensors"]


def test_a_failed_save_leaves_the_old_file_as_it_was(fitted, z, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    fitted.save(path)

    def fail(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError("no room")

    monkeypatch.setattr("latentlab.io.atomic.save_file", fail)
    with pytest.raises(UserError, match="can't be written"):
        Directions.fit(z, 2).save(path)
    assert same(Directions.load(path), fitted)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["mean", "components", "variance", "total"])
def test_a_file_with_values_that_are_not_finite_is_refused(fitted, tmp_path, name):
    path = tmp_path / "nan.safetensors"
    fitted.save(path)
    tensors = load_file(path)
    tensors[name].view(-1)[-1] = float("nan")
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"nan\.safetensors holds values that are not finite"):
        Directions.load(path)


def test_other_files_are_refused(fitted, tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(UserError, match=r"is not there: Directions\.fit"):
        Directions.load(path)
    save_file({"z_i": torch.zeros(1, 6)}, path)
    with pytest.raises(UserError, match=r"holds \['z_i'\], a PCA wants mean, components, variance, total and count"):
        Directions.load(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match="not a whole safetensors file"):
        Directions.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": torch.zeros(D + 1)}, r"mean is \(10,\), components are \(9, 9\)"),
        ({"variance": torch.ones(D - 1)}, r"variance is \(8,\)"),
        ({"components": torch.ones(D, D)}, "orthonormal components"),
        ({"variance": torch.zeros(D)}, "positive variance"),
        ({"count": torch.tensor([3, 4])}, "one number as total"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(fitted, tmp_path, change, message):
    path = tmp_path / "odd.safetensors"
    fitted.save(path)
    save_file(load_file(path) | change, path)
    with pytest.raises(UserError, match=message):
        Directions.load(path)


# Refusals


def with_value(z, row, value):
    z = z.clone()
    z[row, 1] = value
    return z


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d, z: Directions.fit(z[:5], 5),
            "n is 5, but 5 pictures of width 9 span 4 directions: give n from 1 to 4",
        ),
        (lambda d, z: Directions.fit(z, D + 1), "span 9 directions"),
        (lambda d, z: Directions.fit(z, 0), "n is 0"),
        (lambda d, z: Directions.fit(z[:1]), "of 1 z_i no two differ"),
        (lambda d, z: Directions.fit(z[:0]), "of 0 z_i no two differ"),
        (lambda d, z: Directions.fit(z[:1].expand(33, -1)), "of 33 z_i no two differ"),
        (lambda d, z: Directions.fit((z[:1] + 1 / 3).expand(33, -1).split(7)), "of 33 z_i no two differ"),
        (lambda d, z: Directions.fit([]), "there is no z_i to fit"),
        (lambda d, z: Directions.fit([z, z[:, :8]]), "width 8 beside others of width 9"),
        (lambda d, z: Directions.fit(z[0]), r"z_i is torch.float64 \(9,\), wanted a tensor of floats \(B, D\)"),
        (lambda d, z: Directions.fit(z[:, :0]), r"z_i is torch.float64 \(50, 0\)"),
        (lambda d, z: Directions.fit(z.long()), r"z_i is torch.int64 \(50, 9\)"),
        (lambda d, z: Directions.fit(z.tolist()), "z_i is list"),
        (lambda d, z: Directions.fit(with_value(z, 6, float("nan"))), "not finite in row 6"),
        (lambda d, z: Directions.fit(with_value(z, [6, 8], float("inf"))), "not finite in 2 rows, the first is 6"),
        (lambda d, z: d.project(z[:, :8]), "z_i has width 8, wanted 9"),
        (lambda d, z: d.project(with_value(z, 6, float("inf"))), "not finite in row 6"),
        (lambda d, z: d.reconstruct(z[:, :8], 2), "z_i has width 8, wanted 9"),
        (lambda d, z: d.reconstruct(z, D + 1), "n is 10: give how many components to keep, from 0 to 9"),
        (lambda d, z: d.reconstruct(z, -1), "n is -1"),
        (lambda d, z: d.explained(D + 1), "n is 10"),
        (lambda d, z: d.traverse(z[:1], D, [1]), "component is 9: give one from 0 to 8"),
        (lambda d, z: d.traverse(z[:1], -1, [1]), "component is -1"),
        (lambda d, z: d.traverse(z[:2], 0, [1]), r"z_i is \(2, 9\), a traversal wants \(1, 9\)"),
        (lambda d, z: d.traverse(z[:1], 0, []), "sigmas are"),
        (lambda d, z: d.traverse(z[:1], 0, [float("nan")]), "sigmas are"),
        (lambda d, z: d.traverse(z[:1], 0, 2.0), "sigmas are"),
        (lambda d, z: d.needed(1.1), "share is 1.1"),
        (lambda d, z: Directions.fit(z, 1).needed(1.0), "the first 1 keep .*, not 1.0: fit with a larger n"),
        (lambda d, z: d.name(z[:2], ["one"]), r"len\(captions\) is 1, len\(z_t\) is 2"),
        (lambda d, z: d.name(z[:2, :8], ["a", "b"]), "z_t has width 8, wanted 9"),
        (lambda d, z: d.name(z[:2], ["a", "b"], top=0), "top is 0"),
        (lambda d, z: d.name(z[:1].expand(3, -1), ["a", "b", "c"]), "of 3 z_t no two differ"),
        (lambda d, z: d.name(z[:0], []), "of 0 z_t no two differ"),
        (lambda d, z: d.name(with_value(z[:2], 1, float("nan")), ["a", "b"]), "z_t is not finite in row 1"),
    ],
)
def test_impossible_arguments_are_refused_with_what_is_possible(fitted, z, call, message):
    with pytest.raises(UserError, match=message):
        call(fitted, z)


def test_directions_are_a_public_name():
    assert Directions is Directions and latentlab.analysis.pca.Directions is Directions


def test_directions_are_frozen_and_their_repr_gives_size_and_variance(z):
    fitted = Directions.fit(z, 3)
    with pytest.raises(AttributeError):
        fitted.mean = fitted.mean + 1
    assert repr(fitted) == f"Directions(3 of width 9, {fitted.explained(3):.1%} of the variance of 50 pictures)"
    assert len(fitted) == 3
