"""The miniature's upsampler from 64 to 128 pixels, trained on crops of small pictures that the autoencoder decoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from ..diffusion import cosine_abar
from ..io.images import psnr, to_pil
from ..models.emoji import DETAIL, EmojiUpsampler, bicubic, upsampler_v
from ..upsampling import upsample
from .curriculum import for_decoder
from .decoder import TIME_LIMIT
from .drawings import Sprites
from .loop import Part, save_half
from .rendering import Renderer

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from diffusers.models.unets.unet_2d import UNet2DModel

LOW, HIGH = 64, 128


def build(channels: tuple[int, ...] = (64, 96)) -> UNet2DModel:
    from diffusers.models.unets.unet_2d import UNet2DModel

    return UNet2DModel(
        sample_size=HIGH // 2,
        in_channels=24,
        out_channels=12,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        norm_num_groups=8,
        add_attention=False,
    )


class Upsampler(Part["UNet2DModel"]):
    """|v - v̂|² on quarter-size crops whose small picture is degraded.  Ramesh et al. 2022, section 2.1.

    The autoencoder or a little blur degrades the small picture, as it does the decoder's pictures.  Noise does not:
    the network would need its level as an input, or it would learn to add noise.
    """

    name = "upsampler"
    lr = 1e-3
    batch = 32

    def __init__(self, sprites: Sprites, autoencoder: AutoencoderDC, device: torch.device) -> None:
        torch.manual_seed(0)
        self.network = build()
        nn.Module.to(self.network, memory_format=torch.channels_last)
        self.render, self.sprites, self.device = Renderer(sprites, device), sprites, device
        self.autoencoder = autoencoder
        self.abar = cosine_abar().float().to(device)

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        half = self.batch // 2
        large = self.render([for_decoder(step * half + k, self.sprites) for k in range(half)], HIGH)
        sigma = 0.1 + 0.5 * torch.rand((), generator=generator).item()
        blurred = gaussian_blur(F.avg_pool2d(large, 2), [5, 5], [sigma, sigma])
        small = torch.cat([self._through(blurred[: half // 2]), blurred[half // 2 :]])
        corners = torch.randint(0, LOW // 2 + 1, (2, 2), generator=generator).tolist()
        crops = [
            (small[..., y : y + 32, x : x + 32], large[..., 2 * y : 2 * y + 64, 2 * x : 2 * x + 64]) for y, x in corners
        ]
        low, high = (torch.cat(column) for column in zip(*crops))
        x_0 = (high - bicubic(low, high.shape[-1])) * DETAIL
        t = torch.randint(0, TIME_LIMIT, (len(x_0),), generator=generator).to(self.device)
        eps = torch.randn(x_0.shape, generator=generator).to(self.device)
        a = self.abar[t].view(-1, 1, 1, 1)
        v = a.sqrt() * eps - (1 - a).sqrt() * x_0
        x_t = (a.sqrt() * x_0 + (1 - a).sqrt() * eps).contiguous(memory_format=torch.channels_last)
        return F.mse_loss(upsampler_v(self.network, x_t, t, low).float(), v)

    @torch.no_grad()
    def _through(self, pixels: Tensor) -> Tensor:
        """Encode and decode pictures by the decoder's first stage."""
        decoded: Tensor = self.autoencoder.decode(self.autoencoder.encode(pixels).latent).sample
        return decoded.float().clamp(-1, 1)

    def _pairs(self, count: int) -> tuple[Tensor, Tensor]:
        large = self.render([for_decoder(10**9 + k, self.sprites) for k in range(count)], HIGH)
        return self._through(F.avg_pool2d(large, 2)), large

    def measure(self, network: UNet2DModel) -> dict[str, float]:
        low, large = self._pairs(32)
        enlarged = upsample(EmojiUpsampler(network, LOW), low, seeds=range(32))
        plain = bicubic(low, HIGH).clamp(-1, 1)
        return {"psnr": psnr(large, enlarged).mean().item(), "psnr_bicubic": psnr(large, plain).mean().item()}

    def preview(self, network: UNet2DModel) -> Image.Image:
        from torchvision.utils import make_grid

        low, large = self._pairs(8)
        enlarged = upsample(EmojiUpsampler(network, LOW), low, seeds=range(8))
        rows = torch.cat([F.interpolate(low, (HIGH, HIGH), mode="nearest"), enlarged, large])
        return to_pil(make_grid(rows, 8)[None])[0]

    def export(self, network: UNet2DModel, folder: Path) -> None:
        save_half(network, folder)
