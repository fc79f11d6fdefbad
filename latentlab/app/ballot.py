"""Blind votes: two unlabelled grids of one prompt, the paper's three questions in turn, and all results."""

from __future__ import annotations

import html
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from .. import experiments
from ..analysis import votes
from ..analysis.votes import QUESTIONS, Vote
from ..errors import UserError
from ..experiments.road_systems import SYSTEMS
from ..io import images
from . import markup, model_cache
from .events import MODEL_QUEUE, QUIET, Controls
from .running import run_experiment

# CLIP's strokes would be known at a glance, so they do not stand for election.
CANDIDATES = tuple(name for name in SYSTEMS if name != "draw")
PROMPTS = (
    "a red apple",
    "a penguin",
    "a castle",
    "a bus",
    "a snail",
    "a pizza",
)  # of a model without a list of things
COLUMNS = {"drawing": "better drawn", "prompt": "fits the prompt", "diversity": "more varied"}  # of the results
SIDE = 128  # pixels of one picture in a grid
ABOUT = """<h3>Which system draws better?</h3><p>Two systems draw the same prompt four times each, and you don't see
which they are. You answer three questions; then you see the names and how everybody voted.</p>"""
ANSWER = """
const answer = side => {
  const ballot = element.querySelector('.ballot[data-open]');
  if (!ballot || !element.offsetParent) return false;
  ballot.removeAttribute('data-open');  // one answer a question, until the next one is here
  trigger('click', {side: side});
  return true;
};
element.addEventListener('click', event => {
  const button = event.target.closest('.ballot button');
  if (button) answer(button.dataset.side);
});
document.addEventListener('keydown', event => {
  const side = {ArrowLeft: 'left', ArrowRight: 'right'}[event.key];
  if (!side || event.target.closest('input, textarea, select, [role=tab], [contenteditable]')) return;
  if (answer(side)) event.preventDefault();
});
"""


@dataclass(frozen=True, eq=False)
class Ballot:
    """Two grids and the questions that are still to be answered.

    Args:
        left, right: the systems' titles, which the visitor does not see before the last answer.
        grids: the pictures of both as data URLs.
        asked: the number of questions that are answered.
        cast: the visit's own votes, which last where there is no file.
    """

    prompt: str = ""
    left: str = ""
    right: str = ""
    grids: tuple[str, str] = ("", "")
    weights: str = ""
    asked: int = 3
    cast: tuple[Vote, ...] = ()

    @property
    def question(self) -> str | None:
        """The key of the question that is open; None after the last one."""
        return list(QUESTIONS)[self.asked] if self.asked < len(QUESTIONS) else None

    def answered(self, side: str) -> tuple[Ballot, Vote]:
        """The ballot after an answer, "left" or "right", and the vote."""
        question = self.question
        if question is None or side not in ("left", "right"):
            raise UserError("no question is open: press “Show two grids” first")
        chosen, other = (self.left, self.right) if side == "left" else (self.right, self.left)
        vote = Vote(question, chosen, other, self.prompt, self.weights)
        return replace(self, asked=self.asked + 1, cast=(*self.cast, vote)), vote

    def draw(self) -> str:
        """The grids with the open question, or with their systems after the last one."""
        question = self.question
        heading = QUESTIONS[question] if question else "Thank you: these were the two systems"
        status = f"Question {self.asked + 1} of {len(QUESTIONS)}: press ← or →, or tap a grid." if question else ""
        if not question:
            counts = {
                name: sum(vote.chosen == name for vote in self.cast[-len(QUESTIONS) :])
                for name in (self.left, self.right)
            }
            best = max(counts, key=lambda name: counts[name])
            status = f"You preferred {html.escape(best)} in {counts[best]} of {len(QUESTIONS)} questions."
        names = ("Left grid", "Right grid") if question else (self.left, self.right)
        buttons = "".join(
            f'<button type="button" data-side="{side}"{"" if question else " disabled"}>'
            f'<img src="{url}" alt="{html.escape(name)}"><span>{html.escape(name)}</span></button>'
            for side, url, name in zip(("left", "right"), self.grids, names)
        )
        opened = " data-open" if question else ""
        return (
            f'<div class="ballot"{opened}><h3>{heading}</h3><p>Prompt: “{html.escape(self.prompt)}”. {status}</p>'
            f'<div class="grids">{buttons}</div></div>'
        )


def extras() -> Controls:
    """The button, the grids and the results, below the page's own pictures."""
    return {
        "ballot_about": gr.HTML(ABOUT, padding=False, elem_classes="ballot"),
        "ballot_start": gr.Button("Show two grids for a blind vote", elem_id="ballot-start", size="sm"),
        "ballot": gr.HTML(padding=False, js_on_load=ANSWER, elem_id="ballot"),
        "ballot_status": gr.HTML(padding=False, elem_id="ballot-status"),
        "ballot_results": gr.HTML(padding=False, elem_id="ballot-results"),
    }


def on_space() -> bool:
    return "SPACE_ID" in os.environ


def storage_sentence() -> str:
    """Where votes go."""
    path = votes.votes_file(on_space=on_space())
    if path is None:
        return "Votes last for this visit only, because this Space has no file for them."
    if on_space():
        return "Votes are kept in a file on this server."
    home = Path.home()
    return f"Votes are kept in {Path('~') / path.relative_to(home) if path.is_relative_to(home) else path}."


def connect(controls_by_name: Controls, extra_outputs: Controls) -> None:
    """Add the events of the votes."""
    state = gr.State(Ballot())
    shown = [extra_outputs[name] for name in ("ballot", "ballot_status", "ballot_results")]
    start: Any = extra_outputs["ballot_start"]
    start.click(_show, state, [state, *shown], show_progress="hidden", api_visibility="private", **MODEL_QUEUE)
    grids: Any = extra_outputs["ballot"]
    grids.click(_vote, state, [state, *shown], **QUIET)


def grid_picture(pixels: Tensor) -> Image.Image:
    """Four pictures (4, 3, H, W) as two rows of two."""
    small = images.resize(pixels.cpu(), SIDE)
    return images.to_pil(make_grid(small, 2, padding=4, pad_value=1.0)[None])[0]


def new_ballot(result: experiments.RoadResult, prompt: str, cast: Sequence[Vote], order: random.Random) -> Ballot:
    """The grids of two systems' pictures, on sides that `order` draws."""
    sides = order.sample(range(2), 2)
    left, right = (result.systems[k] for k in sides)
    urls = [markup.picture_url(grid_picture(result.pixels[k]), 2 * SIDE + 12) for k in sides]
    weights = str(result.settings.get("weights", ""))
    return Ballot(prompt, left, right, (urls[0], urls[1]), weights, 0, tuple(cast))


def _show(ballot: Ballot) -> Iterator[tuple[object, ...]]:
    """Draw a prompt by two systems, four pictures each."""
    chance = random.Random()
    try:
        lab = model_cache.current() or model_cache.get(model_cache.DEFAULT_MODEL)
        present = [name for name in CANDIDATES if not SYSTEMS[name].missing(lab)]
        if len(present) < 2:
            raise UserError(f"{lab.name} has {len(present)} system to vote on, and a vote compares two: load another")
        prompt = chance.choice(lab.things or PROMPTS)
        first = chance.randrange(10**6)
        systems, seeds = chance.sample(present, 2), range(first, first + 4)
        stream = run_experiment(lab.name, experiments.road, prompt, systems=systems, seeds=seeds)
        while True:
            try:
                step = next(stream)
            except StopIteration as end:
                ballot = new_ballot(end.value, prompt, ballot.cast, chance)
                break
            hidden = "drawing two grids"  # the stage would tell the system
            yield gr.skip(), gr.skip(), markup.progress_bar(hidden, step.step, step.steps), gr.skip()
    except UserError as error:
        yield gr.skip(), gr.skip(), markup.message(markup.error_sentence(error), "wrong"), gr.skip()
        return
    yield ballot, ballot.draw(), "", gr.skip()


def _vote(ballot: Ballot, event: gr.EventData) -> tuple[object, ...]:
    """Keep one answer, and show the next question or the systems with all results."""
    try:
        ballot, vote = ballot.answered(str(getattr(event, "side", "")))
    except UserError as error:
        return gr.skip(), gr.skip(), markup.message(markup.error_sentence(error), "wrong"), gr.skip()
    path, status = votes.votes_file(on_space=on_space()), markup.note(storage_sentence())
    try:
        if path:
            votes.append(path, vote)
    except UserError as error:
        status = markup.message(f"{markup.error_sentence(error)} Until then votes last for this visit.", "wrong")
    shown = results_html(ballot.cast) if ballot.question is None else gr.skip()
    return ballot, ballot.draw(), status, shown


def results_html(cast: Sequence[Vote]) -> str:
    """All votes of the file, or of the visit where there is none, with their intervals."""
    path, broken = votes.votes_file(on_space=on_space()), 0
    kept: Sequence[Vote] = cast
    if path:
        try:
            kept, broken = votes.read(path)
        except UserError as error:
            return markup.message(f"{error}; these are the votes of this visit", "wrong") + _table(cast)
    lost = f"{broken} line{'s' * (broken > 1)} of the file could not be read." if broken else ""
    return _table(kept or cast) + (markup.paragraph(lost) if lost else "")


def _table(kept: Sequence[Vote]) -> str:
    rows = votes.results(kept)
    told = [f"{sentence}." for row, sentence in zip(rows, votes.sentences(rows)) if votes.winner(row)]
    open_ones = len(rows) - len(told)
    if open_ones:
        told.append(f"No preference can be told yet in {open_ones} of {len(rows)} comparisons: they need more votes.")
    counts: dict[str, list[int]] = {}
    for row in rows:
        counts.setdefault(f"{row['system']} against {row['against']}", []).append(row["n"])
    ends = {pair: dict.fromkeys((min(n), max(n))) for pair, n in counts.items()}
    names = {pair: f"{pair}, n = {' to '.join(map(str, n))}" for pair, n in ends.items()}
    table = [{**row, "quantity": names[f"{row['system']} against {row['against']}"]} for row in rows]
    keep = ("quantity", "value", "n", "low", "high")
    lines = [{**{name: row[name] for name in keep}, "question": COLUMNS[row["question"]]} for row in table]
    told.append("A number in the table is the share of the votes for the system that stands first in its line.")
    return "".join(map(markup.paragraph, told)) + markup.results_table(lines)
