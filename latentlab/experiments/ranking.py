"""The best pictures by CLIP: how many to keep, and which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from ..errors import UserError


class Ranked(Protocol):
    """A result whose pictures CLIP can rank."""

    @property
    def similarity(self) -> Tensor:
        """The cosine of every picture to the prompt: (N,)."""

    def rows(self: R, rows: Tensor) -> R:
        """The pictures of these rows alone."""


R = TypeVar("R", bound=Ranked)


def check_best(best: int | None, seeds: Sequence[int]) -> None:
    """Refuse to keep more pictures than are drawn, or none.

    Raises:
        UserError: `best` is not between 1 and the number of seeds.
    """
    if best is not None and not 1 <= best <= len(seeds):
        raise UserError(f"best is {best} of {len(seeds)} pictures: give a number from 1 to that")


def best_first(drawn: R, best: int | None) -> tuple[R, R | None]:
    """The pictures nearest to the prompt, best first, and the others; all as they are when `best` is None."""
    if best is None:
        return drawn, None
    rows = drawn.similarity.argsort(descending=True, stable=True)
    return drawn.rows(rows[:best]), drawn.rows(rows[best:]) if best < len(rows) else None
