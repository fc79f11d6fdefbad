"""The road: which systems a lab has, what each costs, and what is refused."""

import dataclasses

import pytest
import torch

from latentlab import UserError, experiments
from latentlab.experiments.base import Progress
from latentlab.experiments.road_systems import SYSTEMS, Params

SMALL_RUN = {"prompts": ["a cat", "a dog"], "systems": ["unclip"], "seeds": [0, 1], "steps": 2}


@pytest.fixture(scope="module")
def drawn(miniature):
    """All that the road yields for two prompts, with two steps for everything."""
    return list(experiments.road.stream(miniature, ["a fox", "a red apple"], steps=2, climb_steps=2, views=1))


def test_each_system_appears_when_it_is_done_in_order_of_time(drawn):
    *steps, result = drawn
    shown = [step for step in steps if isinstance(step, Progress) and step.pixels is not None]
    rows = [step for step in shown if step.stage in result.systems]
    assert [step.stage for step in rows] == list(result.systems)
    assert [len(step.pixels) for step in rows] == [2 * (k + 1) for k in range(len(result.systems))]


def test_systems_that_the_lab_lacks_are_left_out_with_one_sentence(drawn, lab):
    result = drawn[-1]
    assert "unCLIP, autoregressive prior (2022)" not in result.systems
    assert sum("unCLIP, autoregressive prior (2022) is left out" in note for note in result.notes) == 1
    toy = experiments.road(lab, "a cat", systems=["glide", "unclip"], steps=2)
    assert toy.systems == ("unCLIP, diffusion prior (2022)",)
    assert any("GLIDE (2021) is left out: the decoder of toy reads no text" in note for note in toy.notes)


def test_the_rows_are_what_generate_and_the_prompt_alone_draw(drawn, miniature):
    result, prompts = drawn[-1], ["a fox", "a red apple"]
    assert result.pixels.shape[:2] == (len(result.systems), 2)
    assert result.pixels.shape[-1] == miniature.output_size
    generated = experiments.generate(
        miniature, prompts[0], steps=2, guidance=2, solver="ddim", prior_guidance=1, candidates=2
    ).pixels
    torch.testing.assert_close(result.pixels[-1, :1], generated, atol=2e-3, rtol=0)
    alone = experiments.ablate(miniature, prompts, steps=2, guidance=3.0)
    row = list(result.systems).index("GLIDE (2021)")
    torch.testing.assert_close(result.pixels[row], alone.pixels[0], atol=2e-3, rtol=0)


def test_the_table_has_costs_and_scores_of_every_system(drawn, miniature):
    result = drawn[-1]
    for system in result.systems:
        for quantity in ("seconds", "evaluations", "parameters", "CLIP score", "accuracy"):
            assert result.value(quantity, system=system) is not None
        assert "M parameters" in result.cost(system)
    assert result.value("evaluations", system="CLIP draws (2021)") == 2
    assert result.value("evaluations", system="GLIDE (2021)") == 4
    network = miniature.prior.network
    more = result.value("parameters", system=result.systems[-1]) - result.value("parameters", system="GLIDE (2021)")
    assert more == sum(p.numel() for p in network.parameters())
    assert result.figure() and "CLIP draws (2021)" in result.summary()


def test_clip_draws_the_same_in_batches_of_any_size(lab, monkeypatch):
    params = {"systems": ["draw"], "climb_steps": 2, "views": 1}
    together = experiments.road(lab, ["a cat", "a dog"], **params)
    monkeypatch.setattr("latentlab.experiments.road_systems.TOGETHER", 1)
    alone = experiments.road(lab, ["a cat", "a dog"], **params)
    torch.testing.assert_close(together.pixels, alone.pixels, atol=2e-3, rtol=0)


def test_the_declared_evaluations_are_those_of_the_decoder(miniature, spied):
    spy = spied(miniature.decoder)
    watched = dataclasses.replace(miniature, decoder=spy)
    experiments.road(watched, "a fox", systems=["glide"], steps=3)
    count = sum(1 if guidance == 1 else 2 for _, _, guidance in spy.calls)
    assert count == SYSTEMS["glide"].evaluations(watched, Params(steps=3))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"prompts": []}, r"prompts are \[\]: give one, or several that differ"),
        ({"prompts": ["a cat", "a cat"]}, "give one, or several that differ"),
        ({"prompts": "a cat", "systems": ["dall-e 3"]}, r"systems are \['dall-e 3'\]: give some of dalle, draw, glide"),
        ({"prompts": "a cat", "systems": []}, r"systems are \[\]"),
        ({"prompts": "a cat", "systems": ["glide"]}, "GLIDE .* is left out: the decoder of toy reads no text"),
        ({"prompts": "a cat", "seeds": []}, "give one integer for each picture"),
    ],
)
def test_what_can_not_be_drawn_is_refused_in_one_sentence(lab, params, message):
    with pytest.raises(UserError, match=message):
        experiments.road(lab, **params)


def test_all_settings_of_the_page_can_be_in_a_link():
    import gradio as gr

    from latentlab.app import links
    from latentlab.app.pages.road import PAGE

    with gr.Blocks():
        controls = {**PAGE.controls(), **PAGE.advanced()}
    values = {name: control.value for name, control in controls.items()}
    assert {name: links.validated_value(controls[name], value) for name, value in values.items()} == values
    assert links.validated_value(controls["drawing"], "False") is False
