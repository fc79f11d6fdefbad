"""Settings: what a result remembers is enough to do its run again, and fits into a PNG."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import small_runs
import torch
from conftest import toy_pictures

from latentlab import experiments
from latentlab.analysis.pca import Directions
from latentlab.clip import Encoder
from latentlab.experiments import settings
from latentlab.typography import Label


@pytest.mark.parametrize("name", small_runs.RUNS)
def test_a_run_from_recorded_settings_has_the_same_numbers_and_the_same_settings(lab, directions, name, monkeypatch):
    monkeypatch.setattr("latentlab.typography.LEGIBLE", 0.1)  # the toy's pictures have no room for letters
    clock = SimpleNamespace(perf_counter=lambda: 0.0)
    monkeypatch.setattr(sys.modules["latentlab.experiments.road"], "time", clock)  # its table holds seconds
    experiment, arguments = experiments.EXPERIMENTS[name], small_runs.arguments(name, directions)
    first = experiment(lab, **arguments)
    settings = json.loads(json.dumps(first.settings))
    named = [k for k, v in experiment.arguments(lab, **arguments).items() if v is not None]
    assert set(named) - settings.keys() <= {"lab", "preview_every", *small_runs.pictures(name)}
    recorded = {k: v for k, v in settings.items() if k in experiment.signature.parameters}
    # Components and labels are recorded by what identifies them, from which the caller takes them again.
    identified = {k: arguments[k] for k in ("directions", "dictionary", "label") if k in arguments}
    again = experiment(lab, **{**recorded, **small_runs.pictures(name), **identified})
    assert again.settings == first.settings and again.table == first.table


@pytest.mark.parametrize("name", ["vary", "interpolate", "diff", "walk_components"])
def test_what_begins_from_latents_records_how_they_were_found(lab, inversion, directions, name):
    picture = inversion if name == "interpolate" else inversion.row(0)
    more = {"diff": ["a cat"], "walk_components": [directions]}.get(name, [])
    recorded = experiments.EXPERIMENTS[name](lab, picture, *more, steps=3).settings
    assert inversion.settings.items() <= recorded.items() and recorded["steps"] == 20


def test_the_components_of_a_run_are_recorded_by_a_checksum_and_their_file(lab, directions, tmp_path):
    directions.save(tmp_path / "ours.safetensors")
    loaded = Directions.load(tmp_path / "ours.safetensors")
    moved = dataclasses.replace(loaded, mean=loaded.mean + 1e-9)
    pixels = toy_pictures(1)
    runs = [
        experiments.truncate(lab, pixels, loaded, dims=(1,), steps=2),
        experiments.walk_components(lab, pixels, directions, components=(0,), sigmas=(1,), steps=2),
        experiments.truncate(lab, pixels, moved, dims=(1,), steps=2),
    ]
    ours, fitted, other = (run.settings["directions"] for run in runs)
    assert ours == {**fitted, "file": "ours.safetensors"}
    assert (ours["components"], ours["rows"]) == (len(directions), 40)
    assert other["checksum"] != ours["checksum"]
    assert str(tmp_path) not in json.dumps(runs[0].settings)


def test_the_further_encoders_of_an_attack_are_recorded_by_name_and_weights(lab, encoder, clip_folder, monkeypatch):
    monkeypatch.setattr("latentlab.typography.LEGIBLE", 0.1)
    attack = experiments.attack(lab, toy_pictures(1), "pizza", "a cat", variations=0, encoders={"tiny": encoder})
    assert attack.settings["encoders"] == {"tiny": {"name": clip_folder.name, "weights": encoder.fingerprint()}}
    assert str(clip_folder) not in json.dumps(attack.settings)


def test_a_classification_records_its_lab_or_the_encoder_that_it_was_given_alone(lab, encoder):
    labels = ["a cat", "a dog"]
    of_lab = experiments.classify(lab, toy_pictures(), labels)
    assert (of_lab.settings["model"], of_lab.settings["weights"]) == (lab.name, lab.weights)
    alone = experiments.classify(lab.encoder, toy_pictures(), labels)
    assert torch.equal(alone.probabilities, of_lab.probabilities) and "model" not in alone.settings
    assert isinstance(encoder, Encoder)
    recorded = experiments.compare(encoder, toy_pictures(), labels).settings["encoder"]
    assert recorded == {"name": encoder.name, "weights": encoder.fingerprint()}


@pytest.mark.parametrize("name", ["karlo", "kandinsky22", "stable-unclip-h"])
def test_the_towers_of_a_published_checkpoint_are_told_apart_by_their_weights(family, name):
    towers = family(name).encoder
    before = towers.as_setting()
    assert before == towers.as_setting() and str(towers.width) in before["name"]
    weight = min(towers.image.parameters(), key=torch.numel)
    weight.data += 1
    try:
        assert towers.as_setting() != before
    finally:
        weight.data -= 1


def test_runs_that_differ_in_a_parameter_differ_in_their_settings(lab, monkeypatch):
    monkeypatch.setattr("latentlab.typography.LEGIBLE", 0.1)

    def settings(**params):
        return experiments.attack(lab, toy_pictures(), ["pizza"], "a cat", variations=0, **params).settings

    plain = settings()
    assert plain == settings()
    for params in ({"label": Label("word", y=0.5)}, {"templates": ["a drawing of {}"]}, {"labels": ["a dog"]}):
        assert settings(**params) != plain


def test_the_settings_of_a_reconstruction_hold_the_inversions_parameters(lab):
    plain = experiments.reconstruct(lab, toy_pictures(), steps=3)
    loose = experiments.reconstruct(lab, toy_pictures(), steps=3, tolerance=0.3, method="naive")
    assert (loose.settings["tolerance"], loose.settings["method"]) == (0.3, "naive")
    again = experiments.reconstruct(lab, toy_pictures(), **{k: plain.settings[k] for k in plain.inverted.settings})
    assert torch.equal(again.pixels, plain.pixels) and again.settings == plain.settings


def test_pictures_are_left_out_and_everything_else_is_plain():
    values = {"row": torch.arange(2), "pixels": torch.zeros(1, 3, 4, 4), "n": np.int64(3), "share": np.float32(0.5)}
    assert settings.plain(values) == {"row": (0, 1), "pixels": None, "n": 3, "share": 0.5}
