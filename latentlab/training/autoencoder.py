"""The decoder's first stage: diffusers' AutoencoderDC, 64x64 pictures as 8x8 latents of 16 channels."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from ..io.images import psnr, to_pil
from .drawings import HELD_OUT_STYLE, Sprites
from .loop import Part, save_half
from .rendering import Renderer
from .scenes import batch_for_clip, for_decoder, single


def build(channels: tuple[int, ...] = (32, 64, 128, 256), layers: tuple[int, ...] = (0, 1, 1, 2), latent: int = 16):
    """AutoencoderDC without attention, whose first stage already works at half the resolution."""
    from diffusers import AutoencoderDC

    stages = len(channels)
    return AutoencoderDC(
        latent_channels=latent, encoder_block_types="ResBlock", decoder_block_types="ResBlock",
        encoder_block_out_channels=channels, decoder_block_out_channels=channels,
        encoder_layers_per_block=layers, decoder_layers_per_block=layers,
        encoder_qkv_multiscales=((),) * stages, decoder_qkv_multiscales=((),) * stages,
    )  # fmt: skip


class Autoencoder(Part):
    """|x - x̂| plus that of its gradients, the latents under a little noise so that near ones decode alike."""

    name = "autoencoder"
    lr = 1.5e-3
    batch = 48
    noise = 0.03

    def __init__(self, sprites: Sprites, device: torch.device):
        torch.manual_seed(0)
        self.network = build().to(memory_format=torch.channels_last)
        self.render, self.sprites, self.device = Renderer(sprites, device), sprites, device

    def _pictures(self, step: int) -> Tensor:
        half = self.batch // 2
        found = [for_decoder(step * half + k, self.sprites) for k in range(half)]
        return self.render(found + batch_for_clip(step, self.sprites, self.batch - half), 64)

    def loss(self, step: int) -> Tensor:
        x = self._pictures(step).contiguous(memory_format=torch.channels_last)
        z = self.network.encode(x).latent.float()
        generator = torch.Generator().manual_seed(step)
        sigma = self.noise * z.detach().std()
        z_noisy = z + sigma * torch.randn(z.shape, generator=generator).to(z.device)
        difference = self.network.decode(z_noisy).sample.float() - x
        edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        # Latents near the unit sphere keep one scaling factor right for all of them.
        return difference.abs().mean() + 0.5 * edges + difference.square().mean() + 1e-4 * z.square().mean()

    def _held_out(self, count: int = 64) -> Tensor:
        rng = random.Random("autoencoder")
        return self.render([single(rng, self.sprites, style=None, split="held-out") for _ in range(count)], 64)

    def _unseen_style(self, count: int = 64) -> Tensor:
        from .clip import validation_scenes

        return self.render(validation_scenes(self.sprites, held_out_style=True, per_thing=1)[:count], 64)

    def measure(self, network: nn.Module) -> dict[str, float]:
        found = {}
        for name, pictures in (("psnr_seen", self._held_out()), (f"psnr_{HELD_OUT_STYLE}", self._unseen_style())):
            back = network.decode(network.encode(pictures).latent).sample.clamp(-1, 1)
            found[name] = psnr(pictures, back).mean().item()
        return found

    def preview(self, network: nn.Module) -> Image.Image:
        from torchvision.utils import make_grid

        x = torch.cat([self._held_out(20), self._unseen_style(20)])
        back = network.decode(network.encode(x).latent).sample.clamp(-1, 1)
        rows = torch.stack([x.view(4, 10, 3, 64, 64), back.view(4, 10, 3, 64, 64)], 1).flatten(0, 2)
        return to_pil(make_grid(rows, 10)[None])[0]

    def export(self, network: nn.Module, folder: Path) -> None:
        """Half precision, with the scaling factor that gives the latents unit variance."""
        z = network.encode(self._pictures(10**6)).latent
        network.register_to_config(scaling_factor=round(1 / z.float().std().item(), 5))
        save_half(network, folder)
