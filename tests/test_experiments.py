"""Generate and reconstruct, on the closed-form lab."""

from __future__ import annotations

import pytest
import torch

from latentlab import UserError, experiments, images, models
from latentlab.diffusion import SeededNoise


@pytest.fixture(scope="module")
def lab():
    return models.load("toy", device="cpu")


def pictures(count: int = 2) -> torch.Tensor:
    return SeededNoise(range(count), (3, 8, 8), stream="test")().mul(0.3).clamp(-1, 1)


def test_a_generated_picture_depends_on_its_own_seed_alone(lab):
    alone = experiments.generate(lab, "a cat", seeds=[7], steps=5)
    among = experiments.generate(lab, "a cat", seeds=[3, 7, 9], steps=5)
    torch.testing.assert_close(alone.pixels[0], among.pixels[1], atol=1 / 255, rtol=0)


def test_the_stream_ends_with_what_the_call_returns(lab):
    *progress, last = experiments.generate.stream(lab, "a cat", seeds=[0], steps=5)
    assert torch.equal(last.pixels, experiments.generate(lab, "a cat", seeds=[0], steps=5).pixels)
    assert all(isinstance(p, experiments.Progress) for p in progress)
    assert [p.step for p in progress if p.stage == "decoder"] == [1, 2, 3, 4, 5]


def test_the_metadata_of_a_picture_makes_it_again(lab):
    made = experiments.generate(lab, "a dog", seeds=[4, 5], steps=6, guidance=1.5)
    settings = made.metadata(1)
    knobs = {k: settings[k] for k in ("steps", "guidance", "prior_steps", "prior_guidance", "candidates")}
    again = experiments.generate(lab, settings["prompt"], seeds=[settings["seed"]], **knobs)
    torch.testing.assert_close(again.pixels[0], made.pixels[1], atol=1 / 255, rtol=0)


def test_both_latents_bring_a_picture_back_and_z_i_alone_does_not(lab):
    found = experiments.reconstruct(lab, pictures(), steps=50, iterations=20, tolerance=1e-7)
    assert (found.psnr > 60).all()
    assert (images.psnr(found.original, found.from_z_i) < 25).all()


def test_the_evaluations_of_a_reconstruction_are_those_of_both_ways(lab):
    found = experiments.reconstruct(lab, pictures(), steps=10, iterations=3, tolerance=0)
    assert found.evaluations == 10 * 3 + 10


@pytest.mark.parametrize(("method", "evaluations"), [("bdia", 10 + 9), ("edict", 20 + 20)])
def test_an_exact_method_brings_pictures_back_beside_what_z_i_says_alone(lab, method, evaluations):
    found = experiments.reconstruct(lab, pictures(), steps=10, method=method)
    assert (found.psnr > 90).all() and found.converged.all()
    assert found.evaluations == evaluations
    assert (images.psnr(found.original, found.from_z_i) < 25).all()
    assert torch.equal(found.from_z_i, experiments.reconstruct(lab, pictures(), steps=10).from_z_i)


def test_numbers_say_of_each_picture_whether_its_inversion_was_solved(lab):
    solved, cut = (experiments.reconstruct(lab, pictures(), steps=10, iterations=n) for n in (20, 1))
    assert solved.numbers()["converged"] is True and cut.numbers(1)["converged"] is False


@pytest.mark.parametrize(("caption", "seeds"), [("", [0]), ("  ", [0]), ("a cat", [])])
def test_generate_refuses_an_empty_caption_and_no_seeds(lab, caption, seeds):
    with pytest.raises(UserError, match="empty"):
        experiments.generate(lab, caption, seeds=seeds)


def test_reconstruct_refuses_what_is_no_batch_of_pictures(lab):
    with pytest.raises(UserError, match=r"wanted \(B, 3, H, W\)"):
        experiments.reconstruct(lab, torch.zeros(3, 8, 8))


def test_figures_show_every_picture(lab):
    made = experiments.generate(lab, "a cat", seeds=range(5), steps=2)
    assert sum(len(axis.images) for axis in made.figure().axes) == 5
    found = experiments.reconstruct(lab, pictures(2), steps=4)
    assert sum(len(axis.images) for axis in found.figure().axes) == 6


@pytest.mark.parametrize("guidance", [-1.0, float("nan"), float("inf")])
def test_a_guidance_that_is_no_number_from_0_up_is_refused(lab, guidance):
    with pytest.raises(UserError, match="guidance is"):
        experiments.generate(lab, "a cat", guidance=guidance)


@pytest.mark.parametrize(
    "pixels", [torch.full((1, 3, 8, 8), 255.0), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(0, 3, 8, 8)]
)
def test_reconstruct_refuses_pictures_outside_their_range(lab, pixels):
    with pytest.raises(UserError, match=r"floats in \[-1, 1\]"):
        experiments.reconstruct(lab, pixels)


def test_help_says_what_a_call_returns():
    import inspect

    assert inspect.signature(experiments.generate).return_annotation == "Generated"
