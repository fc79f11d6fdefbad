"""A world and a denoiser that are small enough to train both of unCLIP's losses within a minute on a laptop."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from ..errors import UserError
from ..grammar import COLOURS
from ..io.images import to_tensor

# A solid is a polygon, given by its rotation and by the distances of its corners from the centre.
SHAPES: dict[str, tuple[float, list[float]]] = {
    "ball": (0, [1] * 48),
    "cube": (math.pi / 4, [1.1] * 4),
    "cone": (0, [1.15] * 3),
    "star": (0, [1.25, 0.5] * 5),
}
FINE = 4  # the factor by which pictures are drawn larger before they are shrunk

Fact = tuple[str, str, str]  # colour, shape, ground


def draw(fact: Fact, rng: random.Random, *, side: int = 20) -> Image.Image:
    """One flat solid on a plain ground, whose place near the middle and whose size `rng` chooses.

    Args:
        fact: the solid's colour, its shape and the ground's colour.
        side: the picture's side in pixels.

    Raises:
        UserError: a colour is not in COLOURS, or the shape not in SHAPES.
    """
    colour, shape, ground = fact
    words = (("colour", colour, tuple(COLOURS)), ("colour", ground, tuple(COLOURS)), ("shape", shape, tuple(SHAPES)))
    for kind, word, choices in words:
        if word not in choices:
            raise UserError(f"unknown {kind} “{word}”: give one of {', '.join(choices)}")
    turn, radii = SHAPES[shape]
    x, y, size = rng.uniform(0.44, 0.56), rng.uniform(0.46, 0.58), rng.uniform(0.27, 0.35)
    picture, scale = Image.new("RGB", (side * FINE, side * FINE), COLOURS[ground]), side * FINE
    angles = [turn + 2 * math.pi * k / len(radii) for k in range(len(radii))]
    corners = [
        (scale * (x + size * r * math.sin(a)), scale * (y - size * r * math.cos(a))) for a, r in zip(angles, radii)
    ]
    ImageDraw.Draw(picture).polygon(corners, fill=COLOURS[colour])
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def world(
    pairs: Sequence[tuple[str, str]], grounds: Sequence[str], count: int, *, seed: int = 0, side: int = 20
) -> tuple[list[Fact], Tensor]:
    """`count` pictures of every pair on every ground; pictures of the same fact stand side by side.

    Args:
        pairs: the solids' colours and shapes.
        seed: the same seed draws the same pictures.

    Returns:
        The facts, N of them, and pictures (N, 3, side, side) in [-1, 1]; N = len(pairs) · len(grounds) · count.

    Raises:
        UserError: there is nothing to draw, or a colour or a shape is unknown.
    """
    facts = [(colour, shape, ground) for colour, shape in pairs for ground in grounds for _ in range(count)]
    if not facts:
        raise UserError(f"{len(pairs)} pairs, {len(grounds)} grounds and count {count}: give at least one of each")
    rng = random.Random(seed)
    return facts, to_tensor(*(draw(fact, rng, side=side) for fact in facts))


class Denoiser(nn.Module):
    """Residual blocks that predict v from a latent of one vector, the time's sines and z_i.

    Args:
        channels: C, the width of x_t (B, C, 1, 1).
        embed: D, the width of z_i.
        width: the width of the residual blocks.
    """

    def __init__(self, channels: int, embed: int, *, width: int = 320, blocks: int = 2) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(channels + embed + 32, width), nn.Linear(width, channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(blocks)
        )

    def forward(self, x_t: Tensor, t: Tensor, z_i: Tensor) -> Tensor:
        """v for x_t (B, C, 1, 1) at times t (B,), conditioned on z_i (B, D)."""
        angles = t[:, None] / 1000 * 2 ** torch.linspace(0, 10, 16, device=x_t.device)
        h = self.into(torch.cat([x_t.flatten(1), z_i, angles.sin(), angles.cos()], 1))
        for block in self.blocks:
            h = h + block(h)
        v: Tensor = self.out(h)
        return v.view_as(x_t)
