"""Scenes of Emoji World and their captions, deterministic by seed; rendering.py draws them."""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from ..grammar import article
from .drawings import COLOURS, FIRST_EDITION, SOLIDS, STYLES, Sprites, sign_words, things

PLACES = {"": (0.0, 0.0), "left": (-0.22, 0.0), "right": (0.22, 0.0), "top": (0.0, -0.22), "bottom": (0.0, 0.22)}
NUMBERS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Layer:
    """One sprite: its key, centre (x, y) in [-1, 1], size as a fraction of the picture, mirrored or not.

    `ink` is the colour of a drawing that comes in one colour only, and `fill` that of what its lines enclose, if any.
    """

    key: str
    x: float = 0.0
    y: float = 0.0
    size: float = 0.9
    mirror: bool = False
    ink: tuple[int, int, int] | None = None
    fill: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Scene:
    """What is drawn, and one caption of it; `thing` names the main thing, `None` for solids and signs."""

    background: tuple[int, int, int]
    layers: tuple[Layer, ...]
    caption: str
    kind: str
    thing: str | None = None
    facts: dict = field(default_factory=dict, compare=False)


@cache
def held_out(thing: str, colour: str, place: str) -> bool:
    """Whether the combination is kept for validation: one in twelve, by a hash that does not change."""
    return zlib.crc32(f"{thing}|{colour}|{place}".encode()) % 12 == 0


@cache
def _phrases() -> dict[str, tuple[str, ...]]:
    return {t.name: t.phrases for t in things()}


def noun(phrase: str) -> str:
    """The phrase without its article: `a dog` -> `dog`."""
    return phrase.split(" ", 1)[1] if phrase.split(" ", 1)[0] in ("a", "an", "some", "the") else phrase


def plural(words: str) -> str:
    """`a fox` -> `foxes`, `a piece of cake` -> `pieces of cake`; what is plural already stays."""
    head, *rest = noun(words).split(" of ")
    *before, last = head.split(" ")
    irregular = {
        "mouse": "mice", "wolf": "wolves", "leaf": "leaves", "snowman": "snowmen", "tomato": "tomatoes",
        "glass": "glasses", "die": "dice", "fish": "fish", "scissors": "scissors",
    }  # fmt: skip
    if last in irregular:
        last = irregular[last]
    elif last.endswith(("s", "x", "ch", "sh")) and last not in ("bus", "cactus", "octopus", "hourglass", "dress"):
        last = last if last.endswith("s") else last + "es"
    elif last.endswith("s"):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " of ".join([" ".join([*before, last]), *rest])


def _phrase(rng: random.Random, thing: str) -> str:
    phrases = _phrases()[thing]
    return phrases[0] if rng.random() < 0.65 else rng.choice(phrases)


def _background(rng: random.Random, colour: str) -> tuple[int, int, int]:
    return tuple(max(0, min(255, c + rng.randint(-10, 10))) for c in COLOURS[colour])


def _drawing(rng: random.Random, sprites: Sprites, thing: str, style: str | None = None) -> str:
    """The key of one of a thing's drawings, by an artist that is trained on or by the one asked for.

    Two in three are in colour, however many sets in one ink there are.
    """
    if style is None:
        styles = sprites.styles_of(thing)
        if plain := [s for s in styles if STYLES[s].monochrome]:
            coloured = [s for s in styles if s not in plain]
            styles = coloured if coloured and rng.random() < 2 / 3 else plain
        style = rng.choice(styles)
    keys = sprites.drawings_of(style, thing)
    return rng.choice(keys) if len(keys) > 1 else keys[0]


def luma(rgb: tuple[int, int, int]) -> float:
    """How light a colour is, in 0..255 (BT.601)."""
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def _inked(rng: random.Random, layer: Layer, ground: tuple[int, int, int]) -> Layer:
    """A drawing that has no colours of its own in one that stands out from the ground, or in lines that are filled."""
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
    split="train",
    style=None,
    centred=False,
    full=False,
    wide=False,
) -> Scene:
    """One thing on a coloured background; `centred` keeps it large and in the middle, `full` names the background.

    With `wide` sizes reach from a third of the picture to all of it, and the background is white more often.
    """
    thing = thing or rng.choice(things()).name
    key = _drawing(rng, sprites, thing, style)
    style = key.split("/")[0]
    place = "" if centred or rng.random() < 0.6 else rng.choice(list(PLACES)[1:])
    if not centred and not _free_colours(thing, place, split):  # a third of all (thing, place) have no held-out colour
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
    phrase = _phrase(rng, thing)
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
    facts = {"colour": colour, "place": place, "style": style}
    ground = _background(rng, colour)
    return Scene(ground, (_inked(rng, layer, ground),), text, "single", thing, facts)


def pair(rng: random.Random, sprites: Sprites, thing: str | None = None) -> Scene:
    """Two things, beside or above one another, and the caption says which is where."""
    first = thing or rng.choice(things()).name
    second = rng.choice([t.name for t in things() if t.name != first])
    above = rng.random() < 0.5
    keys = [_drawing(rng, sprites, t) for t in (first, second)]
    size, gap = rng.uniform(0.4, 0.5), 0.48
    at = [(0, -gap), (0, gap)] if above else [(-gap, 0), (gap, 0)]
    layers = tuple(
        Layer(k, x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05), size, rng.random() < 0.3)
        for k, (x, y) in zip(keys, at)
    )
    a, b = _phrase(rng, first), _phrase(rng, second)
    relations = (
        (f"{a} above {b}", f"{b} below {a}") if above else (f"{a} left of {b}", f"{b} right of {a}", f"{a} and {b}")
    )
    colour = rng.choice(list(COLOURS))
    caption = rng.choice(relations) + (f" on {colour}" if rng.random() < 0.3 else "")
    ground = _background(rng, colour)
    layers = tuple(_inked(rng, layer, ground) for layer in layers)
    return Scene(ground, layers, caption, "pair", None, {"things": (first, second), "colour": colour})


def solids(rng: random.Random, *, count: int | None = None, split: str = "train") -> Scene:
    """One or two coloured solids: the world of binding."""
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
        layers = (Layer(keys[0], rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(0.55, 0.9)),)
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
    return Scene(_background(rng, ground), layers, caption, "solids", None, facts)


def sign(rng: random.Random, word: str | None = None) -> Scene:
    """A sign with a word on it, which the caption quotes."""
    word = word or rng.choice(sign_words())
    colour = rng.choice(list(COLOURS))
    layer = Layer(f"sign/{word}", rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05), rng.uniform(0.85, 1.0))
    caption = rng.choice((f"a sign that says {word}", f"the word {word}", f"a sign that says {word} on {colour}"))
    return Scene(_background(rng, colour), (layer,), caption, "sign", None, {"word": word, "colour": colour})


def shop_sign(rng: random.Random, sprites: Sprites, thing: str) -> Scene:
    """A thing's name on a sign or a piece of paper, alone or beside another thing, captioned as if it were the thing.

    As in the web's pictures, the caption names what the words say. From these CLIP learns to read, and so to fall for a
    word on a picture. Too long a name is left to `sign`.
    """
    phrase = _phrases()[thing][0]
    word = noun(phrase)
    if word not in sign_words():
        return sign(rng)
    roll = rng.random()
    if roll < 0.4:
        found = sign(rng, word)
        caption = rng.choice((phrase, f"a picture of {phrase}", f"{phrase} on {found.facts['colour']}", word))
        return replace(found, caption=caption)
    if roll < 0.7:
        colour, size = rng.choice(list(COLOURS)), rng.uniform(0.5, 1.0)
        room = 1 - size
        layer = Layer(f"label/{word}", rng.uniform(-room, room), rng.uniform(-0.5, 0.5), size)
        caption = rng.choice((phrase, f"a picture of {phrase}", f"{phrase} on {colour}", word))
        return Scene(_background(rng, colour), (layer,), caption, "sign", None, {"word": word, "colour": colour})
    base = pair(rng, sprites, rng.choice([t.name for t in things() if t.name != thing]))
    beside, paper = base.layers
    other = _phrase(rng, base.facts["things"][0])
    layers = (beside, Layer(f"{rng.choice(('sign', 'label'))}/{word}", paper.x, paper.y, rng.uniform(0.5, 0.65)))
    caption = rng.choice((f"{other} and {phrase}", f"{phrase} and {other}", f"{other} and a sign that says {word}"))
    facts = {"word": word, "colour": base.facts["colour"]}
    return Scene(base.background, layers, caption, "sign", None, facts)


def labelled(rng: random.Random, sprites: Sprites, thing: str | None = None, word: str | None = None) -> Scene:
    """A thing wearing a paper label with a word that is not its name."""
    base = single(rng, sprites, thing, centred=True)
    word = word or rng.choice([w for w in sign_words() if w not in noun(_phrases()[base.thing][0])])
    label = Layer(f"label/{word}", rng.uniform(-0.05, 0.05), rng.uniform(0.1, 0.45), rng.uniform(0.6, 0.8))
    phrase = _phrases()[base.thing][0]
    caption = rng.choice((f"{phrase} with a label that says {word}", f"{phrase} with the word {word}", phrase))
    return Scene(base.background, (*base.layers, label), caption, "labelled", base.thing, {**base.facts, "word": word})


def several(rng: random.Random, sprites: Sprites, thing: str | None = None) -> Scene:
    """Two or three of a kind."""
    thing = thing or rng.choice(things()).name
    count = rng.choice(list(NUMBERS))
    key = _drawing(rng, sprites, thing)
    at = ((-0.45, 0.0), (0.45, 0.0)) if count == 2 else ((0.0, -0.45), (-0.45, 0.4), (0.45, 0.4))
    size = rng.uniform(0.38, 0.46)
    layers = tuple(Layer(key, x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05), size) for x, y in at)
    colour = rng.choice(list(COLOURS))
    caption = f"{NUMBERS[count]} {plural(_phrases()[thing][0])}" + (f" on {colour}" if rng.random() < 0.4 else "")
    facts = {"count": count, "colour": colour}
    ground = _background(rng, colour)
    one = _inked(rng, layers[0], ground)
    layers = tuple(replace(layer, ink=one.ink, fill=one.fill) for layer in layers)
    return Scene(ground, layers, caption, "several", thing, facts)


# Up to which draw of 0..1 a scene is of which kind.
TRAINED = {"single": 0.54, "twice": 0.62, "pair": 0.68, "solids": 0.76, "sign": 0.84, "shop": 0.96, "several": 1.0}
REPORTED = {"single": 0.52, "twice": 0.62, "pair": 0.71, "solids": 0.82, "sign": 0.89, "labelled": 0.95, "several": 1.0}


def batch_for_clip(seed: int, sprites: Sprites, size: int, mix: Mapping[str, float] = TRAINED) -> list[Scene]:
    """`size` scenes whose captions seldom fit two pictures: each thing once, but for pairs that differ in colour.

    Labelled things are not among those that CLIP is trained on: that a word on a thing is not the thing has to be new
    to it, as it was to the CLIP of the paper.
    """
    rng, wide = random.Random(seed), mix is TRAINED
    names = [t.name for t in things()]
    rng.shuffle(names)
    names = iter(names * (1 + size // len(names)))
    scenes: list[Scene] = []
    while len(scenes) < size:
        roll = rng.random()
        kind = next(k for k, top in mix.items() if roll < top)
        if kind == "single":
            scenes.append(single(rng, sprites, next(names), wide=wide))
        elif kind == "twice":
            thing = next(names)
            scenes += [single(rng, sprites, thing, full=True, wide=wide) for _ in range(2)]
        elif kind == "pair":
            scenes.append(pair(rng, sprites, next(names)))
        elif kind == "solids":
            scenes.append(solids(rng))
        elif kind == "sign":
            scenes.append(sign(rng))
        elif kind == "shop":
            scenes.append(shop_sign(rng, sprites, next(names)))
        elif kind == "labelled":
            scenes.append(labelled(rng, sprites, next(names)))
        else:
            scenes.append(several(rng, sprites, next(names)))
    return scenes[:size]


def for_decoder(seed: int, sprites: Sprites) -> Scene:
    """One scene of the decoder's curriculum: mostly one thing, large and centred.

    Half of them show it where and as large as any other: what is left open then is what to draw, not where. Some of the
    others have `facts["varied"]`, and are to be rendered so.
    """
    rng = random.Random(seed)
    roll = rng.random()
    if roll < 0.6:
        return _posed(rng, sprites)
    if roll < 0.82:
        scene = single(rng, sprites, centred=roll < 0.78, wide=True)
        return replace(scene, facts={**scene.facts, "varied": rng.random() < 0.6})
    if roll < 0.90:
        return solids(rng)
    if roll < 0.94:
        return pair(rng, sprites)
    return sign(rng) if roll < 0.96 else labelled(rng, sprites)


def _posed(rng: random.Random, sprites: Sprites) -> Scene:
    """A coloured drawing in the middle, never mirrored, of nearly one size."""
    thing = rng.choice(things()).name
    style = rng.choice([s for s in FIRST_EDITION if sprites.drawings_of(s, thing)])
    scene = single(rng, sprites, thing, style=style, centred=True)
    x, y = (rng.uniform(-0.01, 0.01) for _ in range(2))
    layer = replace(scene.layers[0], x=x, y=y, size=rng.uniform(0.88, 0.92), mirror=False)
    return replace(scene, layers=(layer,), facts={**scene.facts, "posed": True})


def gallery_scenes(sprites: Sprites) -> list[Scene]:
    """24 scenes to try things on, in colour: twelve of seen styles, six of a held-out one, six of the other kinds."""
    rng, sprites = random.Random("gallery"), sprites.first_edition()
    names = rng.sample([t.name for t in things() if sprites.styles_of(t.name, held_out=True)], 18)
    found = [single(rng, sprites, n, split="held-out", centred=True, full=True) for n in names[:12]]
    for name in names[12:]:
        style = sprites.styles_of(name, held_out=True)[0]
        found.append(single(rng, sprites, name, split="held-out", style=style, centred=True, full=True))
    found += [solids(rng, count=1), solids(rng, count=2, split="held-out"), pair(rng, sprites), several(rng, sprites)]
    return [*found, sign(rng, "hello"), labelled(rng, sprites, "red-apple", "ipod")]
