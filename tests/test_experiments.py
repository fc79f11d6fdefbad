"""The experiments' laws, on the closed-form lab and on a tiny untrained miniature."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch
from conftest import Spy

from latentlab import UserError, decoding, experiments
from latentlab.analysis.distances import cmmd, frechet
from latentlab.analysis.pca import Directions
from latentlab.diffusion import SeededNoise, cosine_abar, noise
from latentlab.experiments import Progress, stages
from latentlab.io import images


def pictures(count: int = 2, side: int = 8) -> torch.Tensor:
    return SeededNoise(range(count), (3, side, side), stream="test")().mul(0.3).clamp(-1, 1)


def spied(lab):
    spy = Spy(lab.decoder)
    return dataclasses.replace(lab, decoder=spy), spy


@pytest.fixture(scope="module")
def found(lab):
    return experiments.invert(lab, pictures(), steps=20, iterations=20, tolerance=1e-7)


@pytest.fixture(scope="module")
def directions(lab):
    return Directions.fit(lab.encoder.encode_image(pictures(40)))


# -- every experiment


def streams(lab, found, directions):
    one = found.row(0)
    return {
        "generate": experiments.generate.stream(lab, "a cat", seeds=[0, 1], steps=3),
        "reconstruct": experiments.reconstruct.stream(lab, pictures(), steps=3),
        "vary": experiments.vary.stream(lab, one, etas=(0, 1), seeds=[0, 1]),
        "interpolate": experiments.interpolate.stream(lab, found, thetas=3),
        "diff": experiments.diff.stream(lab, one, ["a cat", "a dog"], thetas=3),
        "truncate": experiments.truncate.stream(lab, pictures(), directions, dims=(0, 1, 12), steps=3),
        "walk_components": experiments.walk_components.stream(
            lab, one, directions, captions=["a cat", "a dog", "a fox"]
        ),
        "ablate": experiments.ablate.stream(lab, ["a cat", "a dog"], seeds=[0, 1], steps=3),
        "guide": experiments.guide.stream(lab, "a cat", guidances=(1, 2), seeds=[0, 1], steps=3),
        "bind": experiments.bind.stream(lab, ["a red cube above a blue ball"], seeds=[0, 1], steps=3),
        "spell": experiments.spell.stream(lab, ["hello"], alternatives=["stop"], seeds=[0, 1], steps=3),
        "classify": experiments.classify.stream(lab.encoder, pictures(), ["a cat", "a dog"]),
        "compare": experiments.compare.stream(lab.encoder, pictures(), ["a cat", "a dog"]),
    }


def test_an_inversion_shows_at_once_what_the_first_stage_keeps(miniature):
    pixels = pictures(2, miniature.image_size)
    first = next(iter(experiments.invert.stream(miniature, pixels, steps=2)))
    original = images.resize(pixels, miniature.decoder.image_size)
    torch.testing.assert_close(first.pixels, miniature.decoder.to_pixels(miniature.decoder.to_x0(original)))
    unseen = experiments.invert.stream(miniature, pixels, steps=2, preview_every=0)
    assert not any(isinstance(value, Progress) and value.pixels is not None for value in unseen)


@pytest.mark.parametrize("name", ["interpolate", "diff", "walk_components"])
def test_the_pictures_of_a_path_are_enlarged_with_one_noise(lab, found, directions, name, monkeypatch):
    drawn = []

    def upsample(upsampler, pixels, *, seeds):
        drawn.extend(seeds)
        return pixels

    monkeypatch.setattr(stages.upsampling, "upsample", upsample)
    list(streams(dataclasses.replace(lab, upsampler=object()), found, directions)[name])
    assert len(drawn) > 1
    assert len(set(drawn)) == 1


@pytest.mark.parametrize("name", [
    "generate", "reconstruct", "vary", "interpolate", "diff", "truncate", "walk_components", "ablate", "guide",
    "bind", "spell", "classify", "compare",
])  # fmt: skip
def test_every_experiment_reports_progress_then_numbers_with_intervals_a_figure_and_a_sentence(
    lab, found, directions, name
):
    *progress, result = streams(lab, found, directions)[name]
    assert progress and all(isinstance(p, Progress) and 0 <= p.step <= p.steps for p in progress)
    assert result.table
    for row in result.table:
        assert {"quantity", "value", "n", "low", "high"} <= set(row)
        if row["low"] is not None:
            assert row["low"] <= row["value"] <= row["high"]
    assert result.figure().axes
    assert result.summary().endswith(".") or ":" in result.summary()
    assert result._repr_png_().startswith(b"\x89PNG")


def test_help_says_what_a_call_returns():
    assert inspect.signature(experiments.generate).return_annotation == "Generated"
    assert inspect.signature(experiments.vary).return_annotation == "Varied"


def test_what_was_inverted_is_not_inverted_again(lab, found):
    watched, spy = spied(lab)
    experiments.vary(watched, found.row(0), etas=(0,), seeds=[0])
    experiments.diff(watched, found.row(0), "a cat", thetas=[0.2])
    experiments.interpolate(watched, found, thetas=2)
    assert len(spy.calls) == 3 * found.steps


def test_a_value_is_found_by_its_place_and_an_unclear_place_is_refused(lab, found):
    result = experiments.diff(lab, found.row(0), ["a cat", "a dog"], thetas=[0.0, 0.3])
    assert -1 <= result.value("directional similarity", target="a cat", theta=0.3) <= 1
    with pytest.raises(UserError, match="2 rows have"):
        result.value("directional similarity", theta=0.3)
    with pytest.raises(UserError, match="the quantities are"):
        result.value("beauty")


# -- generate and reconstruct


def test_a_generated_picture_depends_on_its_own_seed_alone(lab):
    alone = experiments.generate(lab, "a cat", seeds=[7], steps=5)
    among = experiments.generate(lab, "a cat", seeds=[3, 7, 9], steps=5)
    torch.testing.assert_close(alone.pixels[0], among.pixels[1], atol=1 / 255, rtol=0)


def test_the_stream_ends_with_what_the_call_returns(lab):
    *progress, last = experiments.generate.stream(lab, "a cat", seeds=[0], steps=5)
    assert torch.equal(last.pixels, experiments.generate(lab, "a cat", seeds=[0], steps=5).pixels)
    assert [p.step for p in progress if p.stage == "decoder"] == [1, 2, 3, 4, 5]


def test_the_metadata_of_a_picture_makes_it_again(lab):
    made = experiments.generate(lab, "a dog", seeds=[4, 5], steps=6, guidance=1.5)
    settings = made.metadata(1)
    knobs = {k: settings[k] for k in ("steps", "guidance", "prior_steps", "prior_guidance", "candidates")}
    again = experiments.generate(lab, settings["prompt"], seeds=[settings["seed"]], **knobs)
    torch.testing.assert_close(again.pixels[0], made.pixels[1], atol=1 / 255, rtol=0)


def test_the_best_pictures_are_those_nearest_to_the_caption_in_order(lab):
    made = experiments.generate(lab, "a cat", seeds=range(6), steps=3)
    made = dataclasses.replace(made, similarity=torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2, 0.5]))
    best = made.best(2)
    assert best.seeds == (1, 3)
    assert torch.equal(best.pixels, made.pixels[[1, 3]]) and torch.equal(best.latent.x_T, made.latent.x_T[[1, 3]])
    for count in (0, 7):
        with pytest.raises(UserError, match="from 1 to"):
            made.best(count)


def test_both_latents_bring_a_picture_back_and_z_i_alone_does_not(lab):
    result = experiments.reconstruct(lab, pictures(), steps=50, iterations=20, tolerance=1e-7)
    assert (result.psnr > 60).all()
    assert (images.psnr(result.inverted.original, result.from_z_i) < 25).all()


def test_the_evaluations_of_a_reconstruction_are_those_of_both_ways(lab):
    found = experiments.reconstruct(lab, pictures(), steps=10, iterations=3, tolerance=0)
    assert found.evaluations == 10 * 3 + 10


@pytest.mark.parametrize(("method", "evaluations"), [("bdia", 10 + 9), ("edict", 20 + 20)])
def test_an_exact_method_brings_pictures_back_beside_what_z_i_says_alone(lab, method, evaluations):
    found = experiments.reconstruct(lab, pictures(), steps=10, method=method)
    assert (found.psnr > 90).all() and found.inverted.converged.all()
    assert found.evaluations == evaluations
    assert (images.psnr(found.inverted.original, found.from_z_i) < 25).all()
    assert torch.equal(found.from_z_i, experiments.reconstruct(lab, pictures(), steps=10).from_z_i)


def test_the_settings_of_what_was_inverted_before_are_those_of_its_inversion(lab, found):
    settings = experiments.reconstruct(lab, found, steps=7, tolerance=0.5).settings
    assert found.settings.items() <= settings.items() and settings["steps"] == 20


def test_numbers_say_of_each_picture_whether_its_inversion_was_solved(lab):
    solved, cut = (experiments.reconstruct(lab, pictures(), steps=10, iterations=n) for n in (20, 1))
    assert solved.numbers()["converged"] is True and cut.numbers(1)["converged"] is False


@pytest.mark.parametrize(("caption", "seeds"), [("", [0]), ("  ", [0]), ("a cat", []), ("a cat", "12"), ("a cat", 3)])
def test_generate_refuses_an_empty_caption_and_seeds_that_are_no_integers(lab, caption, seeds):
    with pytest.raises(UserError, match=r"empty|seeds is"):
        experiments.generate(lab, caption, seeds=seeds)


def test_pictures_of_the_wrong_shape_are_refused(lab):
    with pytest.raises(UserError, match=r"wanted \(B, 3, H, W\)"):
        experiments.reconstruct(lab, torch.zeros(3, 8, 8))


@pytest.mark.parametrize(
    "pixels", [torch.full((1, 3, 8, 8), 255.0), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(0, 3, 8, 8)]
)
def test_pictures_outside_their_range_are_refused(lab, pixels):
    with pytest.raises(UserError, match=r"floats in \[-1, 1\]"):
        experiments.invert(lab, pixels)


@pytest.mark.parametrize("guidance", [-1.0, float("nan"), float("inf")])
def test_a_guidance_that_is_no_number_from_0_up_is_refused(lab, guidance):
    with pytest.raises(UserError, match="guidance is"):
        experiments.generate(lab, "a cat", guidance=guidance)


def test_a_reconstruction_depends_on_its_own_seed_and_not_on_its_place(lab, found):
    lab = dataclasses.replace(lab, upsampler=Grain())
    both, alone = experiments.reconstruct(lab, found, seed=3), experiments.reconstruct(lab, found.row(1), seed=4)
    for name in ("large", "large_from_z_i"):
        torch.testing.assert_close(getattr(both, name)[1:], getattr(alone, name), atol=1 / 255, rtol=0)


# -- variations


def test_eta_0_reconstructs_whatever_the_seed_and_eta_above_0_differs(lab, found):
    result = experiments.vary(lab, found.row(0), etas=(0, 0.8), seeds=[0, 1, 2])
    assert (images.psnr(result.pixels[0], found.original[:1].expand(3, -1, -1, -1)) > 50).all()
    assert result.spread[0].max() < 1e-5 < result.spread[1].min()
    assert result.value("distance among samples", eta=0.0) < 1e-6 < result.value("distance among samples", eta=0.8)


class Grain:
    """An upsampler that adds its own seeded noise."""

    abar, low, high, max_batch_size, steps = cosine_abar(), 8, 8, 4, 2

    def eps(self, x_t, t, pixels):
        return x_t / 2

    def to_pixels(self, x_0, pixels):
        return (pixels + 0.3 * x_0.tanh()).clamp(-1, 1)


def test_a_sweep_over_eta_is_the_same_as_each_eta_alone(lab, found):
    lab = dataclasses.replace(lab, upsampler=Grain())
    both = experiments.vary(lab, found.row(0), etas=(0.3, 1), seeds=[4, 5])
    alone = experiments.vary(lab, found.row(0), etas=(1,), seeds=[4, 5])
    torch.testing.assert_close(both.pixels[1], alone.pixels[0], atol=1 / 255, rtol=0)


def test_variations_are_of_one_picture_and_of_eta_from_0_to_1(lab, found):
    with pytest.raises(UserError, match="2 pictures"):
        experiments.vary(lab, found)
    for etas in ((), (-0.1,), (1.2,), (float("nan"),), (0.5, 0.5)):
        with pytest.raises(UserError, match="etas is"):
            experiments.vary(lab, found.row(0), etas=etas)


# -- interpolation


def test_a_path_with_x_T_turned_begins_and_ends_at_the_two_pictures(lab, found):
    result = experiments.interpolate(lab, found, thetas=5)
    assert (images.psnr(result.pixels[0, [0, -1]], found.original) > 50).all()
    assert result.value("PSNR of the ends") > 50


@pytest.mark.parametrize("thetas", [[0, 0.5], [0.5, 1]])
def test_a_part_of_a_path_claims_no_ends(lab, found, thetas):
    result = experiments.interpolate(lab, found, thetas=thetas)
    assert not any(row["quantity"] == "PSNR of the ends" for row in result.table)
    assert "the pictures again" not in result.summary()


def test_a_path_with_x_T_held_uses_the_seeds_noise_alone(lab, found):
    result = experiments.interpolate(lab, found, thetas=[0, 1], seeds=[5, 6])
    from latentlab.decoding import decode
    from latentlab.latents import Latent

    x_T = noise(lab.decoder, [6]).expand(2, -1, -1, -1)
    wanted = lab.decoder.to_pixels(decode(lab.decoder, Latent(found.latent.z_i, x_T), steps=found.steps))
    torch.testing.assert_close(result.pixels[1], wanted, atol=1 / 255, rtol=0)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_goes_there_and_back(lab, found, tmp_path, suffix):
    from PIL import Image

    result = experiments.interpolate(lab, found, thetas=5)
    with Image.open(result.save_animation(tmp_path / f"path{suffix}")) as movie:
        assert movie.n_frames == 8
    with pytest.raises(UserError, match="no animation"):
        result.save_animation(tmp_path / "path.png")


def test_an_interpolation_wants_two_pictures_and_two_frames(lab, found):
    with pytest.raises(UserError, match="1 pictures"):
        experiments.interpolate(lab, found.row(0))
    with pytest.raises(UserError, match="1 frames"):
        experiments.interpolate(lab, found, thetas=1)


@pytest.mark.parametrize(("pixels", "said"), [(pictures(1), "no way between"), (-pictures(1), "opposite")])
def test_an_interpolation_refuses_ends_that_are_one_or_opposite(lab, pixels, said):
    with pytest.raises(UserError, match=said):
        experiments.interpolate(lab, torch.cat([pictures(1), pixels]), steps=2)


def test_an_interpolation_and_a_walk_refuse_before_they_invert(lab, directions):
    watched, spy = spied(lab)
    with pytest.raises(UserError, match="theta"):
        experiments.interpolate(watched, pictures(), thetas=[0, 2])
    for knobs in ({"components": (99,)}, {"sigmas": (float("inf"),)}, {"sigmas": ()}):
        with pytest.raises(UserError, match=r"component|sigmas"):
            experiments.walk_components(watched, pictures(1), directions, **knobs)
    assert not spy.calls


# -- text diffs


def test_the_first_frame_of_a_text_diff_reconstructs_for_every_target(lab, found):
    result = experiments.diff(lab, found.row(0), ["a cat", "a dog"], thetas=3)
    first = found.original[:1].expand(2, -1, -1, -1)
    assert (images.psnr(result.pixels[:, 0], first) > 50).all()
    assert result.thetas == (0.0, 0.25, 0.5)


def test_several_targets_in_one_batch_are_the_same_as_each_alone(lab, found):
    both = experiments.diff(lab, found.row(0), ["a cat", "a dog"], thetas=[0.2, 0.4])
    alone = experiments.diff(lab, found.row(0), "a dog", thetas=[0.2, 0.4])
    torch.testing.assert_close(both.pixels[1], alone.pixels[0], atol=1 / 255, rtol=0)
    assert both.value("drift", target="a dog", theta=0.4) == alone.value("drift", target="a dog", theta=0.4)


def test_a_picture_follows_a_text_diff_in_its_own_embedding(lab, found):
    # The toy's pictures show z_i faithfully, so the change of the picture's embedding has to go along z_d.
    result = experiments.diff(lab, found.row(0), "a cat", thetas=[0.0, 0.5])
    assert result.value("directional similarity", target="a cat", theta=0.5) > 0.5
    cosines = [result.value("cosine to the target", target="a cat", theta=t) for t in (0.0, 0.5)]
    assert cosines[1] > cosines[0]


def test_a_text_diff_refuses_equal_captions_and_no_target(lab, found):
    with pytest.raises(UserError, match="caption"):
        experiments.diff(lab, found.row(0), "a cat", source="a cat")
    with pytest.raises(UserError, match="targets is empty"):
        experiments.diff(lab, found.row(0), [])


@pytest.mark.parametrize(
    ("targets", "knobs", "said"),
    [
        ("a cat", {"thetas": [1.5]}, "theta"), ("a cat", {"thetas": [0.2, 0.2]}, "each of them once"),
        (["a dog", "a dog"], {}, "each of them once"),
        ("a quokka", {"source": "a wombat"}, "say the same.*does not know “quokka”"),
    ],
)  # fmt: skip
def test_a_text_diff_refuses_before_it_inverts(miniature, targets, knobs, said):
    watched, spy = spied(miniature)
    with pytest.raises(UserError, match=said):
        experiments.diff(watched, pictures(1, 64), targets, **knobs)
    assert not spy.calls


def test_the_frame_that_all_targets_share_is_decoded_once(lab, found):
    watched, spy = spied(lab)
    result = experiments.diff(watched, found.row(0), ["a cat", "a dog", "a fox"], thetas=[0.0, 0.2, 0.4])
    assert {rows for rows, _, _ in spy.calls} == {1 + 3 * 2}
    own = [result.value("drift", target=t, theta=0.4) for t in result.targets]
    (over,) = (row for row in result.table if row["quantity"] == "mean drift" and row["theta"] == 0.4)
    assert over["n"] == 3 and over["value"] == pytest.approx(sum(own) / 3, rel=1e-4) and over["low"] < over["high"]
    assert torch.equal(result.pixels[0, 0], result.pixels[2, 0])
    frames = experiments.diff(lab, found.row(0), "a cat", thetas=6)
    assert frames.value("drift", target="a cat", theta=0.4) > frames.value("drift", target="a cat", theta=0.1) > 0
    assert "nothing changes" in experiments.diff(lab, found.row(0), "a cat", thetas=[0.0]).summary()


# -- PCA


def test_with_all_components_the_whole_z_i_is_decoded(lab, directions):
    result = experiments.truncate(lab, pictures(), directions, dims=(0, len(directions)), steps=5)
    assert result.value("cosine of the truncated z_i to z_i", k=len(directions)) > 0.9999
    assert result.value("variance explained", k=len(directions)) == pytest.approx(1)
    torch.testing.assert_close(result.pixels[0, 0], result.pixels[1, 0])  # no component: one mean for all


def test_zero_shot_accuracy_with_all_components_is_that_of_z_i(lab, directions):
    labels = ["a cat", "a dog", "a fox", "an owl"]
    truth = experiments.classify(lab.encoder, pictures(6), labels, templates=["{}"])
    truth = [truth.top(k, 1)[0][0] for k in range(6)]
    result = experiments.truncate(
        lab, pictures(6), directions, dims=(1, len(directions)), labels=labels, truth=truth, steps=3
    )
    assert result.value("zero-shot accuracy of z_i", k=len(directions)) == 1


def test_a_walk_along_a_component_at_0_reconstructs(lab, found, directions):
    result = experiments.walk_components(lab, found.row(0), directions, components=(0, 2), sigmas=(-1, 0, 1))
    assert (images.psnr(result.pixels[:, 1], found.original[:1].expand(2, -1, -1, -1)) > 50).all()
    assert not torch.equal(result.pixels[0, 0], result.pixels[0, 2])


def test_truncation_refuses_components_that_were_not_fitted_and_a_foreign_truth(lab, directions):
    with pytest.raises(UserError, match="n is"):
        experiments.truncate(lab, pictures(), directions, dims=(len(directions) + 1,))
    with pytest.raises(UserError, match="each once"):
        experiments.truncate(lab, pictures(), directions, dims=(2, 2))
    with pytest.raises(UserError, match="truth is"):
        experiments.truncate(lab, pictures(), directions, dims=(1,), labels=["a cat"], truth=["a cat", "an owl"])
    with pytest.raises(UserError, match="one of the 0 labels"):
        experiments.truncate(lab, pictures(), directions, dims=(1,), truth=["a cat", "a cat"])


# -- the prior, guidance


def test_a_lab_without_a_text_decoder_or_a_prior_says_so_and_shows_the_rest(lab):
    result = experiments.ablate(lab, ["a cat", "a dog"], steps=3)
    assert result.signals == ("z_t", "prior")
    assert any("reads no text" in note for note in result.notes)
    result = experiments.ablate(dataclasses.replace(lab, prior=None), "a cat", steps=3)
    assert result.signals == ("z_t",) and any("no prior" in note for note in result.notes)


def test_real_pictures_add_their_own_z_i_and_the_distances_to_them(lab):
    captions = [f"a thing of kind {k}" for k in range(40)]
    side = lab.decoder.image_size
    pixels = torch.rand(40, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kinds = ["noto", "twemoji"] * 20
    result = experiments.ablate(lab, captions, pictures=pixels, kinds=kinds, steps=3)
    assert result.signals == ("z_t", "prior", "real z_i")
    z = lab.encoder.encode_image(result.pixels[2])
    truth = lab.encoder.encode_image(pixels)
    assert result.value("Fréchet distance", signal="real z_i") == pytest.approx(frechet(truth, z), rel=1e-3)
    assert result.value("CMMD", signal="real z_i") == pytest.approx(cmmd(truth, z), rel=1e-3)
    halves = [result.value("recall of a kind", signal="real z_i", kind=k) for k in ("noto", "twemoji")]
    assert sum(halves) / 2 == pytest.approx(result.value("recall", signal="real z_i"), abs=1e-3)
    assert "Fréchet distance to the real pictures" in result.summary()


def test_few_real_pictures_are_shown_without_distances_and_others_than_the_captions_are_refused(lab):
    pixels = torch.zeros(2, 3, lab.decoder.image_size, lab.decoder.image_size)
    result = experiments.ablate(lab, ["a cat", "a dog"], pictures=pixels, steps=2)
    assert result.signals[-1] == "real z_i" and any("too few for the distances" in note for note in result.notes)
    with pytest.raises(UserError, match="2 captions, 1 pictures, 0 kinds"):
        experiments.ablate(lab, ["a cat", "a dog"], pictures=pixels[:1])
    with pytest.raises(UserError, match="2 captions, 2 pictures, 1 kinds"):
        experiments.ablate(lab, ["a cat", "a dog"], pictures=pixels, kinds=["noto"])


def test_the_three_signals_differ_in_the_clip_slot_alone(miniature):
    watched, spy = spied(miniature)
    conds = []
    inner = spy.eps
    spy.eps = lambda x, t, cond, guidance=1.0: conds.append((x, cond)) or inner(x, t, cond, guidance)
    result = experiments.ablate(watched, ["a red apple", "a fox"], steps=1)
    (x, cond), *_ = conds
    assert result.signals == ("caption only", "z_t", "prior") and len(x) == 6
    torch.testing.assert_close(x[:2], x[2:4])
    torch.testing.assert_close(cond.text[:2], cond.text[4:])
    assert not cond.z_i[:2].any()
    z_t = miniature.encoder.encode_text(["a red apple", "a fox"])
    assert (experiments.stages.cosine(cond.z_i[2:4], z_t) > 0.9999).all()
    torch.testing.assert_close(cond.z_i[2:4].norm(dim=-1), cond.z_i[4:].norm(dim=-1).mean().expand(2))


def test_a_guidance_sweep_holds_every_pair_and_guidance_1_of_both_is_generate(lab):
    result = experiments.guide(lab, "a cat", guidances=(1, 3), prior_guidances=(1, 2), seeds=[0, 1], steps=4)
    assert result.pixels.shape[:3] == (2, 2, 2)
    plain = experiments.generate(lab, "a cat", seeds=[0, 1], steps=4, guidance=1, candidates=2)
    torch.testing.assert_close(result.pixels[0, 0], plain.pixels, atol=1 / 255, rtol=0)


@pytest.mark.parametrize(
    ("score", "distance", "sentence"),
    [
        ((0.9, 0.8), (0.1, 0.3), "the score is higher (0.90 against 0.60) and the distance among samples is lower"),
        ((0.9, 0.8), (0.7, 0.5), "the score is higher (0.90 against 0.60) and the distance among samples is higher"),
        ((0.9, 0.8), (0.4, 0.2), "and no difference in distance among samples can be told from n = 6"),
        ((0.9, 0.5), (0.1, 0.3), "no difference in score can be told from n = 6"),
        ((0.9, None), (0.1, None), "no difference in score can be told from n = 6 and no difference in distance"),
    ],
)
def test_what_guidance_gains_and_loses_follows_from_the_intervals(score, distance, sentence):
    def rows(quantity, guidance, value, end):
        low, high = (None, None) if end is None else sorted((end, 2 * value - end))
        where = {"prior_guidance": 1.0, "guidance": guidance, "quantity": quantity}
        return {**where, "value": value, "n": 6, "low": low, "high": high}

    table = (
        rows("CLIP score", 1.0, 0.6, 0.55), rows("CLIP score", 3.0, *score),
        rows("distance among samples", 1.0, 0.4, 0.35), rows("distance among samples", 3.0, *distance),
    )  # fmt: skip
    result = experiments.Guided(
        pixels=None, latent=None, prior_guidances=(1.0,), guidances=(1.0, 3.0), seeds=(0,), table=table, settings={}
    )
    assert sentence in result.summary()
    assert "lose in variety" not in result.summary()


def test_a_guidance_that_scores_best_unguided_is_compared_with_nothing():
    cell = {"quantity": "CLIP score", "prior_guidance": 1.0, "n": 6}
    table = tuple(
        {**cell, "guidance": g, "value": v, "low": v - 0.01, "high": v + 0.01} for g, v in ((1, 0.9), (3, 0.5))
    )
    result = experiments.Guided(
        pixels=None, latent=None, prior_guidances=(1.0,), guidances=(1.0, 3.0), seeds=(0,), table=table, settings={}
    )
    assert result.summary() == "The CLIP score is highest, 0.90, at guidance 1 of the decoder and 1 of the prior."


# -- CLIP


def test_the_accuracy_counts_how_often_the_truth_comes_first(lab):
    labels = ["a cat", "a dog", "a fox"]
    blind = experiments.classify(lab.encoder, pictures(4), labels)
    right = [blind.top(k, 1)[0][0] for k in range(4)]
    wrong = [blind.top(k, 3)[2][0] for k in range(4)]
    assert experiments.classify(lab.encoder, pictures(4), labels, truth=right).value("top-1 accuracy") == 1
    assert experiments.classify(lab.encoder, pictures(4), labels, truth=wrong).value("top-1 accuracy") == 0


def test_own_pairs_are_recalled_when_each_picture_is_its_captions_own(lab):
    captions = ["a cat", "a dog", "a fox"]
    pixels = lab.decoder.mean(lab.encoder.encode_text(captions))
    result = experiments.compare(lab.encoder, pixels, captions)
    assert result.value("recall@1, both ways") == 1
    assert result.value("modality gap") < 1e-3


@pytest.mark.parametrize("labels", [[], ["a cat"], ["a cat", "a cat"]])
def test_classification_wants_two_labels_that_differ(lab, labels):
    with pytest.raises(UserError, match="labels are"):
        experiments.classify(lab.encoder, pictures(), labels)


# -- typographic attacks


class Gullible:
    """An encoder that sees an apple, but for a picture with paper on it, of which it reads the word “pizza”."""

    size, scale, width = 32, 100.0, 24

    def __init__(self, real):
        self.real, self.device = real, real.device

    def __getattr__(self, name):
        return getattr(self.real, name)

    def encode_image(self, pixels):
        paper = (pixels > 0.8).all(1).float().mean((1, 2)) > 0.05
        z = torch.zeros(len(pixels), self.width)
        z[torch.arange(len(pixels)), paper.long()] = 1
        return z

    def encode_text(self, captions):
        z = torch.zeros(len(captions), self.width)
        for row, caption in zip(z, captions):
            row[0 if "apple" in caption else 1 if "pizza" in caption else 2] = 1
        return z

    def zero_shot(self, pixels, labels, templates=("{}",)):
        from latentlab.clip import class_embeddings, probabilities

        return probabilities(self, self.encode_image(pixels), class_embeddings(self, labels, templates))


@pytest.fixture(scope="module")
def gullible(miniature):
    return dataclasses.replace(miniature, encoder=Gullible(miniature.encoder), upsampler=None)


def test_an_attack_succeeds_where_the_written_word_wins_and_only_there(gullible):
    pixels = torch.full((2, 3, 64, 64), -0.5)
    result = experiments.attack(gullible, pixels, ["pizza", "cat"], "an apple", variations=0)
    assert result.labels == ("an apple", "a pizza", "a cat")
    assert (result.before[:, 0] > 0.99).all()
    assert (result.attacked[:, 0, 1] > 0.99).all()  # “pizza” is read as a pizza
    assert result.value("attack succeeds") == 0.5  # “cat” is read as a pizza too, so no cat is seen
    assert result.strength().shape == (2, 2)
    assert sum(len(axis.images) for axis in result.heat_map().axes) == 2


def test_variations_without_paper_count_as_right_again(gullible, monkeypatch):
    monkeypatch.setattr(type(gullible.decoder), "to_pixels", lambda self, x_0: torch.zeros(len(x_0), 3, 64, 64))
    result = experiments.attack(
        gullible, torch.full((1, 3, 64, 64), -0.5), "pizza", "an apple", variations=2, steps=2, preview_every=0
    )
    assert result.value("attack succeeds") == 1
    assert result.value("right again in variations of those") == 1
    assert result.variations.shape[:3] == (1, 1, 2)
    assert (
        "wins over an apple, and no longer does in most variations decoded from the attacked z_i: the embedding"
        in result.summary()
    )
    monkeypatch.setattr(type(gullible.decoder), "to_pixels", lambda self, x_0: torch.ones(len(x_0), 3, 64, 64))
    assert [row["n"] for row in result.table if "right again" in row["quantity"]] == [1]  # of two variations
    lost = experiments.attack(
        gullible, torch.full((1, 3, 64, 64), -0.5), "pizza", "an apple", variations=2, steps=2, preview_every=0
    )
    assert (
        "wins over an apple, and still does in most variations decoded from the attacked z_i: here the word"
        in lost.summary()
    )
    several = experiments.attack(
        gullible, torch.full((2, 3, 64, 64), -0.5), "pizza", "an apple", variations=1, steps=2, preview_every=0
    )
    assert "in 100% of 2 cases; 0 of those 2 are right again" in several.summary()


def test_variations_come_with_the_latents_that_they_are_decoded_from(gullible):
    pixels = torch.full((2, 3, 64, 64), -0.5)
    knobs = {"steps": 2, "guidance": 1.5}
    result = experiments.attack(gullible, pixels, ["pizza", "cat"], "an apple", variations=3, seed=5, **knobs)
    again = decoding.pictures(gullible.decoder, decoding.decode(gullible.decoder, result.latent, **knobs))
    torch.testing.assert_close(again, result.variations.flatten(0, 2), atol=1e-5, rtol=0)
    assert experiments.attack(gullible, pixels, "pizza", "an apple", variations=0).latent is None


def test_a_picture_that_was_taken_for_the_word_before_is_no_success(gullible):
    white = torch.ones(1, 3, 64, 64)  # already read as a pizza
    assert experiments.attack(gullible, white, "pizza", "an apple", variations=0).value("attack succeeds") == 0


def test_several_clips_stand_side_by_side(gullible, miniature):
    result = experiments.attack(
        gullible,
        torch.full((1, 3, 64, 64), -0.5),
        "pizza",
        "an apple",
        variations=0,
        encoders={"tiny": miniature.encoder},
    )
    assert {row["encoder"] for row in result.table if "encoder" in row} == {gullible.name, "tiny"}
    assert result.others["tiny"].shape == result.attacked.shape


def test_each_clip_is_measured_against_what_it_took_the_clean_picture_for_itself(gullible):
    class Wrong(Gullible):  # a pizza, whatever it is shown
        def encode_image(self, pixels):
            return torch.eye(self.width)[[1] * len(pixels)]

    pixels = torch.full((2, 3, 64, 64), -0.5)
    others = {"wrong": Wrong(gullible.encoder.real)}
    result = experiments.attack(gullible, pixels, "pizza", "an apple", variations=0, encoders=others)
    assert result.value("attack succeeds", encoder=gullible.name) == 1
    assert result.value("attack succeeds", encoder="wrong") == 0


# -- binding and spelling


def drawn(boxes_and_colours, side=64):
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
        ("on top of", False, 1), ("on top of", True, 0), ("left of", False, 1), ("left of", True, 0),
        ("beside", False, 1), ("beside", True, 1),
    ],
)  # fmt: skip
def test_colours_are_looked_for_where_the_caption_puts_them(lab, monkeypatch, relation, exchange, right):
    prompt = f"a red cube {relation} a blue ball"
    colours = ("blue", "red") if exchange else ("red", "blue")

    def fake(*args):
        from latentlab.grammar import parse

        yield Progress("prior", 0, 1)
        return None, drawn(zip(parse(prompt).boxes, colours))[None].repeat(3, 1, 1, 1)

    monkeypatch.setattr(experiments.binding, "_drawn", fake)
    result = experiments.bind(lab, prompt, seeds=[0, 1, 2])
    assert result.value("both colours at their place") == right
    assert result.value("the two colours exchanged") == 1 - right
    assert result.colours == ((colours,) * 3,)


def test_a_picture_that_clip_finds_nearest_to_its_caption_is_read_as_asked(lab, monkeypatch):
    prompt = "a red cube on top of a blue ball"

    def fake(*args):
        yield Progress("prior", 0, 1)
        return None, lab.decoder.mean(lab.encoder.encode_text([prompt]))

    monkeypatch.setattr(experiments.binding, "_drawn", fake)
    result = experiments.bind(lab, prompt, seeds=[0])
    assert result.read_as[0][0].caption == prompt and result.value("CLIP reads it as asked") == 1


def test_signs_are_read_back_as_the_nearest_of_all_words(lab, monkeypatch):
    def fake(*args):
        yield Progress("prior", 0, 1)
        captions = [f"a sign that says {w}" for w in ("hello", "stop", "stop", "stop")]
        return None, lab.decoder.mean(lab.encoder.encode_text(captions))

    monkeypatch.setattr(experiments.binding, "_drawn", fake)
    result = experiments.spell(lab, ["hello", "stop"], alternatives=["go"], seeds=[0, 1])
    assert result.read == (("hello", "stop"), ("stop", "stop"))
    assert result.value("read back as written") == 0.75


@pytest.mark.parametrize(
    ("name", "asked", "knobs"),
    [
        ("ablate", ["a red apple", "a blue fox"], {}),
        ("guide", ["a red apple", "a blue fox"], {"guidances": (2.0,), "prior_guidances": (1.0, 2.0)}),
        ("bind", ["a red cube left of a blue ball", "a green cone above a red ball"], {}),
        ("spell", ["hello", "stop"], {"template": "{}"}),
    ],
)
def test_the_latents_that_come_with_pictures_are_what_they_are_decoded_from(lab, name, asked, knobs):
    result = getattr(experiments, name)(lab, asked, seeds=(3, 4), steps=3, **knobs)
    pixels = result.pixels.flatten(0, -4)
    text = lab.decoder.encode_prompt([c for c in asked for _ in range(2)])
    text = None if text is None else text.repeat(len(pixels) // len(text), 1, 1)
    again = decoding.decode(lab.decoder, result.latent, text=text, steps=3, guidance=2.0)
    torch.testing.assert_close(decoding.pictures(lab.decoder, again), pixels, atol=1e-5, rtol=0)


def test_binding_and_spelling_refuse_what_they_can_not_score(lab):
    with pytest.raises(UserError, match="relates no two solids"):
        experiments.bind(lab, "a dog")
    with pytest.raises(UserError, match="prompts is empty"):
        experiments.bind(lab, [])
    with pytest.raises(UserError, match="alternatives"):
        experiments.spell(lab, "hello")


def test_the_chance_of_a_reading_is_that_of_the_readings_there_are(lab):
    for prompt, chance in (("a red cube left of a blue ball", "25%"), ("a red cube left of a blue cube", "50%")):
        assert f"(chance: {chance})" in experiments.bind(lab, prompt, seeds=[0], steps=1).summary()
    with pytest.raises(UserError, match="one way only"):
        experiments.bind(lab, "a red cube left of a red cube")


@pytest.mark.parametrize("knobs", [{"words": ""}, {"words": "hello", "template": "a sign"}])
def test_a_sign_wants_a_word_and_a_place_for_it(lab, knobs):
    with pytest.raises(UserError, match="give words to write"):
        experiments.spell(lab, knobs.pop("words"), alternatives=["stop", "go"], **knobs)


@pytest.mark.parametrize("prior_guidance", [-1.0, float("nan")])
def test_a_guidance_of_the_prior_that_is_no_number_from_0_up_is_refused(lab, prior_guidance):
    with pytest.raises(UserError, match="prior's guidance is"):
        experiments.guide(lab, "a cat", prior_guidances=[prior_guidance])


@pytest.mark.parametrize(("words", "said"), [("apple", "what a picture shows"), ("", "at least one"), ([], "one")])
def test_a_word_that_can_not_mislead_is_refused(gullible, words, said):
    with pytest.raises(UserError, match=said):
        experiments.attack(gullible, torch.zeros(1, 3, 64, 64), words, "an apple", variations=0)
