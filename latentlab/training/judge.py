"""The judge's training: cross-entropy on real drawings, which no other part of the miniature learns from so."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..models.judge import SIZE, Judge, build
from .drawings import Sprites
from .icon_sets import HELD_OUT_STYLES
from .loop import Part
from .rendering import Renderer
from .scenes import single
from .things import things


class JudgeTraining(Part[nn.Module]):
    """Cross-entropy over all things on single drawings; a batch has one of every thing, and half are augmented."""

    name = "judge"
    lr = 3e-3
    weight_decay = 0.05
    batch = 187
    ema_decay = 0.99
    fall = 0.6
    smoothing = 0.05

    def __init__(self, sprites: Sprites, device: torch.device) -> None:
        torch.manual_seed(20_260)
        self.names = [t.name for t in things()]
        self.network = build(len(self.names)).to(memory_format=torch.channels_last)
        self.render, self.sprites, self.device = Renderer(sprites, device), sprites, device

    def loss(self, step: int) -> Tensor:
        rng, generator = random.Random(f"judge {step}"), torch.Generator().manual_seed(7_000_003 + step)
        names = rng.sample(self.names, min(self.batch, len(self.names)))
        with torch.autocast(self.device.type, enabled=False):
            pictures = self.render(
                [single(rng, self.sprites, n, centred=k % 2 == 0, wide=k % 4 == 3) for k, n in enumerate(names)], 64
            )
            pictures[1::2] = augmented(pictures[1::2], generator)
            pictures = pictures.contiguous(memory_format=torch.channels_last)
        target = torch.tensor([self.names.index(name) for name in names], device=self.device)
        return F.cross_entropy(self.network(pictures).float(), target, label_smoothing=self.smoothing)

    def measure(self, network: nn.Module) -> dict[str, float]:
        from .clip import validation_scenes

        judge, measured = Judge(network, self.names, self.device), {}
        for style in (None, *HELD_OUT_STYLES):
            scenes, label = validation_scenes(self.sprites, style=style, per_thing=1), style or "seen"
            ranks = judge.ranks(self.render(scenes, 64), [s.name for s in scenes])
            measured[f"top1_{label}"] = (ranks == 0).float().mean().item()
            measured[f"top5_{label}"] = (ranks < 5).float().mean().item()
        return measured

    def preview(self, network: nn.Module) -> Image.Image:
        """A batch of the augmented pictures that it is trained on."""
        from torchvision.utils import make_grid

        from ..io.images import to_pil

        rng = random.Random("judge preview")
        pictures = self.render([single(rng, self.sprites) for _ in range(64)], 64)
        return to_pil(make_grid(augmented(pictures, torch.Generator().manual_seed(0)), 16)[None])[0]

    def export(self, network: nn.Module, folder: Path) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.half().contiguous() for k, v in network.state_dict().items()}
        save_file(state, folder / "judge.safetensors")
        (folder / "config.json").write_text(json.dumps({"class": "ResNet", **SIZE, "things": self.names}, indent=1))


def augmented(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale, move, recolour, blur and partly erase whole pictures (B, 3, H, W) in [-1, 1]."""
    count, _, side, _ = pictures.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator).to(pictures.device)

    turn, zoom, ratio = (draw() - 0.5) * 0.6, 2 ** (0.9 * draw() - 0.5), 2 ** (0.3 * draw() - 0.15)
    mirror = torch.where(draw() < 0.4, -1.0, 1.0)
    cos, sin = turn.cos() / zoom, turn.sin() / zoom
    move = (draw(2) - 0.5) * 0.2
    theta = torch.stack([cos * mirror * ratio, -sin, move[:, 0], sin * mirror, cos / ratio, move[:, 1]], 1)
    grid = F.affine_grid(theta.view(-1, 2, 3), list(pictures.shape), align_corners=False)
    x = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    # The channels are mixed at random, then light and contrast change; 1 in 8 turns grey and 1 in 20 negative.
    mix = torch.eye(3, device=x.device) + (draw(3, 3) - 0.5) * 0.5 * draw(1, 1)
    x = torch.einsum("bij,bjhw->bihw", mix / mix.sum(2, keepdim=True), x)
    x = x * (0.6 + 0.7 * draw(1, 1, 1)) + (draw(1, 1, 1) - 0.5) * 0.5
    x = torch.where(draw(1, 1, 1) < 1 / 8, x.mean(1, keepdim=True), x)
    x = torch.where(draw(1, 1, 1) < 1 / 20, -x, x)
    soft = F.interpolate(F.avg_pool2d(x, 2), (side, side), mode="bilinear")
    x = x.lerp(soft, (1.5 * draw(1, 1, 1) - 0.5).clamp(0, 1))
    x = x + 0.08 * draw(1, 1, 1) * torch.randn(x.shape, generator=generator).to(x.device)
    at, half = draw(2, 1, 1) * side, 4 + 8 * draw(1, 1)
    rows, columns = torch.arange(side, device=x.device).view(-1, 1), torch.arange(side, device=x.device)
    hole = ((rows - at[:, 0]).abs() < half) & ((columns - at[:, 1]).abs() < half) & (draw(1, 1) < 0.3)
    return torch.where(hole[:, None], draw(3, 1, 1) * 2 - 1, x).clamp(-1, 1)
