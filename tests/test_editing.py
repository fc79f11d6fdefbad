"""Edits: what lies outside the mask stays, canvases grow, and bad input is refused in one sentence."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import toy_pictures

from latentlab import UserError, experiments, inpainting, models
from latentlab.captions import CaptionCheck
from latentlab.experiments import Progress
from latentlab.experiments.history import History, State
from latentlab.experiments.painting import Brush
from latentlab.io import images
from latentlab.outpainting import canvas

SMALL_RUN = {"picture": toy_pictures(1), "prompt": "a cat", "grow": ("right", "top"), "seeds": [0, 1], "steps": 2}


@pytest.fixture
def picture(rng):
    return torch.rand(1, 3, 8, 8, generator=rng) * 1.2 - 0.6


@pytest.fixture
def mask():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 1:5] = True
    return mask


@pytest.mark.parametrize("prompt", ["", "a cat"])
@pytest.mark.parametrize("known", ["trajectory", "noised"])
def test_pixels_outside_the_mask_come_back_exactly(lab, picture, mask, prompt, known):
    result = experiments.edit(lab, picture, mask, prompt, known=known, seeds=[0, 1, 2], steps=3)
    assert torch.equal(result.pixels.where(~mask, 0), picture.where(~mask, 0).expand(3, -1, -1, -1))
    assert ((result.pixels - picture).abs() * mask).sum((1, 2, 3)).gt(0.5).all()
    assert result.value("PSNR outside") > 150 and "exactly as it was" in result.summary()
    assert ("CLIP score" in {row["quantity"] for row in result.table}) == bool(prompt)


def test_they_do_in_the_miniature_with_its_first_stage_and_upsampler(miniature):
    side = miniature.output_size
    assert side == 2 * miniature.decoder.image_size
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.zeros(side, side).bool()
    mask[3:17, 9:25] = True  # not on the first stage's grid
    result = experiments.edit(miniature, picture, mask, "a cat", seeds=[0, 1], steps=2)
    assert torch.equal(result.pixels.where(~mask, 0), picture.where(~mask, 0).expand(2, -1, -1, -1))
    small = experiments.edit(miniature, images.resize(picture, side // 2), mask[::2, ::2], "a cat", steps=2)
    assert small.pixels.shape[-1] == side // 2
    smaller = 3 * side // 4  # as in a history from before an upsampler grew
    between = History((State(images.resize(picture, smaller)),), 0, smaller)
    grown = experiments.edit(miniature, between, grow="right", steps=2)
    assert grown.pixels.shape[-2:] == (smaller, 3 * smaller // 2)


def test_cells_painted_in_part_are_encoded_with_the_painted_pixels_where_a_first_stage_has_cells(miniature, lab):
    """They kept a guess at the painted pixels, which showed as a dark halo round what stood before the background."""
    side, brush = miniature.output_size, Brush(8, (0,), 1.0, 2, "trajectory", {}, None, 0)
    picture, mask = torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side).bool()
    mask[..., 3:17, 9:25] = True
    x_0 = torch.randn(2, *miniature.decoder.shape, generator=torch.Generator().manual_seed(0))
    small = mask[..., ::2, ::2] | mask[..., 1::2, ::2] | mask[..., ::2, 1::2] | mask[..., 1::2, 1::2]
    pasted = miniature.decoder.to_pixels(x_0).where(small, 0)
    torch.testing.assert_close(brush.joined(miniature, picture, mask)(x_0), miniature.decoder.to_x0(pasted))
    assert brush.joined(lab, toy_pictures(1), mask[..., :8, 6:14]) is None
    assert brush.joined(miniature, picture, mask | True) is None


def test_without_a_prompt_z_i_is_of_what_is_visible(lab, mask):
    """The toy paints the mean colour of z_i: what the mask hides must not colour it."""
    picture = torch.full((1, 3, 8, 8), 0.2)
    picture[..., mask] = -0.9
    result = experiments.edit(lab, picture, mask, seeds=range(40), steps=20, guidance=1.0)
    assert result.pixels[..., mask].mean().item() == pytest.approx(0.2, abs=0.05)
    assert result.summary().startswith("40 edits without a prompt.")


def test_an_erased_detail_is_filled_from_what_is_visible_instead_of_being_drawn_again():
    """Decoded from pure noise, the beak of a penguin came back, because z_i says what the rest is."""
    emoji = models.load("emoji", device="cpu")
    path = next(path for path, caption in models.gallery("emoji") if caption.startswith("an eight ball"))
    picture = images.load(path, emoji.image_size)
    mask = torch.zeros(picture.shape[-2:], dtype=torch.bool)
    mask[22:42, 22:42] = True
    filled = inpainting.continued(picture, mask[None, None])
    result = experiments.edit(emoji, picture, mask, steps=10, preview_every=0)
    painted, erased = ((pixels - filled)[..., mask] for pixels in (result.pixels, picture))
    assert (painted * erased).sum() < 0.15 * erased.square().sum()


def test_the_stronger_an_edit_the_less_of_the_picture_is_left(lab, picture):
    def distance(strength):
        edited = experiments.edit(lab, picture, prompt="a cat", strength=strength, seeds=[0, 1, 2], steps=20)
        return (edited.pixels - picture).square().mean()

    weak, middle, strong = map(distance, (0.1, 0.4, 0.9))
    assert weak < middle < strong


@pytest.mark.parametrize(
    ("grow", "shape", "corner"),
    [("right", (8, 12), (0, 0)), ("top", (12, 8), (4, 0)), (("left", "bottom"), (12, 12), (0, 4))],
)
def test_a_grown_canvas_holds_the_picture_in_its_place(lab, picture, grow, shape, corner):
    result = experiments.edit(lab, picture, grow=grow, seeds=[0, 1], steps=3)
    top, left = corner
    place = (..., slice(top, top + 8), slice(left, left + 8))
    assert result.pixels.shape[-2:] == shape == result.mask.shape[-2:]
    assert torch.equal(result.pixels[place], picture.expand(2, -1, -1, -1)) and not result.mask[place].any()
    assert int(result.mask.sum()) == shape[0] * shape[1] - 64
    assert not torch.equal(result.pixels[0], result.pixels[1])


@pytest.mark.parametrize("sides", [("right",), ("left", "top"), ("right", "bottom", "left", "top"), ("bottom",) * 6])
def test_the_windows_cover_the_canvas_and_each_holds_something_known(sides):
    layout = canvas(sides)
    known = torch.zeros(layout.height, layout.width).bool()
    known[layout.top : layout.top + 2, layout.left : layout.left + 2] = True
    for row, column in layout.windows:
        window = known[row : row + 2, column : column + 2]
        assert window.shape == (2, 2) and window.any() and not window.all()
        window[:] = True
    assert known.all()


def test_a_thing_that_the_prompt_names_is_looked_for_inside_the_mask(lab, picture, mask):
    named = dataclasses.replace(lab, things=("a cat", "a dog"))
    result = experiments.edit(named, picture, mask, "a dog", seeds=range(4), steps=3)
    inside = lab.encoder.zero_shot(result.pixels[..., 2:6, 1:5], named.things)
    assert result.value("accuracy inside the mask") == (inside.argmax(1) == 1).double().mean()
    assert "inside the mask CLIP recognises it in" in result.summary()


def refused(lab, message, *args, **params):
    with pytest.raises(UserError, match=message):
        experiments.edit(lab, *args, **params)


def test_masks_that_do_not_fit_are_refused(lab, picture, mask):
    refused(lab, r"mask is \(4, 8\) and the picture \(8, 8\): make them one size", picture, mask[:4])
    refused(lab, "the mask is empty: mark the part", picture, mask & False)
    refused(lab, "the mask covers everything: mark the part", picture, mask | True)


def test_edits_that_can_not_be_done_are_refused(lab, picture, mask):
    refused(lab, "there is nothing to edit: give a mask", picture)
    refused(lab, "strength is 1.5: give", picture, mask, strength=1.5)
    refused(lab, "give it without a mask", picture, mask, grow="right")
    refused(lab, "grow is 'up': give one of left", picture, grow="up")
    refused(lab, "would grow to 4.5 times the picture's area", picture, grow=["right"] * 7)
    refused(lab, "2 pictures: an edit is of one", torch.cat([picture, picture]), mask)
    refused(lab, "known is 'magic'", picture, mask, known="magic")


def test_a_prompt_without_a_known_word_is_refused_and_one_with_some_is_warned_about(lab, picture, mask):
    class Reader:
        def __getattr__(self, name):
            return getattr(lab.encoder, name)

        def check_caption(self, prompt):
            unknown = tuple(word for word in prompt.lower().split() if word != "cat")
            return CaptionCheck(unknown, ((),) * len(unknown), names_nothing="cat" not in prompt)

    reading = dataclasses.replace(lab, encoder=Reader())
    refused(reading, "does not know “xyzzy”, “plugh”: write of what it knows", picture, mask, "Xyzzy plugh")
    result = experiments.edit(reading, picture, mask, "cat plugh", steps=2)
    assert result.notes == ("the model does not know “plugh”",)


def test_a_lab_without_a_prior_edits_without_a_prompt_only(lab, picture, mask):
    silent = dataclasses.replace(lab, prior=None)
    refused(silent, "has no prior.*leave the prompt out", picture, mask, "a cat")
    assert experiments.edit(silent, picture, mask, steps=2).pixels.isfinite().all()


def test_the_windows_of_a_growing_canvas_share_one_run_of_the_prior(lab, picture):
    stream = experiments.edit.stream(lab, picture, None, "a cat", grow=["right", "bottom"], steps=2)
    assert [p.stage for p in stream if isinstance(p, Progress)].count("prior") == 1


def test_of_a_picture_that_was_inverted_its_own_path_stands_outside_the_mask(lab, picture, mask):
    inverted = experiments.invert(lab, picture, steps=6)
    result = experiments.edit(lab, inverted, mask, "a cat", steps=3)
    assert result.settings["steps"] == 6 and torch.equal(result.pixels.where(~mask, 0), picture.where(~mask, 0))
    assert result.settings["method"] == "fixed-point"


def test_guidance_by_clip_leads_an_edit_towards_its_prompt_and_wants_one(lab, picture, mask):
    def score(guidance):
        edited = experiments.edit(lab, picture, mask, "a cat", by="clip", guidance=guidance, steps=6, seeds=range(6))
        return edited.value("CLIP score")

    assert score(4.0) > score(0.0)
    refused(lab, "guidance by clip goes towards a prompt", picture, mask, by="clip")
    refused(lab, "by is 'magic': give one of", picture, mask, by="magic")
