"""Captions: which of their words a model does not know, and which captions are longer than it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    from .clip import Encoder


@dataclass(frozen=True)
class CaptionCheck:
    """What the tokenizer does with a caption.

    Args:
        unknown: words that the vocabulary lacks.
        suggestions: for each of them the nearest known words.
        truncated: the part of the caption that fits into the context, None when all of it does.
        names_nothing: no word is known that names something: what is left are words like “a” and “on”.
    """

    unknown: tuple[str, ...] = ()
    suggestions: tuple[tuple[str, ...], ...] = ()
    truncated: str | None = None
    names_nothing: bool = False


# Words that say nothing about a picture alone.
FUNCTION_WORDS = {"a", "an", "and", "are", "at", "both", "in", "is", "of", "on", "one", "over", "some", "that", "the"}
FUNCTION_WORDS |= {"there", "to", "under", "with", "background", "picture", "drawing", "photo", "emoji", "says"}


def check_captions(encoder: Encoder, captions: Iterable[str]) -> list[CaptionCheck]:
    """`check_caption` of each caption that is to be drawn.

    Raises:
        UserError: a caption is empty, or the model knows none of its words.
    """
    checks = [encoder.check_caption(caption) for caption in captions]
    for check in checks:
        if check.names_nothing:
            raise UserError(f"{caption_warnings([check])[0]}: write of what it knows, like “a red apple” or “a dog”")
    return checks


def caption_warnings(checks: Iterable[CaptionCheck]) -> list[str]:
    """One sentence about all words that the model does not know, and one about each caption that it truncates."""
    checks = list(checks)
    suggestions = {word: near for check in checks for word, near in zip(check.unknown, check.suggestions)}
    hints = [f"“{word}”" + (f" (near words: {', '.join(near)})" if near else "") for word, near in suggestions.items()]
    sentences = [f"the model does not know {', '.join(hints)}"] if hints else []
    truncated = dict.fromkeys(check.truncated for check in checks if check.truncated is not None)
    return sentences + [f"the caption is longer than the model reads; it was cut after “{part}”" for part in truncated]
