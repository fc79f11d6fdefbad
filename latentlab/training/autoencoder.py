"""The decoder's first stage: diffusers' AutoencoderDC, from pictures of 64x64 to latents of 16 channels at 8x8."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..errors import UserError
from ..io.images import psnr, to_pil
from .curriculum import batch_for_clip, for_decoder
from .drawings import Sprites
from .growth import deepened, widened
from .icon_sets import HELD_OUT_STYLES
from .loop import Part, save_half
from .predictions import LATEST, predicted_x0
from .rendering import Renderer
from .scenes import single

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

    from ..models.emoji import EmojiDecoder


LAYERS = (0, 1, 1, 2)  # blocks of each stage, from the widest pictures to the latents
DECODING_LAYERS = (0, 3, 2, 2)


def build(
    channels: tuple[int, ...] = (32, 64, 128, 256),
    layers: tuple[int, ...] = LAYERS,
    latent: int = 16,
    *,
    decoding_layers: tuple[int, ...] | None = None,
) -> AutoencoderDC:
    """AutoencoderDC without attention, whose first stage works at half the resolution.

    The decoding has as many blocks as the encoding, unless it is given its own numbers. It has shortcuts around the
    latents only if the number of their channels divides that of the widest layer.
    """
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

    stages, even = len(channels), channels[-1] % latent == 0
    return AutoencoderDC(
        latent_channels=latent,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        encoder_layers_per_block=layers,
        decoder_layers_per_block=decoding_layers or layers,
        encoder_qkv_multiscales=((),) * stages,
        decoder_qkv_multiscales=((),) * stages,
        encoder_out_shortcut=even,
        decoder_in_shortcut=even,
    )


def reconstruction_error(reconstruction: Tensor, target: Tensor) -> Tensor:
    difference = reconstruction - target
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return difference.abs().mean() + 0.5 * edges + 3 * difference.square().mean()


class Autoencoder(Part["AutoencoderDC"]):
    """|x - x̂|, the same of the gradients, and |x - x̂|²; noise on the latents makes near latents decode alike.

    Averaged latents have to decode to averaged pictures, so that they hold less fine noise for the decoder to learn:
    the scale equivariance of Skorokhodov et al. 2025 (arXiv 2502.14831) and of EQ-VAE (Kouzelis et al. 2025).
    """

    name = "autoencoder"
    lr = 1.5e-3
    batch = 48
    noise = 0.05

    def __init__(self, sprites: Sprites, device: torch.device, *, channels: int = 16) -> None:
        torch.manual_seed(0)
        self.network = build(latent=channels)
        nn.Module.to(self.network, memory_format=torch.channels_last)
        self.render, self.sprites, self.device = Renderer(sprites, device), sprites, device

    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        return widened(state, self.network)

    def _pictures(self, step: int) -> Tensor:
        half = self.batch // 2
        plain = [for_decoder(step * half + k, self.sprites) for k in range(half)]
        varied = batch_for_clip(step, self.sprites, self.batch - half)
        with torch.autocast(self.device.type, enabled=False):
            vary = torch.Generator().manual_seed(step)
            return torch.cat([self.render(plain, 64), self.render(varied, 64, vary=vary)])

    def loss(self, step: int) -> Tensor:
        x = self._pictures(step).contiguous(memory_format=torch.channels_last)
        z = self.network.encode(x).latent.float()
        z_noisy = self._noised(z, step)
        error = reconstruction_error(self.network.decode(z_noisy).sample.float(), x)
        small, half = slice(None, None, 2), F.avg_pool2d
        error_small = reconstruction_error(
            self.network.decode(half(z_noisy[small], 2)).sample.float(), half(x[small], 2)
        )
        # Latents near the unit sphere keep one scaling factor right for all of them.
        return error + 0.5 * error_small + 1e-4 * z.square().mean()

    def _noised(self, z: Tensor, step: int) -> Tensor:
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(step)).to(z.device)
        return z + self.noise * z.detach().float().std() * noise

    def held_out(self, count: int = 64) -> Tensor:
        rng = random.Random("autoencoder")
        return self.render([single(rng, self.sprites, style=None, split="held-out") for _ in range(count)], 64)

    def unseen_style(self, style: str, count: int = 64) -> Tensor:
        from .clip import validation_scenes

        return self.render(validation_scenes(self.sprites, style=style, per_thing=1)[:count], 64)

    def measure(self, network: AutoencoderDC) -> dict[str, float]:
        measured = {}
        unseen = [(f"psnr_{style}", self.unseen_style(style)) for style in HELD_OUT_STYLES]
        for name, pictures in (("psnr_seen", self.held_out()), *unseen):
            back = network.decode(network.encode(pictures).latent).sample.clamp(-1, 1)
            measured[name] = psnr(pictures, back).mean().item()
        return measured

    def preview(self, network: AutoencoderDC) -> Image.Image:
        from torchvision.utils import make_grid

        x = torch.cat([self.held_out(20), *(self.unseen_style(style, 10) for style in HELD_OUT_STYLES)])
        back = network.decode(network.encode(x).latent).sample.clamp(-1, 1)
        rows = torch.stack([x.view(4, 10, 3, 64, 64), back.view(4, 10, 3, 64, 64)], 1).flatten(0, 2)
        return to_pil(make_grid(rows, 10)[None])[0]

    def export(self, network: AutoencoderDC, folder: Path) -> None:
        """Write the network in half precision, with the scaling factor that gives the latents unit variance."""
        z = network.encode(self._pictures(10**6)).latent
        network.register_to_config(scaling_factor=round(1 / z.float().std().item(), 5))
        save_half(network, folder)


class SameLatents(Autoencoder):
    """The first stage's decoding alone, with further blocks; the encoding and its latents stay.

    So every network that works on the latents stays valid, and pictures come back sharper. The exact latents have less
    noise here than where the encoding is trained, which needs noise to keep near latents alike.
    """

    fall = 0.6
    noise = 0.02

    def __init__(self, sprites: Sprites, decoder: EmojiDecoder, device: torch.device) -> None:
        if decoder.autoencoder is None:
            raise UserError("this decoder works on pixels and has no first stage to train")
        super().__init__(sprites, device)
        self.decoder, self.scale = decoder, decoder.autoencoder.config["scaling_factor"]
        from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

        trained = decoder.autoencoder
        self.network = AutoencoderDC.from_config({**trained.config, "decoder_layers_per_block": DECODING_LAYERS})
        nn.Module.to(self.network, memory_format=torch.channels_last)
        self.network.load_state_dict(deepened(trained.state_dict(), self.network))
        self.network.encoder.requires_grad_(False)

    def loss(self, step: int) -> Tensor:
        x = self._pictures(step).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            z = self.network.encode(x).latent
        return reconstruction_error(self.network.decode(self._noised(z, step)).sample.float(), x)

    def measure(self, network: AutoencoderDC) -> dict[str, float]:
        scenes = [for_decoder(10**9 + k, self.sprites) for k in range(48)]
        pictures = self.render(scenes, 64)
        x_0 = predicted_x0(self.decoder, pictures, [scene.caption for scene in scenes], LATEST, 10**9)
        back = network.decode(x_0 / self.scale).sample.clamp(-1, 1)
        return {**super().measure(network), "psnr_predicted": psnr(pictures, back).mean().item()}

    def export(self, network: AutoencoderDC, folder: Path) -> None:
        network.register_to_config(scaling_factor=self.scale)
        save_half(network, folder)
