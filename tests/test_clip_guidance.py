"""Guidance by CLIP: closed form on the toy, autograd on a curved decoder, and every family."""

import dataclasses
import math

import pytest
import torch

from latentlab import UserError, decoding, experiments, models
from latentlab.clip_guidance import ClipGuidance, clip_guided
from latentlab.diffusion import CLEAN, Conditioning, abar_at, ddim_step
from latentlab.experiments.guidance import GUIDANCES
from latentlab.experiments.stages import cosine
from latentlab.latents import Latent
from latentlab.models import checkpoint, offload
from latentlab.noise import draw_x_T
from latentlab.slerp import normalize


@pytest.fixture
def cond(z_i):
    return Conditioning(0.1 * z_i)


@pytest.fixture
def x_t(lab, cond, normal):
    """States whose predicted x_0 stays within -1 to 1, where the toy's pictures are not clipped."""
    return lab.decoder.exact_x_t(0.1 * normal(3, *lab.decoder.shape), cond.z_i, 500)


@pytest.fixture
def clip(lab, normal):
    return ClipGuidance(lab.encoder, normal(3, 12), scale=1.5)


@pytest.mark.parametrize("t", [980, 500, 20])
def test_guidance_by_clip_is_its_closed_form_on_the_toy(lab, cond, clip, normal, t):
    x_t = lab.decoder.exact_x_t(0.1 * normal(3, *lab.decoder.shape), cond.z_i, t)
    a, spread = abar_at(lab.decoder.abar, t), lab.decoder.spread
    eps = lab.decoder.eps(x_t, t, cond)
    x_0 = ddim_step(x_t, eps, a, 1.0)
    assert (x_0.abs() < 1).all()
    z, z_t = lab.encoder.encode_image(x_0), normalize(clip.z_t)
    cos = (normalize(z) * z_t).sum(-1, keepdim=True)
    by_z = lab.encoder.scale / z.norm(dim=-1, keepdim=True) * (z_t - cos * normalize(z))
    by_x_0 = lab.decoder.mean(by_z) / 16  # the mean of a quarter's 16 pixels
    by_x_t = math.sqrt(a) * spread**2 / (a * spread**2 + 1 - a) * by_x_0  # what the toy's x_0 takes from x_t
    wanted = eps - clip.scale * math.sqrt(1 - a) * by_x_t
    torch.testing.assert_close(clip_guided(lab.decoder, x_t, t, cond, 1.0, clip), wanted)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_gradient_is_that_of_the_whole_composition(lab, curved, cond, clip, x_t, guidance):
    def score(x):
        x_0 = ddim_step(x, curved.eps(x, 500, cond, guidance), abar_at(curved.abar, 500), 1.0)
        z_i = normalize(lab.encoder.encode_image(curved.to_pixels(x_0)))
        return lab.encoder.scale * (z_i * normalize(clip.z_t)).sum()

    gradient = torch.func.grad(score)(x_t)
    wanted = curved.eps(x_t, 500, cond, guidance) - 1.5 * math.sqrt(1 - abar_at(curved.abar, 500)) * gradient
    torch.testing.assert_close(clip_guided(curved, x_t, 500, cond, guidance, clip), wanted)


def test_every_row_is_guided_by_its_own_caption_at_any_batch_size(spied, curved, cond, clip, x_t):
    whole = clip_guided(curved, x_t, 300, cond, 1.0, clip)
    torch.testing.assert_close(clip_guided(spied(curved, rows=1), x_t, 300, cond, 1.0, clip), whole)
    alone = dataclasses.replace(clip, z_t=clip.z_t[1:2])
    torch.testing.assert_close(clip_guided(curved, x_t[1:2], 300, cond[1:2], 1.0, alone), whole[1:2])


def test_a_scale_of_0_costs_and_changes_nothing(spy, lab, cond, x_t, clip):
    none = clip_guided(spy, x_t, 500, cond, 1.0, dataclasses.replace(clip, scale=0.0))
    assert torch.equal(none, lab.decoder.eps(x_t, 500, cond)) and len(spy.calls) == 1


def test_decoding_guided_by_clip_scores_higher_and_only_within_its_interval(lab, cond, x_0):
    latent = Latent(cond.z_i.float(), draw_x_T(lab.decoder, [0, 1, 2]))
    z_t = lab.encoder.encode_text(["a cat"])

    def decoded(scale, **params):
        return decoding.decode(lab.decoder, latent, steps=20, clip=ClipGuidance(lab.encoder, z_t, scale), **params)

    def score(x):
        return cosine(lab.encoder.encode_image(x), z_t)

    assert (score(decoded(4.0)) > score(decoded(1.0))).all() and (score(decoded(1.0)) > score(decoded(0.0))).all()
    assert torch.equal(decoded(4.0, guidance_interval=(999, 999)), decoded(0.0))
    assert not decoded(4.0).requires_grad


@pytest.mark.parametrize("name", ["karlo", "kandinsky22", "stable-unclip-h"])
def test_every_family_passes_the_gradient_to_x_t(family, name):
    lab = family(name)
    x_t = draw_x_T(lab.decoder, [0, 1])
    z_i = lab.encoder.encode_image(torch.rand(2, 3, 24, 20) * 2 - 1)
    clip = ClipGuidance(lab.encoder, z_i.flip(0), 5.0)
    eps = clip_guided(lab.decoder, x_t, 500, Conditioning(z_i), 1.0, clip)
    change = eps - lab.decoder.eps(x_t, 500, Conditioning(z_i))
    assert eps.isfinite().all() and (change.flatten(1).norm(dim=1) > 0).all() and not eps.requires_grad


def test_networks_that_take_turns_are_guided_alike(published, family, monkeypatch):
    monkeypatch.setattr(offload, "LARGE", 100)
    monkeypatch.setattr(checkpoint.Checkpoint, "_plan", lambda self, *_: offload.Turns(self.device, on_disk=True))
    turns, whole = models.load(published, family="kandinsky22", device="cpu"), family("kandinsky22")
    x_t, z_i = draw_x_T(whole.decoder, [0]), whole.encoder.encode_image(torch.zeros(1, 3, 24, 20))
    guided = [
        clip_guided(lab.decoder, x_t, 500, Conditioning(z_i), 1.0, ClipGuidance(lab.encoder, -z_i, 5.0))
        for lab in (turns, whole)
    ]
    torch.testing.assert_close(*guided)


def test_the_miniature_is_guided_through_its_first_stage(miniature):
    params = {"prior_guidances": (1,), "seeds": [0, 1], "steps": 3}
    result = experiments.guide(miniature, "a cat", by="clip", guidances=(0, 8), **params)
    plain = experiments.guide(miniature, "a cat", guidances=(1,), **params)
    torch.testing.assert_close(result.pixels[:, :1], plain.pixels, atol=1e-5, rtol=0)
    assert not torch.allclose(result.pixels[:, 1], result.pixels[:, 0])
    assert result.settings["by"] == "clip" and "guidance by CLIP" in result.summary()


def test_without_guidances_each_way_has_its_own(lab):
    class Noised:
        scale = 1.0

        def encode_noised(self, x_t, t):
            return lab.encoder.encode_image(x_t)

    lab = dataclasses.replace(lab, noised_clip=Noised())
    for by, scales in GUIDANCES.items():
        result = experiments.guide(lab, "a cat", by=by, prior_guidances=(1,), steps=2)
        assert result.guidances == scales and result.settings["by"] == by
        assert experiments.guide.count_images(lab, "a cat", by=by, prior_guidances=(1,)) == len(scales)


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_a_scale_that_is_negative_or_not_finite_is_refused(lab, scale):
    with pytest.raises(UserError, match="give 0 for none, or more"):
        ClipGuidance(lab.encoder, torch.zeros(1, 12), scale)


def test_another_number_of_captions_and_an_unknown_kind_of_guidance_are_refused(lab, cond, clip):
    latent = Latent(cond.z_i.float(), draw_x_T(lab.decoder, [0, 1, 2]))
    with pytest.raises(UserError, match="2 captions guide 3 pictures: give one z_t for all"):
        decoding.decode(lab.decoder, latent, clip=dataclasses.replace(clip, z_t=clip.z_t[:2]))
    with pytest.raises(UserError, match="by is 'magic': give one of classifier-free, clip"):
        experiments.guide(lab, "a cat", by="magic")


def test_a_pair_of_states_is_not_guided(lab, cond, clip):
    inverted = experiments.invert(lab, torch.zeros(1, 3, 8, 8), steps=2, method="bdia")
    with pytest.raises(UserError, match=r"clip is ClipGuidance\(z_t \(3, 12\), scale 1.5\): bdia's pair"):
        decoding.decode(lab.decoder, inverted.latent, clip=clip)
    assert inverted.latent.times[-1] == CLEAN
