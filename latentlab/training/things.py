"""The things of Emoji World, the noun phrases that name them in captions, and the words on signs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

EXTRA_WORDS = ("stop", "hello", "ipod", "clip", "deep", "learning", "love", "open", "sale", "go", "yes", "no")
IRREGULAR_PLURALS = {
    "mouse": "mice",
    "wolf": "wolves",
    "leaf": "leaves",
    "snowman": "snowmen",
    "tomato": "tomatoes",
    "glass": "glasses",
    "die": "dice",
    "fish": "fish",
    "scissors": "scissors",
}


@dataclass(frozen=True)
class Thing:
    """A line of things.txt: the name of the drawing, its group, and noun phrases with their articles."""

    name: str
    group: str
    phrases: tuple[str, ...]


@cache
def things() -> tuple[Thing, ...]:
    """All things, in the order of things.txt."""
    listed, group = [], ""
    for line in files(__package__).joinpath("things.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif line and not line.startswith("#"):
            name, phrases = line.split(": ", 1)
            listed.append(Thing(name, group, tuple(phrases.split(", "))))
    return tuple(listed)


@cache
def _phrases() -> dict[str, tuple[str, ...]]:
    return {thing.name: thing.phrases for thing in things()}


def phrases_of(thing: str) -> tuple[str, ...]:
    """The noun phrases of a thing, by its name."""
    return _phrases()[thing]


@cache
def sign_words() -> tuple[str, ...]:
    """The words on signs and labels: the short names of things, and EXTRA_WORDS."""
    names = {t.phrases[0].split(" ", 1)[1] for t in things()}
    return tuple(sorted({n for n in names if " " not in n and len(n) <= 8} | set(EXTRA_WORDS)))


def noun(phrase: str) -> str:
    """A phrase without its article: `a dog` -> `dog`."""
    return phrase.split(" ", 1)[1] if phrase.split(" ", 1)[0] in ("a", "an", "some", "the") else phrase


def plural(words: str) -> str:
    """The plural of a phrase: `a fox` -> `foxes`, `a piece of cake` -> `pieces of cake`; plurals stay."""
    head, *rest = noun(words).split(" of ")
    *before, last = head.split(" ")
    if last in IRREGULAR_PLURALS:
        last = IRREGULAR_PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")) and last not in ("bus", "cactus", "octopus", "hourglass", "dress"):
        last = last if last.endswith("s") else last + "es"
    elif last.endswith("s"):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " of ".join([" ".join([*before, last]), *rest])
