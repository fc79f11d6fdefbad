"""The fine-tuned inpainting decoder: it starts as the decoder itself, reads what is known, and is trained on masks."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentlab import UserError, experiments
from latentlab.diffusion import Conditioning
from latentlab.inpainting import with_known
from latentlab.models import inpainter
from latentlab.models.inpainter import FILE, InpaintingDelta, inpainting_decoder
from latentlab.training import inpainting, loop
from latentlab.training.inpainting import InpaintingTraining, masked_scenes, random_masks
from latentlab.training.pools import Pool

CPU = torch.device("cpu")


@pytest.fixture
def delta(miniature):
    """A delta that is no longer zero."""
    delta = InpaintingDelta(miniature.decoder.network, rank=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in delta.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return delta


@pytest.fixture
def state(miniature):
    """x_t, what is asked for, x_0 and a mask."""
    generator = torch.Generator().manual_seed(0)
    x_t, x_0 = torch.randn(2, 2, *miniature.decoder.shape, generator=generator)
    mask = torch.zeros(1, 1, *x_t.shape[2:], dtype=torch.bool)
    mask[..., 2:6, 1:5] = True
    text = miniature.decoder.encode_prompt(["a cat", "a red dog"])
    return x_t, Conditioning(torch.randn(2, 24, generator=generator), text), x_0, mask


def test_an_untrained_delta_is_the_plain_decoder_exactly(miniature, state):
    x_t, cond, x_0, mask = state
    fresh = inpainting_decoder(miniature.decoder, InpaintingDelta(miniature.decoder.network))
    assert fresh.shape == miniature.decoder.shape
    known = with_known(fresh, cond, x_0, mask)
    assert known.known.shape[1] == x_0.shape[1] + 1 and with_known(miniature.decoder, cond, x_0, mask) is cond
    for guidance in (1.0, 2.0):
        plain = miniature.decoder.eps(x_t, 500, cond, guidance)
        torch.testing.assert_close(fresh.eps(x_t, 500, known, guidance), plain, rtol=0, atol=1e-6)
        torch.testing.assert_close(fresh.eps(x_t, 500, cond, guidance), plain, rtol=0, atol=1e-6)


def test_once_trained_it_reads_what_is_known_and_where_and_leaves_the_plain_decoder_alone(miniature, delta, state):
    x_t, cond, x_0, mask = state
    before = {k: v.clone() for k, v in miniature.decoder.network.state_dict().items()}
    decoder = inpainting_decoder(miniature.decoder, delta)
    known = with_known(decoder, cond, x_0, mask)
    hidden = with_known(decoder, cond, torch.where(mask, 9.0, x_0), mask)
    torch.testing.assert_close(decoder.eps(x_t, 500, known), decoder.eps(x_t, 500, hidden))  # the hidden part is not
    for other in (with_known(decoder, cond, x_0 + 1, mask), with_known(decoder, cond, x_0, ~mask), cond):
        assert not torch.allclose(decoder.eps(x_t, 500, known), decoder.eps(x_t, 500, other), atol=1e-3)
    after = miniature.decoder.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_file_holds_the_delta_and_is_small(miniature, delta, state, tmp_path):
    x_t, cond, x_0, mask = state
    inpainter.save(delta, tmp_path)
    read, wanted = inpainter.load(tmp_path, miniature.decoder), inpainting_decoder(miniature.decoder, delta)
    known = with_known(read, cond, x_0, mask)
    torch.testing.assert_close(read.eps(x_t, 300, known), wanted.eps(x_t, 300, known), atol=0.01, rtol=0.01)
    values = sum(parameter.numel() for parameter in delta.parameters())
    assert (tmp_path / FILE).stat().st_size < 2 * values + 5000
    assert values < 0.2 * sum(parameter.numel() for parameter in miniature.decoder.network.parameters())


@pytest.mark.parametrize("change", ["another decoder", "another shape", "a name less", "damaged", "not there"])
def test_a_file_that_does_not_fit_is_refused(miniature, delta, tmp_path, change):
    inpainter.save(delta, tmp_path)
    state = load_file(tmp_path / FILE)
    message = "was trained from another decoder than this one: `python -m latentlab.training decoder --inpaint` makes"
    if change == "another decoder":
        state["decoder"] = state["decoder"].flip(0)
    elif change == "another shape":
        state["channels"] = state["channels"][:-1].clone()
    elif change == "a name less":
        state.pop("up.0")
    save_file(state, tmp_path / FILE)
    if change == "damaged":
        (tmp_path / FILE).write_bytes(b"damaged")
        message = "is not a whole safetensors file"
    elif change == "not there":
        (tmp_path / FILE).unlink()
        message = "is not there"
    with pytest.raises(UserError, match=message):
        inpainter.load(tmp_path, miniature.decoder)


def test_an_edit_takes_it_where_a_lab_has_it_and_says_so_where_none_is(miniature, delta, lab):
    picture, mask = torch.zeros(1, 3, 64, 64), torch.zeros(64, 64).bool()
    mask[16:48, 16:48] = True
    loads = []
    tuned = dataclasses.replace(
        miniature, load_inpainting=lambda: loads.append(0) or inpainting_decoder(miniature.decoder, delta)
    )
    plain = experiments.edit(tuned, picture, mask, "a cat", steps=2)
    assert not loads and plain.settings["decoder"] == "plain"
    painted = experiments.edit(tuned, picture, mask, "a cat", steps=2, decoder="fine-tuned")
    assert loads and not torch.allclose(painted.pixels, plain.pixels, atol=1e-3)
    assert torch.equal(painted.pixels.where(~mask, 0), picture.where(~mask, 0))
    assert painted.settings["decoder"] == "fine-tuned"
    small = torch.zeros(1, 3, 8, 8), torch.eye(8).bool()
    with pytest.raises(UserError, match=r"toy has no decoder .*take decoder='plain'.*training decoder --inpaint"):
        experiments.edit(lab, *small, "a cat", decoder="fine-tuned")
    with pytest.raises(UserError, match="decoder is 'magic': give plain or fine-tuned"):
        experiments.edit(lab, *small, "a cat", decoder="magic")


def test_masks_are_of_all_sizes_reach_the_edges_and_some_hide_everything():
    masks = random_masks(600, 32, torch.Generator().manual_seed(0))
    share = masks.float().mean((1, 2, 3))
    assert masks.shape == (600, 1, 32, 32) and masks.dtype == torch.bool and share.min() > 0
    assert 0.1 < (share == 1).float().mean() < 0.25 and (share < 0.2).float().mean() > 0.05
    part = masks[share < 1]
    assert 0.2 < part[..., 0, :].any(-1).float().mean() < 0.8 and 0.2 < part[..., -1].any(-1).float().mean() < 0.8


def test_what_is_known_does_not_tell_what_is_hidden(miniature, sprites, monkeypatch):
    known = masked_scenes(sprites, miniature.decoder, first=0, count=6)
    assert known.shape == (6, miniature.decoder.shape[0] + 1, *miniature.decoder.shape[1:])
    visible = known[:, -1:]
    assert set(visible.unique().tolist()) <= {0.0, 1.0} and not (known[:, :-1] * (1 - visible)).any()
    drawn = inpainting.drawn

    def other_inside(render, scenes):
        mask = random_masks(len(scenes), 64, torch.Generator().manual_seed(0))
        return torch.where(mask, 1.0, drawn(render, scenes))

    monkeypatch.setattr(inpainting, "drawn", other_inside)
    assert torch.equal(masked_scenes(sprites, miniature.decoder, first=0, count=6), known)


def test_training_goes_on_from_a_checkpoint_and_measures_edits_beside_repaint(
    sprites, miniature, tmp_path, monkeypatch
):
    monkeypatch.setattr(inpainting, "EVALUATIONS", 4)
    base = miniature.decoder
    pool = Pool.build(sprites, base.encoder, base.autoencoder, first=0, count=64, side=64)
    known = masked_scenes(sprites, base, first=0, count=64)

    def part():
        training = InpaintingTraining(sprites, base, pool, known, held_out=16)
        training.batch = 8
        return training

    first = loop.train(part(), tmp_path, minutes=0.004, device=CPU)
    second = loop.train(part(), tmp_path, minutes=0.004, device=CPU)
    assert second["step"] > first["step"] > 0
    wanted = {"held_out_v_loss", "top1_inside", "top1_inside_repaint", "seam", "seam_repaint"}
    assert wanted <= second.keys() and second["seam"] > 0
    decoder = inpainter.load(tmp_path / "export", base)
    assert not torch.equal(decoder.network.pos_embed.proj.weight[:, -1], torch.zeros(48, 1, 1))
    other = part()
    other.network.decoder.add_(1)  # the decoder was trained further in between
    with pytest.raises(UserError, match="was trained from another decoder"):
        loop.train(other, tmp_path, minutes=0.004, device=CPU)
