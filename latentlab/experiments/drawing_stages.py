"""The stages of drawings by CLIP alone: a canvas, the climb on it, and what encoders see in the pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ..analysis.intervals import mean, proportion
from ..ascent import Objective, Views, ascend
from ..canvas import Canvas, Decoded, FirstStage, Fourier, Pixels
from ..clip import MAX_BATCH_SIZE
from ..errors import UserError
from ..io import images
from ..noise import SeededNoise, draw_x_T
from ..strokes import Paths, Strokes, parsed_colours
from .base import Progress
from .stages import PREVIEWED, checked_pixels, encoder_of

if TYPE_CHECKING:
    from ..clip import Encoder
    from ..models import Lab

CANVASES = ("strokes", "pixels", "fourier", "latents", "x_T", "z_i")
STARTS = ("noise", "blank")
FRAMES = 24  # pictures of a climb that its animation shows
CLIMB_STRENGTH = 2.0  # of the climb's views, which are further from the picture than those that measure it
SEEN = 32  # views over which a finished picture is measured
SEEN_STREAM = 10**9  # other views than those of the climb
DECODED_STEPS = 4  # of DDIM, through which the gradient goes to x_T or z_i
STROKE_BYTES = 64  # memory of one pixel of one stroke
LARGE = 256  # side of finished strokes, which have no size of their own


class Recogniser(Protocol):
    """What says what it sees in a picture: an encoder, or the miniature's judge."""

    def zero_shot(self, pixels: Tensor, labels: Sequence[str], templates: Sequence[str] = ...) -> Tensor:
        """Probabilities of the labels: (B, labels)."""


@dataclass(frozen=True, eq=False, repr=False)
class Climb:
    """A canvas at the end of its climb.

    Args:
        pixels: (B, 3, H, W). paths: of strokes, None of other canvases.
        scores: (S, B), the objective at each step. frames: (F, B, 3, h, w), pictures on the way.
        notes: where it stopped, if it stopped early.
    """

    pixels: Tensor
    paths: Paths | None
    scores: Tensor
    frames: Tensor
    notes: tuple[str, ...]


def pictures_a_step(canvas: str, count: int, views: int) -> int:
    """How many pictures a step of `count` drawings evaluates: views by CLIP, and a canvas's own by the decoder.

    A canvas of x_T or z_i takes `DECODED_STEPS` of DDIM, each of which is evaluated again on the way back.
    """
    decoded = 3 * DECODED_STEPS if canvas in ("x_T", "z_i") else 0
    return count * (max(1, views) + decoded)


def new_canvas(
    lab: Lab | Encoder,
    kind: str,
    *,
    start: str | Tensor | Paths,
    seeds: Sequence[int],
    strokes: int = 24,
    style: str = "strokes",
    palette: Sequence[str] = (),
) -> Canvas:
    """A canvas of that kind, a picture for each seed.

    Raises:
        UserError: an unknown kind or start, strokes that memory does not hold, or a canvas that the lab does not have.
    """
    if kind not in CANVASES:
        raise UserError(f"canvas is {kind!r}: give one of {', '.join(CANVASES)}")
    encoder = encoder_of(lab)
    if isinstance(start, Paths) and kind != "strokes":
        raise UserError(f"the start has strokes, which the canvas {kind!r} has not: give canvas='strokes'")
    if kind == "strokes":
        check_memory(strokes, encoder.image_size, len(seeds), encoder.device)
        return _strokes(start, seeds, encoder, strokes, style, palette).to(encoder.device)
    pixels = _sheet(start, seeds, encoder.image_size).to(encoder.device)
    if kind in ("pixels", "fourier"):
        return Pixels(pixels) if kind == "pixels" else Fourier(pixels)
    return _of_decoder(lab, kind, pixels, seeds)


def _strokes(
    start: str | Tensor | Paths, seeds: Sequence[int], encoder: Encoder, count: int, style: str, palette: Sequence[str]
) -> Strokes:
    colours = parsed_colours(palette) if palette else None
    if isinstance(start, Paths):
        return _continued(start, seeds, count, style, colours)
    paper = torch.ones(1, 3, 1, 1) if isinstance(start, str) else _sheet(start, seeds, encoder.image_size)
    canvas = Strokes.random(count, seeds=seeds, paper=paper, style=style, palette=colours)
    if isinstance(start, str):
        _check_start(start)
    if isinstance(start, str) and start == "blank":
        torch.nn.init.constant_(canvas.colours, 1.0)
    return canvas


def _continued(paths: Paths, seeds: Sequence[int], count: int, style: str, colours: Tensor | None) -> Strokes:
    """A canvas that goes on from strokes of one cubic each, over random ones where there are fewer than `count`."""
    if paths.curves.shape[2] != 1 or style != "strokes":
        raise UserError(f"the start is {paths!r} in another style: only strokes of one cubic each can be continued")
    if len(paths) != len(seeds):
        raise UserError(f"the start has {len(paths)} pictures for {len(seeds)} seeds: give one seed for each")
    parts = [part.detach().cpu() for part in (paths.curves[:, :, 0], paths.widths, paths.colours)]
    missing = count - parts[1].shape[1]
    if missing > 0:
        more = Strokes.random(missing, seeds=seeds, paper=paths.paper)
        below = (more.points, more.widths, more.colours)
        parts = [torch.cat([new.detach(), old], 1) for new, old in zip(below, parts)]
    points, widths, inks = parts
    return Strokes(points, widths, inks, paths.paper, palette=colours)


def _sheet(start: str | Tensor | Paths, seeds: Sequence[int], side: int) -> Tensor:
    """Where raster canvases begin: noise around grey, white, or the user's picture for each seed."""
    if isinstance(start, Tensor):
        checked = images.resize(checked_pixels(start, side), side)
        if len(checked) not in (1, len(seeds)):
            raise UserError(f"{len(checked)} pictures to start from for {len(seeds)} seeds: give one, or one for each")
        return checked.expand(len(seeds), -1, -1, -1)
    assert isinstance(start, str)  # `new_canvas` has refused strokes for other canvases
    _check_start(start)
    if start == "blank":
        return torch.full((len(seeds), 3, side, side), 0.95)
    return (0.1 * SeededNoise(seeds, (3, side, side), stream="canvas")()).clamp(-1, 1)


def _check_start(start: str) -> None:
    if start not in STARTS:
        raise UserError(f"start is {start!r}: give 'noise', 'blank', a picture, or the strokes of another drawing")


def _of_decoder(lab: Lab | Encoder, kind: str, pixels: Tensor, seeds: Sequence[int]) -> Canvas:
    decoder = getattr(lab, "decoder", None)
    if decoder is None:
        raise UserError(f"canvas is {kind!r}, which is a decoder's, and there is none: give strokes, pixels or fourier")
    if kind == "latents":
        if tuple(decoder.shape) == (3, decoder.image_size, decoder.image_size):
            raise UserError(f"{lab.name} decodes pixels and has no first stage: give canvas='pixels' or another")
        return FirstStage(decoder, pixels)
    return Decoded(
        decoder,
        encoder_of(lab).encode_image(pixels),
        draw_x_T(decoder, seeds, device=pixels.device),
        free=kind,
        steps=DECODED_STEPS,
    )


def check_memory(strokes: int, size: int, count: int, device: torch.device) -> None:
    """Refuse more strokes than memory holds.

    Raises:
        UserError: says how many it holds.
    """
    from ..models.offload import free_gigabytes

    fit = int(0.5e9 * free_gigabytes(device) / (STROKE_BYTES * size * size * count)) if device.type != "meta" else 0
    if strokes > fit:
        raise UserError(f"strokes is {strokes}: of {count} pictures at {size} pixels memory holds {fit}; give fewer")


def climb(
    lab: Lab | Encoder, canvas: Canvas, objective: Objective, *, steps: int, views: int, preview_every: int
) -> Generator[Progress, None, Climb]:
    """`yield from` this: the climb's progress with previews; it returns where the canvas came."""
    encoder = encoder_of(lab)
    side, scores, frames, notes = encoder.image_size, [], [], []
    if views < 0:
        raise UserError(f"views is {views}: give 0 for none, or a number like 4")
    yield Progress("canvas", 0, 1)
    random_views = Views(views, side, strength=CLIMB_STRENGTH)
    for step in ascend(canvas, encoder, objective, views=random_views, steps=steps, size=side):
        if not step.good:
            notes.append(f"the climb stopped at step {step.number} of {steps}: its numbers were no longer finite")
            break
        scores.append(step.score)
        if (step.number - 1) % max(1, -(-steps // FRAMES)) == 0:
            frames.append(step.pixels[:PREVIEWED].cpu())
        due = preview_every and (step.number == 1 or step.number % preview_every == 0)
        yield Progress("canvas", step.number, steps, step.pixels[:PREVIEWED] if due else None)
    if not scores:
        raise UserError("the climb's first step was not finite: start from another picture, or use another encoder")
    with torch.no_grad():
        paths = _detached(canvas.paths()) if isinstance(canvas, Strokes) else None
        pixels = canvas.render(max(LARGE, side) if paths else side).clamp(-1, 1)
        frames.append(canvas.render(side)[:PREVIEWED].cpu())
    return Climb(pixels, paths, torch.stack(scores).cpu(), torch.stack(frames), tuple(notes))


def _detached(paths: Paths) -> Paths:
    parts = (paths.curves, paths.widths, paths.colours, paths.paper)
    curves, widths, colours, paper = (part.detach() for part in parts)
    return Paths(curves, widths, colours, paper, paths.closed)


def seen(pixels: Tensor, side: int) -> Iterator[Tensor]:
    """`SEEN` views of the pictures, a batch (B, 3, side, side) at a time."""
    views = Views(SEEN, side, stream=SEEN_STREAM)
    for number in range(SEEN):
        yield views(pixels, 0, number)


@torch.no_grad()
def cosine_rows(encoder: Encoder, pixels: Tensor, objective: Objective) -> list[dict]:
    """The objective of the pictures as they are, and over views of them."""
    small = images.resize(pixels, encoder.image_size)
    over = torch.stack([objective(encoder.encode_image(view)) for view in seen(small, encoder.image_size)]).mean(0)
    plain = objective(encoder.encode_image(small))
    return [mean(plain.cpu(), quantity="cosine"), mean(over.cpu(), quantity="cosine over views")]


@torch.no_grad()
def recognition_rows(
    recognisers: Mapping[str, Recogniser], pixels: Tensor, labels: Sequence[str], own: str, side: int
) -> list[dict]:
    """How often each recogniser's first label is the own one: of the pictures, and of the views of each picture.

    The views of one picture are no cases of their own, so n is the number of pictures.
    """
    small, column, rows = images.resize(pixels, side), labels.index(own), []
    views = torch.cat([*seen(small, side)]).split(MAX_BATCH_SIZE)
    for name, recogniser in recognisers.items():

        def right(pictures: Tensor, recogniser: Recogniser = recogniser) -> Tensor:
            return (recogniser.zero_shot(pictures, labels).argmax(1) == column).cpu()

        over = torch.cat([right(part) for part in views]).view(SEEN, -1).float().mean(0)
        rows.append(proportion(right(small), quantity="top-1", encoder=name))
        rows.append(mean(over, quantity="top-1 over views", encoder=name))
    return rows


def recognisers_of(lab: Lab | Encoder, encoders: Mapping[str, Any] | None) -> dict[str, Recogniser]:
    """The encoder itself, and those given, or by default the judge that comes with the lab."""
    from ..models.judge import judge_of
    from ..models.lab import Lab

    name = lab.name
    if encoders is None:
        judge = judge_of(lab) if isinstance(lab, Lab) else None
        encoders = {} if judge is None else {"judge": judge}
    return {name: encoder_of(lab), **encoders}
