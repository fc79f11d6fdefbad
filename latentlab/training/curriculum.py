"""The scenes that the parts of the miniature are trained on, and those of the gallery; deterministic by seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import cycle

from .drawings import Sprites
from .icon_sets import FIRST_EDITION
from .scene_text import labelled, shop_sign, sign
from .scenes import Scene, pair, several, single, solids
from .things import things

# A random number from 0 to 1 chooses the first kind whose bound is above it.
TRAINED = {"single": 0.54, "twice": 0.62, "pair": 0.68, "solids": 0.76, "sign": 0.84, "shop": 0.96, "several": 1.0}
REPORTED = {"single": 0.52, "twice": 0.62, "pair": 0.71, "solids": 0.82, "sign": 0.89, "labelled": 0.95, "several": 1.0}


def batch_for_clip(seed: int, sprites: Sprites, size: int, mix: Mapping[str, float] = TRAINED) -> list[Scene]:
    """`size` scenes whose captions seldom fit two pictures: every thing once, except in pairs that differ in colour.

    CLIP is not trained on labelled things: like the CLIP of the paper, it must not have learnt that a word on a thing
    does not name the thing.
    """
    rng, wide = random.Random(seed), mix is not REPORTED
    shuffled = [t.name for t in things()]
    rng.shuffle(shuffled)
    names: Iterator[str] = cycle(shuffled)
    scenes: list[Scene] = []
    while len(scenes) < size:
        roll = rng.random()
        kind = next(k for k, bound in mix.items() if roll < bound)
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
    """One scene for the decoder, mostly of one large, centred thing.

    In half of the scenes the thing has a fixed place and size, so that the decoder learns what to draw and not where.
    Some of the others have `facts["varied"]`, which asks the renderer to vary the drawing.
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
    """A coloured drawing in the middle, never mirrored and nearly always of the same size."""
    thing = rng.choice(things()).name
    style = rng.choice([s for s in FIRST_EDITION if sprites.drawings_of(s, thing)])
    scene = single(rng, sprites, thing, style=style, centred=True)
    x, y = (rng.uniform(-0.01, 0.01) for _ in range(2))
    layer = replace(scene.layers[0], x=x, y=y, size=rng.uniform(0.88, 0.92), mirror=False)
    return replace(scene, layers=(layer,), facts={**scene.facts, "posed": True})


def gallery_scenes(sprites: Sprites) -> list[Scene]:
    """The gallery's 24 scenes, all in colour: 12 of trained styles, 6 of a held-out style, 6 of the other kinds."""
    rng, sprites = random.Random("gallery"), sprites.first_edition()
    names = rng.sample([t.name for t in things() if sprites.styles_of(t.name, held_out=True)], 18)
    scenes = [single(rng, sprites, n, split="held-out", centred=True, full=True) for n in names[:12]]
    for name in names[12:]:
        style = sprites.styles_of(name, held_out=True)[0]
        scenes.append(single(rng, sprites, name, split="held-out", style=style, centred=True, full=True))
    scenes += [solids(rng, count=1), solids(rng, count=2, split="held-out"), pair(rng, sprites), several(rng, sprites)]
    return [*scenes, sign(rng, "hello"), labelled(rng, sprites, "red-apple", "ipod")]
