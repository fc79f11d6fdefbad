"""The noised CLIP: it starts as CLIP itself, guides by its own gradient, and is trained on noised scenes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from latentlab import UserError, experiments
from latentlab.clip_guidance import ClipGuidance, clip_guided
from latentlab.diffusion import Conditioning, abar_at
from latentlab.models.noised_clip import FILE, NoisedClip
from latentlab.slerp import normalize
from latentlab.training import loop, noised_clip
from latentlab.training.noised_clip import NoisedClipTraining

CPU = torch.device("cpu")


class Shrinking:
    """A noised encoder of the toy's states, whose embeddings depend on the time."""

    scale = 7.0

    def __init__(self, encoder):
        self.encoder = encoder

    def encode_noised(self, x_t, t):
        return self.encoder.encode_image(x_t).tanh() * (1 + t / 500) + self.encoder.encode_image(x_t.square())


@pytest.fixture(scope="module")
def noised(miniature):
    return NoisedClip.untrained(miniature.encoder, miniature.decoder.autoencoder)


@pytest.fixture
def trained(noised):
    """A noised CLIP whose time embedding is no longer zero."""
    clone = NoisedClip.untrained(noised.encoder, noised.autoencoder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for shift in clone.network.shifts:
            torch.nn.init.normal_(shift.weight)
    clone.network.requires_grad_(False)
    return clone


def test_before_training_it_is_clip_itself_at_every_time(miniature, noised):
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    own = NoisedClip(noised.network, noised.encoder, None)
    for t in (0, 700, torch.tensor([0, 300, 980])):
        torch.testing.assert_close(own.encode_noised(pixels, t), miniature.encoder.encode_image(pixels))


def test_the_states_pass_the_first_stage_and_once_trained_the_time_counts(miniature, trained):
    x_t = torch.randn(2, *miniature.decoder.shape, generator=torch.Generator().manual_seed(0))
    early, late = (trained.encode_noised(x_t, t) for t in (10, 900))
    assert early.shape == (2, 24) and not torch.allclose(early, late)
    mixed = trained.encode_noised(x_t, torch.tensor([10, 900]))
    torch.testing.assert_close(mixed, torch.stack([early[0], late[1]]))


@pytest.mark.parametrize("t", [20, 500, 980])
def test_guidance_is_the_gradient_of_its_logit_at_x_t_and_costs_one_evaluation(spy, lab, normal, z_i, t):
    encoder, x_t, cond = Shrinking(lab.encoder), normal(3, *lab.decoder.shape), Conditioning(z_i)
    clip = ClipGuidance(encoder, normal(3, 12), scale=1.5)

    def score(x):
        return encoder.scale * (normalize(encoder.encode_noised(x, t)) * normalize(clip.z_t)).sum()

    gradient = torch.func.grad(score)(x_t)
    wanted = lab.decoder.eps(x_t, t, cond) - 1.5 * math.sqrt(1 - abar_at(spy.abar, t)) * gradient
    torch.testing.assert_close(clip_guided(spy, x_t, t, cond, 1.0, clip), wanted)
    assert len(spy.calls) == 1, "the decoder is not evaluated for the gradient"


def test_a_file_holds_the_tower_and_one_of_another_clip_is_not_taken(trained, tmp_path, lab):
    trained.save(tmp_path)
    read = NoisedClip.load(tmp_path, trained.encoder, trained.autoencoder)
    x_t = torch.randn(2, 4, 8, 8)[:, : trained.autoencoder.config["latent_channels"]]
    torch.testing.assert_close(read.encode_noised(x_t, 300), trained.encode_noised(x_t, 300), atol=0.02, rtol=0.02)

    class Other:
        def fingerprint(self):
            return "another"

    assert NoisedClip.load(tmp_path, Other(), None) is None
    assert NoisedClip.load(tmp_path / "nowhere", trained.encoder, None) is None
    (tmp_path / FILE).write_bytes(b"damaged")
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        NoisedClip.load(tmp_path, trained.encoder, None)


def test_the_miniature_is_guided_by_its_noised_clip_and_another_lab_says_that_it_has_none(miniature, trained, lab):
    params = {"by": "noised-clip", "prior_guidances": (1,), "seeds": [0], "steps": 2}
    guided = experiments.guide(dataclasses.replace(miniature, noised_clip=trained), "a cat", guidances=(0, 9), **params)
    assert not torch.allclose(guided.pixels[:, 0], guided.pixels[:, 1])
    assert "guidance by the noised CLIP" in guided.summary()
    with pytest.raises(UserError, match=r"toy has no noised CLIP .*take by='clip'.*training noised-clip"):
        experiments.guide(lab, "a cat", **params)


def test_training_goes_on_from_a_checkpoint_and_measures_both_clips_at_every_noise_level(
    sprites, miniature, tmp_path, monkeypatch
):
    monkeypatch.setattr(noised_clip, "MEASURED", (0, 800))

    def part():
        training = NoisedClipTraining(sprites, miniature.encoder, miniature.decoder.autoencoder)
        training.batch = 8
        return training

    first = loop.train(part(), tmp_path, minutes=0.004, device=CPU)
    second = loop.train(part(), tmp_path, minutes=0.004, device=CPU)
    assert second["step"] > first["step"] > 0
    wanted = {f"top1_{name}_t{t}" for name in ("noised", "plain") for t in (0, 800)}
    assert wanted <= second.keys() and all(0 <= second[name] <= 1 for name in wanted)
    assert NoisedClip.load(tmp_path / "export", miniature.encoder, miniature.decoder.autoencoder) is not None


def test_the_noise_of_training_is_that_of_the_decoders_levels(sprites, miniature):
    training = NoisedClipTraining(sprites, miniature.encoder, None)
    pixels, t = torch.full((400, 3, 4, 4), 0.5), torch.full((400,), 400)
    x_t = training.states(pixels, t, torch.Generator().manual_seed(0))
    a = abar_at(miniature.decoder.abar, 400)
    assert x_t.mean().item() == pytest.approx(0.5 * math.sqrt(a), abs=0.02)
    assert x_t.std().item() == pytest.approx(math.sqrt(1 - a), rel=0.02)
