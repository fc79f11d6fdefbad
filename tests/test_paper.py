"""The paper's figures in one folder: inputs, refusals, and the page."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image

from latentlab import UserError
from latentlab.analysis.pca import Directions
from latentlab.experiments import Progress
from latentlab.paper import figures, inputs


@pytest.fixture
def folder(tmp_path):
    """Seven pictures named by what they show, and one that is none."""
    path = tmp_path / "pictures"
    path.mkdir()
    for k, name in enumerate(
        ("a-red_apple", "a-fox on blue", "a cat", "a dog", "a sign that says go", "an owl", "a bee")
    ):
        Image.new("RGB", (20, 20), (30 * k, 200 - 20 * k, 90)).save(path / f"{name}.png")
    (path / "broken.png").write_text("no picture")
    return path


def test_a_folders_pictures_are_captioned_by_their_names_and_broken_ones_are_named(lab, folder):
    given = inputs.inputs(lab, folder)
    assert given.pixels.shape == (7, 3, 8, 8)
    assert set(given.captions) >= {"a red apple", "a fox on blue"}
    assert list(given.skipped) == ["broken.png"]
    assert given.directions is None


def test_a_thing_is_the_caption_without_its_background():
    captions = (
        "a fox on a red background",
        "a castle on the left on gray",
        "a heart and an orange background",
        "a key",
    )
    given = inputs.Inputs(torch.zeros(4, 3, 8, 8), captions, None)
    assert [given.thing(k) for k in range(4)] == ["a fox", "a castle", "a heart", "a key"]


def test_pictures_with_words_and_of_two_things_are_not_plain(lab, folder):
    given = inputs.inputs(lab, folder)
    assert "a sign that says go" not in [given.captions[k] for k in given.plain()]
    assert len(given.plain()) == 6


def test_files_that_say_they_are_no_pictures_are_passed_over(lab, folder):
    (folder / "captions.txt").write_text("a list")
    assert list(inputs.inputs(lab, folder).skipped) == ["broken.png"]


def test_the_pictures_that_a_lab_draws_best_come_first(lab, folder, monkeypatch):
    given = inputs.inputs(lab, folder)
    *_, best = inputs.ranked(lab, given)
    assert sorted(best.order) == list(range(7)) and set(best.plain()) == set(given.plain())
    # A decoder that draws two of the pictures as they are, and of all the others a grey square.
    drawn = torch.zeros(3, *given.pixels.shape)
    drawn[:, [3, 6]] = lab.decoder.mean(lab.encoder.encode_text([given.captions[3], given.captions[6]]))
    monkeypatch.setattr("latentlab.decoding.pictures", lambda *_: drawn.flatten(0, 1))
    *_, best = inputs.ranked(lab, given)
    assert set(best.order[:2]) == {3, 6} and [given.captions[k] for k in best.distinct(1)] == [best.things(1)[0]]


def test_of_pictures_with_one_caption_the_first_is_taken(lab):
    given = inputs.Inputs(
        torch.zeros(5, 3, 8, 8), ("a cat", "a cat on red", "a dog", "a dog above a cat", "two dogs"), None
    )
    assert (given.distinct(9), given.things(9), given.related()) == ([0, 2], ["a cat", "a dog"], [3])


def test_too_few_pictures_are_refused(lab, folder):
    for path in list(folder.glob("a*"))[:3]:
        path.unlink()
    with pytest.raises(UserError, match="4 pictures that can be read"):
        inputs.inputs(lab, folder)


def test_a_figure_that_a_lab_can_not_have_says_why_beside_those_that_it_has(lab, folder, tmp_path):
    lab = dataclasses.replace(lab, prior=None)  # 9 and 14 want a prior; 6 wants letters on 8 pixels; 7 wants directions
    *_, found = figures.remake(lab, inputs.inputs(lab, folder), tmp_path, ["3", "6", "7", "9", "14"])
    made = {s["figure"]: bool(s["files"]) for s in found["figures"]}
    assert made == {"3": True, "6": False, "7": False, "9": False, "14": False}
    page = (tmp_path / "index.html").read_text("utf-8")
    assert all(text in page for text in ("Not on toy", "can&#x27;t be read on a label", "has no prior", "pca fit"))
    with pytest.raises(UserError, match="no prior"):
        list(figures.remake(lab, inputs.inputs(lab, folder), tmp_path, ["9", "14"]))


@pytest.mark.slow
def test_every_figure_is_made_on_a_lab_without_directions_but_the_seventh(miniature, folder, tmp_path):
    given = inputs.inputs(miniature, folder)
    only = ["inversion", "3", "4", "5", "6", "8", "15", "clip"]
    *progress, found = figures.remake(miniature, given, tmp_path, only)
    assert {p.stage for p in progress} == {"ranking", *(f"figure {n}" if n.isdigit() else n for n in only)}
    assert all(isinstance(p, Progress) for p in progress)
    assert [s["figure"] for s in found["figures"]] == only
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("<img ") == sum(len(s["files"]) for s in found["figures"])
    assert all((tmp_path / file).is_file() for s in found["figures"] for file in s["files"])


def test_the_seventh_figure_without_directions_and_an_unknown_one_are_refused(lab, folder, tmp_path):
    given = inputs.inputs(lab, folder)
    with pytest.raises(UserError, match="pca fit"):
        list(figures.remake(lab, given, tmp_path, ["7"]))
    with pytest.raises(UserError, match="there is no figure 2 here"):
        list(figures.remake(lab, given, tmp_path, ["2"]))


def test_captions_can_not_break_the_page(lab, folder, tmp_path):
    (folder / "a bee.png").rename(folder / "a <script>alert(1)<script>.png")
    given = inputs.inputs(lab, folder)
    list(figures.remake(lab, given, tmp_path, ["8"]))
    assert "<script>" not in (tmp_path / "index.html").read_text("utf-8")


def test_the_seventh_figure_counts_what_is_still_recognised_and_stops_where_nothing_changes(lab, folder, tmp_path):
    given = inputs.inputs(lab, folder)
    given = dataclasses.replace(given, directions=Directions.fit(lab.encoder.encode_image(given.pixels)))
    *_, found = figures.remake(lab, given, tmp_path, ["7"])
    (section,) = found["figures"]
    dims = section["settings"]["dims"]
    assert dims[0] == 1 and given.directions.explained(dims[-1] // 2) < 0.999
    accuracy = [row for row in section["table"] if row["quantity"] == "zero-shot accuracy of z_i"]
    assert [row["k"] for row in accuracy] == list(dims) and {row["n"] for row in accuracy} == {6}
    assert len(section["files"]) == 3
