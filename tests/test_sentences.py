"""Sentences on the pages: they follow from the labels and numbers that they are about."""

from __future__ import annotations

import pytest

pytest.importorskip("gradio")

from latentlab.app import sentences


@pytest.mark.parametrize(
    ("labels", "text"),
    [(["a"], "a"), (["a", "a"], "a"), (["a", "a", "b", "a"], "first a, then b, then a")],
)
def test_a_stretch_of_equal_labels_is_named_once(labels, text):
    assert sentences.along(labels) == text


def test_an_error_in_per_cent_is_that_of_the_psnr():
    text = sentences.reconstructed("a cat", "a dog", "a bus", 20.0, 40.0)
    assert "average error of 10%" in text and "alone with 1%" in text
    assert text.index("a cat") < text.index("a dog") < text.index("a bus")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (["a", "b", "a"], "in 2 of the 3 variations with 100% new noise. In the others it sees b."),
        (["b", "c"], "in 0 of the 2 variations with 100% new noise. There it sees b and c."),
        (["a"], "in 1 of the 1 variation with 100% new noise."),
    ],
)
def test_variations_are_counted(labels, text):
    assert sentences.varied("a", labels, 1.0).endswith(text)


def test_a_text_diff_that_changes_nothing_for_clip_says_so():
    assert "still sees a" in sentences.turned(["a", "b", "a"], 0.5)
    assert "a at the start and b at 50%" in sentences.turned(["a", "a", "b"], 0.5)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (["b", "a", "b", "a", "a"], "With 8 or more components CLIP sees a, as in the original. With 4 it sees b."),
        (["a"] * 5, "With 1 or more components CLIP sees a, as in the original."),
        (["a", "a", "a", "a", "b"], "but b in the picture from all 16"),
    ],
)
def test_enough_components_are_those_from_which_on_every_label_is_right(labels, text):
    assert text in sentences.truncated("a", labels, (1, 2, 4, 8, 16))


def test_an_attack_is_reported_as_it_went():
    assert "does not change" in sentences.attacked("a", "a", "a", [])
    assert "“b”, without it “a”" in sentences.attacked("a", "b", "a", [])
    assert "about 1 of the 2 pictures" in sentences.attacked("a", "b", "a", ["a", "c"])


@pytest.mark.parametrize(
    ("count", "recognised", "text"),
    [
        (1, 1.0, "1 edit to “a fox”. CLIP recognises the prompt's thing in the painted part."),
        (1, 0.0, "1 edit to “a fox”. CLIP does not recognise the prompt's thing in the painted part."),
        (4, 0.75, "4 edits to “a fox”. CLIP recognises the prompt's thing in 3 of them."),
        (2, None, "2 edits to “a fox”."),
    ],
)
def test_edits_are_counted_with_what_clip_recognises(count, recognised, text):
    assert sentences.edited("a fox", count, recognised, masked=True) == text
    assert "painted" not in sentences.edited("a fox", count, recognised), "the whole picture was changed"


def test_an_erased_part_and_what_stays_are_named_in_plain_words():
    text = sentences.edited("", 1, None, masked=True, kept=True)
    assert "What you painted over is filled from what surrounds it." in text
    assert text.endswith("The rest of the picture is exactly as it was.")


def test_a_drawing_is_judged_by_networks_that_took_part_and_that_did_not():
    text = sentences.drawn("a bus", {"emoji": 0.97, "judge": 0.0})
    assert text.index("CLIP itself recognises it in 97%") < text.index(
        "took no part in the drawing recognises it in 0%"
    )
    assert "recognises" not in sentences.drawn("a bus", {})


def test_one_place_of_the_map_has_one_label_and_a_line_its_stretches():
    assert "sees a cat in the picture" in sentences.decoded(["a cat"])
    assert sentences.decoded(["a cat", "a cat", "a dog"]) == "Along the line CLIP sees first a cat, then a dog."


@pytest.mark.parametrize(
    ("label", "expected"), [("a castle", True), ("an apple", False), ("some grapes", False), ("a cast", False)]
)
def test_a_label_names_the_prompts_thing_if_it_is_a_word_of_the_prompt(label, expected):
    assert sentences.names_thing("a Castle on green", label) == expected


def test_what_clip_recognises_is_counted_for_each_row_of_the_prior_page():
    assert sentences.recognised({"no guess": 1, "the prior's guess": 3}, 3).endswith(
        "recognises the prompt's thing in 1 (no guess) and 3 (the prior's guess)."
    )
    assert sentences.recognised({"no guess": 0, "the prior's guess": 1}, 1).endswith("with the prior's guess.")
    assert sentences.recognised({"no guess": 0}, 1) == "CLIP recognises it in no row."


def test_the_road_names_the_best_and_the_fastest_system():
    sentence = sentences.road(["DALL·E 1", "GLIDE"], [0.5, 0.7], [1.0, 2.0], 1)
    assert "by GLIDE fits" in sentence and "DALL·E 1 is the fastest, with 1.0 s" in sentence
    assert "2 systems share the shortest time, with 1.0 s" in sentences.road(
        ["DALL·E 1", "GLIDE"], [0.5, 0.7], [1.04, 1.01], 1
    )


@pytest.mark.parametrize(
    ("labels", "text"),
    [("aaa", "stays a"), ("abc", "goes from a to c"), ("aba", "goes from a to b and back")],
)
def test_a_row_is_told_by_where_it_begins_and_ends(labels, text):
    assert sentences.led(labels) == text


def test_moves_are_told_with_what_they_lead_to_and_what_clip_saw_before_and_after():
    told = sentences.moved([("first component", 2.0, "c"), ("second feature", -0.5, "d")], ["a", "b"])
    assert told.startswith(
        "You moved the first component by +2 (towards c) and the second feature by -0.5 (towards d)."
    )
    assert told.endswith("CLIP saw a and now sees b.")
    assert sentences.moved([("first component", 1.0, "c")], ["a", "a"]).endswith("CLIP still sees a.")
    assert (
        sentences.exchanged(2, [("a", "c"), ("b", "b")])
        == "With 2 features exchanged, CLIP sees c in place of a and still b."
    )


@pytest.mark.parametrize(
    ("shown", "drawn", "continued", "text"),
    [
        (4, 8, False, "DALL·E 1 drew 8 pictures of “a dog”. CLIP ranked them, and the best 4 come first."),
        (2, 2, False, "2 pictures of “a dog”, the one that fits the prompt best for CLIP first."),
        (1, 1, False, "1 picture of “a dog”."),
        (1, 8, False, "CLIP ranked them, and the best one comes first."),
        (4, 8, True, "drew the lower half 8 times, for “a dog”. CLIP ranked the results, and the best 4 come first."),
        (1, 1, True, "DALL·E 1 kept the upper half of the picture and drew the lower half for “a dog”."),
    ],
)
def test_pictures_that_clip_ranked_are_counted_without_numbers_of_clip(shown, drawn, continued, text):
    told = sentences.ranked("a dog", shown, drawn, by="DALL·E 1", continued=continued)
    assert told.endswith(text) and "cos" not in told


def test_what_a_choice_buys_is_told_for_clip_and_for_the_judge():
    shares = {"DALL·E 1": {"CLIP's accuracy": (0.4, 1.0), "the judge's accuracy": (0.6, 0.8)}}
    told = sentences.reranked(shares, 8, 3)
    assert "of 3 prompts" in told and "40% to 100% with CLIP" in told
    assert "60% to 80% with a network that took no part in the choice" in told
