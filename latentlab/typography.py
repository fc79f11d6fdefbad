"""Typographic attacks: a paper label with a word, or a user's own drawing, laid over a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from .errors import UserError
from .io import images

# A label's proportions, as fractions of its width: Emoji World's own.
HEIGHT, CORNER, EDGE, LETTERS, TEXT = 0.475, 0.04, 0.02, 0.34, 0.91
LEGIBLE = 6.0  # the least size of the letters, in pixels of the picture
FINE = 4  # it is drawn so many times larger, and shrunk


@dataclass(frozen=True)
class Label:
    """A paper label with a word on it, as on the apple of Goh et al. 2021.  Ramesh et al. 2022, Fig. 6.

    Args:
        word: one line; the letters are as large as the label allows.
        x, y: the label's centre, as fractions of the picture's width and height; (0, 0) is the upper left corner.
        size: the label's width, as a fraction of the picture's.
        colour, paper: of the text and of what it stands on: a name as in CSS, or #rrggbb.
        font: a TrueType or OpenType file; Pillow's own by default.
        angle: degrees, anticlockwise.

    Raises:
        UserError: no word, no such font or letters that it lacks, numbers out of their range, or an unknown
            colour.
    """

    word: str
    x: float = 0.5
    y: float = 0.64
    size: float = 0.7
    colour: str = "#0f0f14"
    paper: str = "#fdfaee"
    angle: float = 0.0
    font: str | Path | None = None

    def __post_init__(self) -> None:
        if not self.word.strip():
            raise UserError("the label's word is empty: write one, like “pizza”")
        lacking = _lacking(self)
        if lacking:
            raise UserError(
                f"the label's font lacks {lacking!r} of {self.word!r}: write one line in plain letters, a to z"
            )
        for name in ("x", "y"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}, wanted a fraction of the picture, from 0 to 1")
        if not 0 < self.size <= 1:
            raise UserError(f"size is {self.size}, wanted a fraction of the picture's width, above 0 and up to 1")
        if not math.isfinite(self.angle):
            raise UserError(f"angle is {self.angle}, wanted degrees, like 10")
        if _rgb("colour", self.colour) == _rgb("paper", self.paper):
            raise UserError(f"colour and paper are both {self.paper}, so the word can't be seen: change one of them")


def paste(pixels: Tensor, label: Label) -> Tensor:
    """Stick the label on every picture.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].

    Returns:
        (B, 3, H, W); outside the label nothing changes.

    Raises:
        UserError: no pictures, a label that is not wholly in the picture, or letters too small to be read.
    """
    height, width = _sides(pixels)
    _check(label, width, height)
    return overlay(pixels, _drawn(label, width * FINE, height * FINE))


def overlay(pixels: Tensor, drawing: Image.Image) -> Tensor:
    """Lay a drawing with a transparent ground, as from a sketch pad, over every picture.

    pixels ← (1 - α) pixels + α drawing.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
        drawing: RGBA, of the pictures' proportions and any size.

    Returns:
        (B, 3, H, W); where nothing is drawn nothing changes.

    Raises:
        UserError: no pictures, or a drawing that is opaque or of other proportions.
    """
    height, width = _sides(pixels)
    if not drawing.has_transparency_data:
        raise UserError(
            f"the drawing is {drawing.mode}, which hides all of the picture: give RGBA, transparent around it"
        )
    if abs(drawing.width * height - drawing.height * width) > max(drawing.size):  # more than rounding a side explains
        raise UserError(
            f"the drawing is {drawing.width}x{drawing.height}, the picture {width}x{height}: give both one shape, like "
            f"images.square(drawing, {width})"
        )
    drawing = drawing.convert("RGBA").resize((width, height), Image.Resampling.LANCZOS)  # weighs colours by their alpha
    alpha = (images.to_tensor(drawing.getchannel("A").convert("RGB"))[:, :1].to(pixels) + 1) / 2
    return pixels * (1 - alpha) + images.to_tensor(drawing).to(pixels) * alpha


def _sides(pixels: Tensor) -> tuple[int, int]:
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
        wanted = "wanted floats (B, 3, H, W) in [-1, 1]: images.load(path, 64)"
        raise UserError(f"pixels are {pixels.dtype} of shape {tuple(pixels.shape)}, {wanted}")
    return pixels.shape[2], pixels.shape[3]


def _check(label: Label, width: int, height: int) -> None:
    """The label is in the picture, and its word can be read."""
    wide, turn = label.size * width, math.radians(label.angle)
    least = LEGIBLE * max(1 / LETTERS, _length(label) / TEXT)  # width of the label at which the letters are legible
    if wide < least:
        larger = f"a larger label (size {math.ceil(100 * least / width) / 100:.2f}) or a shorter word"
        raise UserError(
            f"“{label.word}” can't be read on a label {wide:.0f} pixels wide: it takes {math.ceil(least)} of the "
            f"picture's {width}; give {larger if least <= width else 'a shorter word or a larger picture'}"
        )
    reach = (abs(math.cos(turn)) * wide + abs(math.sin(turn)) * wide * HEIGHT) / 2 / width
    rise = (abs(math.sin(turn)) * wide + abs(math.cos(turn)) * wide * HEIGHT) / 2 / height
    for name, at, half in (("x", label.x, reach), ("y", label.y, rise)):
        if half > 0.5:
            raise UserError(f"the label is {2 * half:.2f} of the picture along {name}: give a smaller size or angle")
        if not half - 1e-6 <= at <= 1 - half + 1e-6:
            raise UserError(
                f"the label leaves the picture, from {at - half:.2f} to {at + half:.2f} along {name}: give {name} from "
                f"{half:.2f} to {1 - half:.2f}, or a smaller size"
            )


def _drawn(label: Label, width: int, height: int) -> Image.Image:
    """The label alone, on a transparent ground."""
    wide = label.size * width
    high, (x, y) = wide * HEIGHT, (label.x * width, label.y * height)
    image = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(image)
    box = (x - wide / 2, y - high / 2, x + wide / 2 - 1, y + high / 2 - 1)
    edge = max(1, round(EDGE * wide))
    draw.rounded_rectangle(box, CORNER * wide, _rgb("paper", label.paper), outline=(90, 85, 80), width=edge)
    font = _font(label, wide * min(LETTERS, TEXT / _length(label)))
    draw.text((x, y), label.word.strip(), _rgb("colour", label.colour), font, anchor="mm")
    return image.rotate(label.angle, Image.Resampling.BICUBIC, center=(x, y)) if label.angle else image


def _font(label: Label, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if label.font is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(label.font, size)
    except OSError as error:
        raise UserError(f"{label.font} is no font that can be read: give a .ttf or .otf file") from error


def _length(label: Label) -> float:
    """The word's length in units of its letters' size."""
    return _font(label, 100).getlength(label.word.strip()) / 100


def _lacking(label: Label) -> str:
    """The letters that the font would draw as an empty box."""
    font = _font(label, 20)
    box = bytes(font.getmask("\uffff"))
    return "".join(c for c in dict.fromkeys(label.word) if not c.isprintable() or bytes(font.getmask(c)) == box)


def _rgb(name: str, colour: str) -> tuple[int, int, int]:
    try:
        red, green, blue = ImageColor.getrgb(colour)[:3]
    except ValueError as error:
        raise UserError(f"{name} is {colour!r}, wanted a colour's name, like 'red', or #rrggbb") from error
    return red, green, blue
