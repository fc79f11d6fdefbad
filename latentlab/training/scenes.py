"""Scenes of Emoji World and their captions, deterministic by seed; `rendering` draws them.

`scene_text` has those with words on them.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ..grammar import COLOURS, SOLIDS, article
from .drawings import Sprites
from .icon_sets import STYLES
from .things import noun, phrases_of, plural, things

Colour = tuple[int, int, int]

PLACES = {"": (0.0, 0.0), "left": (-0.22, 0.0), "right": (0.22, 0.0), "top": (0.0, -0.22), "bottom": (0.0, 0.22)}
NUMBERS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Layer:
    """One sprite: its key, its centre (x, y) in [-1, 1], its size as a fraction of the picture, mirrored or not.

    `ink` is the colour of a drawing in one ink, and `fill` that of the area which its lines enclose, if any.
    """

    key: str
    x: float = 0.0
    y: float = 0.0
    size: float = 0.9
    mirror: bool = False
    ink: Colour | None = None
    fill: Colour | None = None


@dataclass(frozen=True)
class Scene:
    """A background, its layers and a caption; `thing` names the main thing and is `None` for solids and signs."""

    background: Colour
    layers: tuple[Layer, ...]
    caption: str
    kind: str
    thing: str | None = None
    facts: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """The name of the main thing.

        Raises:
            ValueError: the scene has no main thing.
        """
        if self.thing is None:
            raise ValueError(f"a scene of the kind {self.kind!r} has no main thing: “{self.caption}”")
        return self.thing


@cache
def held_out(thing: str, colour: str, place: str) -> bool:
    """Whether a combination is kept for validation: a fixed hash keeps one in twelve."""
    return zlib.crc32(f"{thing}|{colour}|{place}".encode()) % 12 == 0


def random_phrase(rng: random.Random, thing: str) -> str:
    """One of a thing's phrases, in two of three cases the first."""
    phrases = phrases_of(thing)
    return phrases[0] if rng.random() < 0.65 else rng.choice(phrases)


def ground_colour(rng: random.Random, colour: str) -> Colour:
    """The colour of that name, varied a little."""
    red, green, blue = (max(0, min(255, c + rng.randint(-10, 10))) for c in COLOURS[colour])
    return red, green, blue


def _drawing(rng: random.Random, sprites: Sprites, thing: str, style: str | None = None) -> str:
    """The key of one of a thing's drawings, by the given artist or by one of the training's artists.

    Two in three drawings are in colour, although most sets are in one ink.
    """
    if style is None:
        styles = sprites.styles_of(thing)
        if plain := [s for s in styles if STYLES[s].monochrome]:
            coloured = [s for s in styles if s not in plain]
            styles = coloured if coloured and rng.random() < 2 / 3 else plain
        style = rng.choice(styles)
    keys = sprites.drawings_of(style, thing)
    return rng.choice(keys) if len(keys) > 1 else keys[0]


def luma(rgb: Colour) -> float:
    """The luma of a colour, from 0 to 255 (BT.601)."""
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def _inked(rng: random.Random, layer: Layer, ground: Colour) -> Layer:
    """Give a drawing in one ink a colour that stands out from the ground, or black lines with a filled area."""
    if not STYLES[layer.key.split("/")[0]].monochrome:
        return layer
    roll = rng.random()
    if roll < 0.3:
        return replace(layer, ink=(0, 0, 0) if luma(ground) > 80 else (255, 255, 255))
    if roll < 0.5:
        return replace(layer, ink=rng.choice([c for c in COLOURS.values() if abs(luma(c) - luma(ground)) > 60]))
    light = [c for c in COLOURS.values() if luma(c) > 80 and c != COLOURS["white"]]
    fill = COLOURS["white"] if roll < 0.65 else rng.choice(light)
    return replace(layer, ink=(0, 0, 0), fill=fill)


def _free_colours(thing: str, place: str, split: str) -> list[str]:
    return [c for c in COLOURS if held_out(thing, c, place) == (split == "held-out")]


def single(
    rng: random.Random,
    sprites: Sprites,
    thing: str | None = None,
    *,
    split: str = "train",
    style: str | None = None,
    centred: bool = False,
    full: bool = False,
    wide: bool = False,
) -> Scene:
    """One thing on a coloured background.

    Args:
        split: "train" or "held-out", the combinations of thing, colour and place to draw from.
        centred: keeps the thing large and in the middle.
        full: names the background in the caption.
        wide: lets sizes reach from a third of the picture to all of it, and makes the background white more often.
    """
    thing = thing or rng.choice(things()).name
    key = _drawing(rng, sprites, thing, style)
    style = key.split("/")[0]
    place = "" if centred or rng.random() < 0.6 else rng.choice(list(PLACES)[1:])
    if not centred and not _free_colours(thing, place, split):  # a third of (thing, place) have no held-out colour
        place = rng.choice([p for p in PLACES if _free_colours(thing, p, split)] or [place])
    colours = _free_colours(thing, place, split) or list(COLOURS)
    colour = "white" if wide and "white" in colours and rng.random() < 0.25 else rng.choice(colours)
    least, most = (0.8, 0.97) if centred else (0.42, 0.6) if place else (0.5, 0.97)
    if wide:
        least, most = (0.7, 1.0) if centred else (1 / 3, most) if place else (1 / 3, 1.0)
    size = rng.uniform(least, most)
    jitter = 0.04 if centred else 0.1
    x, y = (2 * PLACES[place][0], 2 * PLACES[place][1])
    layer = Layer(key, x + rng.uniform(-jitter, jitter), y + rng.uniform(-jitter, jitter), size, rng.random() < 0.3)
    text = _single_text(rng, thing, style, size, place, colour, full)
    facts = {"colour": colour, "place": place, "style": style}
    ground = ground_colour(rng, colour)
    return Scene(ground, (_inked(rng, layer, ground),), text, "single", thing, facts)


def _single_text(rng: random.Random, thing: str, style: str, size: float, place: str, colour: str, full: bool) -> str:
    """A caption of one thing, in which some of its style, size, place and background may be named."""
    phrase = random_phrase(rng, thing)
    if rng.random() < 0.15:
        words = noun(phrase)
        if rng.random() < 0.6:
            words = f"{STYLES[style].adjective} {words}".strip()
        elif size < 0.58:
            words = f"small {words}"
        elif size > 0.85:
            words = f"big {words}"
        if words != noun(phrase) and phrase.split(" ")[0] in ("a", "an"):
            phrase = article(words)
    where = f" on the {place}" if place in ("left", "right") else f" at the {place}" if place else ""
    with_colour = full or rng.random() < 0.55
    with_place = where and (full or rng.random() < 0.5)
    text = phrase + (where if with_place else "")
    if with_colour:
        text = rng.choice(
            (f"{text} on a {colour} background", f"{text} on {colour}", f"{text} and a {colour} background")
        )
        text = text.replace(" on a orange ", " on an orange ").replace(" and a orange ", " and an orange ")
    elif rng.random() < 0.3:
        text = rng.choice((f"a picture of {text}", f"an emoji of {text}", noun(phrase), f"a drawing of {text}"))
    return text


def pair(rng: random.Random, sprites: Sprites, thing: str | None = None) -> Scene:
    """Two things beside or above one another, and a caption that says where they are."""
    first = thing or rng.choice(things()).name
    second = rng.choice([t.name for t in things() if t.name != first])
    above = rng.random() < 0.5
    keys = [_drawing(rng, sprites, t) for t in (first, second)]
    size, gap = rng.uniform(0.4, 0.5), 0.48
    at = [(0, -gap), (0, gap)] if above else [(-gap, 0), (gap, 0)]
    bare = tuple(
        Layer(k, x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05), size, rng.random() < 0.3)
        for k, (x, y) in zip(keys, at)
    )
    a, b = random_phrase(rng, first), random_phrase(rng, second)
    relations = (
        (f"{a} above {b}", f"{b} below {a}") if above else (f"{a} left of {b}", f"{b} right of {a}", f"{a} and {b}")
    )
    colour = rng.choice(list(COLOURS))
    caption = rng.choice(relations) + (f" on {colour}" if rng.random() < 0.3 else "")
    ground = ground_colour(rng, colour)
    layers = tuple(_inked(rng, layer, ground) for layer in bare)
    return Scene(ground, layers, caption, "pair", None, {"things": (first, second), "colour": colour})


def solids(rng: random.Random, *, count: int | None = None, split: str = "train") -> Scene:
    """One or two coloured solids, the scenes of the binding experiment."""
    count = count or rng.choice((1, 2, 2))
    ground = rng.choice(("white", "gray", "black", "yellow", "blue", "pink"))
    palette = [c for c in COLOURS if c != ground]
    wanted = split == "held-out"
    while True:
        picked = [(rng.choice(palette), rng.choice(SOLIDS)) for _ in range(count)]
        if len(set(picked)) == count and held_out(*(picked * 2)[0], "|".join((picked * 2)[1])) == wanted:
            break
    names = [f"{c} {s}" for c, s in picked]
    keys = [f"solid/{c}/{s}" for c, s in picked]
    if count == 1:
        x, y = (rng.uniform(-0.1, 0.1) for _ in range(2))
        layers: tuple[Layer, ...] = (Layer(keys[0], x, y, rng.uniform(0.55, 0.9)),)
        caption = article(names[0])
        relation = ""
    else:
        relation = rng.choice(("above", "left"))
        at = [(0, -0.48), (0, 0.44)] if relation == "above" else [(-0.48, 0), (0.48, 0)]
        layers = tuple(Layer(k, x, y, rng.uniform(0.42, 0.48)) for k, (x, y) in zip(keys, at))
        a, b = article(names[0]), article(names[1])
        caption = rng.choice(
            (f"{a} on top of {b}", f"{a} above {b}", f"{b} below {a}")
            if relation == "above"
            else (f"{a} left of {b}", f"{b} right of {a}", f"{a} beside {b}")
        )
    if rng.random() < 0.4:
        caption += f" on {ground}"
    facts = {"solids": tuple(picked), "relation": relation, "colour": ground}
    return Scene(ground_colour(rng, ground), layers, caption, "solids", None, facts)


def several(rng: random.Random, sprites: Sprites, thing: str | None = None) -> Scene:
    """Two or three equal drawings of a thing."""
    thing = thing or rng.choice(things()).name
    count = rng.choice(list(NUMBERS))
    key = _drawing(rng, sprites, thing)
    at = ((-0.45, 0.0), (0.45, 0.0)) if count == 2 else ((0.0, -0.45), (-0.45, 0.4), (0.45, 0.4))
    size = rng.uniform(0.38, 0.46)
    bare = [Layer(key, x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05), size) for x, y in at]
    colour = rng.choice(list(COLOURS))
    caption = f"{NUMBERS[count]} {plural(phrases_of(thing)[0])}" + (f" on {colour}" if rng.random() < 0.4 else "")
    facts = {"count": count, "colour": colour}
    ground = ground_colour(rng, colour)
    first = _inked(rng, bare[0], ground)
    layers = tuple(replace(layer, ink=first.ink, fill=first.fill) for layer in bare)
    return Scene(ground, layers, caption, "several", thing, facts)
