"""Render scenes as pictures of composited sprites, which may be varied as if another artist had drawn them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .drawings import Sprites
from .scenes import Layer, Scene

OWN = ("solid/", "sign/", "label/")  # never varied, because captions name their colours and words


class Renderer:
    """Render scenes by alpha compositing of sprites, which are sampled from the mip level that fits.

    Args:
        device: holds the sprites and the pictures.
        other_hues: the share of varied drawings whose hue is turned by any angle, in 0..1.
    """

    def __init__(self, sprites: Sprites, device: torch.device | str = "cpu", *, other_hues: float = 0.0) -> None:
        self.sprites, self.other_hues = sprites, other_hues
        full = torch.from_numpy(np.array(sprites.pixels)).to(device)  # (N, 4, 128, 128) uint8
        self.mips = [full]
        for _ in range(2):
            halves = [F.avg_pool2d(part.float(), 2).round().byte() for part in self.mips[-1].split(256)]
            self.mips.append(torch.cat(halves))
        self.device = torch.device(device)

    def __call__(
        self, scenes: list[Scene], size: int = 64, *, vary: torch.Generator | None = None, restyle: bool = True
    ) -> Tensor:
        """Pictures of `size` pixels: (B, 3, size, size) in [-1, 1].

        With `vary` every drawing is turned, stretched, bent and recoloured a little, and the hue of a share of them,
        `other_hues`, by any angle.  With `restyle` about half of the drawings are outlined, drawn in lines, grey or of
        one colour, as if another artist had drawn them.  A generator of the same seed varies the drawings in the same
        way with `restyle` and without.
        """
        styles = torch.Generator().manual_seed(vary.initial_seed()) if vary is not None and restyle else None
        with torch.autocast(self.device.type, enabled=False):
            return self._drawn(scenes, size, vary, styles)

    def _drawn(
        self, scenes: list[Scene], size: int, vary: torch.Generator | None, styles: torch.Generator | None
    ) -> Tensor:
        ground = torch.tensor([s.background for s in scenes], dtype=torch.float32, device=self.device)
        canvas = ground[:, :, None, None].expand(-1, -1, size, size).contiguous()  # (B, 3, H, W) in 0..255
        depth = max(len(s.layers) for s in scenes)
        for level in range(depth):
            groups: dict[int, list[int]] = {}
            for row, scene in enumerate(scenes):
                if level < len(scene.layers):
                    groups.setdefault(self._mip(scene.layers[level].size * size), []).append(row)
            for mip, rows in groups.items():
                drawn = self._draw([scenes[r].layers[level] for r in rows], ground[rows], mip, size, vary, styles)
                canvas[rows] = drawn[:, :3] + canvas[rows] * (1 - drawn[:, 3:] / 255)
        return canvas.clamp_(0, 255) / 127.5 - 1

    def _mip(self, pixels: float) -> int:
        return next((m for m in (2, 1) if self.mips[m].shape[-1] >= pixels), 0)

    def _draw(
        self,
        layers: list[Layer],
        ground: Tensor,
        mip: int,
        size: int,
        vary: torch.Generator | None,
        styles: torch.Generator | None,
    ) -> Tensor:
        rows = torch.tensor([self.sprites.index[la.key] for la in layers], device=self.device)
        sprites = self.mips[mip][rows].float()
        if inked := [k for k, la in enumerate(layers) if la.ink is not None]:
            sprites[inked] = self._inked(sprites[inked], [layers[k] for k in inked])
        numbers = [[(-1.0 if la.mirror else 1.0) / la.size, 1 / la.size, la.x, la.y] for la in layers]
        sx, sy, x, y = torch.tensor(numbers, device=self.device).T
        zero = torch.zeros_like(sx)
        theta = torch.stack([sx, zero, -x * sx, zero, sy, -y * sy], 1).view(-1, 2, 3)
        if vary is None:
            grid = F.affine_grid(theta, [len(layers), 4, size, size], align_corners=False)
            return F.grid_sample(sprites, grid, align_corners=False)
        drawings = torch.tensor([not la.key.startswith(OWN) for la in layers])
        strength = (torch.rand(len(layers), generator=vary) * drawings).to(self.device)
        theta = _bent(strength, vary) @ theta
        grid = F.affine_grid(theta, [len(layers), 4, size, size], align_corners=False)
        bend = torch.randn(len(layers), 2, 4, 4, generator=vary).to(self.device) * 0.08 * strength.view(-1, 1, 1, 1)
        bend = F.interpolate(bend, (size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        drawn = F.grid_sample(sprites, grid + bend, align_corners=False)
        drawn = _recoloured(drawn, strength, vary, self.other_hues)
        return drawn if styles is None else _restyled(drawn, ground, drawings.to(self.device), styles)

    def _inked(self, sprites: Tensor, layers: list[Layer]) -> Tensor:
        """Drawings of one ink in the colours of their layers; the red channel holds the area that the lines enclose."""
        ink, fill = (
            torch.tensor(colours, dtype=torch.float32, device=self.device)[:, :, None, None] / 255
            for colours in ([la.ink for la in layers], [la.fill or (0, 0, 0) for la in layers])
        )
        filled = torch.tensor([la.fill is not None for la in layers], device=self.device).view(-1, 1, 1, 1)
        alpha = sprites[:, 3:]
        inside = (sprites[:, :1] - alpha).clamp(min=0) * filled
        return torch.cat([ink * alpha + fill * inside, alpha + inside], 1)


def _bent(strength: Tensor, generator: torch.Generator) -> Tensor:
    """Rotation, stretch and shear: (B, 2, 2), the identity at strength 0."""
    turn, stretch, shear = (torch.randn(3, len(strength), generator=generator).to(strength.device)) * strength
    turn, stretch, shear = 0.25 * turn, (0.15 * stretch).exp(), 0.15 * shear
    cos, sin = turn.cos(), turn.sin()
    rotation = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    return rotation @ torch.stack([stretch, shear, torch.zeros_like(shear), 1 / stretch], 1).view(-1, 2, 2)


def _recoloured(drawn: Tensor, strength: Tensor, generator: torch.Generator, other_hues: float = 0.0) -> Tensor:
    """Another hue, saturation, contrast and brightness of premultiplied (B, 4, H, W) drawings in 0..255."""
    hue, colour, light, shift = (torch.randn(4, len(strength), generator=generator).to(drawn.device)) * strength
    hue, colour, light, shift = 0.35 * hue, (0.35 * colour).exp(), (0.2 * light).exp(), 0.1 * shift
    if other_hues:
        chance, angle = torch.rand(2, len(strength), generator=generator).to(drawn.device)
        hue = torch.where((chance < other_hues) & (strength > 0), 2 * torch.pi * angle, hue)
    # Luma and the two colour differences (BT.601), in which a hue turns by an angle and a saturation scales.
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], device=drawn.device)
    zero, one = torch.zeros_like(hue), torch.ones_like(hue)
    c, s = colour * hue.cos(), colour * hue.sin()
    turn = torch.stack([one, zero, zero, zero, c, -s, zero, s, c], 1).view(-1, 3, 3) * light.view(-1, 1, 1)
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    rgb = torch.einsum("bij,bjhw->bihw", matrix, drawn[:, :3]) + shift.view(-1, 1, 1, 1) * drawn[:, 3:]
    return torch.cat([rgb.clamp(min=0).minimum(drawn[:, 3:]), drawn[:, 3:]], 1)


def _restyled(drawn: Tensor, ground: Tensor, drawings: Tensor, generator: torch.Generator) -> Tensor:
    """Outline 30% of the drawings, draw 10% in lines, 8% in grey and 6% in one colour: premultiplied (B, 4, H, W)."""
    roll = torch.rand(len(drawn), generator=generator).to(drawn.device)
    roll[~drawings] = 1.0
    drawn = drawn.clone()
    for below, restyle in ((0.30, _outlined), (0.40, _in_lines), (0.48, _in_grey), (0.54, _in_one_colour)):
        rows = (roll < below).nonzero()[:, 0]
        if len(rows):
            drawn[rows] = restyle(drawn[rows], ground[rows], generator)
        roll[rows] = 1.0
    return drawn


def _luma(rgb: Tensor) -> Tensor:
    """The luma (BT.601) of colours (B, 3, ...): (B, 1, ...)."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=rgb.device)
    return torch.einsum("c,bc...->b...", weights, rgb)[:, None]


def _widened(mask: Tensor, thick: Tensor) -> Tensor:
    """Dilate a mask (B, 1, H, W) by one pixel of 64, and by two where `thick` is set."""
    unit = max(1, round(mask.shape[-1] / 64))
    thin, wide = (F.max_pool2d(mask, 2 * r + 1, 1, r) for r in (unit, 2 * unit))
    return torch.where(thick, wide, thin)


def _edges(drawn: Tensor) -> Tensor:
    """A mask of the places where the colours inside a drawing change: (B, 1, H, W) in 0..1."""
    light = drawn[:, :3] / 255
    change = F.max_pool2d(light, 3, 1, 1) + F.max_pool2d(-light, 3, 1, 1)
    return ((change.amax(1, keepdim=True) - 0.2) / 0.2).clamp(0, 1) * (drawn[:, 3:] / 255)


def _outlined(drawn: Tensor, ground: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a dark line around the drawings, and in half of them along their inner edges."""
    thick, within, brown = (torch.rand(3, len(drawn), 1, 1, 1, generator=generator) < 0.5).to(drawn.device)
    alpha = drawn[:, 3:] / 255
    outer = _widened(alpha, thick)
    line = _edges(drawn) * within
    ink = torch.tensor([69.0, 65.0, 60.0], device=drawn.device).view(1, 3, 1, 1) * brown
    rgb = drawn[:, :3] * (1 - line) + ink * (outer - alpha + alpha * line)
    return torch.cat([rgb, 255 * outer], 1)


def _in_lines(drawn: Tensor, ground: Tensor, generator: torch.Generator) -> Tensor:
    """Draw lines along all edges, on white or transparent areas; transparent areas on dark grounds get white lines."""
    thick, filled = (torch.rand(2, len(drawn), 1, 1, 1, generator=generator) < 0.5).to(drawn.device)
    alpha = drawn[:, 3:] / 255
    contour = _widened(alpha, thick) + F.max_pool2d(-alpha, 3, 1, 1)
    line = torch.maximum(_edges(drawn), contour.clamp(0, 1))
    dark = (_luma(ground) < 80).view(-1, 1, 1, 1)
    paper = alpha * filled * (1 - line)
    rgb = 255 * (paper + line * (dark & ~filled))
    return torch.cat([rgb.expand(-1, 3, -1, -1), 255 * torch.maximum(line, paper + line)], 1)


def _in_grey(drawn: Tensor, ground: Tensor, generator: torch.Generator) -> Tensor:
    return torch.cat([_luma(drawn[:, :3]).expand(-1, 3, -1, -1), drawn[:, 3:]], 1)


def _in_one_colour(drawn: Tensor, ground: Tensor, generator: torch.Generator) -> Tensor:
    """Draw in a random colour, with more or less of the drawing's light and shade."""
    colour = torch.rand(len(drawn), 3, 1, 1, generator=generator).to(drawn.device)
    shade = 0.3 + 0.7 * torch.rand(len(drawn), 1, 1, 1, generator=generator).to(drawn.device)
    return torch.cat([colour * torch.lerp(drawn[:, 3:], _luma(drawn[:, :3]), shade), drawn[:, 3:]], 1)
