"""Components belong to the CLIP whose z_i they were fitted on."""

import copy
from dataclasses import replace

import pytest
import torch

from latentlab import UserError, clip, experiments
from latentlab.analysis.pca import Directions

PIXELS = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def fitted_by(lab, **metadata):
    return Directions.fit(lab.encoder.encode_image(PIXELS), metadata={**lab.clip_metadata(), **metadata})


@pytest.fixture(params=["truncate", "walk_components"])
def first_step(request, miniature):
    """Run the first step of an experiment with components."""
    options = {"truncate": {"dims": [1]}, "walk_components": {"components": [0]}}[request.param]
    stream = getattr(experiments, request.param).stream
    return lambda directions: next(stream(miniature, PIXELS[:1], directions, **options)).step


@pytest.fixture
def other_lab(miniature):
    """A lab whose CLIP has the same architecture and other weights."""
    encoder = copy.deepcopy(miniature.encoder)
    for weight in encoder.model.visual.parameters():
        weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())) / 4
    return replace(miniature, encoder=encoder, name="other", weights="0123")


def test_components_of_another_clip_of_the_same_width_are_refused(first_step, other_lab):
    with pytest.raises(
        UserError, match=r"of the CLIP of other \(0123\), this lab has that of emoji .*: fit .*pca fit FOLDER"
    ):
        first_step(fitted_by(other_lab))


def test_components_with_the_weights_of_another_clip_are_refused_without_a_probe(first_step):
    with pytest.raises(UserError, match=r"of the CLIP of theirs \(theirs@1\)"):
        first_step(Directions.fit(torch.randn(8, 24), metadata={"model": "theirs", "weights": "theirs@1"}))


def test_components_of_normalised_embeddings_are_refused(first_step, miniature):
    with pytest.raises(UserError, match=r"of normalised z_i, emoji wants z_i in CLIP's own scale"):
        first_step(fitted_by(miniature, normalised="yes"))


def test_components_of_the_same_clip_are_taken_in_any_precision_and_under_any_name(first_step, miniature, clip_folder):
    half = replace(miniature, encoder=clip.local(clip_folder, dtype=torch.bfloat16), name="elsewhere", weights="4567")
    for lab in (miniature, half):
        assert first_step(fitted_by(lab)) == 1
