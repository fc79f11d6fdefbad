"""The miniature's upsampler: 64 -> 128 pixels, trained on crops of what the autoencoder makes of small pictures."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from ..diffusion import cosine_abar
from ..io.images import psnr, to_pil
from ..models.emoji import DETAIL, EmojiUpsampler, bicubic, upsampler_v
from ..upsampling import upsample
from .decoder import TIME_LIMIT
from .drawings import Sprites
from .loop import Part, save_half
from .rendering import Renderer
from .scenes import for_decoder

LOW, HIGH = 64, 128


def build(channels: tuple[int, ...] = (64, 96)):
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=HIGH // 2, in_channels=24, out_channels=12, layers_per_block=1, block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels), up_block_types=("UpBlock2D",) * len(channels),
        norm_num_groups=8, add_attention=False,
    )  # fmt: skip


class Upsampler(Part):
    """|v - v̂|² on quarter-size crops, the small picture degraded.  Ramesh et al. 2022, section 2.1.

    Degraded as the decoder's pictures are: by the autoencoder, or by a little blur; not by noise, of which the network
    would have to be told how much there is, or it learns to put some back.
    """

    name = "upsampler"
    lr = 1e-3
    batch = 32

    def __init__(self, sprites: Sprites, autoencoder: nn.Module, device: torch.device):
        torch.manual_seed(0)
        self.network = build().to(memory_format=torch.channels_last)
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
        """What the decoder's first stage makes of pictures."""
        return self.autoencoder.decode(self.autoencoder.encode(pixels).latent).sample.float().clamp(-1, 1)

    def _pairs(self, count: int) -> tuple[Tensor, Tensor]:
        large = self.render([for_decoder(10**9 + k, self.sprites) for k in range(count)], HIGH)
        return self._through(F.avg_pool2d(large, 2)), large

    def measure(self, network: nn.Module) -> dict[str, float]:
        low, large = self._pairs(32)
        made = upsample(EmojiUpsampler(network, LOW), low, seeds=range(32))
        plain = bicubic(low, HIGH).clamp(-1, 1)
        return {"psnr": psnr(large, made).mean().item(), "psnr_bicubic": psnr(large, plain).mean().item()}

    def preview(self, network: nn.Module) -> Image.Image:
        from torchvision.utils import make_grid

        low, large = self._pairs(8)
        made = upsample(EmojiUpsampler(network, LOW), low, seeds=range(8))
        rows = torch.cat([F.interpolate(low, (HIGH, HIGH), mode="nearest"), made, large])
        return to_pil(make_grid(rows, 8)[None])[0]

    def export(self, network: nn.Module, folder: Path) -> None:
        save_half(network, folder)
