"""The discrete first stage: tokens of pictures, pictures of tokens, and its training on tiny random networks."""

import pytest
import torch

from latentlab import UserError
from latentlab.models.dvae import Dvae, LatentQuantizer
from latentlab.training.dvae import DvaeTraining

SIZE = 20  # of the tiny miniature's codebook, 5 × 4 levels


@pytest.fixture(scope="module")
def dvae(miniature):
    return miniature.require_dalle().dvae


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_pictures_become_rows_of_tokens_and_pictures_again(dvae, pixels):
    tokens = dvae.to_tokens(pixels)
    assert tokens.shape == (2, 64) and tokens.min() >= 0 and tokens.max() < SIZE
    back = dvae.to_pixels(tokens)
    assert back.shape == pixels.shape and back.abs().max() <= 1


@pytest.mark.parametrize("split", [1, 2])
def test_a_tokens_codes_quantise_to_that_token(split):
    network = LatentQuantizer((5, 4, 3), channels=4, split=split, width=8, layers=1)
    tokens = torch.arange(60).view(1, 6, 10)
    codes = network.codes(tokens)
    assert network.quantizer.codes_to_indices(codes.movedim(1, -1)).equal(tokens.int())
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    codes, tokens = network.encode(latents)
    assert tokens.shape == (2, 8 * split, 8 * split)
    assert torch.allclose(network.codes(tokens), codes, atol=1e-6)
    assert network.decode(codes).shape == latents.shape


def test_gradients_pass_the_quantiser():
    network = LatentQuantizer((5, 4), channels=4, width=8, layers=1)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    network.decode(network.encode(latents)[0]).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.encoder.parameters() if p.ndim > 1)


@pytest.mark.parametrize(
    "tokens, message",
    [
        (torch.full((1, 64), SIZE), f"token 0 of picture 0 is {SIZE}, outside the codebook of {SIZE}"),
        (torch.full((1, 64), -1), "token 0 of picture 0 is -1"),
        (torch.zeros(1, 63, dtype=torch.long), r"of shape \(1, 63\), wanted integers \(B, 64\)"),
        (torch.zeros(1, 64), "tokens are torch.float32"),
    ],
)
def test_what_are_no_tokens_of_pictures_is_refused(dvae, tokens, message):
    with pytest.raises(UserError, match=message):
        dvae.to_pixels(tokens)


def test_a_quantiser_of_other_latents_is_refused(miniature, tmp_path):
    LatentQuantizer((5, 4), channels=16, width=8, layers=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="wants latents of 16 channels, and this first stage makes 4"):
        Dvae.load(tmp_path, miniature.decoder.autoencoder)


def test_training_lowers_the_loss_and_measures_what_the_tokens_keep(miniature, sprites):
    latents = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    part = DvaeTraining(sprites, latents, miniature.decoder.autoencoder, miniature.encoder, levels=(5, 4))
    part.network = LatentQuantizer((5, 4), channels=4, width=8, layers=1)
    part.batch, part.decoded = 4, 1
    part._pictures = lambda: [("new", part.scenes.held_out(2))]
    optimizer = torch.optim.Adam(part.network.parameters(), 1e-2)
    before = part.loss(0)
    for _ in range(8):
        optimizer.zero_grad()
        part.loss(0).backward()
        optimizer.step()
    assert part.loss(0) < before
    with torch.no_grad():
        measured = part.measure(part.network)
    assert 0 < measured["codes_used"] <= 1 and 0 <= measured["clip_agrees_new"] <= 1 and measured["psnr_new"] > 0


def test_training_the_decoding_alone_keeps_every_token(miniature, sprites):
    start = LatentQuantizer((5, 4), channels=4, width=8, layers=1)
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    part = DvaeTraining(sprites, latents, miniature.decoder.autoencoder, miniature.encoder, start=start)
    part.batch, part.decoded = 4, 1
    optimizer = torch.optim.Adam([p for p in part.network.parameters() if p.requires_grad], 1e-2)
    part.loss(0).backward()
    optimizer.step()
    assert part.network.encode(latents)[1].equal(start.encode(latents)[1])
    codes = start.encode(latents)[0]
    assert not part.network.decode(codes).equal(start.decode(codes))
