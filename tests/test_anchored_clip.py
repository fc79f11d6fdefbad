"""CLIP trained on in the space of the shipped one: who its teacher is, and what stays as it was."""

from __future__ import annotations

import random

import pytest
import torch

from latentlab.training.anchored_clip import AnchoredClip, redrawn
from latentlab.training.curriculum import batch_for_clip
from latentlab.training.icon_sets import FIRST_EDITION


@pytest.fixture(scope="module")
def part(sprites, tmp_path_factory):
    part = AnchoredClip(sprites, tmp_path_factory.mktemp("clip"), torch.device("cpu"))
    part.batch = 6
    return part


def test_a_redrawn_scene_keeps_everything_but_the_artist(sprites):
    rng = random.Random(0)
    for scene in batch_for_clip(0, sprites, 192):
        again = redrawn(rng, sprites, scene)
        assert (again.background, again.caption, again.thing) == (scene.background, scene.caption, scene.thing)
        for old, new in zip(scene.layers, again.layers, strict=True):
            assert (new.x, new.y, new.size, new.mirror) == (old.x, old.y, old.size, old.mirror)
            assert new.key.split("/")[1] == old.key.split("/")[1]
            assert new.key.split("/")[0] in (*FIRST_EDITION, "solid", "sign", "label")
            assert new.ink is None


def test_equal_drawings_stay_equal_when_they_are_redrawn(sprites):
    scenes = [s for s in batch_for_clip(1, sprites, 600) if s.kind == "several"]
    assert scenes
    assert all(len({la.key for la in redrawn(random.Random(0), sprites, s).layers}) == 1 for s in scenes)


def test_the_start_agrees_with_the_teacher_and_training_leaves_the_text_tower_alone(part):
    scenes = [s for s in batch_for_clip(0, part.sprites, 40) if s.kind == "single"][:4]
    part.network.eval()
    vary = torch.Generator().manual_seed(5)
    images = part.render([redrawn(random.Random(5), part.sprites, s) for s in scenes], 64, vary=vary, restyle=False)
    z_i = torch.nn.functional.normalize(part.network.encode_image(images), dim=-1)
    assert part._distance(z_i, scenes, step=5).item() == pytest.approx(0, abs=1e-5)

    part.network.train()
    part.loss(0).backward()
    assert all(p.grad is None for p in part.network.text.parameters())
    assert all(p.grad is None and not p.requires_grad for p in part.teacher.parameters())
    assert all(p.grad.isfinite().all() for p in part.network.visual.parameters())
