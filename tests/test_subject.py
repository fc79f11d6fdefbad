"""The subject of a picture: found exactly on a uniform ground, and never in a photograph."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageChops

from latentlab.io import images
from latentlab.io.subject import SHARE, crop_to_subject, subject_box

GROUNDS = ["white", "black", (70, 170, 85)]
BOXES = [(3, 5, 9, 30), (20, 10, 47, 12), (0, 0, 6, 6), (12, 12, 13, 13)]


def drawing(ground, box, mode="RGB", size=(48, 40)):
    """A noisy subject in a box on a ground."""
    picture = Image.new(mode, size, ground)
    width, height = box[2] - box[0], box[3] - box[1]
    noise = np.random.default_rng(0).integers(110, 140, (height, width, 3), np.uint8)
    noise[..., 0] = 250  # far from every ground
    picture.paste(Image.fromarray(noise), box)
    return picture


def photograph(size=(48, 40)):
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8))


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("box", BOXES[:2] + BOXES[3:])
def test_a_subject_on_a_uniform_ground_is_found_exactly(ground, box):
    assert subject_box(drawing(ground, box)) == box


@pytest.mark.parametrize("box", BOXES)
def test_a_subject_on_a_transparent_ground_is_found_exactly_whatever_its_colour(box):
    assert subject_box(drawing((255, 0, 0, 0), box, "RGBA")) == box
    white = Image.new("RGBA", (48, 40), (255, 255, 255, 0))
    white.paste((255, 255, 255, 255), box)
    assert subject_box(white) == box


def test_noise_as_that_of_a_jpeg_does_not_hide_the_ground():
    box, noise = (10, 8, 30, 33), np.random.default_rng(2).integers(-10, 10, (40, 48, 3))
    noisy = (np.asarray(drawing("gray", box), int) + noise).clip(0, 255).astype(np.uint8)
    assert subject_box(Image.fromarray(noisy)) == box


def test_a_photograph_without_a_uniform_border_is_left_as_it_is():
    assert subject_box(photograph()) is None
    same = ImageChops.difference(crop_to_subject(photograph()), photograph())
    assert same.getbbox() is None
    whole = images.square(photograph(), 32, fit="subject")
    assert ImageChops.difference(whole, images.square(photograph(), 32)).getbbox() is None


def test_a_picture_of_one_colour_has_no_subject():
    assert subject_box(Image.new("RGB", (9, 7), "blue")) is None
    assert crop_to_subject(Image.new("RGB", (9, 7), "blue")).size == (9, 7)


@pytest.mark.parametrize("box", [(3, 5, 13, 33), (20, 10, 47, 17), (0, 0, 25, 25)])
def test_a_cropped_subject_keeps_its_pixels_fills_the_square_and_stands_in_the_middle(box):
    whole = drawing((255, 0, 0, 0), box, "RGBA")
    square = crop_to_subject(whole)
    width, height = box[2] - box[0], box[3] - box[1]
    left, top, right, bottom = subject_box(square) or (0, 0, *square.size)
    assert (right - left, bottom - top) == (width, height)
    assert square.width == square.height == max(1, round(max(width, height) / SHARE))
    assert abs(left + right - square.width) <= 1 and abs(top + bottom - square.height) <= 1
    subject = square.crop((left, top, right, bottom))
    assert ImageChops.difference(subject, whole.convert("RGB").crop(box)).getbbox() is None


def test_a_square_picture_that_its_subject_fills_already_is_left_as_it_is():
    whole = drawing("white", (6, 6, 42, 42), size=(48, 48))
    assert ImageChops.difference(crop_to_subject(whole), whole).getbbox() is None


def test_a_file_keeps_its_transparency_for_its_subject_and_is_laid_on_white(tmp_path):
    whole = Image.new("RGBA", (60, 40), (255, 255, 255, 0))
    whole.paste((255, 255, 255, 255), (40, 10, 50, 20))
    whole.paste((200, 30, 30, 255), (44, 14, 46, 16))
    whole.save(tmp_path / "a.png")
    pixels = images.load(tmp_path / "a.png", 24, fit="subject")
    assert pixels.shape == (1, 3, 24, 24)
    red = (pixels[0, 1] < 0.5).nonzero().float().mean(0)
    assert red.sub(11.5).abs().max() <= 1  # the drop in the middle of a white subject stays in the middle
