"""Every experiment on every published family, tiny, and on a CLIP alone: it runs, or says why it can not."""

import family_matrix
import pytest
import torch

from latentlab import experiments, models

NAMES = [*family_matrix.FAMILIES, family_matrix.ALONE]
WANT_A_PRIOR = {"generate", "guide", "bind", "spell"}
WANT_NO_DECODER = {"attack", "classify", "compare"}


@pytest.fixture(scope="module")
def outcome(published, family):
    """What an experiment does on a lab by its name, each run once."""
    loaded, found = {}, {}

    def look(experiment, name):
        if name not in loaded:
            loaded[name] = family_matrix.labs(published)[name]() if name == family_matrix.ALONE else family(name)
        if (experiment, name) not in found:
            found[experiment, name] = family_matrix.run(experiment, loaded[name])
        return found[experiment, name]

    return look


def expected(experiment, name):
    if name == family_matrix.ALONE:
        return "in part" if experiment == "attack" else "yes" if experiment in WANT_NO_DECODER else "no"
    if name == "stable-unclip-h" and experiment in WANT_A_PRIOR:
        return "no"
    return "in part" if experiment == "ablate" and name in ("kandinsky22", "stable-unclip-h") else "yes"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("experiment", family_matrix.EXPERIMENTS)
def test_an_experiment_runs_on_a_family_or_says_why_not(outcome, name, experiment):
    word, reason, found = outcome(experiment, name)
    assert word == expected(experiment, name) and bool(reason) == (word != "yes")
    if word == "no":
        assert "has no prior" in reason or (name == family_matrix.ALONE and "without a decoder" in reason)
        return
    assert all(value.isfinite().all() for value in vars(found).values() if isinstance(value, torch.Tensor))


def test_the_ablation_leaves_out_the_rows_that_a_family_can_not_have(outcome):
    assert "reads no text" in outcome("ablate", "kandinsky22")[1]
    assert "has no prior" in outcome("ablate", "stable-unclip-h")[1]


def test_every_experiment_is_in_the_matrix():
    runs = set(experiments.EXPERIMENTS)
    assert runs - {"invert"} == family_matrix.EXPERIMENTS.keys()


def test_the_page_has_the_table_that_the_experiments_make(outcome):
    outcomes = {(e, n): outcome(e, n)[:2] for n in NAMES for e in family_matrix.EXPERIMENTS}
    cells = {key: (word, family_matrix.plain(reason)) for key, (word, reason) in outcomes.items()}
    text = family_matrix.PAGE.read_text("utf-8")
    assert text == family_matrix.page(text, family_matrix.table(cells)), "python tests/family_matrix.py writes it anew"


def test_a_lab_without_a_decoder_knows_it_and_is_as_large_as_its_encoder_sees(published):
    lab = models.load(published / "open_clip", device="cpu")
    assert lab.decoder is None and not lab.has_decoder and lab.prior is None
    assert lab.image_size == lab.encoder.image_size == 32
