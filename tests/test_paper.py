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
    paper_inputs = inputs.inputs(lab, folder)
    assert paper_inputs.pixels.shape == (7, 3, 8, 8)
    assert set(paper_inputs.captions) >= {"a red apple", "a fox on blue"}
    assert list(paper_inputs.skipped) == ["broken.png"]
    assert paper_inputs.directions is None


def test_a_thing_is_the_caption_without_its_background():
    captions = (
        "a fox on a red background",
        "a castle on the left on gray",
        "a heart and an orange background",
        "a key",
    )
    paper_inputs = inputs.Inputs(torch.zeros(4, 3, 8, 8), captions, None)
    assert [paper_inputs.thing(k) for k in range(4)] == ["a fox", "a castle", "a heart", "a key"]


def test_pictures_with_words_and_of_two_things_are_not_plain(lab, folder):
    paper_inputs = inputs.inputs(lab, folder)
    assert "a sign that says go" not in [paper_inputs.captions[k] for k in paper_inputs.plain()]
    assert len(paper_inputs.plain()) == 6


def test_text_files_in_the_folder_are_ignored(lab, folder):
    (folder / "captions.txt").write_text("a list")
    assert list(inputs.inputs(lab, folder).skipped) == ["broken.png"]


def test_the_pictures_that_a_lab_draws_best_come_first(lab, folder, monkeypatch):
    paper_inputs = inputs.inputs(lab, folder)
    *_, best = inputs.ranked(lab, paper_inputs)
    assert sorted(best.order) == list(range(7)) and set(best.plain()) == set(paper_inputs.plain())
    # A decoder that draws two of the pictures as they are, and of all the others a grey square.
    drawn = torch.zeros(3, *paper_inputs.pixels.shape)
    drawn[:, [3, 6]] = lab.decoder.mean(lab.encoder.encode_text([paper_inputs.captions[3], paper_inputs.captions[6]]))
    monkeypatch.setattr("latentlab.decoding.pictures", lambda *_: drawn.flatten(0, 1))
    *_, best = inputs.ranked(lab, paper_inputs)
    assert set(best.order[:2]) == {3, 6} and [paper_inputs.captions[k] for k in best.distinct(1)] == [best.things(1)[0]]


def test_the_first_of_several_pictures_with_one_caption_is_taken(lab):
    paper_inputs = inputs.Inputs(
        torch.zeros(5, 3, 8, 8), ("a cat", "a cat on red", "a dog", "a dog above a cat", "two dogs"), None
    )
    assert (paper_inputs.distinct(9), paper_inputs.things(9), paper_inputs.related()) == (
        [0, 2],
        ["a cat", "a dog"],
        [3],
    )


def test_too_few_pictures_are_refused(lab, folder):
    for path in list(folder.glob("a*"))[:3]:
        path.unlink()
    with pytest.raises(UserError, match="4 pictures that can be read"):
        inputs.inputs(lab, folder)


def test_the_page_gives_the_reason_for_every_figure_that_the_lab_cannot_make(lab, folder, tmp_path):
    lab = dataclasses.replace(lab, prior=None)  # 9 and 14 want a prior; 6 wants letters on 8 pixels; 7 wants directions
    *_, report = figures.remake(lab, inputs.inputs(lab, folder), tmp_path, ["3", "6", "7", "9", "14"])
    has_files = {s["figure"]: bool(s["files"]) for s in report["figures"]}
    assert has_files == {"3": True, "6": False, "7": False, "9": False, "14": False}
    page = (tmp_path / "index.html").read_text("utf-8")
    assert all(text in page for text in ("Not on toy", "can&#x27;t be read on a label", "has no prior", "pca fit"))
    with pytest.raises(UserError, match="no prior"):
        list(figures.remake(lab, inputs.inputs(lab, folder), tmp_path, ["9", "14"]))


@pytest.mark.slow
def test_a_lab_without_directions_makes_every_figure_except_the_seventh(miniature, folder, tmp_path):
    paper_inputs = inputs.inputs(miniature, folder)
    only = ["inversion", "3", "4", "5", "6", "8", "15", "clip"]
    *progress, report = figures.remake(miniature, paper_inputs, tmp_path, only)
    assert {p.stage for p in progress} == {"ranking", *(f"figure {n}" if n.isdigit() else n for n in only)}
    assert all(isinstance(p, Progress) for p in progress)
    assert [s["figure"] for s in report["figures"]] == only
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("<img ") == sum(len(s["files"]) for s in report["figures"])
    assert all((tmp_path / file).is_file() for s in report["figures"] for file in s["files"])


def test_glides_figures_show_both_ways_to_guide_and_edits_one_after_another(lab, folder, tmp_path):
    *_, report = figures.remake(lab, inputs.inputs(lab, folder), tmp_path, ["guidance", "edits"])
    guidance, edits = report["figures"]
    assert [len(section["files"]) for section in (guidance, edits)] == [2, 2]
    assert guidance["settings"]["by"] == "clip" and edits["settings"]["picture"]["state"] == 2
    assert all((tmp_path / file).is_file() for section in (guidance, edits) for file in section["files"])


def test_the_seventh_figure_without_directions_and_an_unknown_one_are_refused(lab, folder, tmp_path):
    paper_inputs = inputs.inputs(lab, folder)
    with pytest.raises(UserError, match="pca fit"):
        list(figures.remake(lab, paper_inputs, tmp_path, ["7"]))
    with pytest.raises(UserError, match="there is no figure 2 here"):
        list(figures.remake(lab, paper_inputs, tmp_path, ["2"]))


def test_captions_are_escaped_on_the_page(lab, folder, tmp_path):
    (folder / "a bee.png").rename(folder / "a <script>alert(1)<script>.png")
    paper_inputs = inputs.inputs(lab, folder)
    list(figures.remake(lab, paper_inputs, tmp_path, ["8"]))
    assert "<script>" not in (tmp_path / "index.html").read_text("utf-8")


def test_the_seventh_figure_measures_accuracy_up_to_the_components_that_explain_nearly_all(lab, folder, tmp_path):
    paper_inputs = inputs.inputs(lab, folder)
    paper_inputs = dataclasses.replace(
        paper_inputs, directions=Directions.fit(lab.encoder.encode_image(paper_inputs.pixels))
    )
    *_, report = figures.remake(lab, paper_inputs, tmp_path, ["7"])
    (section,) = report["figures"]
    dims = section["settings"]["dims"]
    assert dims[0] == 1 and paper_inputs.directions.explained(dims[-1] // 2) < 0.999
    accuracy = [row for row in section["table"] if row["quantity"] == "zero-shot accuracy of z_i"]
    assert [row["k"] for row in accuracy] == list(dims) and {row["n"] for row in accuracy} == {6}
    assert len(section["files"]) == 3
