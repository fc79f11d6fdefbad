"""Spelling: how signs are read back, and refusals."""

from __future__ import annotations

import pytest

from latentlab import UserError, experiments
from latentlab.experiments import Progress, spelling

SMALL_RUN = {"words": ["stop", "go"], "alternatives": ["yes"], "seeds": [0, 1], "steps": 3}


def test_signs_are_read_back_as_the_nearest_of_all_words(lab, monkeypatch):
    def decoded(*args, **params):
        yield Progress("prior", 0, 1)
        prompts = [f"a sign that says {w}" for w in ("hello", "stop", "stop", "stop")]
        return None, lab.decoder.mean(lab.encoder.encode_text(prompts))

    monkeypatch.setattr(spelling, "draw_prompts", decoded)
    result = experiments.spell(lab, ["hello", "stop"], alternatives=["go"], seeds=[0, 1])
    assert result.read == (("hello", "stop"), ("stop", "stop"))
    assert result.value("read back as written") == 0.75


def test_spelling_refuses_a_word_without_alternatives(lab):
    with pytest.raises(UserError, match="alternatives"):
        experiments.spell(lab, "hello")


@pytest.mark.parametrize("params", [{"words": ""}, {"words": "hello", "template": "a sign"}])
def test_an_empty_word_and_a_template_without_a_place_for_it_are_refused(lab, params):
    with pytest.raises(UserError, match="give words to write"):
        experiments.spell(lab, params.pop("words"), alternatives=["stop", "go"], **params)
