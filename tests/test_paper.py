"""The paper's figures in one folder: inputs, refusals, and the page."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from latentlab import UserError, paper
from latentlab.experiments import Progress


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
    given = paper.inputs(lab, folder)
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
    given = paper.Inputs(torch.zeros(4, 3, 8, 8), captions, None)
    assert [given.thing(k) for k in range(4)] == ["a fox", "a castle", "a heart", "a key"]


def test_pictures_with_words_and_of_two_things_are_not_plain(lab, folder):
    given = paper.inputs(lab, folder)
    assert "a sign that says go" not in [given.captions[k] for k in given.plain()]
    assert len(given.plain()) == 6


def test_too_few_pictures_are_refused(lab, folder):
    for path in list(folder.glob("a*"))[:3]:
        path.unlink()
    with pytest.raises(UserError, match="4 pictures that can be read"):
        paper.inputs(lab, folder)


def test_every_figure_is_made_on_a_lab_without_directions_but_the_seventh(miniature, folder, tmp_path):
    given = paper.inputs(miniature, folder)
    only = ["3", "4", "5", "6", "8", "15"]
    *progress, found = paper.remake(miniature, given, tmp_path, only)
    assert {p.stage for p in progress} == {f"figure {n}" for n in only}
    assert all(isinstance(p, Progress) for p in progress)
    assert [s["figure"] for s in found["figures"]] == only
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("<img ") == sum(len(s["files"]) for s in found["figures"])
    assert all((tmp_path / file).is_file() for s in found["figures"] for file in s["files"])


def test_the_seventh_figure_without_directions_and_an_unknown_one_are_refused(lab, folder, tmp_path):
    given = paper.inputs(lab, folder)
    with pytest.raises(UserError, match="pca fit"):
        list(paper.remake(lab, given, tmp_path, ["7"]))
    with pytest.raises(UserError, match="there is no figure 2 here"):
        list(paper.remake(lab, given, tmp_path, ["2"]))


def test_captions_can_not_break_the_page(lab, folder, tmp_path):
    (folder / "a bee.png").rename(folder / "a <script>alert(1)<script>.png")
    given = paper.inputs(lab, folder)
    list(paper.remake(lab, given, tmp_path, ["8"]))
    assert "<script>" not in (tmp_path / "index.html").read_text("utf-8")
