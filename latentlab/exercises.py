"""Exercises: claims about a student's attempt, tested in order; the first one that does not hold gives its hint."""

from __future__ import annotations

import dis
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, repr=False)
class Verdict:
    """How far an attempt got: true when all its claims hold; a notebook shows it as a sentence.

    Args:
        held: how many claims hold. claims: of how many.
        hint: of the first that does not; empty where all do.
    """

    held: int
    claims: int
    hint: str = ""

    def __bool__(self) -> bool:
        return self.held == self.claims

    def __repr__(self) -> str:
        if self:
            return f"Right: {'it holds' if self.claims == 1 else f'all {self.claims} checks hold'}."
        return f"Not yet, {self.held} of {self.claims} checks hold. {self.hint}"


def check(attempt: Any, *claims: tuple[Callable[[Any], Any], str]) -> Verdict:
    """Test an attempt, a value or a function, against claims; stop at the first that does not hold.

    A claim that raises does not hold, and the hint names the exception: nothing that a student writes ends in a
    traceback of ours. Where the attempt, or the body of the function, is still `...`, the hint says so.

    Args:
        attempt: what the student wrote.
        claims: (claim, hint) pairs: `claim(attempt)` is true of a right attempt; the hint says what to think about,
            not the answer.
    """
    if _unwritten(attempt):
        return Verdict(0, len(claims), f"Put your answer in place of the dots. {claims[0][1]}")
    for held, (claim, hint) in enumerate(claims):
        try:
            right, why = bool(claim(attempt)), ""
        except Exception as error:  # whatever a student's code may raise
            right, why = False, f" (it raised {type(error).__name__}: {error})"
        if not right:
            return Verdict(held, len(claims), hint + why)
    return Verdict(len(claims), len(claims))


def answer(attempt: Any, reference: Any) -> Any:
    """The student's answer, or the reference while the answer is still dots, so that later cells run in both cases.

    Args:
        attempt: what the student wrote.
        reference: the solution.
    """
    return reference if _unwritten(attempt) else attempt


def _unwritten(attempt: Any) -> bool:
    """Whether it is still the stub: dots, or a function that does nothing and returns nothing."""
    code = getattr(attempt, "__code__", None)
    if code is None:
        return attempt is ...
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP", "RETURN_VALUE")]
    return all(step.opname in ("LOAD_CONST", "RETURN_CONST") and step.argval in (None, ...) for step in steps)
