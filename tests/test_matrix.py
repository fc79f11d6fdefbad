"""Every experiment on every published family, tiny, and on a CLIP alone: it runs, or is refused with the reason."""

import functools
import runpy
from pathlib import Path

import family_matrix
import pytest
import small_runs
import torch

from latentlab import models
from latentlab.experiments import EXPERIMENTS

ROOT = Path(__file__).parents[1]
NAMES = [*family_matrix.FAMILIES, family_matrix.ALONE]


@pytest.fixture(scope="module")
def load_lab(published, family):
    """A lab by its name; each is loaded once."""
    return functools.cache(
        lambda name: family_matrix.labs(published)[name]() if name == family_matrix.ALONE else family(name)
    )


@pytest.fixture(scope="module")
def outcome(load_lab):
    """The outcome of an experiment on a lab by its name; each is run once."""
    return functools.cache(lambda experiment, name: family_matrix.run(experiment, load_lab(name)))


def expected(experiment, lab):
    """What its stages say; attacks and ablations leave out what a lab can't do."""
    stages = EXPERIMENTS[experiment].stages
    if experiment == "dalle" and lab.load_dalle is None:
        return "no"
    if not lab.has_decoder and experiment == "visualise":  # which draws by CLIP, and decodes where it can
        return "yes"
    if not lab.has_decoder and "decoder" in stages:
        return "in part" if experiment == "attack" else "no"
    if experiment == "ablate":
        return "yes" if lab.prior is not None and lab.decoder.encode_prompt(["a cat"]) is not None else "in part"
    return "no" if lab.prior is None and "prior" in stages else "yes"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("experiment", small_runs.RUNS)
def test_an_experiment_works_on_a_family_or_is_refused_with_the_reason(outcome, load_lab, name, experiment):
    status, reason, result = outcome(experiment, name)
    assert status == expected(experiment, load_lab(name)) and bool(reason) == (status != "yes")
    if status == "no":
        assert (
            "has no prior" in reason
            or "has no DALL·E 1" in reason
            or (name == family_matrix.ALONE and "without a decoder" in reason)
        )
        return
    assert all(value.isfinite().all() for value in vars(result).values() if isinstance(value, torch.Tensor))


def test_the_ablation_leaves_out_the_rows_that_a_family_cannot_have(outcome):
    assert "reads no text" in outcome("ablate", "kandinsky22")[1]
    assert "has no prior" in outcome("ablate", "stable-unclip-h")[1]


def test_the_page_has_the_table_of_the_measured_outcomes(outcome):
    outcomes = {(e, n): outcome(e, n)[:2] for n in NAMES for e in small_runs.RUNS}
    cells = {key: (status, family_matrix.plain(reason)) for key, (status, reason) in outcomes.items()}
    script = runpy.run_path(str(ROOT / "docs" / "experiments.py"))
    text = script["PAGE"].read_text("utf-8")
    assert text == script["page"](family_matrix.table(cells)), "python docs/experiments.py writes it anew"


def test_a_lab_without_a_decoder_has_its_encoders_image_size(published):
    lab = models.load(published / "open_clip", device="cpu")
    assert lab.decoder is None and not lab.has_decoder and lab.prior is None
    assert lab.image_size == lab.encoder.image_size == 32
