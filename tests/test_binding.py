"""Binding: how places and readings are scored, and refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from latentlab import UserError, experiments
from latentlab.experiments import Progress, binding

SMALL_RUN = {"prompts": "a red cube on top of a blue ball", "seeds": [0, 1], "steps": 3}


def squares(boxes_and_colours, side=64):
    """A grey picture with a filled square in the middle of each box."""
    from latentlab.grammar import COLOURS

    pixels = torch.full((3, side, side), 0.2)
    for (left, top, right, bottom), colour in boxes_and_colours:
        x, y = int((left + right) / 2 * side), int((top + bottom) / 2 * side)
        pixels[:, y - 10 : y + 10, x - 10 : x + 10] = torch.tensor(COLOURS[colour]).view(3, 1, 1) / 127.5 - 1
    return pixels


@pytest.mark.parametrize(
    ("relation", "exchange", "right"),
    [
        ("on top of", False, 1),
        ("on top of", True, 0),
        ("left of", False, 1),
        ("left of", True, 0),
        ("beside", False, 1),
        ("beside", True, 1),
    ],
)
def test_colours_are_measured_at_the_places_of_the_prompt(lab, monkeypatch, relation, exchange, right):
    prompt = f"a red cube {relation} a blue ball"
    colours = ("blue", "red") if exchange else ("red", "blue")

    def decoded(*args, **params):
        from latentlab.grammar import parse

        yield Progress("prior", 0, 1)
        return None, squares(zip(parse(prompt).boxes, colours))[None].repeat(3, 1, 1, 1)

    monkeypatch.setattr(binding, "draw_prompts", decoded)
    result = experiments.bind(lab, prompt, seeds=[0, 1, 2])
    assert result.value("both colours at their place") == right
    assert result.value("the two colours exchanged") == 1 - right
    assert result.colours == ((colours,) * 3,)


def test_a_picture_nearest_to_its_own_prompt_is_read_as_asked(lab, monkeypatch):
    prompt = "a red cube on top of a blue ball"

    def decoded(*args, **params):
        yield Progress("prior", 0, 1)
        return None, lab.decoder.mean(lab.encoder.encode_text([prompt]))

    monkeypatch.setattr(binding, "draw_prompts", decoded)
    result = experiments.bind(lab, prompt, seeds=[0])
    assert result.read_as[0][0].caption == prompt and result.value("CLIP reads it as asked") == 1


def test_binding_refuses_a_prompt_without_two_solids_and_an_empty_list(lab):
    with pytest.raises(UserError, match="relates no two solids"):
        experiments.bind(lab, "a dog")
    with pytest.raises(UserError, match="prompts is empty"):
        experiments.bind(lab, [])


def test_the_chance_of_a_reading_is_one_over_the_number_of_readings(lab):
    for prompt, chance in (("a red cube left of a blue ball", "25%"), ("a red cube left of a blue cube", "50%")):
        assert f"(chance: {chance})" in experiments.bind(lab, prompt, seeds=[0], steps=1).summary()


@pytest.mark.parametrize(
    ("places", "readings", "seeds", "sentence"),
    [
        (1.0, 1.0, (0,), "in 1 of 1 picture, and CLIP prefers the prompt to its 3 rearrangements in 1 of 1 "),
        (
            0.75,
            0.25,
            (0, 1, 2, 3),
            "in 3 of 4 pictures, and CLIP prefers the prompt to its 3 rearrangements in 1 of 4 ",
        ),
    ],
)
def test_the_summary_of_binding_counts_the_pictures(lab, places, readings, seeds, sentence):
    result = experiments.bind(lab, "a red cube left of a blue ball", seeds=[0], steps=1)
    values = {"both colours at their place": places, "CLIP reads it as asked": readings}
    table = tuple({**row, "value": values.get(row["quantity"], row["value"])} for row in result.table)
    assert sentence in dataclasses.replace(result, seeds=seeds, table=table).summary()
    with pytest.raises(UserError, match="one way only"):
        experiments.bind(lab, "a red cube left of a red cube")
