"""What the decoder predicts of training pictures, and the first stage whose decoding alone is trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from latentlab.errors import UserError
from latentlab.models.emoji import encode_latents
from latentlab.training.autoencoder import SameLatents
from latentlab.training.predictions import predicted_x0


def test_a_prediction_from_the_picture_itself_is_its_latent(miniature):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x_0 = predicted_x0(miniature.decoder, pixels, ["a cat", "a dog"], 0, seed=1)
    near, far = miniature.decoder.to_x0(pixels), predicted_x0(miniature.decoder, pixels, ["a cat"] * 2, 300, seed=1)
    assert (x_0 - near).abs().mean() < 0.1 * (far - near).abs().mean()


def test_training_the_decoding_alone_keeps_the_latents(miniature, sprites, tmp_path):
    part = SameLatents(sprites, miniature.decoder, torch.device("cpu"))
    part.batch = 4
    z = torch.randn(2, *miniature.decoder.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(part.network.decode(z).sample, miniature.decoder.autoencoder.decode(z).sample)
    part.loss(0).backward()
    assert all(p.grad is None for p in part.network.encoder.parameters())
    assert all(p.grad.isfinite().all() for p in part.network.decoder.parameters())
    part.export(part.network, tmp_path)
    exported = type(part.network).from_pretrained(tmp_path, torch_dtype=torch.float32)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(encode_latents(exported, pixels), miniature.decoder.to_x0(pixels), atol=2e-2, rtol=2e-2)


def test_a_decoder_of_pixels_has_no_first_stage_to_train(sprites):
    with pytest.raises(UserError, match="works on pixels and has no first stage"):
        SameLatents(sprites, SimpleNamespace(autoencoder=None), torch.device("cpu"))
