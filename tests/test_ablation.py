"""The ablation: its signals, its distances to real pictures, and refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import spied_lab, toy_pictures

from latentlab import UserError, experiments
from latentlab.analysis.distances import cmmd, frechet
from latentlab.experiments.stages import cosine

SMALL_RUN = {
    "prompts": ["a cat", "a dog"],
    "real": toy_pictures(2),
    "kinds": ["drawn", "painted"],
    "seeds": [0, 1],
}


def test_the_ablation_leaves_out_signals_that_the_lab_lacks_and_notes_them(lab):
    result = experiments.ablate(lab, ["a cat", "a dog"], steps=3)
    assert result.signals == ("z_t", "prior")
    assert any("reads no text" in note for note in result.notes)
    result = experiments.ablate(dataclasses.replace(lab, prior=None), "a cat", steps=3)
    assert result.signals == ("z_t",) and any("no prior" in note for note in result.notes)


def test_real_pictures_add_their_own_z_i_and_the_distances_to_them(lab):
    prompts = [f"a thing of kind {k}" for k in range(40)]
    side = lab.decoder.image_size
    pixels = torch.rand(40, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kinds = ["noto", "twemoji"] * 20
    result = experiments.ablate(lab, prompts, real=pixels, kinds=kinds, steps=3)
    assert result.signals == ("z_t", "prior", "real z_i")
    z = lab.encoder.encode_image(result.pixels[2])
    truth = lab.encoder.encode_image(pixels)
    assert result.value("Fréchet distance", signal="real z_i") == pytest.approx(frechet(truth, z), rel=1e-3)
    assert result.value("CMMD", signal="real z_i") == pytest.approx(cmmd(truth, z), rel=1e-3)
    halves = [result.value("recall of a kind", signal="real z_i", kind=k) for k in ("noto", "twemoji")]
    assert sum(halves) / 2 == pytest.approx(result.value("recall", signal="real z_i"), abs=1e-3)
    assert "Fréchet distance to the real pictures" in result.summary()


def test_few_real_pictures_get_no_distances_and_another_number_than_prompts_is_refused(lab):
    pixels = torch.zeros(2, 3, lab.decoder.image_size, lab.decoder.image_size)
    result = experiments.ablate(lab, ["a cat", "a dog"], real=pixels, steps=2)
    assert result.signals[-1] == "real z_i" and any("too few for the distances" in note for note in result.notes)
    with pytest.raises(UserError, match="2 prompts, 1 pictures, 0 kinds"):
        experiments.ablate(lab, ["a cat", "a dog"], real=pixels[:1])
    with pytest.raises(UserError, match="2 prompts, 2 pictures, 1 kinds"):
        experiments.ablate(lab, ["a cat", "a dog"], real=pixels, kinds=["noto"])


def test_the_three_signals_differ_only_in_z_i(miniature):
    watched, spy = spied_lab(miniature)
    conds = []
    inner = spy.eps
    spy.eps = lambda x, t, cond, guidance=1.0: conds.append((x, cond)) or inner(x, t, cond, guidance)
    result = experiments.ablate(watched, ["a red apple", "a fox"], steps=1)
    (x, cond), *_ = conds
    assert result.signals == ("prompt only", "z_t", "prior") and len(x) == 6
    torch.testing.assert_close(x[:2], x[2:4])
    torch.testing.assert_close(cond.text[:2], cond.text[4:])
    assert not cond.z_i[:2].any()
    z_t = miniature.encoder.encode_text(["a red apple", "a fox"])
    assert (cosine(cond.z_i[2:4], z_t) > 0.9999).all()
    torch.testing.assert_close(cond.z_i[2:4].norm(dim=-1), cond.z_i[4:].norm(dim=-1).mean().expand(2))
