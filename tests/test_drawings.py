"""The sprites: words on paper, drawings in one ink, and the artists who drew a thing."""

import numpy as np
import pytest
from PIL import Image

from latentlab.training.drawings import SIZE, Sprites, _enclosed, paper
from latentlab.training.icon_sets import HELD_OUT_STYLES


@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("word", ["go", "watermelon", "strawberry patch"])
def test_a_word_on_paper_fits_the_paper(word, post):
    image = paper(word, post=post)
    assert image.size == (SIZE, SIZE) and image.mode == "RGBA"
    on_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    ink = np.asarray(on_white.convert("L")) < 60
    columns = np.flatnonzero(ink.any(0))
    assert ink.sum() > 50 and columns[0] > 4 and columns[-1] < SIZE - 5


def test_a_style_that_has_no_drawing_of_a_thing_is_not_offered(sprites):
    lacking = Sprites(sprites.pixels, {k: v for k, v in sprites.index.items() if k != "noto/fox"})
    assert "noto" not in lacking.styles_of("fox") and "noto" in lacking.styles_of("bear")
    assert lacking.styles_of("fox", held_out=True) == list(HELD_OUT_STYLES)


def test_enclosed_marks_the_inside_of_a_line_drawing():
    ring = np.zeros((SIZE, SIZE, 4), np.uint8)
    ring[30:90, 30:90, 3] = 255
    ring[40:80, 40:80, 3] = 0
    enclosed = np.asarray(_enclosed(Image.fromarray(ring)))
    assert enclosed[60, 60].tolist() == [255, 0, 0, 0] and enclosed[35, 35, 3] == 255 and not enclosed[5, 5].any()
