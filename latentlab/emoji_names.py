"""Emoji characters in captions, as the words of their Unicode names that a vocabulary knows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# Where Unicode's name describes the drawing, or uses another word than captions do.
SYNONYMS = {
    "ARTIST PALETTE": "palette",
    "ATHLETIC SHOE": "sneaker",
    "AUTOMOBILE": "car",
    "BILLIARDS": "eight ball",
    "BASKETBALL AND HOOP": "basketball",
    "BLOWFISH": "pufferfish",
    "CLAPPER BOARD": "camera",
    "COOKING": "fried egg",
    "DROPLET": "drop of water",
    "EAR OF MAIZE": "corn",
    "EVERGREEN TREE": "pine tree",
    "DECIDUOUS TREE": "tree",
    "GAME DIE": "die",
    "HIGH VOLTAGE SIGN": "lightning bolt",
    "HOCHO": "dagger",
    "HOT BEVERAGE": "cup of coffee",
    "HOT PEPPER": "chili",
    "JACK-O-LANTERN": "pumpkin",
    "LADY BEETLE": "ladybug",
    "NECKTIE": "tie",
    "PERSONAL COMPUTER": "laptop",
    "SHORTCAKE": "piece of cake",
    "SLICED BREAD": "bread",
    "SOFT ICE CREAM": "ice cream",
    "SPORTS MEDAL": "medal",
    "TENNIS RACQUET AND BALL": "tennis ball",
    "VIDEO GAME": "game controller",
    "WOMANS CLOTHES": "shirt",
    "WRAPPED PRESENT": "gift",
    "GLOWING STAR": "golden star",
    "WHITE MEDIUM STAR": "golden star",
    "GRINNING FACE": "smiley",
    "SMILING FACE WITH HEART-SHAPED EYES": "heart eyes",
    "FACE WITH TEARS OF JOY": "laughing face",
    "SMILING FACE WITH SUNGLASSES": "cool face",
    "LOUDLY CRYING FACE": "crying face",
    "SUN WITH FACE": "sun",
    "EARTH GLOBE AMERICAS": "globe",
    "EARTH GLOBE EUROPE-AFRICA": "globe",
    "EARTH GLOBE ASIA-AUSTRALIA": "globe",
    "ENVELOPE WITH DOWNWARDS ARROW ABOVE": "envelope",
    "SNOWMAN WITHOUT SNOW": "snowman",
    "LOCK": "padlock",
    "EYEGLASSES": "sunglasses",
    "DARK SUNGLASSES": "sunglasses",
    "KIWIFRUIT": "kiwi",
    "CHEESE WEDGE": "cheese",
    "FRENCH FRIES": "fries",
    "BEER MUG": "beer",
    "DAGGER KNIFE": "dagger",
    "HOURGLASS WITH FLOWING SAND": "hourglass",
    "STEAM LOCOMOTIVE": "steam train",
    "UMBRELLA WITH RAIN DROPS": "umbrella",
    "SCHOOL SATCHEL": "backpack",
    "HIGH-HEELED SHOE": "high heel",
    "BLACK SCISSORS": "scissors",
    "T-SHIRT": "shirt",
}
STYLE_WORDS = {"black", "white", "heavy", "medium", "small", "face", "sign", "symbol", "with", "and", "of", "the"}
JOINED = {"\N{ZERO WIDTH JOINER}", "\N{VARIATION SELECTOR-15}", "\N{VARIATION SELECTOR-16}"}
PLURAL = re.compile(r"\b(cherries|grapes|corn|bread|cheese|fries|popcorn|sunglasses|jeans|scissors|glasses)$")


def name_emoji(caption: str, known: Callable[[str], bool]) -> str:
    """The caption with each emoji character as a noun phrase: `🦊 on blue` -> `a fox on blue`.

    Characters side by side are joined by "and". A character stays as it is if no word of its name is known.

    Args:
        known: whether the vocabulary has a word.
    """
    parts: list[str] = []
    previous = False  # whether the part before is an emoji's phrase
    for character in caption:
        if character in JOINED or (previous and unicodedata.category(character) == "Sk"):  # Sk: a colour of the skin
            continue
        phrase = _phrase(character, known) if unicodedata.category(character) == "So" else ""
        if phrase:
            parts.append(f" and {phrase}" if previous else f" {phrase} ")
            previous = True
        elif not (previous and character.isspace()):
            parts.append(character)
            previous = False
    if all(len(part) == 1 for part in parts):
        return caption
    return re.sub(r"\b(?:an?|some|the) (an?|some)\b", r"\1", " ".join("".join(parts).split()))


def _phrase(character: str, known: Callable[[str], bool]) -> str:
    """The noun phrase of an emoji character with its article, or "" if its name has no known word."""
    name = unicodedata.name(character, "")
    words = SYNONYMS.get(name, name.lower()).replace("-", " ").split()
    if not all(map(known, words)):
        words = [word for word in words if known(word) and word not in STYLE_WORDS]
    elif words[-1:] == ["face"] and len(words) == 2 and (known(f"{words[0]}s") or known(f"{words[0]}es")):
        words = words[:1]  # a dog face is a dog, but an angry face is not an angry
    if not words:
        return ""
    noun = " ".join(words)
    if noun == "heart eyes":
        return noun
    vowel = words[0] == "hourglass" or (noun[0] in "aeiou" and words[0] != "unicorn")
    return f"{'some' if PLURAL.search(noun) else 'an' if vowel else 'a'} {noun}"
