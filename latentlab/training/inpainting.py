"""The decoder fine-tuned to inpaint: it reads, beside x_t, what is known of the scene and where (GLIDE, section 4)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.func import functional_call

from .. import inpainting
from ..clip import class_embeddings
from ..decoding import pictures
from ..diffusion import Conditioning, levels
from ..inpainting import continued, on_grid
from ..io.images import to_pil
from ..models import inpainter
from ..models.emoji import EmojiDecoder
from ..models.inpainter import InpaintingDelta, inpainting_decoder, known_channels
from ..noise import SeededNoise, draw_x_T
from .curriculum import for_decoder
from .decoder import Decoder
from .drawings import Sprites
from .loop import Part
from .pools import Pool, drawn
from .rendering import Renderer
from .things import things

COUNT = 6_000  # of the training scenes, each through a mask of its own
EVALUATIONS = 24  # of a measured edit, an inversion's included
EVERYTHING = 0.15  # the share of masks that hide all, by which the decoder goes on to draw whole pictures


def random_masks(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Masks (count, 1, side, side) of one to three rectangles, which may reach over the edges, or of everything."""
    shape = (count, 3)
    sizes = side * (0.2 + 0.8 * torch.rand(2, *shape, generator=generator))
    first = torch.rand(2, *shape, generator=generator) * (side + 0.5 * sizes - sizes) - 0.25 * sizes
    last = first + sizes
    used = torch.arange(3) < torch.randint(1, 4, (count, 1), generator=generator)
    last = torch.where(used, last, first)  # an unused rectangle is empty
    at = torch.arange(side).float()
    rows, columns = ((at >= first[k, ..., None]) & (at < last[k, ..., None]) for k in range(2))
    masks = (rows[..., :, None] & columns[..., None, :]).any(1, keepdim=True)
    everything = torch.rand(count, 1, 1, 1, generator=generator) < EVERYTHING
    return masks | everything


@torch.no_grad()
def masked_scenes(sprites: Sprites, decoder: EmojiDecoder, *, first: int, count: int) -> Tensor:
    """What is known of the scenes of these seeds: (count, C + 1, H, W), in half precision.

    The hidden part is filled before the first stage sees it, as in an edit: its latents beside the mask would tell what
    is hidden.
    """
    render, parts = Renderer(sprites, decoder.encoder.device), []
    for start in range(first, first + count, 256):
        scenes = [for_decoder(s, sprites) for s in range(start, min(start + 256, first + count))]
        pixels = drawn(render, scenes)
        mask = random_masks(len(scenes), pixels.shape[-1], torch.Generator().manual_seed(start)).to(pixels.device)
        x_0 = decoder.to_x0(continued(pixels, mask))
        parts.append(known_channels(x_0, on_grid(mask, decoder)).half())
    return torch.cat(parts)


class Measured(NamedTuple):
    """Edits of held-out scenes, and what they should show."""

    pixels: Tensor  # (N, 3, 64, 64)
    mask: Tensor  # (1, 1, 64, 64)
    z_i: Tensor  # (N, D), of a picture of another thing each
    wanted: tuple[str, ...]


class InpaintingTraining(Part[InpaintingDelta]):
    """|v - v̂|² inside the mask, for scenes of which the rest is known; conditions as in the decoder's own training.

    Args:
        base: the decoder that is fine-tuned, frozen.
        pool: its training scenes. known: what is known of the first of them (`masked_scenes`).
    """

    name = "inpainting"
    lr = 2e-3
    weight_decay = 0.0
    batch = 96
    ema_decay = 0.99
    fall = 0.4

    def __init__(self, sprites: Sprites, base: EmojiDecoder, pool: Pool, known: Tensor, *, held_out: int = 512) -> None:
        torch.manual_seed(0)
        self.base, self.sprites = base, sprites
        # The decoder's own training makes the noise and the conditions; its network is not used.
        self.scenes = Decoder(sprites, base.encoder, base.autoencoder, pool, held_out=held_out, width=48, layers=1)
        self.known = known
        self.held_out_known = masked_scenes(sprites, base, first=10**9, count=held_out)
        self.network = InpaintingDelta(base.network)

    def _loss(
        self, delta: InpaintingDelta, pool: Pool, known: Tensor, rows: Tensor, generator: torch.Generator, *, drop: bool
    ) -> Tensor:
        noised = self.scenes.noised(pool, rows, generator, drop=drop)
        known = known[rows].to(noised.x_t)
        x_t, *rest = noised.inputs()
        inputs = (torch.cat([x_t, known], 1), *rest)
        v = functional_call(self.base.network, dict(delta.weights(self.base.network)), inputs).sample.float()
        hidden = 1 - known[:, -1:]
        return (hidden * (v - noised.v).square()).mean(1).sum() / hidden.sum()

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, len(self.known), (self.batch,), generator=generator)
        return self._loss(self.network, self.scenes.pool, self.known, rows, generator, drop=True)

    @cached_property
    def edits(self) -> Measured:
        """Held-out scenes of single things, through whose middle another one's z_i is painted."""
        count = 64
        scenes = [s for s in (for_decoder(k, self.sprites) for k in range(10**9, 10**9 + 512)) if "posed" in s.facts]
        scenes = [s for s in scenes if s.thing][:count]
        others = scenes[1:] + scenes[:1]
        pixels = drawn(Renderer(self.sprites, self.base.encoder.device), scenes)
        mask = torch.zeros(1, 1, *pixels.shape[-2:], dtype=torch.bool, device=pixels.device)
        side = pixels.shape[-1]
        mask[..., side // 5 : side - side // 5, side // 5 : side - side // 5] = True
        z_i = self.base.encoder.encode_image(pixels).roll(-1, 0)
        return Measured(pixels, mask, z_i, tuple(str(s.thing) for s in others))

    @torch.no_grad()
    def painted(self, delta: InpaintingDelta | None) -> Tensor:
        """The held-out edits (N, 3, H, W) by the fine-tuned decoder; None: by RePaint with the known trajectory."""
        edits = self.edits
        decoder = self.base if delta is None else inpainting_decoder(self.base, delta)
        x_0 = decoder.to_x0(continued(edits.pixels, edits.mask.expand(len(edits.pixels), -1, -1, -1)))
        seeds, device = range(len(x_0)), x_0.device
        grid = on_grid(edits.mask, decoder)
        times = levels(decoder.abar, EVALUATIONS // (2 if delta is None else 1))
        if delta is None:
            own = Conditioning(self.base.encoder.encode_image(edits.pixels))
            known = inpainting.trajectory(decoder, x_0, own, times)
        else:
            known = inpainting.noised(x_0, decoder.abar, SeededNoise(seeds, decoder.shape, device=device))
        cond = inpainting.with_known(decoder, Conditioning(edits.z_i), x_0, grid)
        start = draw_x_T(decoder, seeds, device=device)
        *_, last = inpainting.inpaint_steps(decoder, cond, grid, known, start, times, seeds=seeds, guidance=1.5)
        cell = edits.pixels.shape[-1] // decoder.shape[-1]
        return inpainting.composed(pictures(decoder, last.x_t), edits.pixels, edits.mask, cell)

    @cached_property
    def repainted(self) -> Tensor:
        """The held-out edits without fine-tuning, which are compared with."""
        return self.painted(None)

    def _numbers(self, pixels: Tensor) -> dict[str, float]:
        edits, encoder = self.edits, self.base.encoder
        rows = edits.mask[0, 0].any(1).nonzero().flatten().tolist()
        inside = slice(rows[0], rows[-1] + 1)
        names = [t.name for t in things()]
        classes = class_embeddings(encoder, [t.phrases[0] for t in things()])
        best = (encoder.encode_image(pixels[..., inside, inside]) @ classes.T).argmax(1).tolist()
        right = [names[b] == wanted for b, wanted in zip(best, edits.wanted)]
        return {
            "top1_inside": sum(right) / len(right),
            "seam": inpainting.seam(pixels, edits.mask).mean().item(),
        }

    def measure(self, network: InpaintingDelta) -> dict[str, float]:
        """The loss, and what is asked inside the mask and the seam of the fine-tuned decoder and of RePaint."""
        generator, pool = torch.Generator().manual_seed(0), self.scenes.held_out
        rows = torch.arange(len(pool.x_0))
        losses = [
            self._loss(network, pool, self.held_out_known, r, generator, drop=False).item() for r in rows.split(128)
        ]
        measured = {"held_out_v_loss": sum(losses) / len(losses)}
        for name, pixels in (("", self.painted(network)), ("_repaint", self.repainted)):
            measured |= {quantity + name: value for quantity, value in self._numbers(pixels).items()}
        return measured

    def preview(self, network: InpaintingDelta) -> Image.Image:
        """Held-out scenes, their edits by the fine-tuned decoder, and those by RePaint with the known trajectory."""
        from torchvision.utils import make_grid

        rows = (self.edits.pixels, self.painted(network), self.repainted)
        return to_pil(make_grid(torch.cat([row[:12] for row in rows]), 12)[None])[0]

    def export(self, network: InpaintingDelta, folder: Path) -> None:
        inpainter.save(network, folder)
