"""Labels that lie at their place and can be read at any size, drawings laid over pictures, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from latentlab.errors import UserError
from latentlab.io import images
from latentlab.training.drawings import paper
from latentlab.training.things import sign_words
from latentlab.typography import Label, overlay, paste

WORDS = ["dog", "pizza", "ice cream", "watermelons"]
PAPER = torch.tensor([253, 250, 238]) / 127.5 - 1


@pytest.fixture
def blank():
    """Plain blue pictures: `blank(B, H, W)`."""
    return lambda *shape: torch.tensor([-0.6, -0.2, 0.7]).view(1, 3, 1, 1).expand(shape[0], 3, *shape[1:]).clone()


def extent(mask):
    """(x0, y0, x1, y1) of what is true in (H, W), as fractions."""
    y, x = torch.nonzero(mask, as_tuple=True)
    height, width = mask.shape
    box = x.min() / width, y.min() / height, (x.max() + 1) / width, (y.max() + 1) / height
    return [float(v) for v in box]


def ink(pixels):
    return (pixels < -0.5).all(1)  # darker than the edge


def on_paper(pixels):
    return ((pixels - PAPER.view(1, 3, 1, 1)).abs() < 0.1).all(1)


# Labels


def test_a_label_is_written_in_the_font_that_is_given(blank):
    from matplotlib import font_manager

    serif = font_manager.findfont("DejaVu Serif")
    plain, other = (paste(blank(1, 64, 64), Label("dog", font=font)) for font in (None, serif))
    assert not torch.equal(plain, other) and (on_paper(plain) == on_paper(other)).float().mean() > 0.9
    with pytest.raises(UserError, match="no font that can be read"):
        Label("dog", font="nowhere.ttf")


@pytest.mark.parametrize("shape", [(64, 64), (96, 160), (160, 96)])
@pytest.mark.parametrize("place", [(0.5, 0.64, 0.7), (0.3, 0.5, 0.4), (0.62, 0.3, 0.6)])
def test_a_label_lies_at_its_place_and_changes_nothing_around_it(blank, shape, place):
    x, y, size = place
    before = blank(2, *shape)
    after = paste(before, Label("dog", x, y, size))
    changed = (after != before).any(1)
    high = size * 0.475 * shape[1] / shape[0]
    wanted = [x - size / 2, y - high / 2, x + size / 2, y + high / 2]
    assert extent(changed[0]) == pytest.approx(wanted, abs=3.5 / min(shape))  # the filter reaches three pixels out
    assert extent(on_paper(after)[0]) == pytest.approx(wanted, abs=3 / min(shape) + 0.02 * size)  # within its edge
    assert torch.equal(after[0], after[1]) and torch.equal(before, blank(2, *shape))


@pytest.mark.parametrize(
    ("word", "side"), [(w, s) for w in WORDS for s in (64, 128, 512) if (w, s) != ("watermelons", 64)]
)
def test_a_word_is_black_on_paper_and_stays_within_its_edge(blank, word, side):
    labelled = paste(blank(1, side, side), Label(word))
    edge = 0.02 * 0.7 + 0.5 / side
    x0, y0, x1, y1 = extent(ink(labelled)[0])
    high = 0.7 * 0.475
    assert 0.15 + edge < x0 < x1 < 0.85 - edge
    assert 0.64 - high / 2 + edge < y0 < y1 < 0.64 + high / 2 - edge
    assert x1 - x0 > 0.25 and y1 - y0 > 0.04


@pytest.mark.parametrize("word", ["library", "ice cream", "watermelons"])
def test_a_long_word_fills_the_width_of_the_label(blank, word):
    x0, _, x1, _ = extent(ink(paste(blank(1, 256, 256), Label(word)))[0])
    assert x1 - x0 == pytest.approx(0.91 * 0.7, abs=0.05)


@pytest.mark.parametrize("word", WORDS)
def test_a_label_is_the_same_at_every_size(blank, word):
    small, large = (paste(blank(1, side, side), Label(word, angle=5)) for side in (64, 512))
    difference = (torch.nn.functional.avg_pool2d(large, 8) - small).abs()
    assert difference.mean() < 0.02


def test_eleven_letters_at_64_pixels_are_still_visible(blank):
    letters = paste(blank(1, 64, 64), Label("watermelons"))[0, :, 33:49, 12:52]  # within the label's edge
    assert letters.min() < -0.4 and letters.max() > 0.8


def test_a_label_is_antialiased(blank):
    labelled = paste(blank(1, 64, 64), Label("pizza"))
    rows = labelled[0, :, 40].T.unique(dim=0)  # across the middle of the letters
    assert len(rows) > 12


@pytest.mark.parametrize("word", ["go", "pizza", "robot", "elephant"])
def test_a_label_resembles_those_that_emoji_world_is_trained_on(blank, word):
    drawing = paper(word, post=False)
    wanted = overlay(blank(1, 128, 128), drawing)
    labelled = paste(blank(1, 128, 128), Label(word, y=0.5, size=244 / 256))
    assert extent(on_paper(labelled)[0]) == pytest.approx(extent(on_paper(wanted)[0]), abs=0.02)
    assert extent(ink(labelled)[0]) == pytest.approx(extent(ink(wanted)[0]), abs=0.04)
    assert (labelled - wanted).abs().mean() < 0.5 * (blank(1, 128, 128) - wanted).abs().mean()


def test_every_word_of_emoji_world_fits_a_label_at_its_own_size(blank):
    for word in sign_words():
        paste(blank(1, 64, 64), Label(word))


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (180, 2), (-90, -1)])
def test_the_angle_turns_the_label_anticlockwise(blank, angle, turns):
    straight, turned = (paste(blank(1, 64, 64), Label("dog", y=0.5, angle=a)) for a in (0, angle))
    assert (turned - straight.rot90(turns, (2, 3))).abs().mean() < 0.02
    assert (turned - straight).abs().mean() > 0.04


def test_colour_and_paper_set_the_colours_of_letters_and_label(blank):
    labelled = paste(blank(1, 128, 128), Label("dog", colour="white", paper="#b00020"))
    count = {colour: n for n, colour in images.to_pil(labelled)[0].getcolors(128 * 128)}
    assert count[176, 0, 32] > 1000 and count[255, 255, 255] > 50


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_pictures_keep_their_dtype_and_range(rng, dtype):
    pixels = (torch.rand(3, 3, 64, 80, generator=rng) * 2 - 1).to(dtype)
    labelled = paste(pixels, Label("dog", angle=20))
    assert labelled.dtype == dtype and labelled.shape == pixels.shape
    assert labelled.abs().max() <= 1.001
    assert torch.equal(labelled[1:2], paste(pixels[1:2], Label("dog", angle=20)))


def test_spaces_around_a_word_do_not_shrink_it(blank):
    assert torch.equal(paste(blank(1, 64, 64), Label("  dog ")), paste(blank(1, 64, 64), Label("dog")))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"word": ""}, "word is empty: write one"),
        ({"word": " \t"}, "word is empty"),
        ({"word": "a\nb"}, r"font lacks '\\n' of 'a\\nb': write one line in plain letters"),
        ({"word": "Пicca"}, "font lacks 'П'"),
        ({"word": "süß 🐶"}, "font lacks 'üß🐶'"),
        ({"x": 1.2}, r"x is 1\.2, wanted a fraction"),
        ({"y": -0.1}, r"y is -0\.1, wanted a fraction"),
        ({"y": float("nan")}, "y is nan"),
        ({"size": 0}, "size is 0, wanted .* above 0 and up to 1"),
        ({"size": 1.1}, r"size is 1\.1"),
        ({"size": float("nan")}, "size is nan"),
        ({"angle": float("inf")}, "angle is inf, wanted degrees"),
        ({"colour": "rainbow"}, "colour is 'rainbow', wanted a colour's name, like 'red', or #rrggbb"),
        ({"paper": "#12"}, "paper is '#12'"),
        ({"colour": "white", "paper": "#fff"}, "colour and paper are both #fff"),
    ],
)
def test_an_impossible_label_is_refused(options, match):
    with pytest.raises(UserError, match=match):
        Label(**{"word": "dog", **options})


def test_a_label_is_frozen():
    with pytest.raises(AttributeError):
        Label("dog").word = "cat"


def test_a_word_too_small_to_read_is_refused_with_a_size_that_works(blank):
    with pytest.raises(
        UserError, match=r"on a label 6 pixels wide: it takes 18 .* 64; give a larger label \(size"
    ) as e:
        paste(blank(1, 64, 64), Label("dog", size=0.1))
    size = float(str(e.value).split("(size ")[1].split(")")[0])
    paste(blank(1, 64, 64), Label("dog", size=size))
    with pytest.raises(UserError, match="can't be read"):
        paste(blank(1, 64, 64), Label("dog", size=size - 0.02))
    paste(blank(1, 640, 640), Label("dog", size=0.1))


def test_a_word_too_long_for_any_label_is_refused_without_advice_to_enlarge_it(blank):
    label = Label("a word of so many letters that nothing helps")
    with pytest.raises(UserError, match="give a shorter word or a larger picture") as e:
        paste(blank(1, 64, 64), label)
    assert "size" not in str(e.value)
    paste(blank(1, 256, 256), label)


@pytest.mark.parametrize(
    ("label", "match"),
    [
        (Label("dog", x=0.9), r"from 0\.55 to 1\.25 along x: give x from 0\.35 to 0\.65, or a smaller size"),
        (Label("dog", y=0.1), r"from -0\.07 to 0\.27 along y: give y from 0\.17 to 0\.83"),
        (Label("dog", size=0.9, angle=90, y=0.6), "along y: give y from 0.45 to 0.55"),
        (Label("dog", size=1, angle=20), "the label is 1.10 of the picture along x: give a smaller size or angle"),
    ],
)
def test_a_label_that_leaves_the_picture_is_refused_with_places_that_work(blank, label, match):
    with pytest.raises(UserError, match=match):
        paste(blank(1, 64, 64), label)


@pytest.mark.parametrize("act", [lambda p: paste(p, Label("dog")), lambda p: overlay(p, Image.new("RGBA", (8, 8)))])
@pytest.mark.parametrize(
    "pixels", [torch.zeros(3, 64, 64), torch.zeros(1, 4, 64, 64), torch.zeros(1, 3, 64, 64).byte()]
)
def test_a_tensor_of_another_shape_or_dtype_than_pictures_is_refused(act, pixels):
    with pytest.raises(UserError, match=r"wanted floats \(B, 3, H, W\)"):
        act(pixels)


# Drawings


def test_an_empty_drawing_changes_nothing(rng):
    pixels = torch.rand(2, 3, 20, 30, generator=rng) * 2 - 1
    assert torch.equal(overlay(pixels, Image.new("RGBA", (300, 200), (255, 0, 0, 0))), pixels)


@pytest.mark.parametrize("alpha", [51, 102, 255])
def test_a_drawing_is_mixed_in_by_its_alpha(rng, alpha):
    pixels = torch.rand(2, 3, 20, 30, generator=rng) * 2 - 1
    overlaid = overlay(pixels, Image.new("RGBA", (30, 20), (0, 255, 0, alpha)))
    green = torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(overlaid, torch.lerp(pixels, green.expand_as(pixels), alpha / 255), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 3, 8])
def test_a_drawing_of_any_size_lies_where_it_was_drawn(blank, scale):
    drawing = Image.new("RGBA", (40 * scale, 24 * scale))
    ImageDraw.Draw(drawing).rectangle([v * scale for v in (10, 6)] + [v * scale - 1 for v in (20, 18)], (255, 0, 0))
    before = blank(1, 24, 40)
    after = overlay(before, drawing)
    red = torch.tensor([1.0, -1.0, -1.0]).view(3, 1, 1).expand(3, 6, 4)
    torch.testing.assert_close(after[0, :, 9:15, 13:17], red, rtol=0, atol=1e-6)
    assert torch.equal(after[..., 24:], before[..., 24:]) and torch.equal(after[..., :6], before[..., :6])


def test_the_colour_under_transparent_pixels_does_not_bleed(blank):
    drawing = Image.new("RGBA", (256, 256), (255, 255, 255, 0))  # as a browser's sketch pad leaves it
    ImageDraw.Draw(drawing).ellipse((60, 60, 200, 200), (20, 20, 20, 255))
    overlaid = np.asarray(images.to_pil(overlay(torch.full((1, 3, 32, 32), -1.0), drawing))[0])
    assert overlaid.max() <= 22


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_drawing_that_hides_everything_is_refused(blank, mode):
    with pytest.raises(UserError, match=f"drawing is {mode}, which hides all of the picture: give RGBA"):
        overlay(blank(1, 8, 8), Image.new(mode, (8, 8)))


def test_a_drawing_of_another_shape_is_refused_and_the_advice_works(blank):
    drawing = Image.new("RGBA", (640, 480))
    with pytest.raises(UserError, match=r"drawing is 640x480, the picture 64x64: .*images\.square\(drawing, 64\)"):
        overlay(blank(1, 64, 64), drawing)
    overlay(blank(1, 64, 64), images.square(drawing, 64))


@pytest.mark.parametrize("size", [(100, 67), (300, 200), (1001, 667)])
def test_a_drawing_whose_side_is_rounded_to_a_pixel_has_the_same_shape(blank, size):
    overlay(blank(1, 20, 30), Image.new("RGBA", size))
