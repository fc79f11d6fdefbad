"""A sentence of the course follows from its numbers, and fails the run where it does not."""

import pytest

from latentlab.analysis.intervals import mean, proportion, side
from latentlab.claims import ClaimError, claim, finding
from latentlab.errors import UserError

SENTENCES = {"above": "It is higher by {value:.1f}.", "below": "It is lower.", "unclear": "n = {n} is too few."}


def test_a_claim_that_holds_is_its_sentence_with_its_numbers():
    sentence = claim(0.9 > 0.5, "CLIP is right in {share:.0%}.", share=0.9)
    assert repr(sentence) == "CLIP is right in 90%."
    assert sentence._repr_markdown_() == "**Measured.** CLIP is right in 90%."


def test_a_claim_that_does_not_hold_fails_and_says_its_sentence():
    with pytest.raises(ClaimError, match="not true of these numbers: CLIP is right in 40%"):
        claim(0.4 > 0.5, "CLIP is right in {share:.0%}.", share=0.4)


def test_where_a_claim_does_not_hold_its_other_sentence_stands():
    sentences = ("It rises by {by}.", "It does not rise.")
    assert [repr(claim(by > 0, sentences[0], otherwise=sentences[1], by=by)) for by in (2, -2)] == [
        "It rises by 2.",
        "It does not rise.",
    ]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 1.1, 1.2], "It is higher by 1.1."),
        ([-1.0, -1.1, -1.2], "It is lower."),
        ([-1.0, 1.1], "n = 2 is too few."),
    ],
)
def test_a_finding_says_the_opposite_of_opposite_numbers(values, text):
    assert repr(finding(mean(values), **SENTENCES)) == text


def test_a_single_number_decides_nothing():
    assert repr(finding(mean([5.0]), **SENTENCES)) == "n = 1 is too few."


def test_a_share_is_compared_with_chance():
    assert side(proportion([True] * 20), 0.25) == 1
    assert side(proportion([True] * 5 + [False] * 15), 0.25) == 0
    assert side(proportion([False] * 20), 0.25) == -1


def test_a_finding_whose_numbers_decide_nothing_is_refused():
    with pytest.raises(UserError, match="two of the sentences"):
        finding(mean([1.0, 2.0]), above="It works.", below="It works.", unclear="?")
