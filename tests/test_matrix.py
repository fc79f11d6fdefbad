"""Every experiment on every published family, tiny: it runs, or says why it does not exist there."""

import pytest
import torch

from latentlab import experiments, models
from latentlab.directions import Directions
from latentlab.errors import UserError

FAMILIES = [row.name for row in models.ROWS.values() if row.sources]
D = 32  # of the tiny checkpoints


def pictures(count):
    return torch.rand(count, 3, 24, 20, generator=torch.Generator().manual_seed(7)) * 2 - 1


@pytest.fixture(scope="module")
def directions():
    return Directions.fit(torch.randn(100, D, generator=torch.Generator().manual_seed(0)), 8)


EXPERIMENTS = {
    "generate": lambda lab, _: experiments.generate(lab, "a red cat", steps=2, prior_steps=2),
    "reconstruct": lambda lab, _: experiments.reconstruct(lab, pictures(2), steps=2),
    "vary": lambda lab, _: experiments.vary(lab, pictures(1), steps=2, seeds=[0, 1]),
    "interpolate": lambda lab, _: experiments.interpolate(lab, pictures(2), thetas=3, steps=2),
    "diff": lambda lab, _: experiments.diff(lab, pictures(1), "a dog", thetas=2, steps=2),
    "attack": lambda lab, _: experiments.attack(lab, pictures(1), "a", "apple", variations=1, steps=2),
    "truncate": lambda lab, directions: experiments.truncate(lab, pictures(1), directions, dims=[1, 4], steps=2),
    "walk_components": lambda lab, directions: experiments.walk_components(
        lab, pictures(1), directions, components=[0], sigmas=[-1, 1], steps=2
    ),
    "ablate": lambda lab, _: experiments.ablate(lab, "a red cat", steps=2),
    "sweep_guidance": lambda lab, _: experiments.sweep_guidance(lab, "a cat", guidances=[1, 2], steps=2),
    "bind": lambda lab, _: experiments.bind(lab, "a red cube on top of a blue ball", seeds=[0], steps=2),
    "spell": lambda lab, _: experiments.spell(lab, "deep", alternatives=["learning"], seeds=[0], steps=2),
    "classify": lambda lab, _: experiments.classify(lab.encoder, pictures(2), ["cat", "dog"]),
    "compare": lambda lab, _: experiments.compare(lab.encoder, pictures(2), ["a cat", "a dog"]),
}
WANT_A_PRIOR = {"generate", "sweep_guidance", "bind", "spell"}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_runs_on_a_family_or_says_why_not(family, directions, monkeypatch, name, experiment):
    monkeypatch.setattr("latentlab.attacks.LEGIBLE", 0.1)  # tiny pictures have no room for letters
    lab = family(name)
    if experiment in WANT_A_PRIOR and lab.prior is None:
        with pytest.raises(UserError, match="no prior"):
            EXPERIMENTS[experiment](lab, directions)
        return
    found = EXPERIMENTS[experiment](lab, directions)
    assert all(value.isfinite().all() for value in vars(found).values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ablation_leaves_out_the_rows_that_a_family_can_not_have(family, name):
    notes = " ".join(experiments.ablate(family(name), "a red cat", steps=2).notes)
    assert ("reads no text" in notes) == (name == "kandinsky22")
    assert ("has no prior" in notes) == (name == "stable-unclip-h")


def test_every_experiment_is_in_the_matrix():
    runs = {name for name in experiments.__all__ if hasattr(getattr(experiments, name), "stream")}
    assert runs - {"invert"} == EXPERIMENTS.keys()
