"""A wrong attempt gets its own hint, a right one says so, and nothing that a student writes ends in a traceback."""

import pytest

from latentlab.exercises import answer, check

CLAIMS = (
    (lambda double: double(2) == 4, "What is twice two?"),
    (lambda double: double(-3) == -6, "Does it hold below zero?"),
)


def test_a_right_attempt_is_true_and_its_repr_says_that_all_checks_hold():
    verdict = check(lambda x: 2 * x, *CLAIMS)
    assert verdict
    assert repr(verdict) == "Right: all 2 checks hold."


def test_a_wrong_attempt_gets_only_the_hint_of_the_first_claim_that_fails():
    verdict = check(lambda x: x + 2, *CLAIMS)
    assert not verdict
    assert repr(verdict) == "Not yet, 1 of 2 checks hold. Does it hold below zero?"


def stub(x):
    """A number to its double."""
    ...


def returning(x):
    return ...


@pytest.mark.parametrize("attempt", [..., stub, returning, lambda x: None])
def test_dots_get_the_advice_to_put_an_answer_in_their_place(attempt):
    message = repr(check(attempt, *CLAIMS))
    assert message == "Not yet, 0 of 2 checks hold. Put your answer in place of the dots. What is twice two?"


@pytest.mark.parametrize("attempt", [lambda x: x, lambda x: 4, print, 7, None])
def test_a_function_or_value_of_any_kind_counts_as_an_attempt(attempt):
    assert "in place of the dots" not in repr(check(attempt, *CLAIMS))


@pytest.mark.parametrize("attempt", [None, 7, lambda: 4, lambda x: 1 / 0])
def test_an_attempt_that_raises_is_answered_with_the_hint_and_the_reason(attempt):
    verdict = check(attempt, *CLAIMS)
    assert not verdict
    assert "What is twice two? (it raised " in repr(verdict)


def test_a_claim_whose_truth_is_ambiguous_does_not_pass():
    import torch

    assert not check(1, (lambda _: torch.ones(2) == 1, "One truth, please."))


def test_the_verdict_on_a_single_claim_is_in_the_singular():
    assert repr(check(4, (lambda x: x == 4, ""))) == "Right: it holds."


@pytest.mark.parametrize("attempt", [..., stub])
def test_later_cells_use_the_reference_until_there_is_an_answer(attempt):
    assert answer(attempt, len) is len
    assert answer(max, len) is max
