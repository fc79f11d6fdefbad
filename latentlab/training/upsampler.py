"""The miniature's upsampler from 64 to 256 pixels, trained on crops of small pictures that the decoder predicts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from ..diffusion import cosine_abar, levels
from ..io.images import psnr, to_pil
from ..models.emoji import EmojiDecoder
from ..models.emoji_upsampler import DETAIL, EmojiUpsampler, bicubic, block_side, upsampler_v
from ..upsampling import upsample
from .curriculum import for_decoder
from .decoder import TIME_LIMIT
from .drawings import Sprites
from .loop import Part, save_half
from .predictions import LATEST, predicted_x0
from .rendering import Renderer

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel

LOW, HIGH = 64, 256


def build(channels: tuple[int, ...] = (64, 96), scale: int = HIGH // LOW) -> UNet2DModel:
    from diffusers.models.unets.unet_2d import UNet2DModel

    block = 3 * scale**2
    return UNet2DModel(
        sample_size=LOW,
        in_channels=2 * block,
        out_channels=block,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        norm_num_groups=8,
        add_attention=False,
    )


class Upsampler(Part["UNet2DModel"]):
    """|v - v̂|² on quarter-size crops whose small picture is degraded.  Ramesh et al. 2022, section 2.1.

    The decoder predicts a third of the small pictures from a noised x_0, the first stage decodes another third, and the
    last third is blurred a little.  None has noise: the network would need its level as an input, or it would learn to
    add noise.
    """

    name = "upsampler"
    lr = 1e-3
    batch = 24
    fall = 0.4

    def __init__(self, sprites: Sprites, decoder: EmojiDecoder, device: torch.device) -> None:
        torch.manual_seed(0)
        self.network = build()
        nn.Module.to(self.network, memory_format=torch.channels_last)
        self.render, self.sprites, self.device = Renderer(sprites, device), sprites, device
        self.decoder = decoder
        self.abar = cosine_abar().float().to(device)

    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """Adapt weights for smaller blocks: a pixel of a smaller block stands for all pixels that it covers."""
        own, side = block_side(self.network), math.isqrt(state["conv_out.weight"].shape[0] // 3)
        if side == own:
            return state
        part = own // side

        def spread(weight: Tensor) -> Tensor:
            blocks = weight.unflatten(0, (-1, side, side))
            return blocks.repeat_interleave(part, 1).repeat_interleave(part, 2).flatten(0, 2)

        state = dict(state)
        state["conv_in.weight"] = spread(state["conv_in.weight"].transpose(0, 1)).transpose(0, 1) / part**2
        for name in ("conv_out.weight", "conv_out.bias"):
            state[name] = spread(state[name])
        return state

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        scenes = [for_decoder(step * self.batch + k, self.sprites) for k in range(self.batch)]
        varied = torch.Generator().manual_seed(step) if step % 4 == 3 else None
        large = self.render(scenes, HIGH, vary=varied)
        sigma = 0.1 + 0.5 * torch.rand((), generator=generator).item()
        small = gaussian_blur(F.avg_pool2d(large, HIGH // LOW), [5, 5], [sigma, sigma])
        third = self.batch // 3
        time = int(torch.randint(0, LATEST, (), generator=generator))
        frayed = self._predicted(small[:third], [s.caption for s in scenes[:third]], time, step)
        small = torch.cat([frayed, self._through(small[third : 2 * third]), small[2 * third :]])
        low, high = self._crops(small, large, generator)
        x_0 = (high - bicubic(low, high.shape[-1])) * DETAIL
        t = self._times(len(x_0), generator).to(self.device)
        eps = torch.randn(x_0.shape, generator=generator).to(self.device)
        a = self.abar[t].view(-1, 1, 1, 1)
        v = a.sqrt() * eps - (1 - a).sqrt() * x_0
        x_t = (a.sqrt() * x_0 + (1 - a).sqrt() * eps).contiguous(memory_format=torch.channels_last)
        return F.mse_loss(upsampler_v(self.network, x_t, t, low).float(), v)

    def _times(self, count: int, generator: torch.Generator) -> Tensor:
        """Half of the times are those that the sampler visits by default, which few uniform draws would meet."""
        times = torch.randint(0, TIME_LIMIT, (count,), generator=generator)
        visited = torch.tensor(levels(EmojiUpsampler.abar, EmojiUpsampler.steps)[:-1])
        times[::2] = visited[torch.arange((count + 1) // 2) % len(visited)]  # of every kind of small picture
        return times

    @staticmethod
    def _crops(small: Tensor, large: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Crop a random quarter of every small picture, and the same quarter of its large one."""
        half, scale = LOW // 2, HIGH // LOW
        corners = torch.randint(0, half + 1, (len(small), 2), generator=generator).tolist()
        low = [p[:, y : y + half, x : x + half] for p, (y, x) in zip(small, corners)]
        high = [
            p[:, scale * y : scale * (y + half), scale * x : scale * (x + half)] for p, (y, x) in zip(large, corners)
        ]
        return torch.stack(low), torch.stack(high)

    @torch.no_grad()
    def _through(self, pixels: Tensor) -> Tensor:
        """Encode and decode pictures by the decoder's first stage."""
        return self.decoder.to_pixels(self.decoder.to_x0(pixels)).float()

    def _predicted(self, pixels: Tensor, captions: list[str], t: int, seed: int) -> Tensor:
        return self.decoder.to_pixels(predicted_x0(self.decoder, pixels, captions, t, seed)).float()

    def _pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Held-out pictures: the decoder predicts a third of the small ones, the first stage decodes the others."""
        scenes = [for_decoder(10**9 + k, self.sprites) for k in range(count)]
        large = self.render(scenes, HIGH)
        small, third = F.avg_pool2d(large, HIGH // LOW), count // 3
        frayed = self._predicted(small[:third], [s.caption for s in scenes[:third]], LATEST, 10**9)
        return torch.cat([frayed, self._through(small[third:])]), large

    def measure(self, network: UNet2DModel) -> dict[str, float]:
        low, large = self._pairs(30)
        enlarged = upsample(EmojiUpsampler(network, LOW), low, seeds=range(30))
        plain = bicubic(low, HIGH).clamp(-1, 1)
        rows = {"decoder": slice(0, 10), "first_stage": slice(10, None)}
        pairs = {"psnr": enlarged, "psnr_bicubic": plain}
        return {f"{k}_{r}": psnr(large[s], p[s]).mean().item() for k, p in pairs.items() for r, s in rows.items()}

    def preview(self, network: UNet2DModel) -> Image.Image:
        from torchvision.utils import make_grid

        low, large = self._pairs(9)
        enlarged = upsample(EmojiUpsampler(network, LOW), low, seeds=range(9))
        rows = torch.cat([F.interpolate(low, (HIGH, HIGH), mode="nearest"), enlarged, large])
        return to_pil(make_grid(rows, 9)[None])[0]

    def export(self, network: UNet2DModel, folder: Path) -> None:
        save_half(network, folder)
