"""CLIP's text tower, trained on alone: what stays as it was, and which scenes it reads."""

from __future__ import annotations

import pytest
import torch

from latentlab.training.locked_clip import LockedClip, _encoded


@pytest.fixture(scope="module")
def part(sprites, tmp_path_factory):
    part = LockedClip(sprites, tmp_path_factory.mktemp("clip"), torch.device("cpu"))
    part.batch = 6
    return part


def test_training_reaches_the_text_tower_alone(part):
    part.network.train()
    part.loss(0).backward()
    assert all(p.grad is None for p in part.network.visual.parameters())
    assert all(p.grad is None for p in part.shipped.parameters())
    assert all(p.grad.isfinite().all() for p in part.network.text.parameters())


def test_the_start_has_the_shipped_states(part):
    text = part.tokenizer(["a cat", "two dogs on blue"])
    for own, shipped in zip(_encoded(part.network.eval(), text), _encoded(part.shipped, text), strict=True):
        torch.testing.assert_close(own, shipped)


def test_captions_of_labelled_things_name_the_label(part):
    part.batch, scenes = 192, []
    for step in range(2):
        scenes += [s for s in part._scenes(step) if s.kind == "labelled"]
    part.batch = 6
    assert scenes and all(s.facts["word"] in s.caption for s in scenes)
