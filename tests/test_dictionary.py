"""The dictionary: planted features are found, and what is saved, named and moved keeps its meaning."""

from __future__ import annotations

import pytest
import torch

from latentlab import UserError
from latentlab.analysis import dictionary, sparse_autoencoder
from latentlab.analysis.dictionary import Dictionary
from latentlab.slerp import normalize

PLANTED, WIDTH = 12, 16


@pytest.fixture(scope="module")
def planted():
    """z_i (N, D) that are sums of two of twelve unit vectors, far from the origin; and the vectors."""
    generator = torch.Generator().manual_seed(5)
    vectors = normalize(torch.randn(PLANTED, WIDTH, generator=generator))
    chosen = torch.rand(3000, PLANTED, generator=generator).argsort(1)[:, :2]
    amounts = torch.zeros(3000, PLANTED).scatter(1, chosen, 0.5 + torch.rand(3000, 2, generator=generator))
    return 7 + amounts @ vectors, vectors


@pytest.fixture(scope="module")
def fitted(planted):
    return sparse_autoencoder.fit(planted[0], 24, 3, steps=900, batch=256, rate=5e-3)


def test_planted_features_are_recovered(planted, fitted):
    _, vectors = planted
    nearest = (vectors @ fitted.features.T).amax(1)
    assert (nearest > 0.9).float().mean() > 0.8
    assert fitted.explained > 0.9


def test_no_row_has_more_active_features_than_asked_and_the_frequencies_count_them(planted, fitted):
    a = fitted.encode(planted[0])
    assert int((a > 0).sum(1).max()) <= 3 and (a >= 0).all()
    torch.testing.assert_close((a > 0).float().mean(0), fitted.frequency)
    error = (planted[0] - fitted.reconstruct(planted[0])).square().sum()
    total = (planted[0] - planted[0].mean(0)).square().sum()
    assert 1 - float(error / total) == pytest.approx(fitted.explained, abs=1e-3)


def test_batches_of_a_file_and_one_tensor_give_the_same_dictionary_by_the_same_seed(planted):
    z_i = planted[0][:512]
    params = {"steps": 12, "batch": 64}
    whole = sparse_autoencoder.fit(z_i, 8, 2, **params)
    parts = sparse_autoencoder.fit(lambda: z_i.split(100), 8, 2, **params)
    assert torch.equal(whole.features, parts.features) and torch.equal(whole.bias, parts.bias)
    assert not torch.equal(whole.features, sparse_autoencoder.fit(z_i, 8, 2, seed=1, **params).features)


def test_dead_features_are_revived_by_the_error_of_the_others(planted, monkeypatch):
    z_i = planted[0]
    alive = {}
    for name, weight in (("revived", sparse_autoencoder.REVIVAL), ("not", 0.0)):
        monkeypatch.setattr(sparse_autoencoder, "REVIVAL", weight)
        monkeypatch.setattr(sparse_autoencoder, "DEAD_AFTER", 5)
        network = sparse_autoencoder.Autoencoder(24, WIDTH, 1, torch.Generator().manual_seed(0))
        network.bias.data[6:] = -4.0  # never active
        optimizer = torch.optim.Adam(network.parameters(), 2e-2)
        for _ in range(150):
            loss, _ = network.loss(z_i[:256] - z_i.mean(0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            network.normalise()
        a = dictionary.top_k(((z_i - z_i.mean(0)) @ network.encoder.T + network.bias).relu(), 1)
        alive[name] = int((a > 0).any(0).sum())
    assert alive["revived"] > alive["not"]


def test_moving_along_a_feature_by_its_strength_adds_that_much_of_it(planted, fitted):
    z = planted[0][:1]
    moved = fitted.traverse(z, 3, [0.0, 2.0])
    assert torch.equal(moved[:1], z)
    step = 2 * fitted.scale * fitted.strength[3] * fitted.features[3]
    torch.testing.assert_close(moved[1] - z[0], step, atol=1e-5, rtol=0)


def test_an_exchange_of_all_features_swaps_what_they_keep_of_two_pictures(planted, fitted):
    z = planted[0][:2].double()
    kept = fitted.reconstruct(z)
    swapped = fitted.exchange(z, range(len(fitted)))
    torch.testing.assert_close(swapped, z - kept + kept.flip(0), atol=1e-4, rtol=0)
    assert torch.equal(fitted.exchange(z, []), z)


def test_the_exchange_of_a_feature_changes_nothing_beside_it(planted, fitted):
    z = planted[0][:2]
    (feature,) = fitted.differing(z, 1)
    a = fitted.encode(z)
    assert (a[0] - a[1]).abs().argmax() == feature
    change = fitted.exchange(z, [feature]) - z
    step = fitted.scale * (a[1, feature] - a[0, feature]) * fitted.features[feature]
    torch.testing.assert_close(change, torch.stack([step, -step]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rows", "features"), [(1, [0]), (2, [10_000]), (2, [-1])])
def test_an_exchange_wants_two_pictures_and_features_that_are_there(planted, fitted, rows, features):
    with pytest.raises(UserError, match="give two z_i, and features below"):
        fitted.exchange(planted[0][:rows], features)


def test_a_feature_is_named_by_the_captions_along_it(fitted):
    z_t = torch.cat([fitted.features[:2], -fitted.features[:2]])
    names = fitted.name(z_t, ["one", "two", "against one", "against two"])
    assert names[0].rising[0][0] == "one" and names[1].falling[0][0] == "against two"


def test_a_saved_dictionary_is_the_same_and_a_damaged_one_is_refused(fitted, tmp_path):
    path = tmp_path / "features.safetensors"
    fitted.save(path, {"model": "toy"})
    again = Dictionary.load(path)
    assert again.metadata["model"] == "toy" and again.file == path.name
    assert {**fitted.as_setting(), "file": path.name} == again.as_setting()
    assert (again.explained, again.active, again.count) == pytest.approx((fitted.explained, 3, 3000))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        Dictionary.load(path)


@pytest.mark.parametrize(
    ("count", "features", "active", "message"),
    [(10, 20, 2, "10 pictures for 20 features"), (30, 20, 21, "give active from 1"), (0, 4, 1, "pictures")],
)
def test_a_fit_that_cannot_be_is_refused(planted, count, features, active, message):
    with pytest.raises(UserError, match=message):
        sparse_autoencoder.fit(planted[0][:count], features, active, steps=1)
