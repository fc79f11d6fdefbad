"""Emoji characters in captions: each thing's own character names it."""

from __future__ import annotations

import pytest

from latentlab.emoji_names import name_emoji
from latentlab.training.things import things
from latentlab.training.vocabulary import words

EMOJI = dict(
    zip(
        [thing.name for thing in things()],
        "🐶🐱🐭🐰🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐺🦄🐔🐧🐤🦉🦆🦋🐝🐞🐌🕷🐢🐍🐙🦀🐠🐡🐳🐬🐘🐫🍄🌵🌲🌳🌴🌷🌹🌻🌸🍀🍁🍎🍏🍊🍋🍌🍉🍇🍓🍒🍑🍐🍍🥝🍅🥑🍆🥕🌽🌶"
        "🍞🥐🧀🍔🍟🍕🌭🍳🍿🍦🍩🍪🎂🍰🍭🍬☕🍷🍺🌋🏰🏠⛺🎡🚂🚌🚑🚒🚕🚗🚜🚲🛵⛵✈🚁🚀⚓⏰⌛🌞⭐☁🌈⚡❄⛄🔥💧🌎☔🎃🎄🎈🎁🏆🏅⚽🏀⚾🏈🎾🎱🎲"
        "🎮🎨🥊🕶👔👕👖👗🎒👟👠👑🎩🎓💎🔔🎸🎻🎺🥁📱💻📺📷💡🕯📕💰✉📦✏✂🔒🔑🔨🗡🛡⚙🔬💊💣😀😂😍😎🤔😠😭😴💀👻👽🤖🤡💩❤💔",
    )
)
KNOWN = set(words())


def named(caption):
    return name_emoji(caption, KNOWN.__contains__)


def test_there_is_a_character_for_each_thing():
    assert len(EMOJI) == len(things())


@pytest.mark.parametrize("thing", things(), ids=lambda thing: thing.name)
def test_the_character_of_a_thing_is_understood_as_one_of_its_phrases(thing):
    assert named(EMOJI[thing.name]) in thing.phrases


def test_a_character_takes_its_place_among_the_words():
    assert named("🦊 on a blue background") == "a fox on a blue background"
    assert named("a picture of 🦊") == "a picture of a fox"
    assert named("a 🐶") == "a dog" and named("the 🐙!") == "an octopus !"
    assert named("🐱🐶") == named("🐱 🐶") == "a cat and a dog"
    assert named("❤️") == "a heart"
    assert named("🐶on blue") == "a dog on blue"


@pytest.mark.parametrize("caption", ["a red apple", "", "  a  dog", "½ – ™ 一只狗", "🪿", "a 🪿"])
def test_a_caption_without_a_character_that_is_known_stays_as_it_is(caption):
    assert named(caption) == caption
