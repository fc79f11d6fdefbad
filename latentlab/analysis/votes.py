"""Votes on pairs of grids: a file of JSON Lines that a killed process cannot damage, and what the votes say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import UserError
from .intervals import proportion

# Ramesh et al. 2022, section 5.2 and figure 13; the drawings of Emoji World are not photographs.
QUESTIONS = {
    "drawing": "Which grid is better drawn?",
    "prompt": "Which grid fits the prompt better?",
    "diversity": "Which grid is more varied?",
}
VARIABLE = "LATENTLAB_VOTES"


@dataclass(frozen=True)
class Vote:
    """One answer: `chosen` was preferred to `other`.

    Args:
        question: a key of `QUESTIONS`.
        chosen, other: the systems' titles.
        prompt: what both grids show. weights: of the model that drew them.
    """

    question: str
    chosen: str
    other: str
    prompt: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        if self.question not in QUESTIONS or self.chosen == self.other:
            raise UserError(
                f"a vote on {self.question!r} for {self.chosen!r} against {self.other!r}: the questions are "
                f"{', '.join(QUESTIONS)}, and the two systems differ"
            )


def votes_file(*, on_space: bool) -> Path | None:
    """The file `$LATENTLAB_VOTES`, or votes.jsonl in the user's data; None on a Space where the variable is not set."""
    if path := os.environ.get(VARIABLE):
        return Path(path).expanduser()
    if on_space:
        return None
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "latentlab" / "votes.jsonl"


def append(path: Path, vote: Vote) -> None:
    """Add a vote to the end of the file in one write, which is on the disk when this returns.

    A process that is killed loses at most the vote that it was writing; the next vote begins a line of its own.

    Raises:
        UserError: the file can't be written.
    """
    line = json.dumps(asdict(vote), ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"the votes can't be written to {path} ({error.strerror}): set {VARIABLE} to a file that can"
        ) from error


def read(path: Path) -> tuple[list[Vote], int]:
    """The votes in a file, none where there is no file; and the number of lines that are no votes.

    Raises:
        UserError: the file can't be read.
    """
    votes, broken = list[Vote](), 0
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise UserError(f"the votes in {path} can't be read ({error.strerror})") from error
    for line in lines:
        try:
            votes.append(Vote(**json.loads(line)))
        except (ValueError, TypeError, UserError):
            broken += bool(line.strip())
    return votes, broken


def results(votes: Iterable[Vote]) -> list[dict]:
    """How often the first system of each pair was preferred, by question, with Wilson intervals.

    Returns:
        rows {question, system, against, value, n, low, high}; a pair's systems stand in alphabetical order.
    """
    pairs: dict[tuple[str, str, str], list[bool]] = {}
    for vote in votes:
        first, second = sorted((vote.chosen, vote.other))
        pairs.setdefault((vote.question, first, second), []).append(vote.chosen == first)
    return [
        proportion(hits, question=question, system=first, against=second)
        for (question, first, second), hits in sorted(pairs.items(), key=lambda item: _place(*item[0]))
    ]


def _place(question: str, first: str, second: str) -> tuple[str, str, int]:
    """The place of a row among the results: pair by pair, its questions in the order of `QUESTIONS`."""
    return first, second, list(QUESTIONS).index(question)


def winner(row: dict) -> str:
    """The system that is preferred beyond doubt; "" where the interval does not exclude one half."""
    if row["low"] is None:
        return ""
    return row["system"] if row["low"] > 0.5 else row["against"] if row["high"] < 0.5 else ""


def sentences(rows: Sequence[dict]) -> list[str]:
    """What each row allows to be said: a preference only where its interval excludes one half."""
    said = []
    for row in rows:
        name, first, second, n = row["question"], row["system"], row["against"], row["n"]
        preferred = winner(row)
        loser = second if preferred == first else first
        share = row["value"] if preferred == first else 1 - row["value"]
        said.append(
            f"{name}: {preferred} is preferred to {loser} in {share:.0%} of {n} votes"
            if preferred
            else f"{name}: no preference between {first} and {second} can be told from n = {n}"
        )
    return said
