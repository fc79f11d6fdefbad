"""The grammar of binding: captions parse back, swaps change the meaning, samples are balanced, colours measured."""

import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from latentlab import grammar
from latentlab.errors import UserError
from latentlab.grammar import COLOURS, RELATIONS, SOLIDS, Arrangement, Solid, arrangements, colour_at, parse
from latentlab.io import images
from latentlab.training import drawings, scenes

RED_ON_BLUE = Arrangement(Solid("red", "cube"), "on top of", Solid("blue", "ball"))


def test_the_grammars_colours_are_the_ones_that_the_miniature_is_trained_on():
    assert drawings.COLOURS is COLOURS and drawings.SOLIDS is SOLIDS
    assert list(COLOURS)[:4] == ["red", "orange", "yellow", "green"]  # seeds draw by this order, so it must not change


def test_the_grammar_imports_neither_torch_nor_the_training():
    code = "import sys, latentlab.grammar; print('torch' in sys.modules, 'latentlab.training' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


# Captions


def test_a_caption_is_worded_as_in_the_paper():
    assert RED_ON_BLUE.caption == "a red cube on top of a blue ball"
    assert Arrangement(Solid("orange", "star"), "left of", Solid("red", "cone")).caption == (
        "an orange star left of a red cone"
    )


@pytest.mark.parametrize("relation", RELATIONS)
def test_every_caption_parses_to_its_own_arrangement(relation):
    for arrangement in arrangements(60, seed=3, relations=[relation]):
        assert parse(arrangement.caption) == arrangement


@pytest.mark.parametrize(
    ("caption", "relation", "exchanged"),
    [
        ("a red cube above a blue ball", "on top of", False),
        ("A Red Cube is over the  blue sphere.", "on top of", False),
        ("a red cube below a blue ball", "on top of", True),
        ("red cube under blue ball", "on top of", True),
        ("a red cube underneath a blue ball on a white background", "on top of", True),
        ("a red cube on top of a blue ball on white", "on top of", False),
        ("a red cube to the left of a blue ball", "left of", False),
        ("a red cube on the left of a blue ball", "left of", False),
        ("a red cube right of a blue ball on grey", "left of", True),
        ("a red cube to the right of a blue ball", "left of", True),
        ("a red cube beside a blue ball", "beside", False),
        ("a red cube next to a blue ball!", "beside", False),
    ],
)
def test_other_wordings_parse_to_the_same_arrangement(caption, relation, exchanged):
    red, blue = Solid("red", "cube"), Solid("blue", "ball")
    wanted = Arrangement(blue, relation, red) if exchanged else Arrangement(red, relation, blue)
    assert parse(caption) == wanted


def test_every_caption_that_the_miniature_is_trained_on_parses_to_its_scene():
    rng = random.Random(0)
    for split in ("train", "held-out"):
        for _ in range(150):
            scene = scenes.solids(rng, count=2, split=split)
            first, second = (Solid(*solid) for solid in scene.facts["solids"])
            arrangement = parse(scene.caption)
            assert (arrangement.first, arrangement.second) == (first, second), scene.caption
            assert (
                arrangement.relation
                in ({"above": ["on top of"], "left": ["left of", "beside"]}[scene.facts["relation"]])
            )


@pytest.mark.parametrize(
    "caption", ["", "a corgi", "a red cube", "a red cube and a blue ball", "an overture", "a topper"]
)
def test_a_caption_without_a_relation_parses_to_none(caption):
    assert parse(caption) is None


@pytest.mark.parametrize(
    ("caption", "match"),
    [
        ("a red cube on top of a teal ball", "unknown colour “teal”: give one of red, orange, .*black"),
        ("a red dog left of a blue ball", "unknown shape “dog”: give one of cube, ball, cone, star"),
        ("a cube above a blue ball", "“a cube” is not understood: give a colour and a shape, like “a red cube”"),
        ("a red cube above two big blue balls", "“two big blue balls” is not understood"),
        ("a red cube on top of", "“…” is not understood"),
        (
            "a red cube above a blue ball left of a pink star",
            "says above and left of: give two solids and one relation",
        ),
    ],
)
def test_a_caption_that_does_not_parse_is_refused_with_the_part_that_does_not(caption, match):
    with pytest.raises(UserError, match=match):
        parse(caption)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Solid("teal", "cube"), "unknown colour “teal”"),
        (lambda: Solid("red", "sphere"), "unknown shape “sphere”"),
        (lambda: Arrangement(Solid("red", "cube"), "above", Solid("blue", "ball")), "unknown relation “above”.*beside"),
    ],
)
def test_an_unknown_colour_shape_or_relation_is_refused(make, match):
    with pytest.raises(UserError, match=match):
        make()


# Swaps


def test_swaps_exchange_the_colours_the_places_or_both():
    assert {name: swap.caption for name, swap in RED_ON_BLUE.swaps().items()} == {
        "none": "a red cube on top of a blue ball",
        "colours": "a blue cube on top of a red ball",
        "places": "a blue ball on top of a red cube",
        "both": "a red ball on top of a blue cube",
    }


@pytest.mark.parametrize("relation", RELATIONS)
def test_swaps_use_the_same_words_and_no_two_mean_the_same(relation):
    for arrangement in arrangements(40, relations=[relation]):
        swaps = list(arrangement.swaps().values())
        assert swaps[0] == arrangement and len(set(swaps)) == len(swaps) == (2 if relation == "beside" else 4)
        words = {tuple(sorted(w for w in s.caption.split() if w not in ("a", "an"))) for s in swaps}
        assert len(words) == 1


@pytest.mark.parametrize("name", ["colours", "places", "both"])
def test_a_swap_done_twice_is_the_original_arrangement(name):
    assert RED_ON_BLUE.swaps()[name].swaps()[name] == RED_ON_BLUE


@pytest.mark.parametrize(
    ("second", "left"),
    [(("blue", "cube"), ["none", "colours"]), (("red", "ball"), ["none", "places"]), (("red", "cube"), ["none"])],
    ids=["one shape", "one colour", "twins"],
)
def test_swaps_that_change_nothing_are_left_out(second, left):
    assert list(Arrangement(Solid("red", "cube"), "on top of", Solid(*second)).swaps()) == left


# Samples


def test_a_longer_sample_of_a_seed_begins_with_its_shorter_one():
    assert arrangements(20, seed=5) == arrangements(50, seed=5)[:20]
    assert arrangements(20, seed=5) != arrangements(20, seed=6)


@pytest.mark.parametrize("count", [22, 40, 132])
@pytest.mark.parametrize("seed", range(3))
def test_every_colour_shape_and_relation_is_about_equally_frequent_in_its_place(seed, count):
    sample = arrangements(count, seed=seed)
    assert len(set(sample)) == count
    columns = {
        "relation": (RELATIONS[:2], [a.relation for a in sample]),
        "first colour": (COLOURS, [a.first.colour for a in sample]),
        "second colour": (COLOURS, [a.second.colour for a in sample]),
        "first shape": (SOLIDS, [a.first.shape for a in sample]),
        "second shape": (SOLIDS, [a.second.shape for a in sample]),
    }
    for name, (values, column) in columns.items():
        used = [Counter(column)[value] for value in values]
        assert max(used) - min(used) <= 2, name


def test_two_solids_never_share_a_colour_nor_a_shape_where_there_is_a_choice():
    for a in arrangements(100):
        assert a.first.colour != a.second.colour and a.first.shape != a.second.shape
    for a in arrangements(12, colours=["red", "green", "blue"], shapes=["cube"]):
        assert a.first.colour != a.second.colour and a.first.shape == a.second.shape == "cube"


def test_a_sample_can_have_all_arrangements_there_are_and_not_one_more():
    few = {"colours": ["red", "blue", "red"], "shapes": ["cube", "ball"]}
    assert len(set(arrangements(8, **few))) == 8
    for count in (0, 9):
        with pytest.raises(UserError, match=f"{count} arrangements of 2 colours and 2 shapes: give from 1 to 8"):
            arrangements(count, **few)


@pytest.mark.parametrize("few", [{"colours": ["red"]}, {"colours": []}, {"shapes": []}])
def test_too_few_words_are_refused(few):
    with pytest.raises(UserError, match="give two colours and one shape"):
        arrangements(1, **few)


# Colours


def light(rgb, k):
    """A colour shaded by k, as Emoji World's renderer does it."""
    return tuple(int(max(0, min(255, c * k + (25 if k > 1 else 0)))) for c in rgb)


def cube(draw, rgb, x, y, size):
    """A cube of three sides, one of them dark, around (x, y)."""
    at = [
        (x + (u - 64) * size / 128, y + (v - 64) * size / 128)
        for u, v in [(64, 10), (114, 34), (64, 60), (14, 34), (64, 118), (14, 92), (114, 92)]
    ]
    top, right, middle, left, bottom, low_left, low_right = at
    draw.polygon([top, right, middle, left], light(rgb, 1.15))
    draw.polygon([left, middle, bottom, low_left], light(rgb, 0.9))
    draw.polygon([right, middle, bottom, low_right], light(rgb, 0.65))


def ball(draw, rgb, x, y, size):
    """A ball, bright in its middle and dark at its edge."""
    for r in np.linspace(0.42, 0.01, 30) * size:
        draw.ellipse((x - r, y - r, x + r, y + r), light(rgb, 1.3 - 0.75 * r / (0.42 * size)))


def picture(first, second=None, ground="white", relation="on top of", sides=(64, 64), noise=None):
    """Solids of two colours as (1, 3, H, W), a cube first and a ball second."""
    height, width = sides
    image = Image.new("RGB", (4 * width, 4 * height), COLOURS[ground])
    draw, size = ImageDraw.Draw(image), 1.8 * min(sides)
    places = [(2, 1), (2, 3)] if relation == "on top of" else [(1, 2), (3, 2)]
    cube(draw, COLOURS[first], places[0][0] * width, places[0][1] * height, size)
    if second:
        ball(draw, COLOURS[second], places[1][0] * width, places[1][1] * height, size)
    return images.to_tensor(image.resize((width, height), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("ground", ["white", "gray", "black", "yellow", "blue", "pink"])
@pytest.mark.parametrize("shape", [0, 1], ids=["cube", "ball"])
def test_a_shaded_solid_has_the_colour_of_its_name_on_every_ground(ground, shape):
    for colour in COLOURS:
        if colour != ground:
            pixels = picture(*(("red", colour) if shape else (colour, "red")), ground=ground)
            ((name, share),) = colour_at(pixels, RED_ON_BLUE.boxes[shape])
            assert name == colour and 0.4 < share <= 1


@pytest.mark.parametrize("sides", [(48, 64), (64, 48), (300, 280)])
@pytest.mark.parametrize("relation", ["on top of", "left of"])
def test_each_box_of_an_arrangement_holds_its_own_solid(relation, sides):
    wanted = Arrangement(Solid("green", "cube"), relation, Solid("purple", "ball"))
    pixels = picture("green", "purple", relation=relation, sides=sides)
    assert [colour_at(pixels, box)[0][0] for box in wanted.boxes] == ["green", "purple"]
    flipped = pixels.flip(2 if relation == "on top of" else 3)
    assert [colour_at(flipped, box)[0][0] for box in wanted.boxes] == ["purple", "green"]


def test_a_little_noise_does_not_change_the_colour(rng):
    pixels = picture("orange", "brown")
    noisy = (pixels + 0.08 * torch.randn(pixels.shape, generator=rng)).clamp(-1, 1)
    assert [colour_at(noisy, box)[0][0] for box in RED_ON_BLUE.boxes] == ["orange", "brown"]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_plain_patch_of_a_colour_has_all_the_votes(colour):
    pixels = torch.full((1, 3, 40, 40), -1.0 if colour != "black" else 1.0)
    pixels[..., 10:30, 10:30] = torch.tensor(COLOURS[colour]).view(3, 1, 1) / 127.5 - 1
    assert colour_at(pixels) == [(colour, 1.0)]


def test_the_share_is_the_colours_part_of_the_pixels_that_differ_from_the_ground():
    pixels = torch.ones(1, 3, 40, 40)
    pixels[..., 10:30, 10:25] = torch.tensor(COLOURS["red"]).view(3, 1, 1) / 127.5 - 1
    pixels[..., 10:30, 25:30] = torch.tensor(COLOURS["blue"]).view(3, 1, 1) / 127.5 - 1
    assert colour_at(pixels) == [("red", 0.75)]
    assert colour_at(pixels, (25 / 40, 0, 1, 1)) == [("blue", 1.0)]


def test_a_box_of_plain_ground_has_no_colour():
    pixels = torch.cat([picture("red"), picture("red", "blue")])
    assert colour_at(pixels, RED_ON_BLUE.boxes[1])[0] == (None, 0.0)
    assert [name for name, _ in colour_at(pixels, RED_ON_BLUE.boxes[1])] == [None, "blue"]
    assert colour_at(torch.zeros(1, 3, 8, 8)) == [(None, 0.0)]


def test_a_picture_in_a_batch_has_the_colour_that_it_has_alone():
    batch = torch.cat([picture(colour, "red") for colour in ("green", "pink", "black")])
    assert colour_at(batch) == [colour_at(row[None])[0] for row in batch]


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (0, 0.5, 1, 1.2), (-0.1, 0, 1, 1), (0, float("nan"), 1, 1)]
)
def test_a_box_outside_the_picture_or_empty_is_refused(box):
    with pytest.raises(UserError, match=r"box is .*, wanted \(left, top, right, bottom\)"):
        colour_at(torch.zeros(1, 3, 8, 8), box)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8)])
def test_a_tensor_of_another_shape_than_pictures_is_refused(shape):
    with pytest.raises(UserError, match=r"wanted \(B, 3, H, W\)"):
        colour_at(torch.zeros(shape))


def test_the_smallest_box_holds_a_pixel():
    assert grammar.colour_at(torch.zeros(1, 3, 8, 8), (0.99, 0.99, 1, 1)) == [(None, 0.0)]
