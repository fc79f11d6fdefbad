"""Claims: sentences of the course that follow from numbers, so that prose and figures agree for all weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .analysis.intervals import side
from .errors import UserError


class ClaimError(AssertionError):
    """A sentence of the course is not true of the numbers at hand."""


@dataclass(frozen=True, repr=False)
class Claim:
    """A sentence that was checked; a notebook shows it as a paragraph.

    Args:
        sentence: in Markdown, with its numbers.
    """

    sentence: str

    def __repr__(self) -> str:
        return self.sentence

    def _repr_markdown_(self) -> str:
        return f"**Measured.** {self.sentence}"


def claim(condition: Any, sentence: str, /, otherwise: str = "", **numbers: Any) -> Claim:
    """A sentence that is true under a condition; where it is not, another one takes its place, or the run fails.

    Args:
        condition: true where the sentence is.
        sentence: with fields like {share:.0%} for the numbers.
        otherwise: what holds where the condition does not; without it the run fails there.

    Raises:
        ClaimError: the condition is false, and there is no other sentence.

    >>> claim(2 > 1, "Two is larger than one, by {by}.", by=2 - 1)
    Two is larger than one, by 1.
    """
    if not condition and not otherwise:
        raise ClaimError(f"not true of these numbers: {sentence.format(**numbers)}")
    return Claim((sentence if condition else otherwise).format(**numbers))


def finding(
    row: Mapping[str, Any], /, *, above: str, below: str, unclear: str, than: float = 0.0, **numbers: Any
) -> Claim:
    """The one of three sentences that the 95% interval of a row allows.

    Args:
        row: from `analysis.intervals`; its value, low, high and n may be fields of the sentences, and
            by, how far the value is from `than`.
        above, below: where the whole interval lies above or below `than`.
        unclear: where the interval contains it, or where there is no interval.
        than: what the row is compared with: 0 for a paired difference, the chance level for a share.

    Raises:
        UserError: two of the sentences are the same, so that the numbers decide nothing.

    >>> row = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40}
    >>> finding(row, than=0.25, above="CLIP is right in {value:.0%}.", below="It is wrong.", unclear="It may guess.")
    CLIP is right in 90%.
    """
    if len({above, below, unclear}) < 3:
        raise UserError("two of the sentences above, below and unclear are the same: give three different ones")
    sentence = {1: above, -1: below, 0: unclear}[side(row, than)]
    return Claim(sentence.format(**{**row, "than": than, "by": abs(row["value"] - than), **numbers}))
