"""Laws of every experiment: its progress, its numbers, its figure and its sentence."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import small_runs
import torch
from conftest import spied_lab

from latentlab import UserError, decoding, experiments
from latentlab.experiments import Progress, stages


@pytest.mark.parametrize("name", ["interpolate", "diff", "walk_components"])
def test_the_pictures_of_a_path_are_enlarged_with_one_noise(lab, directions, name, monkeypatch):
    drawn = []

    def upsample(upsampler, pixels, *, seeds):
        drawn.extend(seeds)
        return pixels

    monkeypatch.setattr(stages.upsampling, "upsample", upsample)
    upsampling_lab = dataclasses.replace(lab, upsampler=object())
    experiments.EXPERIMENTS[name](upsampling_lab, **small_runs.arguments(name, directions))
    assert len(drawn) > 1
    assert len(set(drawn)) == 1


def opposite(result):
    """The same result with other numbers: what was large is small, in its table and in its small tensors."""
    fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    small = {k: v for k, v in fields.items() if isinstance(v, torch.Tensor) and v.is_floating_point() and v.ndim <= 3}
    ends = [{"value": 1 - r["value"], "low": r["high"], "high": r["low"]} for r in result.table]
    table = [
        row | {k: v if v is None or k == "value" else 1 - v for k, v in end.items()}
        for row, end in zip(result.table, ends)
    ]
    return dataclasses.replace(result, table=tuple(table), **{name: 1 - tensor for name, tensor in small.items()})


@pytest.mark.parametrize("name", small_runs.RUNS)
def test_every_experiment_reports_progress_then_numbers_with_intervals_a_figure_and_a_sentence(
    lab, directions, name, monkeypatch
):
    monkeypatch.setattr("latentlab.typography.LEGIBLE", 0.1)  # the toy's pictures have no room for letters
    *progress, result = experiments.EXPERIMENTS[name].stream(lab, **small_runs.arguments(name, directions))
    assert progress and all(isinstance(p, Progress) and 0 <= p.step <= p.steps for p in progress)
    assert result.table
    for row in result.table:
        assert {"quantity", "value", "n", "low", "high"} <= set(row)
        if row["low"] is not None:
            assert row["low"] <= row["value"] <= row["high"]
    assert result.figure().axes
    assert result.summary().endswith(".") or ":" in result.summary()
    assert opposite(result).summary() != result.summary()  # no conclusion is a fixed string
    assert result._repr_png_().startswith(b"\x89PNG")


def test_help_says_what_a_call_returns():
    assert inspect.signature(experiments.generate).return_annotation == "GenerationResult"
    assert inspect.signature(experiments.vary).return_annotation == "VariationResult"


def test_what_was_inverted_is_not_inverted_again(lab, inversion):
    watched, spy = spied_lab(lab)
    experiments.vary(watched, inversion.row(0), etas=(0,), seeds=[0])
    experiments.diff(watched, inversion.row(0), "a cat", thetas=[0.2])
    experiments.interpolate(watched, inversion, thetas=2)
    assert len(spy.calls) == 3 * inversion.steps


def test_a_value_is_found_by_its_place_and_an_unclear_place_is_refused(lab, inversion):
    result = experiments.diff(lab, inversion.row(0), ["a cat", "a dog"], thetas=[0.0, 0.3])
    assert -1 <= result.value("directional similarity", target="a cat", theta=0.3) <= 1
    with pytest.raises(UserError, match="2 rows have"):
        result.value("directional similarity", theta=0.3)
    with pytest.raises(UserError, match="the quantities are"):
        result.value("beauty")


def test_the_stream_ends_with_what_the_call_returns(lab):
    *progress, last = experiments.generate.stream(lab, "a cat", seeds=[0], steps=5)
    assert torch.equal(last.pixels, experiments.generate(lab, "a cat", seeds=[0], steps=5).pixels)
    assert [p.step for p in progress if p.stage == "decoder"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "prompts", "params"),
    [
        ("ablate", ["a red apple", "a blue fox"], {}),
        ("guide", ["a red apple", "a blue fox"], {"guidances": (2.0,), "prior_guidances": (1.0, 2.0)}),
        ("bind", ["a red cube left of a blue ball", "a green cone above a red ball"], {}),
        ("spell", ["hello", "stop"], {"template": "{}"}),
    ],
)
def test_the_latents_that_come_with_pictures_are_what_they_are_decoded_from(lab, name, prompts, params):
    result = getattr(experiments, name)(lab, prompts, seeds=(3, 4), steps=3, **params)
    pixels = result.pixels.flatten(0, -4)
    text = lab.decoder.encode_prompt([c for c in prompts for _ in range(2)])
    text = None if text is None else text.repeat(len(pixels) // len(text), 1, 1)
    again = decoding.decode(lab.decoder, result.latent, text=text, steps=3, guidance=2.0)
    torch.testing.assert_close(decoding.pictures(lab.decoder, again), pixels, atol=1e-5, rtol=0)
