"""The blind votes of the page Road: nothing names a system before the last answer, and no vote stops the page."""

import dataclasses
import random
import re
from types import SimpleNamespace

import pytest
import torch

from latentlab import UserError
from latentlab.analysis import votes
from latentlab.analysis.votes import Vote
from latentlab.app import ballot
from latentlab.app.ballot import Ballot
from latentlab.experiments import RoadResult

TITLES = ("GLIDE (2021)", "unCLIP, diffusion prior (2022)")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(votes.VARIABLE, str(tmp_path / "votes.jsonl"))
    return tmp_path / "votes.jsonl"


@pytest.fixture
def opened():
    """A ballot of two systems, whose pictures are black and white."""
    pixels = torch.stack([torch.full((4, 3, 8, 8), value) for value in (-1.0, 1.0)])
    result = RoadResult(pixels=pixels, systems=TITLES, prompts=("a fox",) * 4, seeds=(0, 1, 2, 3))
    return ballot.new_ballot(result, "a fox", (), random.Random(0))


def answer(state, side):
    return ballot._vote(state, SimpleNamespace(side=side))


def test_no_system_is_named_before_the_last_answer(file, opened):
    state = opened
    for question in votes.QUESTIONS.values():
        assert question in state.draw() and not any(title in state.draw() for title in TITLES)
        state, drawn, status, shown = answer(state, "left")
        assert "kept in" in status
    assert all(title in drawn for title in TITLES) and "No preference can be told yet in 3 of 3 comparisons" in shown
    assert re.search(r"You preferred .* in [23] of 3 questions", drawn)
    kept, _ = votes.read(file)
    assert [vote.question for vote in kept] == list(votes.QUESTIONS)
    assert {(vote.chosen, vote.other) for vote in kept} == {(opened.left, opened.right)}


def test_both_systems_come_to_both_sides():
    pixels = torch.zeros(2, 4, 3, 8, 8)
    result = RoadResult(pixels=pixels, systems=TITLES, prompts=("a fox",) * 4, seeds=(0, 1, 2, 3))
    lefts = {ballot.new_ballot(result, "a fox", (), random.Random(seed)).left for seed in range(12)}
    assert lefts == set(TITLES)


def test_a_file_that_can_not_be_written_says_so_and_the_vote_counts_for_the_visit(tmp_path, monkeypatch, opened):
    monkeypatch.setenv(votes.VARIABLE, str(tmp_path))  # a folder
    state, drawn, status, _ = answer(opened, "right")
    assert "The votes can" not in drawn and "be written to" in status and "last for this visit" in status
    assert state.cast == (Vote("drawing", opened.right, opened.left, "a fox"),) and state.question == "prompt"
    shown = ballot.results_html(state.cast)
    assert "these are the votes of this visit" in shown and "n = 1" in shown


def test_a_space_without_a_file_says_that_votes_last_for_the_visit(monkeypatch, opened):
    monkeypatch.delenv(votes.VARIABLE, raising=False)
    monkeypatch.setenv("SPACE_ID", "someone/latentlab")
    assert "this visit only" in ballot.storage_sentence()
    state = opened
    for _ in votes.QUESTIONS:
        state, _, status, shown = answer(state, "left")
    assert (
        "this visit only" in status
        and "No preference can be told yet in 3 of 3 comparisons" in shown
        and len(state.cast) == 3
    )


@pytest.mark.parametrize("side", ["left", "", "both"])
def test_an_answer_without_an_open_question_or_a_side_is_refused(file, opened, side):
    state = Ballot() if side == "left" else opened
    *_, status, _ = answer(state, side)
    assert "No question is open" in status and not file.exists()
    with pytest.raises(UserError, match="press “Show two grids” first"):
        state.answered(side)


def test_a_lab_with_one_system_has_nothing_to_vote_on(lab, monkeypatch):
    alone = dataclasses.replace(lab, load_dalle=None)
    monkeypatch.setattr(ballot.model_cache, "current", lambda: alone)
    *_, (_, _, status, _) = ballot._show(Ballot())
    assert "has 1 system to vote on" in status


def test_two_grids_are_drawn_without_a_name_on_the_way(miniature, monkeypatch):
    lab = dataclasses.replace(miniature, name="emoji")
    monkeypatch.setattr(ballot.model_cache, "current", lambda: lab)
    monkeypatch.setitem(ballot.model_cache._LOADED, "emoji", lab)
    *steps, last = ballot._show(Ballot())
    assert all("Drawing two grids" in status for _, _, status, _ in steps)
    assert last[0].question == "drawing" and last[0].left != last[0].right and last[0].grids[0] != last[0].grids[1]


def test_the_results_have_a_line_for_each_pair_and_a_sentence_where_there_is_a_preference(file):
    one, other, third = "A", "B", "C"
    cast = [Vote("drawing", one, other)] * 12 + [Vote("prompt", one, other)] * 11 + [Vote("drawing", one, third)]
    shown = ballot.results_html(cast)
    assert "drawing: A is preferred to B in 100% of 12 votes." in shown
    assert "share of the votes for the system that stands first" in shown and "better drawn" in shown
    assert ballot.COLUMNS.keys() == votes.QUESTIONS.keys()
    assert "No preference can be told yet in 1 of 3 comparisons" in shown
    assert "A against B, n = 11 to 12" in shown and "A against C, n = 1" in shown
