"""Histories of edits: each edit starts from the last, every state can be returned to, and files hold all of it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from PIL import Image

from latentlab import UserError, experiments, outpainting
from latentlab.experiments import Progress
from latentlab.experiments.history import History
from latentlab.io import images


@pytest.fixture(scope="module")
def mask():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 1:5] = True
    return mask


@pytest.fixture(scope="module")
def first(lab, mask):
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 1.2 - 0.6
    return experiments.edit(lab, picture, mask, "a cat", seeds=[3, 4], steps=2)


@pytest.fixture(scope="module")
def grown(lab, first):
    """Two pictures of the first edit, then a canvas that grew to the right from the second of them."""
    return experiments.edit(lab, first.history.at(2), grow=["left", "top"], steps=2)


def test_each_edit_starts_from_the_current_state_and_the_rest_stays_as_it_was(lab, first, grown):
    assert [state.parent for state in grown.history.states] == [None, 0, 0, 2]
    assert grown.history.position == 3 and grown.history.pixels.shape[-2:] == (12, 12)
    assert torch.equal(grown.pixels[..., 4:, 4:], first.history.states[2].pixels)
    assert [state.settings.get("seeds") for state in grown.history.states] == [None, [3], [4], [0]]
    assert grown.settings["picture"]["state"] == 2


def test_every_state_can_be_returned_to_and_an_edit_after_undo_adds_a_branch(lab, first, mask):
    history = first.history
    assert (history.position, history.undo().position, history.undo().undo().position) == (1, 0, 0)
    assert history.undo().redo().position == 2, "the last one painted from there"
    assert history.redo() is history
    branch = experiments.edit(lab, history.undo(), mask, "a dog", steps=2).history
    assert [state.title for state in branch.states] == ["the picture", "a cat", "a cat", "a dog"]
    assert branch.path() == [0, 3]
    assert torch.equal(branch.at(1).pixels, history.pixels)
    with pytest.raises(UserError, match="there is no state 4: the history has the states 0 to 3"):
        branch.at(4)


def test_a_file_holds_settings_seeds_masks_and_pictures_exactly(grown, tmp_path):
    history = grown.history
    read = History.load(history.save(tmp_path / "edits.json"))
    assert (read.position, read.side) == (history.position, history.side)
    for a, b in zip(read.states, history.states, strict=True):
        assert torch.equal(a.pixels, b.pixels) and (a.parent, a.place) == (b.parent, b.place)
        assert (a.mask is None and b.mask is None) or torch.equal(a.mask, b.mask)
        assert a.settings == json.loads(json.dumps(b.settings))


def test_an_edit_goes_on_from_a_file_as_from_the_history_in_memory(lab, grown, mask, tmp_path):
    read = History.load(grown.history.save(tmp_path / "edits.json"))
    part = torch.zeros(12, 12, dtype=torch.bool)
    part[1:5, 5:9] = True
    here, there = (experiments.edit(lab, history, part, "a cat", steps=2) for history in (grown.history, read))
    assert torch.equal(here.pixels, there.pixels) and here.settings == there.settings
    assert torch.equal(here.pixels.where(~part, 0), grown.history.pixels.where(~part, 0))


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_shows_each_picture_of_the_path_and_before_it_what_was_painted(grown, tmp_path, kind):
    with Image.open(grown.history.save_animation(tmp_path / f"edits.{kind}")) as movie:
        assert movie.n_frames == 5  # of the path 0, 2, 3
        assert movie.size == (12, 12)
    with pytest.raises(UserError, match=r"edits.png is no animation"):
        grown.history.save_animation(tmp_path / "edits.png")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda v: v.pop("states"), "'states'"),
        (lambda v: v.update(kind="recipe"), "its kind is 'recipe'"),
        (lambda v: v.update(position=9), "its state 9 is not among its 4"),
        (lambda v: v["states"][1].update(parent=3), "its state 1 has the parent 3"),
        (lambda v: v["states"][1].update(picture="cGljdHVyZQ=="), "one of its pictures is no PNG"),
        (lambda v: v["states"][1].update(place=[5, 0]), "sizes of its pictures and masks do not fit"),
        (lambda v: v["states"][2].update(mask=None), "sizes of its pictures and masks do not fit"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(grown, tmp_path, change, problem):
    values = grown.history.as_json()
    change(values)
    (tmp_path / "edits.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=f"edits.json is no history of edits .*{problem}"):
        History.load(tmp_path / "edits.json")


def test_a_missing_file_and_one_that_is_no_json_are_refused(tmp_path):
    with pytest.raises(UserError, match="is not there: give the JSON file"):
        History.load(tmp_path / "nowhere.json")
    (tmp_path / "edits.json").write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match="is no history of edits"):
        History.load(tmp_path / "edits.json")


@pytest.mark.parametrize(("box", "count"), [((3, 7, 4, 9), 1), ((0, 8, 0, 12), 2), ((0, 12, 1, 11), 4)])
def test_windows_cover_the_mask_and_one_is_enough_where_it_fits(box, count):
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    corners = outpainting.windows(mask, 8)
    covered = torch.zeros_like(mask)
    for row, column in corners:
        assert 0 <= row <= 4 and 0 <= column <= 4
        covered[row : row + 8, column : column + 8] = True
    assert len(corners) == count and not (mask & ~covered).any()


class Recorder:
    """A decoder that records the z_i of each evaluation: of the known part, then of what is painted."""

    def __init__(self, decoder):
        self.decoder, self.z_i = decoder, []

    def __getattr__(self, name):
        return getattr(self.decoder, name)

    def eps(self, x_t, t, cond, guidance=1.0):
        self.z_i.append(cond.z_i[0])
        return self.decoder.eps(x_t, t, cond, guidance)


def test_a_growing_canvas_gets_what_the_prompt_names_once_and_continues_elsewhere(lab, first):
    """Every window with the prompt would repeat the thing in each of them."""
    decoder = Recorder(lab.decoder)
    recorded = dataclasses.replace(lab, decoder=decoder)
    experiments.edit(recorded, first.history, prompt="a cat", grow=["right", "bottom"], steps=1, guidance=1.0)
    known, wanted, *others = decoder.z_i
    assert len(others) == 4 and not torch.equal(known, wanted)
    assert all(not torch.equal(z_i, wanted) for z_i in others)


def test_previews_show_the_whole_canvas_with_the_rest_as_it_is(lab, grown):
    part = torch.zeros(12, 12, dtype=torch.bool)
    part[1:5, 5:9] = True
    stream = experiments.edit.stream(lab, grown.history, part, "a cat", steps=4, preview_every=1)
    previews = [p.pixels for p in stream if isinstance(p, Progress) and p.pixels is not None]
    assert len(previews) == 3
    for pixels in previews:
        assert torch.equal(pixels.where(~part, 0), grown.history.pixels.where(~part, 0))


def test_titles_say_what_each_edit_was(grown, lab):
    titles = [state.title for state in grown.history.states]
    assert titles == ["the picture", "a cat", "a cat", "grown left, top"]
    assert "at 3: grown left, top" in repr(grown.history)
    assert images.to_pil(grown.history.pixels)[0].size == (12, 12)
