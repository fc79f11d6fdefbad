"""The discrete first stage of DALL·E 1: a quantiser of the first stage's latents, which stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..clip import Encoder
from ..io.images import psnr, to_pil
from ..models.dvae import Dvae, LatentQuantizer
from .autoencoder import Autoencoder, reconstruction_error
from .curriculum import for_decoder
from .drawings import Sprites
from .icon_sets import HELD_OUT_STYLES
from .loop import Part, save_half
from .pools import drawn

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

LEVELS = (7, 5, 5, 5, 5)  # 4,375 tokens, the levels for about 2^12 in Mentzer et al. 2023, table 1
TOKENS = (64, 256)


class DvaeTraining(Part[LatentQuantizer]):
    """|z - ẑ|² of the latents and, on some rows, the first stage's own error of the decoded pictures.

    The first stage is frozen.  Latents cost a fifth of what pictures cost, so that most rows have latents alone.

    Args:
        latents: (N, C, H, W), the first stage's, of the decoder's scenes with the seeds 0 .. N.
        encoder: the CLIP whose agreement on the reconstructions is measured.
        tokens: 64 or 256 a picture.
        start: a quantiser whose tokens stay, so that only their decoding is trained on; None trains a new one.
    """

    name = "dvae"
    lr = 1.5e-3
    batch = 64
    decoded = 4  # rows of a batch that are decoded to pictures
    ema_decay = 0.998

    def __init__(
        self,
        sprites: Sprites,
        latents: Tensor,
        autoencoder: AutoencoderDC,
        encoder: Encoder,
        *,
        tokens: int = 64,
        levels: Sequence[int] = LEVELS,
        start: LatentQuantizer | None = None,
    ) -> None:
        torch.manual_seed(0)
        channels: int = autoencoder.config["latent_channels"]
        self.network = LatentQuantizer(levels, channels=channels, split=TOKENS.index(tokens) + 1)
        if start is not None:
            self.network = copy.deepcopy(start).requires_grad_(True)
            self.network.encoder.requires_grad_(False)
        nn.Module.to(self.network, memory_format=torch.channels_last)
        self.sprites, self.latents, self.autoencoder, self.encoder = sprites, latents, autoencoder, encoder
        self.scale: float = autoencoder.config["scaling_factor"]
        self.scenes = Autoencoder(sprites, encoder.device)

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, len(self.latents), (self.batch,), generator=generator)
        z = self.latents[rows].to(self.encoder.device).float()
        z_hat = self.network.decode(self.network.encode(z)[0]).float()
        some = [for_decoder(row, self.sprites) for row in rows[: self.decoded].tolist()]
        with torch.autocast(z.device.type, enabled=False):
            pictures = drawn(self.scenes.render, some)
        decoded = self.autoencoder.decode(z_hat[: self.decoded] / self.scale).sample.float()
        return F.mse_loss(z_hat, z) + reconstruction_error(decoded, pictures)

    def measure(self, network: LatentQuantizer) -> dict[str, float]:
        """PSNR, the share of the codebook in use on 4,096 scenes, and how often CLIP names the same thing as before."""
        dvae = Dvae(network, self.autoencoder)
        tokens = torch.cat(
            [network.encode(z.float())[1] for z in self.latents[:4096].to(dvae.autoencoder.device).split(256)]
        )
        measured = {"codes_used": len(tokens.unique()) / network.codebook_size}
        for name, pictures in self._pictures():
            back = dvae.to_pixels(dvae.to_tokens(pictures))
            measured[f"psnr_{name}"] = psnr(pictures, back).mean().item()
            measured[f"clip_agrees_{name}"] = self._agreement(pictures, back)
        return measured

    def _pictures(self) -> list[tuple[str, Tensor]]:
        new = drawn(self.scenes.render, [for_decoder(10**9 + k, self.sprites) for k in range(192)])
        return [("new", new), *((style, self.scenes.unseen_style(style, 96)) for style in HELD_OUT_STYLES)]

    def _agreement(self, pictures: Tensor, back: Tensor) -> float:
        from .clip import class_embeddings

        classes = class_embeddings(self.encoder.model.encode_text, self.encoder.tokens)
        names = [(self.encoder.encode_image(x) @ classes.T).argmax(1) for x in (pictures, back)]
        return (names[0] == names[1]).float().mean().item()

    def preview(self, network: LatentQuantizer) -> Image.Image:
        """Held-out pictures of seen and unseen artists, and each row's reconstruction below it."""
        from torchvision.utils import make_grid

        dvae = Dvae(network, self.autoencoder)
        x = torch.cat([self.scenes.held_out(20), *(self.scenes.unseen_style(style, 10) for style in HELD_OUT_STYLES)])
        back = dvae.to_pixels(dvae.to_tokens(x))
        rows = torch.stack([x.view(4, 10, 3, 64, 64), back.view(4, 10, 3, 64, 64)], 1).flatten(0, 2)
        return to_pil(make_grid(rows, 10)[None])[0]

    def export(self, network: LatentQuantizer, folder: Path) -> None:
        save_half(network, folder)
