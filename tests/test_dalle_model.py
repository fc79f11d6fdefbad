"""DALL·E 1 on the tiny miniature: its samples, its refusals, and its training."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from latentlab import UserError, experiments
from latentlab.models import gpt2
from latentlab.models.dalle import Dalle
from latentlab.training.dalle import DalleTraining, TokenPool, level_rows
from latentlab.training.things import things

SIZE = 20  # of the tiny miniature's codebook


@pytest.fixture(scope="module")
def dalle(miniature):
    return miniature.require_dalle()


def tokens(dalle, captions, **options):
    *_, last = dalle.sample_steps(captions, **options)
    return last


def test_a_caption_gives_one_picture_a_seed(dalle):
    pixels = dalle.generate(["a dog"], seeds=[0, 1, 2])
    assert pixels.shape == (3, 3, 64, 64) and pixels.abs().max() <= 1


def test_a_picture_depends_on_its_own_seed_alone_and_many_are_sampled_in_batches(dalle, monkeypatch):
    monkeypatch.setattr(Dalle, "max_batch_size", 2)
    together = dalle.generate(["a dog", "a cat", "a dog"], seeds=[5, 6, 7])
    torch.testing.assert_close(dalle.generate(["a dog"], seeds=[7]), together[2:], atol=1 / 255, rtol=0)


def test_the_cache_changes_no_token(dalle):
    assert tokens(dalle, ["a dog"], seeds=[0, 1]).equal(tokens(dalle, ["a dog"], seeds=[0, 1], cached=False))


def test_guidance_one_is_no_guidance_and_zero_ignores_the_caption(dalle):
    def likeliest(caption, guidance):
        return tokens(dalle, [caption], seeds=[0], guidance=guidance, top_k=None)

    assert likeliest("a dog", 0.0).equal(likeliest("a cat on red", 0.0))
    assert not likeliest("a dog", 5.0).equal(likeliest("a cat on red", 5.0))


def test_the_upper_part_of_a_picture_is_kept_and_continued(dalle):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    begin = dalle.upper_part(pixels)
    whole = dalle.dvae.to_tokens(pixels)
    assert begin.equal(whole[:, :32])
    assert tokens(dalle, ["a dog"], seeds=[0, 1], begin=begin)[:, :32].equal(begin)
    assert dalle.preview(begin).shape == pixels.shape
    assert dalle.upper_part(pixels, 0.25).equal(whole[:, :16])


@pytest.mark.parametrize(
    "captions, options, message",
    [
        (["zyx"], {}, "does not know “zyx”"),
        ([" "], {}, "the caption is empty"),
        (["a dog", "a cat"], {}, "2 prompts for 3 seeds"),
        (["a dog"], {"top_k": 0}, "top_k is 0"),
        (["a dog"], {"begin": torch.full((3, 8), SIZE)}, f"token 0 is {SIZE}, and there are {SIZE}"),
    ],
)
def test_what_cannot_be_drawn_is_refused(dalle, captions, options, message):
    with pytest.raises(UserError, match=message):
        dalle.generate(captions, seeds=[0, 1, 2], **options)


def test_an_unknown_word_and_what_is_too_long_are_named_in_a_note(miniature):
    unknown, cut = experiments.dalle(miniature, "a zebrafish and " + 20 * "a dog ", seeds=[0]).notes
    assert unknown.startswith("the model does not know “zebrafish”")
    assert cut.startswith("the caption is longer than the model reads; it was cut after “")


def test_a_share_that_keeps_nothing_or_all_is_refused(dalle):
    with pytest.raises(UserError, match="share of the picture to keep is 1"):
        dalle.upper_part(torch.zeros(1, 3, 64, 64), 1)


def test_a_lab_without_dalle_says_so(miniature):
    with pytest.raises(UserError, match="this model has no DALL·E 1"):
        dataclasses.replace(miniature, load_dalle=None).require_dalle()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"vocabulary": SIZE}, f"has {SIZE} ids"),
        ({"positions": 30}, "30 positions, wanted more than the codebook's"),
    ],
)
def test_a_transformer_for_another_codebook_is_refused(dalle, changes, message):
    shape = {"vocabulary": dalle.words + SIZE, "positions": 84, "width": 16, "layers": 1, "heads": 1}
    with pytest.raises(UserError, match=message):
        Dalle(gpt2.build(**{**shape, **changes}), dalle.dvae, dalle.encoder)


def test_a_transformer_that_learnt_other_words_is_refused(dalle):
    network = gpt2.build(vocabulary=dalle.words + SIZE, positions=84, width=16, layers=1, heads=1)
    network.config.words = "0000"
    with pytest.raises(UserError, match="learnt the words 0000"):
        Dalle(network, dalle.dvae, dalle.encoder)


@pytest.fixture
def part(dalle, sprites):
    latents = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    pool = TokenPool.build(sprites, latents, dalle.dvae, dalle.encoder)
    part = DalleTraining(dalle.dvae, dalle.encoder, pool, pool, width=32, layers=1)
    part.batch = 4
    return part


def test_training_lowers_the_loss_and_what_it_exports_draws_again(part, dalle, tmp_path):
    optimizer = torch.optim.Adam(part.network.parameters(), 1e-2)
    before = part.loss(0)
    for _ in range(5):
        optimizer.zero_grad()
        part.loss(0).backward()
        optimizer.step()
    assert part.loss(0) < before
    part.export(part.network, tmp_path)
    again = Dalle(gpt2.load(tmp_path, retrain="make"), dalle.dvae, dalle.encoder)
    assert again.generate(["a dog"], seeds=[0]).shape == (1, 3, 64, 64)
    state = {k: v for k, v in again.network.state_dict().items() if k != "lm_head.weight"}
    part.network.load_state_dict(part.adopt(state, tmp_path))


def test_training_measures_held_out_losses_and_the_accuracy_of_samples(part, monkeypatch):
    few = things()[:2]
    monkeypatch.setattr("latentlab.training.dalle.things", lambda: few)
    measured = part.measure(part.network.eval())
    assert measured["held_out_loss"] > 0 and 0 <= measured["top1_of_sampled"] <= 1
    assert measured["held_out_loss"] != measured["held_out_loss_without_captions"]


def test_a_pool_of_tokens_is_encoded_once_and_refused_if_it_is_of_another_codebook(dalle, sprites, tmp_path):
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    arguments = sprites, latents, dalle.dvae, dalle.encoder
    pool = TokenPool.cached(tmp_path / "pool.pt", *arguments)
    assert TokenPool.cached(tmp_path / "pool.pt", *arguments).pictures.equal(pool.pictures)
    torch.save((pool.captions, pool.pictures + SIZE), tmp_path / "pool.pt")
    with pytest.raises(UserError, match="outside the codebook"):
        TokenPool.cached(tmp_path / "pool.pt", *arguments)


def test_tokens_that_share_a_level_share_its_row(dalle):
    rows = level_rows((5, 4))
    codes = dalle.dvae.network.codes(torch.arange(SIZE).view(1, 4, 5))[0].flatten(1).T  # (20, 2)
    for channel in range(2):
        same = codes[:, None, channel] == codes[None, :, channel]
        assert same.equal(rows[:, None, channel] == rows[None, :, channel])
    assert not set(rows[:, 0].tolist()) & set(rows[:, 1].tolist())


def test_a_folded_transformer_predicts_what_training_does(part):
    captions, pictures = (tensor.long() for tensor in part.pool)
    plain = part.folded(part.network)
    logits = plain(input_ids=torch.cat([captions, pictures + part.words], 1)).logits[:, part.context - 1 : -1]
    loss = torch.nn.functional.cross_entropy(logits[..., part.words :].flatten(0, 1), pictures.flatten())
    torch.testing.assert_close(part._losses(part.network, captions, pictures)[1], loss)
