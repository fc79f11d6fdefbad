"""The things of Emoji World, and the nouns and plurals of their phrases."""

from collections import Counter
from pathlib import Path

import pytest

from latentlab import training
from latentlab.training.things import noun, plural, things

NAMES = [thing.name for thing in things()]


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("a dog", "dogs"),
        ("an owl", "owls"),
        ("a fox", "foxes"),
        ("a bus", "buses"),
        ("a cactus", "cactuses"),
        ("an octopus", "octopuses"),
        ("an hourglass", "hourglasses"),
        ("a dress", "dresses"),
        ("a peach", "peaches"),
        ("a strawberry", "strawberries"),
        ("a monkey", "monkeys"),
        ("a mouse", "mice"),
        ("a wolf", "wolves"),
        ("a tropical fish", "tropical fish"),
        ("some grapes", "grapes"),
        ("some scissors", "scissors"),
        ("some sunglasses", "sunglasses"),
        ("a piece of cake", "pieces of cake"),
        ("a cup of coffee", "cups of coffee"),
        ("an alarm clock", "alarm clocks"),
        ("heart eyes", "heart eyes"),
        ("dog", "dogs"),
    ],
)
def test_the_plural_of_a_phrase_is_the_english_one(one, many):
    assert plural(one) == many


@pytest.mark.parametrize(
    ("phrase", "wanted"),
    [
        ("a dog", "dog"),
        ("an alarm clock", "alarm clock"),
        ("some grapes", "grapes"),
        ("the sun", "sun"),
        ("anchor", "anchor"),
    ],
)
def test_a_noun_is_its_phrase_without_the_article(phrase, wanted):
    assert noun(phrase) == wanted


def test_no_two_things_share_a_name_or_a_phrase():
    names, phrases = Counter(NAMES), Counter(phrase for thing in things() for phrase in thing.phrases)
    assert [x for x, n in (*names.items(), *phrases.items()) if n > 1] == []


def test_the_package_brings_the_list_of_things():
    listed = Path(training.__file__).with_name("things.txt").read_text("utf-8")
    assert all(f"\n{name}: " in listed for name in NAMES)
