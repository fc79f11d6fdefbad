"""How an edit paints: one square window of a canvas after another, and what is measured in the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import decoding, inpainting, outpainting
from ..analysis.intervals import mean, proportion
from ..diffusion import Conditioning, abar_at, ddim_step
from ..io import images
from ..latents import Latent
from ..noise import SeededNoise, draw_x_T
from .base import Progress
from .history import History
from .stages import PREVIEWED, cosine, upsample_images

if TYPE_CHECKING:
    from ..models import Lab


@dataclass(frozen=True, eq=False)
class Brush:
    """How every window of an edit is painted.

    Args:
        side: of the window.
        seeds: N, a picture each.
        strength, steps, known: as in `edit`.
        erases: what is painted starts from a smooth continuation of what is visible, also at a strength below 1.
        decoder: parameters of `inpainting.inpaint_steps`.
        latent: of the picture where it was inverted before; None otherwise.
        preview_every: steps between two previews; 0 for none.
    """

    side: int
    seeds: tuple[int, ...]
    strength: float
    steps: int
    known: str
    decoder: dict[str, Any]
    latent: Latent | None
    preview_every: int
    erases: bool = False

    def joined(self, lab: Lab, picture: Tensor, mask: Tensor) -> Callable[[Tensor], Tensor] | None:
        """x_0 as predicted to that of its picture with the known pixels pasted in; None where x_0 has the pixels' grid.

        Args:
            picture: (1 or N, 3, S, S). mask: (1, 1, S, S).
        """
        decoder = lab.require_decoder()
        if decoder.shape[-1] == decoder.image_size or mask.all():
            return None
        small = images.resize(picture, decoder.image_size)
        painted = F.adaptive_max_pool2d(mask.float(), decoder.image_size) > 0

        def encoded(x_0: Tensor) -> Tensor:
            pasted = torch.where(painted, decoding.pictures(decoder, x_0), small)
            return torch.cat([decoder.to_x0(rows) for rows in pasted.split(decoder.max_batch_size)])

        return encoded

    def known_part(self, lab: Lab, x_0: Tensor, z_i: Tensor, times: Sequence[int], *, whole: bool) -> inpainting.Known:
        """What stands outside the mask at every time; `whole`: the mask covers everything."""
        decoder = lab.require_decoder()
        if whole or self.known == "noised":
            draw = SeededNoise(self.seeds, decoder.shape, stream="known", device=x_0.device, dtype=x_0.dtype)
            return inpainting.noised(x_0, decoder.abar, draw)
        if self.latent is None:
            return inpainting.trajectory(decoder, x_0, Conditioning(z_i), times)
        return inpainting.decoded_trajectory(decoder, x_0, self.latent, self.steps)


def layout_of(history: History, mask: Tensor | None, sides: Sequence[str]) -> outpainting.Canvas:
    """The canvas in half windows, and in pixels its windows and the picture's place."""
    half = history.side // 2
    height, width = history.pixels.shape[-2:]
    layout = outpainting.canvas(sides, height // half, width // half)
    if sides:
        corners = [(row * half, column * half) for row, column in layout.windows]
    else:
        painted = torch.ones(height, width, dtype=torch.bool) if mask is None else mask[0, 0].cpu()
        corners = outpainting.windows(painted, history.side)
    return layout._replace(top=layout.top * half, left=layout.left * half, windows=tuple(corners))


def place_on_canvas(
    lab: Lab, history: History, layout: outpainting.Canvas, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The picture on its canvas (1, 3, H, W), what is visible continued to where there is nothing, and what to paint.

    Args:
        mask: (1, 1, H, W) in the picture's size, or None: all that lies beside the picture, or all where nothing does.
    """
    half, (height, width) = history.side // 2, history.pixels.shape[-2:]
    unknown = torch.ones(1, 1, layout.height * half, layout.width * half, dtype=torch.bool, device=lab.device)
    drawn = torch.zeros(1, 3, *unknown.shape[-2:], device=lab.device)
    place = (..., slice(layout.top, layout.top + height), slice(layout.left, layout.left + width))
    drawn[place] = history.pixels.to(lab.device)
    grown = drawn.shape != history.pixels.shape
    if grown or mask is not None:
        unknown[place] = False if mask is None else mask.to(lab.device)
    return inpainting.continued(drawn, unknown) if grown else drawn, unknown


def paint_windows(
    lab: Lab,
    pixels: Tensor,
    unknown: Tensor,
    corners: Sequence[tuple[int, int]],
    wanted: Conditioning | None,
    brush: Brush,
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: the unknown pixels painted window by window, what is wanted in the first of them."""
    missing = unknown.clone()
    for number, (row, column) in enumerate(corners):
        pixels = yield from _paint_window(lab, pixels, missing, (row, column), None if number else wanted, brush)
        missing[..., row : row + brush.side, column : column + brush.side] = False
    return pixels


def _paint_window(
    lab: Lab, pixels: Tensor, missing: Tensor, corner: tuple[int, int], wanted: Conditioning | None, brush: Brush
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: the canvas (N, 3, H, W) with what is missing in one window painted; previews show the canvas.

    Args:
        pixels: (1 or N, 3, H, W). missing: (1, 1, H, W). corner: the window's row and column.
        wanted: what is painted; None continues what is visible.
    """
    row, column, side = *corner, brush.side
    window = (..., slice(row, row + side), slice(column, column + side))
    mask = missing[window]

    def placed(painted: Tensor) -> Tensor:
        canvas = pixels.expand(len(painted), -1, -1, -1).clone() if len(pixels) == 1 else pixels[: len(painted)].clone()
        canvas[window] = torch.where(mask, images.resize(painted, side), canvas[window])
        return canvas

    stream = _paint(lab, pixels[window], mask, wanted, brush)
    while True:
        try:
            progress = next(stream)
        except StopIteration as end:
            return placed(end.value)
        yield progress if progress.pixels is None else progress._replace(pixels=placed(progress.pixels))


def _paint(
    lab: Lab, window: Tensor, mask: Tensor, wanted: Conditioning | None, brush: Brush
) -> Generator[Progress, None, Tensor]:
    """`yield from` this: (N, 3, S, S), a window painted, with previews of itself alone."""
    decoder, seeds, params = lab.require_decoder(), brush.seeds, brush.decoder
    filled = window if brush.strength < 1 and not brush.erases else inpainting.continued(window, mask)
    x_0, own = decoder.to_x0(images.resize(filled, decoder.image_size)), lab.encoder.encode_image(filled)
    times = inpainting.times_from(decoder.abar, brush.steps, brush.strength)
    x_T = draw_x_T(decoder, seeds, device=x_0.device, dtype=x_0.dtype)
    start = x_T if brush.strength == 1 else ddim_step(x_0, x_T, 1.0, abar_at(decoder.abar, times[0]))
    if wanted is None:
        wanted, params = Conditioning(own.expand(len(seeds), -1)), {**params, "clip": None}
    known = brush.known_part(lab, x_0, own, times, whole=bool(mask.all()))
    grid = inpainting.on_grid(mask, decoder)
    wanted = inpainting.with_known(decoder, wanted, x_0, grid)
    params = {**params, "joined": brush.joined(lab, filled, mask)}
    for step in inpainting.inpaint_steps(decoder, wanted, grid, known, start, times, seeds=seeds, **params):
        due = brush.preview_every and step.number % brush.preview_every == 0 and step.number < step.total
        preview = decoding.pictures(decoder, step.x_0[:PREVIEWED]) if due else None
        yield Progress("decoder", step.number, step.total, preview)
    painted = decoding.pictures(decoder, step.x_t)
    if window.shape[-1] > decoder.image_size:
        painted = images.resize((yield from upsample_images(lab, painted, seeds)), window.shape[-1])
    return inpainting.composed(painted, window, mask, window.shape[-1] // decoder.shape[-1])


def measured(lab: Lab, pixels: Tensor, original: Tensor, mask: Tensor, prompt: str) -> Iterator[dict]:
    """The rows of an edit's table: as in `edit`."""
    if prompt:
        z_t = lab.encoder.encode_text([prompt])
        yield mean(cosine(lab.encoder.encode_image(pixels), z_t), quantity="CLIP score")
        named = [thing for thing in lab.things if re.search(rf"\b{re.escape(thing)}\b", prompt)]
        if named:
            labels = lab.encoder.zero_shot(inside(pixels, mask), lab.things).argmax(1)
            wanted = lab.things.index(max(named, key=len))
            yield proportion(labels == wanted, quantity="accuracy inside the mask")
    if mask.all():
        return
    outside = (~mask).expand_as(original)[0]
    psnr = torch.stack([images.psnr(row[outside][None], original[0][outside][None])[0] for row in pixels])
    yield mean(psnr, quantity="PSNR outside")
    yield mean(inpainting.seam(pixels, mask), quantity="change across the border")
    wider = F.max_pool2d(mask.float(), 3, 1, 1) > 0
    if not wider.all():
        yield mean(inpainting.seam(pixels, wider), quantity="change beside the border")


def inside(pixels: Tensor, mask: Tensor) -> Tensor:
    """The smallest square around what is painted, or the most of it that fits into the picture."""
    rows, columns = mask[0, 0].any(1).nonzero().flatten(), mask[0, 0].any(0).nonzero().flatten()
    height, width = pixels.shape[-2:]
    side = min(max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1, height, width)
    top = min(max(int(rows[0] + rows[-1] + 1 - side) // 2, 0), height - side)
    left = min(max(int(columns[0] + columns[-1] + 1 - side) // 2, 0), width - side)
    return pixels[..., top : top + side, left : left + side]
