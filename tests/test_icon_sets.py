"""The artists' icon sets: the icons that show a thing, and the sets that are held out."""

import pytest

from latentlab.training.icon_sets import HELD_OUT_STYLES, STYLES, find_icons
from latentlab.training.things import things


@pytest.fixture
def icons():
    """A set in iconify's form: an alias, a numbered and a filled variant, a name without dashes."""
    body = {"body": "<path d='M0 0h1v1z'/>"}
    names = ("dog", "dog-face", "cat-1", "cat-2", "redapple", "fish-filled", "fish", "mouse", "gift-outline")
    return {"icons": dict.fromkeys(names, body), "aliases": {"puppy": {"parent": "dog"}, "bunny": {"parent": "cat-1"}}}


def matches(icons, style, name):
    return find_icons(icons, style, next(t for t in things() if t.name == name))


def test_a_thing_is_matched_by_name_before_phrase_and_an_alias_counts_once(icons):
    assert matches(icons, "streamline-emojis", "dog-face") == {
        "streamline-emojis/dog-face": "dog-face",
        "streamline-emojis/dog-face/2": "dog",
    }


def test_a_drawing_matches_despite_dashes_or_a_number_at_the_end(icons):
    assert list(matches(icons, "streamline-emojis", "cat-face").values()) == ["cat-1", "cat-2"]
    assert list(matches(icons, "streamline-emojis", "red-apple").values()) == ["redapple"]


def test_a_match_by_phrase_in_a_first_edition_set_is_a_second_drawing(icons):
    assert matches(icons, "noto", "rabbit-face") == {"noto/rabbit-face/2": "cat-1"}
    assert matches(icons, "emojione", "rabbit-face") == {}


def test_sets_of_icons_match_by_their_own_names_and_filled_variants(icons):
    assert list(matches(icons, "tabler", "tropical-fish").values()) == ["fish-filled", "fish"]
    assert list(matches(icons, "tabler", "wrapped-gift").values()) == ["gift-outline"]
    assert matches(icons, "noto", "tropical-fish") == {}


def test_a_drawing_that_shows_something_else_is_left_out(icons):
    assert matches(icons, "tabler", "mouse-face") == {}  # of a computer
    assert matches(icons, "hugeicons", "wrapped-gift") == {"hugeicons/wrapped-gift": "gift-outline"}
    assert matches(icons, "mdi", "wrapped-gift") == {}  # also its package


def test_a_held_out_artist_shows_one_drawing_of_a_thing(icons):
    assert list(matches(icons, "icon-park", "dog-face")) == ["icon-park/dog-face"]


def test_sets_used_for_evaluation_are_not_trained_on():
    assert not [style for style in STYLES if "openmoji" in style]
    assert not [style for style in STYLES if style not in HELD_OUT_STYLES and style.startswith(HELD_OUT_STYLES)]
