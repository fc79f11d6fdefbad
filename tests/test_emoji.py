"""The emoji family's building blocks, on closed forms and on a tiny untrained stack; no shipped weights."""

import hashlib
import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from latentlab.decoding import decode
from latentlab.diffusion import Conditioning, abar_at, cosine_abar
from latentlab.errors import UserError
from latentlab.inversion import invert
from latentlab.io import images
from latentlab.latents import Latent
from latentlab.models import emoji, emoji_files, emoji_upsampler
from latentlab.models.attention import merged
from latentlab.noise import draw_x_T
from latentlab.prior import PriorConditioning, sample
from latentlab.upsampling import upsample

CAPTIONS = ["a red apple", "a dog on blue", "two cats"]
TOKENS, D = emoji.Z_TOKENS, 24  # D of the tiny CLIP in conftest.py


# z_i and the caption as one sequence


def test_each_z_i_token_has_a_block_of_its_own_beside_the_captions(normal):
    z_i, text = normal(2, 5), normal(2, 7, 3)
    context = emoji.context(z_i, text)
    assert context.shape == (2, TOKENS + 7, 3 + TOKENS * 5)
    for k in range(TOKENS):
        block = slice(3 + 5 * k, 3 + 5 * (k + 1))
        assert torch.equal(context[:, k, block], z_i)
        assert context[:, k].count_nonzero() == z_i.count_nonzero()
    assert torch.equal(context[:, TOKENS:, :3], text)
    assert not context[:, TOKENS:, 3:].any()


def test_one_linear_map_of_the_sequence_is_five_linear_maps(normal):
    z_i, text, weight = normal(2, 5), normal(2, 7, 3), normal(11, 3 + TOKENS * 5)
    of_text, *of_z = weight.split([3] + [5] * TOKENS, 1)
    wanted = torch.cat([torch.stack([z_i @ w.T for w in of_z], 1), text @ of_text.T], 1)
    torch.testing.assert_close(emoji.context(z_i, text) @ weight.T, wanted)


def test_scaled_has_unit_variance_and_the_same_direction(normal):
    z_i = normal(4, 9) * torch.tensor([[1e-3], [1.0], [7.0], [1e4]])
    scaled = emoji.scaled(z_i)
    torch.testing.assert_close(scaled.square().mean(-1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(torch.cosine_similarity(scaled, z_i), torch.ones(4, dtype=torch.float64))


def test_the_null_embedding_stays_zero():
    assert torch.equal(emoji.scaled(torch.zeros(2, 9)), torch.zeros(2, 9))


def test_the_priors_tokens_are_text_then_padding_then_the_mask(normal):
    states, mask = normal(2, 6, 3), torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=torch.bool)
    tokens = emoji.prior_tokens(states, mask, 10)
    assert tokens.shape == (2, 6, 10)
    assert torch.equal(tokens[..., :3], states * mask[..., None])
    assert not tokens[..., 3:9].any()
    assert torch.equal(tokens[..., 9], mask.double())


# The decoder


@pytest.fixture
def z_i(miniature):
    return miniature.encoder.encode_text(CAPTIONS)  # any three directions will do


@pytest.fixture
def x_T(miniature):
    return draw_x_T(miniature.decoder, [3, 4, 5])


def test_no_caption_is_the_empty_caption(miniature, z_i, x_T):
    empty = torch.zeros_like(miniature.decoder.encode_prompt(CAPTIONS))
    without, with_empty = (miniature.decoder.eps(x_T, 500, Conditioning(z_i, text)) for text in (None, empty))
    assert torch.equal(without, with_empty)


def test_only_tokens_that_are_zero_in_every_row_are_merged(normal):
    text = normal(2, 7, 3)
    text[0, 2:], text[1, 4:] = 0, 0
    text_merged, count = merged(text)
    assert count == 3 and torch.equal(text_merged, text[:, :5])
    for whole in (normal(2, 7, 3), text[:, :5]):
        assert merged(whole)[1] == 1 and torch.equal(merged(whole)[0], whole)
    assert merged(torch.zeros(1, 7, 3))[0].shape == (1, 1, 3)


def test_the_decoder_depends_on_z_i_the_caption_and_the_time(miniature, z_i, x_T):
    eps, text = miniature.decoder.eps, miniature.decoder.encode_prompt(CAPTIONS)
    plain = eps(x_T, 500, Conditioning(z_i, text))
    others = [
        eps(x_T, 500, Conditioning(z_i.flip(0), text)),
        eps(x_T, 500, Conditioning(z_i)),
        eps(x_T, 400, Conditioning(z_i, text)),
    ]
    assert all((plain - other).abs().max() > 1e-4 for other in others)


def test_only_the_direction_of_z_i_matters_to_the_decoder(miniature, z_i, x_T):
    small, large = (miniature.decoder.eps(x_T, 500, Conditioning(k * z_i)) for k in (0.01, 10))
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("with_text", [False, True])
def test_guidance_extrapolates_from_neither_z_i_nor_caption_through_both(miniature, z_i, x_T, with_text):
    text = miniature.decoder.encode_prompt(CAPTIONS) if with_text else None
    full = miniature.decoder.eps(x_T, 500, Conditioning(z_i, text))
    null = miniature.decoder.eps(x_T, 500, Conditioning(torch.zeros_like(z_i)))
    guided = miniature.decoder.eps(x_T, 500, Conditioning(z_i, text), guidance=4.0)
    torch.testing.assert_close(guided, null + 4 * (full - null), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("guidance", "rows"), [(1.0, 3), (3.0, 6)])
def test_an_evaluation_is_one_call_of_the_network(miniature, z_i, x_T, guidance, rows, monkeypatch):
    seen, forward = [], miniature.decoder.network.forward

    def spied(x, *args, **kwargs):
        seen.append(len(x))
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(miniature.decoder.network, "forward", spied)
    miniature.decoder.eps(x_T, 500, Conditioning(z_i), guidance)
    assert seen == [rows]


class KnowsPicture:
    """A network that knows x_0 and predicts it as v; `fold` brings its pictures into the network's own layout."""

    device = torch.device("cpu")

    def __init__(self, x_0, fold=lambda x: x, **config):
        self.x_0, self.fold, self.config = x_0, fold, config

    def set_attn_processor(self, processor):
        pass

    def __call__(self, x, *args, **kwargs):
        (t,) = {int(t) for t in args[-1]}
        a, x_0 = abar_at(cosine_abar(), t), self.fold(self.x_0)
        eps = (x[:, : x_0.shape[1]] - math.sqrt(a) * x_0) / math.sqrt(1 - a)
        return SimpleNamespace(sample=math.sqrt(a) * eps - math.sqrt(1 - a) * x_0)


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_network_that_knows_the_picture_decodes_to_it(miniature, z_i, rng, steps, guidance):
    x_0 = torch.rand(1, 3, 10, 10, generator=rng) * 2 - 1
    decoder = emoji.EmojiDecoder(KnowsPicture(x_0, sample_size=10, in_channels=3), None, miniature.encoder)
    decoded = decode(decoder, Latent(z_i, draw_x_T(decoder, [1, 2, 3])), steps=steps, guidance=guidance)
    torch.testing.assert_close(decoded, x_0.expand(3, -1, -1, -1), rtol=0, atol=1e-4)


def test_the_states_after_a_captions_end_are_zero(miniature):
    states = miniature.decoder.encode_prompt(["a dog", "a red apple above a dog"])
    used = [2 + 2, 2 + 6]  # the words, and the start and the end token
    for row, count in zip(states, used):
        assert row[:count].abs().sum(-1).all() and not row[count:].any()


def test_the_first_stage_takes_any_size_and_stays_within_the_range_of_pictures(miniature, normal):
    x_0 = miniature.decoder.to_x0(normal(2, 3, 50, 90).float().clamp(-1, 1))
    assert x_0.shape == (2, *miniature.decoder.shape)
    pixels = miniature.decoder.to_pixels(100 * x_0)
    assert pixels.shape == (2, 3, miniature.decoder.image_size, miniature.decoder.image_size)
    assert pixels.abs().max() <= 1


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_sample_k_alone_is_sample_k_in_a_batch_to_one_grey_level(miniature, z_i, eta, k):
    seeds = [3, 4, 5]

    def picture(rows):
        latent = Latent(z_i[rows], draw_x_T(miniature.decoder, seeds[rows]))
        x_0 = decode(miniature.decoder, latent, steps=4, guidance=2.0, eta=eta, seeds=seeds[rows])
        return [np.asarray(image, int) for image in images.to_pil(miniature.decoder.to_pixels(x_0))]

    assert abs(picture(slice(k, k + 1))[0] - picture(slice(0, 3))[k]).max() <= 1


def test_a_decoded_picture_inverts_to_the_noise_that_it_came_from(miniature, z_i, x_T):
    x_0 = decode(miniature.decoder, Latent(z_i, x_T), steps=20)
    inversion = invert(miniature.decoder, x_0, Conditioning(z_i), steps=20, iterations=40, tolerance=1e-6)
    torch.testing.assert_close(inversion.latent.x_T, x_T, rtol=0, atol=1e-2)


# The prior


def test_a_seed_draws_the_same_z_i_alone_and_in_a_batch(miniature):
    batch = sample(miniature.prior, CAPTIONS, seeds=[1, 2, 3], steps=4, guidance=2.0)
    alone = sample(miniature.prior, CAPTIONS[1:2], seeds=[2], steps=4, guidance=2.0)
    assert batch.shape == (3, D)
    torch.testing.assert_close(batch[1:2], alone, rtol=1e-3, atol=1e-3)


def test_a_sample_of_the_prior_depends_on_caption_and_seed(miniature):
    a, other_seed, other_caption = sample(miniature.prior, [*CAPTIONS[:1] * 2, CAPTIONS[1]], seeds=[1, 2, 1])
    assert not torch.allclose(a, other_seed) and not torch.allclose(a, other_caption)


def test_the_priors_guidance_extrapolates_from_no_caption_through_the_caption(miniature, rng):
    cond = miniature.prior.encode_prompt(CAPTIONS)
    empty = PriorConditioning(torch.zeros_like(cond.z_t), torch.zeros_like(cond.tokens))
    x_t = torch.randn(3, D, generator=rng)
    full, null = (miniature.prior.x_0(x_t, 500, c) for c in (cond, empty))
    guided = miniature.prior.x_0(x_t, 500, cond, guidance=3.0)
    torch.testing.assert_close(guided, null + 3 * (full - null), rtol=1e-3, atol=1e-3)


def test_the_priors_z_t_is_the_encoders(miniature):
    torch.testing.assert_close(miniature.prior.encode_prompt(CAPTIONS).z_t, miniature.encoder.encode_text(CAPTIONS))


# The upsampler


@pytest.mark.parametrize("block", [2, 4])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_network_adds_what_the_bicubic_enlargement_lacks(rng, share, block):
    low, large = torch.rand(2, 3, 8, 8, generator=rng) * 2 - 1, torch.rand(2, 3, 20, 20, generator=rng) * 2 - 1
    enlarged = F.interpolate(low, (20, 20), mode="bicubic")
    lacking = share * (large - enlarged)
    blocks = {"sample_size": 20 // block, "out_channels": 3 * block**2}
    network = KnowsPicture(emoji_upsampler.DETAIL * lacking, lambda x: F.pixel_unshuffle(x, block), **blocks)
    upsampled = upsample(emoji_upsampler.EmojiUpsampler(network, 8), low, seeds=[1, 2])
    torch.testing.assert_close(upsampled, (enlarged + lacking).clamp(-1, 1), rtol=0, atol=1e-4)


def test_the_upsampler_enlarges_pictures_within_their_range_and_depends_on_the_seed(miniature, rng):
    side = miniature.decoder.image_size
    low = (torch.rand(1, 3, side, side, generator=rng) * 2 - 1).expand(3, -1, -1, -1)
    a, again, other = upsample(miniature.upsampler, low, seeds=[1, 1, 2], steps=2)
    assert a.shape == (3, 2 * side, 2 * side) and a.abs().max() <= 1
    torch.testing.assert_close(a, again)
    assert not torch.allclose(a, other, atol=0.01)


# Files


@pytest.fixture
def shipped(tmp_path):
    """A folder with a manifest, a file of text and one of weights."""
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "config.json").write_text("{}")
    save_file({"fine": torch.ones(3), "weight": torch.ones(2, 2)}, tmp_path / "part" / "model.safetensors")
    sign(tmp_path)
    return tmp_path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sign(folder):
    names = ["part/config.json", "part/model.safetensors"]
    (folder / "MANIFEST.json").write_text(json.dumps({"sha256": {name: digest(folder / name) for name in names}}))


def test_complete_files_have_no_problem(shipped, miniature_folder):
    assert emoji_files.verify(shipped) == emoji_files.verify(miniature_folder) == []


def test_a_missing_manifest_is_named(tmp_path):
    (problem,) = emoji_files.verify(tmp_path)
    assert str(tmp_path / "MANIFEST.json") in problem and "install latentlab again" in problem


def test_a_missing_file_is_named_with_the_sha256_it_should_have(shipped):
    path = shipped / "part" / "config.json"
    wanted = digest(path)
    path.unlink()
    (problem,) = emoji_files.verify(shipped)
    assert f"{path} is missing" in problem and wanted in problem


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_file_is_named_with_both_sha256(shipped, name):
    path = shipped / "part" / name
    wanted = digest(path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    (problem,) = emoji_files.verify(shipped)
    assert f"{path} is damaged: expected sha256 {wanted}, found {digest(path)}" in problem


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named_with_their_tensor(shipped, value):
    path = shipped / "part" / "model.safetensors"
    tensors = load_file(path)
    tensors["weight"][1, 0] = value
    save_file(tensors, path)
    sign(shipped)  # so that the file is as it was shipped
    (problem,) = emoji_files.verify(shipped)
    assert f"{path} holds values that are not finite in weight (sha256 {digest(path)})" in problem


def test_weights_that_were_shipped_broken_are_named(shipped):
    path = shipped / "part" / "model.safetensors"
    path.write_bytes(b"not weights at all")
    sign(shipped)
    (problem,) = emoji_files.verify(shipped)
    assert f"{path} can't be read" in problem and digest(path) in problem


def test_all_problems_are_reported_together(shipped):
    (shipped / "part" / "config.json").unlink()
    (shipped / "part" / "model.safetensors").write_bytes(b"")
    assert len(emoji_files.verify(shipped)) == 2


def test_damaged_weights_are_refused_before_anything_loads(miniature_folder, tmp_path):
    folder = shutil.copytree(miniature_folder, tmp_path / "copy")
    (folder / "prior" / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"embedded weights can't be used: .*prior.config\.json is damaged"):
        emoji.load_folder(folder, device=torch.device("cpu"))


def test_a_miniature_loads_without_an_upsampler_and_an_autoencoder(miniature_folder, tmp_path):
    folder = shutil.copytree(miniature_folder, tmp_path / "copy")
    for part in ("upsampler", "autoencoder"):
        shutil.rmtree(folder / part)
    (folder / "MANIFEST.json").write_text('{"sha256": {}}')
    lab = emoji.load_folder(folder, device=torch.device("cpu"))
    assert lab.upsampler is None
    assert lab.decoder.image_size == lab.decoder.shape[1]
