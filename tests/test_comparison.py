"""Comparison of pictures and captions: recall and the modality gap."""

from __future__ import annotations

from conftest import toy_pictures

from latentlab import experiments

SMALL_RUN = {"pixels": toy_pictures(2), "captions": ["a cat", "a dog"]}


def test_own_pairs_are_recalled_when_each_picture_is_its_captions_own(lab):
    captions = ["a cat", "a dog", "a fox"]
    pixels = lab.decoder.mean(lab.encoder.encode_text(captions))
    result = experiments.compare(lab.encoder, pixels, captions)
    assert result.value("recall@1, both ways") == 1
    assert result.value("modality gap") < 1e-3
