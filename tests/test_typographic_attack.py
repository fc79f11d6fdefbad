"""Typographic attacks: when one succeeds, what its variations show, and refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import toy_pictures

from latentlab import UserError, decoding, experiments
from latentlab.analysis.intervals import proportion
from latentlab.typography import Label

SMALL_RUN = {
    "pixels": toy_pictures(2),
    "words": ["pizza"],
    "truth": "a cat",
    "variations": 2,
    "label": Label("word"),
    "steps": 2,
}


class Gullible:
    """An encoder that sees an apple in every picture, except that any paper on a picture makes it see a pizza."""

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
    summary = "“pizza” wins over an apple, and {} does in most variations decoded from the attacked z_i."
    assert result.summary() == summary.format("no longer")
    monkeypatch.setattr(type(gullible.decoder), "to_pixels", lambda self, x_0: torch.ones(len(x_0), 3, 64, 64))
    assert [row["n"] for row in result.table if "right again" in row["quantity"]] == [1]  # of two variations
    lost = experiments.attack(
        gullible, torch.full((1, 3, 64, 64), -0.5), "pizza", "an apple", variations=2, steps=2, preview_every=0
    )
    assert lost.summary() == summary.format("still")
    several = experiments.attack(
        gullible, torch.full((2, 3, 64, 64), -0.5), "pizza", "an apple", variations=1, steps=2, preview_every=0
    )
    assert "in 100% of 2 cases; 0 of those 2 are right again" in several.summary()


@pytest.mark.parametrize(
    "right, total, conclusion",
    [(19, 20, "still hold"), (1, 20, "displaced"), (12, 20, ""), (8, 20, ""), (2, 2, "")],
)
def test_an_attack_concludes_about_the_embedding_only_where_the_interval_excludes_a_half(
    gullible, right, total, conclusion
):
    result = experiments.attack(gullible, torch.full((2, 3, 64, 64), -0.5), "pizza", "an apple", variations=0)
    recovered = proportion([k < right for k in range(total)], quantity="right again in variations of those")
    summary = dataclasses.replace(result, table=(*result.table, recovered)).summary()
    assert f"{right} of those {total} are right again" in summary or right == 1
    assert [word for word in ("still hold", "displaced") if word in summary] == [conclusion] * bool(conclusion)


def test_variations_come_with_the_latents_that_they_are_decoded_from(gullible):
    pixels = torch.full((2, 3, 64, 64), -0.5)
    params = {"steps": 2, "guidance": 1.5}
    result = experiments.attack(gullible, pixels, ["pizza", "cat"], "an apple", variations=3, seed=5, **params)
    again = decoding.pictures(gullible.decoder, decoding.decode(gullible.decoder, result.latent, **params))
    torch.testing.assert_close(again, result.variations.flatten(0, 2), atol=1e-5, rtol=0)
    assert experiments.attack(gullible, pixels, "pizza", "an apple", variations=0).latent is None


def test_a_picture_classified_as_the_word_without_a_label_does_not_count_as_a_success(gullible):
    white = torch.ones(1, 3, 64, 64)  # already read as a pizza
    assert experiments.attack(gullible, white, "pizza", "an apple", variations=0).value("attack succeeds") == 0


def test_an_attack_measures_several_clips(gullible, miniature):
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


def test_each_clip_is_compared_with_its_own_answer_on_the_clean_picture(gullible):
    class Wrong(Gullible):  # a pizza, whatever it is shown
        def encode_image(self, pixels):
            return torch.eye(self.width)[[1] * len(pixels)]

    pixels = torch.full((2, 3, 64, 64), -0.5)
    others = {"wrong": Wrong(gullible.encoder.real)}
    result = experiments.attack(gullible, pixels, "pizza", "an apple", variations=0, encoders=others)
    assert result.value("attack succeeds", encoder=gullible.name) == 1
    assert result.value("attack succeeds", encoder="wrong") == 0


@pytest.mark.parametrize(("words", "message"), [("apple", "what a picture shows"), ("", "at least one"), ([], "one")])
def test_a_word_that_names_the_picture_or_is_missing_is_refused(gullible, words, message):
    with pytest.raises(UserError, match=message):
        experiments.attack(gullible, torch.zeros(1, 3, 64, 64), words, "an apple", variations=0)
