"""The discrete first stage: pictures to tokens and back, by a quantiser between the halves of the first stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from ..errors import UserError
from ..io import images
from ..io.atomic import open_tensors, read_json

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

FOLDER = "dvae"
RETRAIN = "`python -m latentlab.training dvae` writes it anew"


def _stack(into: int, width: int, layers: int, out: int) -> nn.Sequential:
    """Residual blocks at one resolution between two convolutions."""
    blocks = [ResnetBlock2D(in_channels=width, temb_channels=cast(int, None), groups=8) for _ in range(layers)]
    ends = nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, out, 3, padding=1)
    return nn.Sequential(nn.Conv2d(into, width, 3, padding=1), *(_Untimed(block) for block in blocks), *ends)


class _Untimed(nn.Module):
    """A residual block of a diffusion network, without the embedding of the time."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, None)


class LatentQuantizer(ModelMixin, ConfigMixin):  # type: ignore[misc]  # both of diffusers define config_name
    """Latents to codes of a finite scalar quantiser and back.  Mentzer et al. 2023 (FSQ), section 3.1.

    Every channel of a code takes one of a few levels, so that the codebook is their product and none of it is learned.

    Args:
        levels: the number of levels of every channel.
        channels: of the latents.
        split: a latent gives split² tokens.
        width, layers: of the residual blocks on each side of the codes.
    """

    @register_to_config
    def __init__(
        self,
        levels: Sequence[int] = (7, 5, 5, 5, 5),
        channels: int = 16,
        split: int = 1,
        width: int = 96,
        layers: int = 3,
    ) -> None:
        from vector_quantize_pytorch import FSQ

        super().__init__()
        each = channels // split**2
        self.encoder = _stack(each, width, layers, len(levels))
        self.quantizer = FSQ(list(levels))
        self.decoder = _stack(len(levels), width, layers, each)

    @property
    def codebook_size(self) -> int:
        """The number of different tokens."""
        return math.prod(self.config["levels"])

    def encode(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, C, H, W), at about unit variance, to codes (B, L, sH, sW) and their tokens (B, sH, sW)."""
        features = self.encoder(F.pixel_shuffle(latents, self.config["split"])).float()
        with torch.autocast(features.device.type, enabled=False):
            codes, tokens = self.quantizer(features)
        return codes, tokens.long()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, L, sH, sW) to latents (B, C, H, W)."""
        return F.pixel_unshuffle(self.decoder(codes), self.config["split"])

    def codes(self, tokens: Tensor) -> Tensor:
        """Tokens (B, sH, sW) to codes (B, L, sH, sW)."""
        return self.quantizer.indices_to_codes(tokens)


class Dvae:
    """Pictures (B, 3, H, W) to N tokens, row by row, and back: DALL·E's first stage.  Ramesh et al. 2021, section 2.1.

    Args:
        network: the quantiser.
        autoencoder: the first stage whose latents it quantises, frozen.
    """

    def __init__(self, network: LatentQuantizer, autoencoder: AutoencoderDC) -> None:
        self.network, self.autoencoder = network, autoencoder
        self.scale: float = autoencoder.config["scaling_factor"]
        self.image_size = 64
        self.side: int = self.image_size // autoencoder.spatial_compression_ratio * network.config["split"]

    @property
    def codebook_size(self) -> int:
        """The number of different tokens."""
        return self.network.codebook_size

    @property
    def length(self) -> int:
        """The number of a picture's tokens."""
        return self.side**2

    @torch.no_grad()
    def to_tokens(self, pixels: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] to tokens (B, N)."""
        latents = self.autoencoder.encode(images.resize(pixels, self.image_size)).latent * self.scale
        return self.network.encode(latents)[1].flatten(1)

    @torch.no_grad()
    def to_pixels(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N) to pictures (B, 3, H, W) in [-1, 1].

        Raises:
            UserError: tokens of another shape, or outside the codebook.
        """
        self.check_tokens(tokens)
        codes = self.network.codes(tokens.unflatten(1, (self.side, self.side)))
        return self.autoencoder.decode(self.network.decode(codes) / self.scale).sample.clamp(-1, 1)

    def check_tokens(self, tokens: Tensor) -> None:
        """Refuse what are no tokens of pictures.

        Raises:
            UserError: tokens of another shape, or outside the codebook.
        """
        if tokens.ndim != 2 or tokens.shape[1] != self.length or tokens.is_floating_point():
            raise UserError(
                f"tokens are {tokens.dtype} of shape {tuple(tokens.shape)}, wanted integers (B, {self.length}): "
                "`to_tokens` makes them from pictures"
            )
        outside = (tokens < 0) | (tokens >= self.codebook_size)
        if outside.any():
            row, place = outside.nonzero()[0].tolist()
            raise UserError(
                f"token {place} of picture {row} is {int(tokens[row, place])}, outside the codebook of "
                f"{self.codebook_size}: encode the picture again with `to_tokens` of this first stage"
            )

    @staticmethod
    def load(folder: Path, autoencoder: AutoencoderDC) -> Dvae:
        """The discrete first stage in a folder, in float32 and frozen.

        Raises:
            UserError: a file is missing or damaged, or the quantiser is one of other latents.
        """
        channels = read_json(folder / "config.json", RETRAIN).get("channels")
        if channels != autoencoder.config["latent_channels"]:
            raise UserError(
                f"the quantiser in {folder} wants latents of {channels} channels, and this first stage makes "
                f"{autoencoder.config['latent_channels']}: {RETRAIN}"
            )
        with open_tensors(folder / "diffusion_pytorch_model.safetensors", kind="quantiser", hint=RETRAIN):
            pass
        network = LatentQuantizer.from_pretrained(folder, torch_dtype=torch.float32)
        nn.Module.to(network.eval().requires_grad_(False), autoencoder.device)
        return Dvae(network, autoencoder)
