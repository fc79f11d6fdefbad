"""Layouts of embeddings in the plane."""

import pytest
import torch

from latentlab import UserError
from latentlab.analysis.layout import Layout
from latentlab.slerp import normalize


@pytest.fixture
def clusters(rng):
    """Three clusters of 20 embeddings of different lengths: (60, 8), and the cluster of each."""
    centres = 4 * torch.eye(8)[:3].repeat_interleave(20, 0)
    lengths = torch.rand(60, 1, generator=rng) + 0.5
    return lengths * (centres + 0.3 * torch.randn(60, 8, generator=rng)), torch.arange(3).repeat_interleave(20)


@pytest.fixture
def layout(clusters, rng):
    return Layout(clusters[0], torch.rand(60, 2, generator=rng))


def test_an_embedding_of_the_layout_has_its_own_place_and_its_place_gives_it_back(layout):
    torch.testing.assert_close(layout.place(layout.z_i), layout.xy, atol=1e-3, rtol=0)
    torch.testing.assert_close(layout.embed(layout.xy), layout.z_i, atol=1e-3, rtol=1e-3)


def test_a_place_amid_one_cluster_gives_an_embedding_of_that_cluster_with_the_clusters_length(layout, clusters):
    z_i, label = clusters
    layout = Layout(z_i, torch.stack([label.float(), torch.linspace(0, 1, 60)], 1))
    z = layout.embed(torch.tensor([[1.0, 0.5]]))
    assert int((normalize(z) @ normalize(z_i).T).mean(0).view(3, 20).mean(1).argmax()) == 1
    assert z_i[label == 1].norm(dim=1).min() <= z.norm() <= z_i[label == 1].norm(dim=1).max()


def test_the_nearest_neighbour_in_the_plane_is_of_the_same_cluster(clusters):
    pytest.importorskip("sklearn")
    z_i, label = clusters
    xy = Layout.fit(z_i).xy
    assert xy.min() == 0 and xy.max() == 1
    nearest = (torch.cdist(xy, xy) + 9 * torch.eye(60)).argmin(1)
    assert (label[nearest] == label).all()


def test_without_scikit_learn_the_plane_is_that_of_the_first_two_components(clusters, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.manifold", None)
    xy = Layout.fit(clusters[0]).xy
    centred = normalize(clusters[0]) - normalize(clusters[0]).mean(0)
    first = torch.linalg.svd(centred, full_matrices=False).U[:, 0]
    assert abs(torch.corrcoef(torch.stack([first, xy[:, 0]]))[0, 1]) > 0.999


@pytest.mark.parametrize("places", [torch.rand(1, 2), torch.rand(3, 3)])
def test_other_places_than_embeddings_are_refused(places):
    with pytest.raises(UserError, match=r"give \(N, D\) and \(N, 2\)"):
        Layout(torch.rand(3, 4), places)
