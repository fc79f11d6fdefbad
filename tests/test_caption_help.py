"""Help beside a caption: readings, completions, near words and known failures."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("gradio")

from latentlab.app.caption_help import advice, completions, known_failures
from latentlab.models.lab import Lab
from latentlab.training.things import things

THINGS = tuple(thing.phrases[0] for thing in things())


@pytest.fixture(scope="module")
def miniature_words(encoder):
    return Lab("emoji", encoder, None, None, things=THINGS)


@pytest.mark.parametrize("caption", ["a red apple on a blue background", "a penguin", "", "  ", "a four leaf clover"])
def test_a_plain_caption_needs_no_advice(miniature_words, caption):
    assert advice(miniature_words, caption) == advice(miniature_words, "")


def test_an_emoji_character_is_read_aloud(miniature_words):
    assert advice(miniature_words, "🦊 on blue").sentences == ("This is read as “a fox on blue”.",)


def test_a_word_that_is_being_typed_is_completed_things_first_and_not_called_unknown(miniature_words):
    result = advice(miniature_words, "a peng")
    assert result.offers[0] == ("penguin", "a penguin") and not result.sentences
    assert ("background", "a fox on a blue background") in advice(miniature_words, "a fox on a blue backg").offers
    words = [word for word, _ in completions("a pe", miniature_words.encoder.vocabulary, THINGS)]
    assert "penguin" in words and "pencil" in words and len(words) <= 6


def test_a_word_of_the_vocabulary_is_not_completed(miniature_words):
    assert completions("a fox", miniature_words.encoder.vocabulary, THINGS) == []


def test_an_unknown_word_is_named_and_near_words_are_offered_in_its_place(miniature_words):
    result = advice(miniature_words, "an aple on blue")
    assert result.sentences == ("The model does not know the word “aple”.",) and result.unknown == ("aple",)
    assert ("apple", "an apple on blue") in result.offers
    assert advice(miniature_words, "a xqzwv").sentences == ("The model does not know the word “xqzwv”.",)


@pytest.mark.parametrize(
    ("caption", "sentence"),
    [
        ("three dogs on blue", "number than three dogs"),
        ("5 foxes", "number than 5 foxes"),
        ("two mice", "number than two mice"),
        ("a purple banana", "the banana may not become purple"),
        ("a red frog on red", "the frog may not become red"),
    ],
)
def test_a_caption_at_which_the_model_is_known_to_fail_says_so(caption, sentence):
    (warning,) = known_failures(caption, THINGS)
    assert sentence in warning


@pytest.mark.parametrize(
    "caption", ["a red apple", "a green cube on red", "an eight ball", "a banana on purple", "an orange", "a red ball"]
)
def test_what_the_model_can_do_is_not_warned_about(caption):
    assert known_failures(caption, THINGS) == []


def test_a_model_that_knows_every_word_gets_no_advice(lab):
    assert advice(dataclasses.replace(lab, things=THINGS), "three purple asdf") == advice(lab, "")
