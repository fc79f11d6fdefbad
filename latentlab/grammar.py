"""Captions of two coloured solids and where they are, and the colour that a picture shows at a place.

CLIP can know every word of a caption without knowing which word belongs to which.  Ramesh et al. 2022, section 7,
Figs 14 and 15.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

COLOURS = {
    "red": (222, 49, 54),
    "orange": (245, 140, 40),
    "yellow": (250, 212, 60),
    "green": (70, 170, 85),
    "blue": (60, 120, 225),
    "purple": (140, 80, 200),
    "pink": (245, 145, 185),
    "brown": (130, 85, 55),
    "white": (250, 250, 250),
    "gray": (150, 152, 156),
    "black": (35, 35, 40),
}
SOLIDS = ("cube", "ball", "cone", "star")
RELATIONS = ("on top of", "left of", "beside")

# Every phrase that `parse` reads: the relation that it means, and whether the two solids change places.
_RELATIONS = {
    "on top of": ("on top of", False),
    "above": ("on top of", False),
    "over": ("on top of", False),
    "below": ("on top of", True),
    "under": ("on top of", True),
    "underneath": ("on top of", True),
    "left of": ("left of", False),
    "right of": ("left of", True),
    "beside": ("beside", False),
    "next to": ("beside", False),
}
_WORDS = {"grey": "gray", "sphere": "ball"}
_RELATED = re.compile(rf"\b(?:is )?(?:(?:to|on) the )?({'|'.join(_RELATIONS)})\b")
_GROUND = re.compile(rf" on (?:an? )?(?:{'|'.join(COLOURS)}|grey)(?: background)?$")

LIGHTS = (
    0.65,
    0.8,
    1.0,
    1.2,
)  # factors on a colour, for the lit and the dark sides of a solid: the dark side of an orange cube is not brown
SHADE = 0.5  # the weight of a difference in lightness, where one in hue has 1
STANDS_OUT = 12.0  # the distance from the ground at which a pixel is no longer ground
LEAST = 0.02  # the share of a box that must stand out before it counts as holding something

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Solid:
    """A coloured solid, "red cube".

    Raises:
        UserError: the colour is not in COLOURS, or the shape not in SOLIDS.
    """

    colour: str
    shape: str

    def __post_init__(self) -> None:
        for kind, word, words in (("colour", self.colour, tuple(COLOURS)), ("shape", self.shape, SOLIDS)):
            if word not in words:
                raise UserError(f"unknown {kind} “{word}”: give one of {', '.join(words)}")

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Arrangement:
    """Two solids, and where the first one is.

    Args:
        relation: "on top of", "left of", or "beside", which leaves open who is left.

    Raises:
        UserError: the relation is not in RELATIONS.
    """

    first: Solid
    relation: str
    second: Solid

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise UserError(f"unknown relation “{self.relation}”: give one of {', '.join(RELATIONS)}")

    @property
    def caption(self) -> str:
        """The arrangement in words: "a red cube on top of a blue ball"."""
        return f"{article(str(self.first))} {self.relation} {article(str(self.second))}"

    def as_setting(self) -> str:
        """The caption, from which `parse` makes the arrangement again."""
        return self.caption

    @property
    def boxes(self) -> tuple[Box, Box]:
        """The places of the first and the second solid: (left, top, right, bottom), fractions of the picture."""
        if self.relation == "on top of":
            return (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)
        return (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)

    def swaps(self) -> dict[str, Arrangement]:
        """The arrangements that the same words make when they are bound differently.

        Returns:
            By name: none (this arrangement itself), colours (exchanged), places (exchanged), both.  Those that mean
            the same as an earlier one are left out, as when both solids have one shape.
        """
        a, b = self.first, self.second
        c, d = Solid(b.colour, a.shape), Solid(a.colour, b.shape)
        named = {"none": (a, b), "colours": (c, d), "places": (b, a), "both": (d, c)}
        swaps: dict[str, Arrangement] = {}
        for name, (first, second) in named.items():
            swapped = Arrangement(first, self.relation, second)
            if all(swapped._meaning != other._meaning for other in swaps.values()):
                swaps[name] = swapped
        return swaps

    @property
    def _meaning(self) -> tuple[str, frozenset[Solid] | tuple[Solid, Solid]]:
        """A key that is equal for two arrangements that look alike: beside has no order."""
        pair = (self.first, self.second)
        return self.relation, frozenset(pair) if self.relation == "beside" else pair


def article(words: str) -> str:
    """The words with "a" or "an" before them, chosen by their first letter."""
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def arrangements(
    count: int,
    *,
    seed: int = 0,
    colours: Sequence[str] = tuple(COLOURS),
    shapes: Sequence[str] = SOLIDS,
    relations: Sequence[str] = RELATIONS[:2],
) -> list[Arrangement]:
    """Different arrangements in which all colours, shapes and relations occur about equally often (within two).

    The two solids never share their colour, nor their shape where there are two to choose from, so that every swap
    differs from the caption.

    Args:
        seed: the same seed gives the same list, and a longer list begins with the shorter one.

    Raises:
        UserError: there are fewer than two colours or no shapes, or the count is outside 1 to the number of different
            arrangements.
    """
    colours, shapes = tuple(dict.fromkeys(colours)), tuple(dict.fromkeys(shapes))
    pairs = list(itertools.permutations(shapes, 2)) if len(shapes) > 1 else [(shape, shape) for shape in shapes]
    possible = [
        Arrangement(Solid(c, s), relation, Solid(d, t))
        for relation in dict.fromkeys(relations)
        for (c, d), (s, t) in itertools.product(itertools.permutations(colours, 2), pairs)
    ]
    if not 1 <= count <= len(possible):
        request = f"{count} arrangements of {len(colours)} colours and {len(shapes)} shapes"
        wanted = f"from 1 to {len(possible)}" if possible else "two colours and one shape"
        raise UserError(f"{request}: give {wanted}")
    random.Random(f"arrangements {seed}").shuffle(possible)
    left = [(arrangement, _facts(arrangement)) for arrangement in possible]
    used: Counter[str | tuple[int, str]] = Counter()
    chosen = []
    for _ in range(count):
        row = min(left, key=lambda row: sum(used[fact] for fact in row[1]))  # the first of the least used
        arrangement, facts = row
        used.update(facts)
        left.remove(row)
        chosen.append(arrangement)
    return chosen


def _facts(a: Arrangement) -> tuple[str | tuple[int, str], ...]:
    """The facts whose frequencies are balanced: the relation, and every colour and shape in its place."""
    return a.relation, (0, a.first.colour), (0, a.first.shape), (1, a.second.colour), (1, a.second.shape)


def parse(caption: str) -> Arrangement | None:
    """The arrangement that a caption describes: "a blue ball below a red cube" is a red cube on top of a blue ball.

    The caption may say above, over, below, under, left of, right of, beside or next to, "to the left of", and may end
    with a background, like "on white".

    Returns:
        None if the caption does not relate two things.

    Raises:
        UserError: the caption relates two things, but one of them is no coloured solid; the message names the words.
    """
    words = _GROUND.sub("", " ".join(caption.lower().split()).strip(" .!?"))
    parts = _RELATED.split(words)
    if len(parts) == 1:
        return None
    if len(parts) != 3:
        raise UserError(f"“{caption}” says {' and '.join(parts[1::2])}: give two solids and one relation between them")
    first, second = _solid(parts[0]), _solid(parts[2])
    relation, exchanged = _RELATIONS[parts[1]]
    return Arrangement(*((second, relation, first) if exchanged else (first, relation, second)))


def colour_at(pixels: Tensor, box: Box = (0.0, 0.0, 1.0, 1.0)) -> list[tuple[str | None, float]]:
    """The named colour of whatever stands out from the background in a box of every picture.

    The corners give the background's colour.  Every pixel of the box that differs from it votes for the nearest of
    COLOURS in CIELAB.  A colour may appear in four lights, and lightness counts half, because a shaded side keeps its
    hue and loses its light.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
        box: left, top, right, bottom as fractions, like `Arrangement.boxes`.

    Returns:
        B pairs: the name with the most votes and its share of them; (None, 0.0) where nothing stands out.

    Raises:
        UserError: the pixels have another shape, or the box is empty or not within the picture.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise UserError(f"pixels are {tuple(pixels.shape)}, wanted (B, 3, H, W) in [-1, 1]")
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise UserError(f"box is {box}, wanted (left, top, right, bottom) in fractions from 0 to 1, left before right")
    height, width = pixels.shape[2:]
    step = max(1, min(height, width) // 128)  # 128 x 128 voters are enough
    pictures = _to_lab(pixels[..., ::step, ::step])
    rows, columns = _span(top, bottom, pictures.shape[1]), _span(left, right, pictures.shape[2])
    shades = np.multiply.outer(LIGHTS, list(COLOURS.values())).clip(0, 255) / 127.5 - 1  # (lights, colours, 3)
    lab_colours = _to_lab(pixels.new_tensor(shades.reshape(1, -1, 1, 3)).transpose(1, 3)).reshape(-1, 3)
    return [_vote(picture, rows, columns, lab_colours) for picture in pictures]


def _vote(picture: np.ndarray, rows: slice, columns: slice, lab_colours: np.ndarray) -> tuple[str | None, float]:
    height, width = (max(1, side // 16) for side in picture.shape[:2])
    corners = [
        picture[y, x] for y in (slice(height), slice(-height, None)) for x in (slice(width), slice(-width, None))
    ]
    ground = np.median(np.concatenate(corners).reshape(-1, 3), 0)
    place = picture[rows, columns].reshape(-1, 3)
    standing_out = place[np.linalg.norm(place - ground, axis=1) > STANDS_OUT]
    if len(standing_out) < LEAST * len(place):
        return None, 0.0
    nearest = np.linalg.norm(standing_out[:, None] - lab_colours, axis=2).argmin(1) % len(COLOURS)
    votes = np.bincount(nearest, minlength=len(COLOURS))
    return tuple(COLOURS)[votes.argmax()], round(float(votes.max() / votes.sum()), 4)


def _to_lab(pixels: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] to CIELAB (B, H, W, 3), its lightness at SHADE."""
    from .io.images import cielab  # here, because the training's drawings import the colours' names without torch

    return cielab(pixels).permute(0, 2, 3, 1).numpy() * (SHADE, 1, 1)


def _span(start: float, stop: float, side: int) -> slice:
    first = min(int(start * side), side - 1)
    return slice(first, max(first + 1, round(stop * side)))


def _solid(words: str) -> Solid:
    parts = [_WORDS.get(word, word) for word in re.sub(r"^(?:an?|the|one) ", "", words.strip()).split()]
    if len(parts) != 2:
        raise UserError(f"“{words.strip() or '…'}” is not understood: give a colour and a shape, like “a red cube”")
    colour, shape = parts
    return Solid(colour, shape)
