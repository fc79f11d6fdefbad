"""The words of binding: two coloured solids and where they are, and which colour a picture shows at a place.

CLIP can know every word of a caption and not which belongs to which.  Ramesh et al. 2022, section 7, Figs 14 and 15.
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
    "red": (222, 49, 54), "orange": (245, 140, 40), "yellow": (250, 212, 60), "green": (70, 170, 85),
    "blue": (60, 120, 225), "purple": (140, 80, 200), "pink": (245, 145, 185), "brown": (130, 85, 55),
    "white": (250, 250, 250), "gray": (150, 152, 156), "black": (35, 35, 40),
}  # fmt: skip
SOLIDS = ("cube", "ball", "cone", "star")
RELATIONS = ("on top of", "left of", "beside")

# What else people write: the relation, and whether the two solids change places.
_RELATIONS = {
    "on top of": ("on top of", False), "above": ("on top of", False), "over": ("on top of", False),
    "below": ("on top of", True), "under": ("on top of", True), "underneath": ("on top of", True),
    "left of": ("left of", False), "right of": ("left of", True),
    "beside": ("beside", False), "next to": ("beside", False),
}  # fmt: skip
_WORDS = {"grey": "gray", "sphere": "ball"}
_RELATED = re.compile(rf"\b(?:is )?(?:(?:to|on) the )?({'|'.join(_RELATIONS)})\b")
_GROUND = re.compile(rf" on (?:an? )?(?:{'|'.join(COLOURS)}|grey)(?: background)?$")

LIGHTS = (0.65, 0.8, 1.0, 1.2)  # how a colour looks on the sides of a solid: an orange cube's dark side is no brown
SHADE = 0.5  # what a step of lightness counts beside one of hue
STANDS_OUT = 12.0  # the distance from the ground at which a pixel is no longer ground
LEAST = 0.02  # the share of a place that must stand out for anything to be there

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Solid:
    """A coloured solid, "red cube".

    Raises:
        UserError: a colour or a shape that is not of this world.
    """

    colour: str
    shape: str

    def __post_init__(self):
        for kind, word, known in (("colour", self.colour, tuple(COLOURS)), ("shape", self.shape, SOLIDS)):
            if word not in known:
                raise UserError(f"“{word}” is no {kind} of this world: give one of {', '.join(known)}")

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Arrangement:
    """Two solids and where the first one is.

    Args:
        relation: "on top of", "left of", or "beside", which leaves open who is left.

    Raises:
        UserError: another relation.
    """

    first: Solid
    relation: str
    second: Solid

    def __post_init__(self):
        if self.relation not in RELATIONS:
            raise UserError(f"“{self.relation}” is no relation of this world: give one of {', '.join(RELATIONS)}")

    @property
    def caption(self) -> str:
        """In words: "a red cube on top of a blue ball"."""
        return f"{article(str(self.first))} {self.relation} {article(str(self.second))}"

    @property
    def boxes(self) -> tuple[Box, Box]:
        """Where the first and the second are: (left, top, right, bottom), fractions of the picture."""
        if self.relation == "on top of":
            return (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)
        return (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)

    def swaps(self) -> dict[str, Arrangement]:
        """What the same words say when they are bound otherwise; "none" is what is said, and comes first.

        Returns:
            By name: none, colours (exchanged), places (exchanged), both; without those that mean the same as one
            before, as when both solids have one shape.
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
    def _meaning(self) -> tuple:
        """The same for two arrangements that look alike: beside knows no order."""
        pair = (self.first, self.second)
        return self.relation, frozenset(pair) if self.relation == "beside" else pair


def article(words: str) -> str:
    """The words with a or an before them, by their first letter."""
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def arrangements(
    count: int,
    *,
    seed: int = 0,
    colours: Sequence[str] = tuple(COLOURS),
    shapes: Sequence[str] = SOLIDS,
    relations: Sequence[str] = RELATIONS[:2],
) -> list[Arrangement]:
    """Different arrangements, each colour, shape and relation as often as any other in its place, give or take two.

    Two solids never share their colour, nor their shape where there are two to choose from, so that every swap can be
    told from what is said.

    Args:
        seed: the same seed gives the same list, and a longer one begins with the shorter.

    Raises:
        UserError: fewer than two colours, no shapes, or a count outside 1 to the number of different ones.
    """
    colours, shapes = dict.fromkeys(colours), dict.fromkeys(shapes)  # each once
    pairs = list(itertools.permutations(shapes, 2)) if len(shapes) > 1 else [(shape, shape) for shape in shapes]
    left = [
        Arrangement(Solid(c, s), relation, Solid(d, t))
        for relation in dict.fromkeys(relations)
        for (c, d), (s, t) in itertools.product(itertools.permutations(colours, 2), pairs)
    ]
    if not 1 <= count <= len(left):
        given = f"{count} arrangements of {len(colours)} colours and {len(shapes)} shapes"
        raise UserError(f"{given}: give from 1 to {len(left)}" if left else f"{given}: give two colours and one shape")
    random.Random(f"arrangements {seed}").shuffle(left)
    rows = [(a, _facts(a)) for a in left]
    used: Counter = Counter()
    chosen = []
    for _ in range(count):
        row = min(rows, key=lambda row: sum(used[fact] for fact in row[1]))  # the first of the least used
        used.update(row[1])
        rows.remove(row)
        chosen.append(row[0])
    return chosen


def _facts(a: Arrangement) -> tuple:
    """What is to be balanced: the relation, and each colour and shape in its place."""
    return a.relation, (0, a.first.colour), (0, a.first.shape), (1, a.second.colour), (1, a.second.shape)


def parse(caption: str) -> Arrangement | None:
    """What a caption says of two solids: "a blue ball below a red cube" is a red cube on top of a blue ball.

    It may say above, over, below, under, left of, right of, beside or next to, "to the left of", and end on a ground,
    like "on white".

    Returns:
        None if the caption does not relate two things.

    Raises:
        UserError: it does, but with words that are not of this world; the message names them.
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
    """The named colour of what stands out from the ground at a place of each picture.

    The ground is what the corners show.  Every pixel of the box that differs from it votes for the nearest of COLOURS
    in CIELAB, each in four lights, lightness counting half: a shaded side keeps its hue and loses its light.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
        box: left, top, right, bottom as fractions, like Arrangement.boxes.

    Returns:
        B pairs: the name with most votes and its share of them; (None, 0.0) where nothing stands out.

    Raises:
        UserError: no pictures, or a box that is empty or not within them.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise UserError(f"pixels are {tuple(pixels.shape)}, wanted (B, 3, H, W) in [-1, 1]")
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise UserError(f"box is {box}, wanted (left, top, right, bottom) in fractions from 0 to 1, left before right")
    height, width = pixels.shape[2:]
    step = max(1, min(height, width) // 128)  # so many voters are enough
    places = _to_lab(pixels[..., ::step, ::step])
    rows, columns = _span(top, bottom, places.shape[1]), _span(left, right, places.shape[2])
    shades = np.multiply.outer(LIGHTS, list(COLOURS.values())).clip(0, 255) / 127.5 - 1  # (lights, colours, 3)
    named = _to_lab(pixels.new_tensor(shades.reshape(1, -1, 1, 3)).transpose(1, 3)).reshape(-1, 3)
    return [_vote(place, rows, columns, named) for place in places]


def _vote(picture: np.ndarray, rows: slice, columns: slice, named: np.ndarray) -> tuple[str | None, float]:
    height, width = (max(1, side // 16) for side in picture.shape[:2])
    corners = [
        picture[y, x] for y in (slice(height), slice(-height, None)) for x in (slice(width), slice(-width, None))
    ]
    ground = np.median(np.concatenate(corners).reshape(-1, 3), 0)
    place = picture[rows, columns].reshape(-1, 3)
    standing_out = place[np.linalg.norm(place - ground, axis=1) > STANDS_OUT]
    if len(standing_out) < LEAST * len(place):
        return None, 0.0
    nearest = np.linalg.norm(standing_out[:, None] - named, axis=2).argmin(1) % len(COLOURS)
    votes = np.bincount(nearest, minlength=len(COLOURS))
    return tuple(COLOURS)[votes.argmax()], round(float(votes.max() / votes.sum()), 4)


def _to_lab(pixels: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] to CIELAB (B, H, W, 3), its lightness at SHADE."""
    from .io.images import cielab  # here, for the training's drawings need the names of colours without torch

    return cielab(pixels).permute(0, 2, 3, 1).numpy() * (SHADE, 1, 1)


def _span(start: float, stop: float, side: int) -> slice:
    first = min(int(start * side), side - 1)
    return slice(first, max(first + 1, round(stop * side)))


def _solid(words: str) -> Solid:
    known = [_WORDS.get(word, word) for word in re.sub(r"^(?:an?|the|one) ", "", words.strip()).split()]
    if len(known) != 2:
        raise UserError(f"“{words.strip() or '…'}” is not understood: give a colour and a shape, like “a red cube”")
    return Solid(*known)
