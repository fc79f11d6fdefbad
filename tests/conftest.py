"""What several test files share: the toy lab, seeded randomness, and small stand-ins for drawings and decoders."""

import numpy as np
import pytest
import torch

from latentlab import models
from latentlab.models.toy import D


@pytest.fixture(scope="session")
def lab():
    """The lab with closed-form answers."""
    return models.load("toy", device="cpu")


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(20221)


@pytest.fixture
def normal(rng):
    """Standard normal float64 tensors: `normal(B, C, H, W)`."""
    return lambda *shape: torch.randn(shape, generator=rng, dtype=torch.float64)


@pytest.fixture
def z_i(rng):
    """Three toy embeddings."""
    return torch.rand(3, D, generator=rng, dtype=torch.float64) * 2 - 1


@pytest.fixture
def x_0(lab, z_i, normal):
    """Three pictures drawn from the toy's own Gaussian, given z_i."""
    mean = lab.decoder.mean(z_i)
    return mean + lab.decoder.spread * normal(*mean.shape)


class Spy:
    """A decoder that notes every evaluation: the batch, the time and the guidance."""

    def __init__(self, decoder):
        self.decoder, self.calls = decoder, []

    def __getattr__(self, name):
        return getattr(self.decoder, name)

    def eps(self, x_t, t, cond, guidance=1.0):
        self.calls.append((len(x_t), t, guidance))
        return self.decoder.eps(x_t, t, cond, guidance)


@pytest.fixture
def spy(lab):
    return Spy(lab.decoder)


@pytest.fixture(scope="session")
def sprites():
    """Every key of Emoji World on four tiny drawings, so that no test needs the artists' packages.

    Row 0 is mirror-symmetrical, row 1 is not, row 2 is transparent, row 3 is opaque white.
    """
    from latentlab.training.drawings import COLOURS, SOLIDS, STYLES, Sprites, sign_words, things

    pixels = np.zeros((4, 4, 8, 8), np.uint8)
    pixels[0, :, :, 2:6] = np.array([200, 40, 90, 255])[:, None, None]
    pixels[1, :, :, :3] = np.array([20, 140, 60, 255])[:, None, None]
    pixels[3] = 255
    keys = [f"{style}/{thing.name}" for style in STYLES for thing in things()]
    keys += [f"solid/{colour}/{shape}" for colour in COLOURS for shape in SOLIDS]
    keys += [f"{kind}/{word}" for kind in ("sign", "label") for word in sign_words()]
    index = {"symmetrical": 0, "lopsided": 1, "transparent": 2, "white": 3}
    return Sprites(pixels, {**dict.fromkeys(keys, 1), **index})
