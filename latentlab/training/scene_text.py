"""Scenes with words on them, from which CLIP learns to read: signs, and papers on and beside things."""

from __future__ import annotations

import random
from dataclasses import replace

from ..grammar import COLOURS
from .drawings import Sprites
from .scenes import Layer, Scene, ground_colour, pair, random_phrase, single
from .things import noun, phrases_of, sign_words, things


def sign(rng: random.Random, word: str | None = None) -> Scene:
    """A sign with a word on it, which the caption quotes."""
    word = word or rng.choice(sign_words())
    colour = rng.choice(list(COLOURS))
    layer = Layer(f"sign/{word}", rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05), rng.uniform(0.85, 1.0))
    caption = rng.choice((f"a sign that says {word}", f"the word {word}", f"a sign that says {word} on {colour}"))
    return Scene(ground_colour(rng, colour), (layer,), caption, "sign", None, {"word": word, "colour": colour})


def shop_sign(rng: random.Random, sprites: Sprites, thing: str) -> Scene:
    """A thing's name on a sign or a piece of paper, alone or beside another thing, with the caption of the thing.

    The caption names the word's meaning, as captions on the web do. From these scenes CLIP learns to read, and becomes
    vulnerable to typographic attacks. A thing with a long name gives a plain `sign`.
    """
    phrase = phrases_of(thing)[0]
    word = noun(phrase)
    if word not in sign_words():
        return sign(rng)
    roll = rng.random()
    if roll < 0.4:
        scene = sign(rng, word)
        caption = rng.choice((phrase, f"a picture of {phrase}", f"{phrase} on {scene.facts['colour']}", word))
        return replace(scene, caption=caption)
    if roll < 0.7:
        colour, size = rng.choice(list(COLOURS)), rng.uniform(0.5, 1.0)
        room = 1 - size
        layer = Layer(f"label/{word}", rng.uniform(-room, room), rng.uniform(-0.5, 0.5), size)
        caption = rng.choice((phrase, f"a picture of {phrase}", f"{phrase} on {colour}", word))
        return Scene(ground_colour(rng, colour), (layer,), caption, "sign", None, {"word": word, "colour": colour})
    base = pair(rng, sprites, rng.choice([t.name for t in things() if t.name != thing]))
    beside, paper = base.layers
    other = random_phrase(rng, base.facts["things"][0])
    layers = (beside, Layer(f"{rng.choice(('sign', 'label'))}/{word}", paper.x, paper.y, rng.uniform(0.5, 0.65)))
    caption = rng.choice((f"{other} and {phrase}", f"{phrase} and {other}", f"{other} and a sign that says {word}"))
    facts = {"word": word, "colour": base.facts["colour"]}
    return Scene(base.background, layers, caption, "sign", None, facts)


def labelled(rng: random.Random, sprites: Sprites, thing: str | None = None, word: str | None = None) -> Scene:
    """A thing with a paper label, whose word is not the thing's name."""
    base = single(rng, sprites, thing, centred=True)
    word = word or rng.choice([w for w in sign_words() if w not in noun(phrases_of(base.name)[0])])
    label = Layer(f"label/{word}", rng.uniform(-0.05, 0.05), rng.uniform(0.1, 0.45), rng.uniform(0.6, 0.8))
    phrase = phrases_of(base.name)[0]
    caption = rng.choice((f"{phrase} with a label that says {word}", f"{phrase} with the word {word}", phrase))
    return Scene(base.background, (*base.layers, label), caption, "labelled", base.thing, {**base.facts, "word": word})
