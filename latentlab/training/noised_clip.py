"""The noised CLIP: the image tower of the miniature's CLIP, fine-tuned on noised scenes and told their time."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..clip import Encoder, class_embeddings
from ..diffusion import abar_at, cosine_abar
from ..models.emoji import encode_latents
from ..models.noised_clip import NoisedClip, TimedTower
from ..slerp import normalize
from .clip import validation_scenes
from .curriculum import batch_for_clip
from .decoder import TIME_LIMIT
from .drawings import Sprites
from .loop import Part
from .rendering import Renderer
from .things import things

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

MEASURED = (0, 200, 400, 600, 800)  # times


class NoisedClipTraining(Part[TimedTower]):
    """InfoNCE between noised scenes and captions, whose embeddings stay.  Nichol et al. 2021 (GLIDE), section 2.4.

    Args:
        encoder: the CLIP that it starts from.
        autoencoder: the first stage in whose latents the decoder adds noise.
    """

    name = "noised-clip"
    lr = 2e-4
    batch = 128
    ema_decay = 0.995

    def __init__(self, sprites: Sprites, encoder: Encoder, autoencoder: AutoencoderDC | None) -> None:
        torch.manual_seed(0)
        self.noised = NoisedClip.untrained(encoder, autoencoder)
        self.network = self.noised.network.requires_grad_(True)
        self.encoder, self.sprites, self.device = encoder, sprites, encoder.device
        self.render, self.abar = Renderer(sprites, encoder.device), cosine_abar()
        self.measured: dict[str, float] = {}  # the last one, which the preview draws

    def states(self, pixels: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Pictures (B, 3, H, W) at times (B,): x_t (B, C, H, W)."""
        first_stage = self.noised.autoencoder
        with torch.no_grad():
            x_0 = pixels if first_stage is None else encode_latents(first_stage, pixels)
        a = self.abar.to(x_0)[t].view(-1, 1, 1, 1)
        return a.sqrt() * x_0 + (1 - a).sqrt() * torch.randn(x_0.shape, generator=generator).to(x_0)

    def loss(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        scenes = batch_for_clip(step, self.sprites, self.batch)
        pixels = self.render(scenes, 64, vary=torch.Generator().manual_seed(step))
        t = torch.randint(TIME_LIMIT, (len(scenes),), generator=generator).to(self.device)
        z_i = normalize(self._tower(self.network).encode_noised(self.states(pixels, t, generator), t).float())
        z_t = normalize(self.encoder.encode_text([s.caption for s in scenes]))
        logits = self.noised.scale * z_i @ z_t.T
        target = torch.arange(len(scenes), device=self.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def _tower(self, network: TimedTower) -> NoisedClip:
        return NoisedClip(network, self.encoder, self.noised.autoencoder)

    def measure(self, network: TimedTower) -> dict[str, float]:
        """Zero-shot accuracy at several times, and the plain CLIP's on the same noised pictures beside it."""
        classes = class_embeddings(self.encoder, [t.phrases[0] for t in things()])
        scenes, names = validation_scenes(self.sprites, per_thing=1), [t.name for t in things()]
        target = torch.tensor([names.index(s.name) for s in scenes], device=self.device)
        pixels, measured = self.render(scenes, 64), {}
        plain = NoisedClip.untrained(self.encoder, self.noised.autoencoder)
        for time in MEASURED:
            t = torch.full((len(scenes),), time, device=self.device)
            x_t = self.states(pixels, t, torch.Generator().manual_seed(time))
            for label, clip in (("noised", self._tower(network)), ("plain", plain)):
                parts = zip(x_t.split(self.batch), t.split(self.batch))
                z_i = torch.cat([clip.encode_noised(x, times) for x, times in parts])
                right = (normalize(z_i.float()) @ classes.T).argmax(1) == target
                measured[f"top1_{label}_t{time}"] = right.float().mean().item()
        self.measured = measured
        return measured

    def preview(self, network: TimedTower) -> Image.Image:
        """Accuracy against the noise level √(1-a), of the noised CLIP and of the plain one."""
        import io

        from ..plotting import lines

        measured = self.measured or self.measure(network)
        levels = [math.sqrt(1 - abar_at(self.abar, time)) for time in MEASURED]
        named = {
            label: (levels, [measured[f"top1_{label}_t{time}"] for time in MEASURED]) for label in ("noised", "plain")
        }
        buffer = io.BytesIO()
        lines(named, xlabel="noise level √(1-a)", ylabel="zero-shot accuracy").savefig(buffer, format="png", dpi=100)
        return Image.open(buffer)

    def export(self, network: TimedTower, folder: Path) -> None:
        self._tower(copy.deepcopy(network)).save(folder)
