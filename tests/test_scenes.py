"""Emoji World: scenes that repeat by seed, captions that are true and of known words, pictures that show them."""

import os
import random
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from latentlab.captions import CaptionCheck
from latentlab.grammar import COLOURS, SOLIDS, article
from latentlab.training import curriculum, scene_text, scenes, vocabulary
from latentlab.training.clip import TEMPLATES, validation_scenes
from latentlab.training.drawings import Sprites
from latentlab.training.icon_sets import FIRST_EDITION, HELD_OUT_STYLES, STYLES
from latentlab.training.rendering import Renderer
from latentlab.training.scenes import Layer, Scene, held_out, single
from latentlab.training.things import sign_words, things

NAMES = [thing.name for thing in things()]
SEEDS = range(3)


def many(sprites, seed=0, count=600):
    """Scenes of every kind that a part of the miniature is trained on."""
    rng = random.Random(seed)
    batch = curriculum.batch_for_clip(seed, sprites, count) + [curriculum.for_decoder(k, sprites) for k in range(count)]
    return batch + [scene_text.sign(rng, word) for word in sign_words()]


def combination(scene):
    return scene.thing, scene.facts["colour"], scene.facts["place"]


def test_a_shop_sign_shows_a_word_and_names_the_thing(sprites):
    rng = random.Random(0)
    signs = [scene_text.shop_sign(rng, sprites, "pizza") for _ in range(60)]
    assert {s.layers[-1].key for s in signs} == {"sign/pizza", "label/pizza"}
    assert all("pizza" in s.caption and s.facts["word"] == "pizza" and s.thing is None for s in signs)
    alone = [s for s in signs if len(s.layers) == 1]
    assert all("sign" not in s.caption and "word" not in s.caption for s in alone)


def test_a_word_beside_a_thing_does_not_lie_on_it(sprites):
    rng = random.Random(0)
    both = [s for s in (scene_text.shop_sign(rng, sprites, "pizza") for _ in range(60)) if len(s.layers) == 2]
    for thing, paper_layer in (s.layers for s in both):
        assert max(abs(thing.x - paper_layer.x), abs(thing.y - paper_layer.y)) > 0.8
    assert len(both) > 5


def test_labelled_things_are_in_the_report_and_never_in_clips_training(sprites):
    trained = [s.kind for k in range(8) for s in curriculum.batch_for_clip(k, sprites, 192)]
    reported = [s.kind for k in range(8) for s in curriculum.batch_for_clip(k, sprites, 192, curriculum.REPORTED)]
    assert "labelled" not in trained and "labelled" in reported
    assert {"single", "pair", "solids", "sign", "several"} <= set(trained) & set(reported)


# Determinism


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_always_gives_the_same_scenes(sprites, seed):
    assert curriculum.batch_for_clip(seed, sprites, 150) == curriculum.batch_for_clip(seed, sprites, 150)
    assert curriculum.for_decoder(seed, sprites) == curriculum.for_decoder(seed, sprites)


def test_other_seeds_give_other_scenes(sprites):
    batches = [curriculum.batch_for_clip(seed, sprites, 50) for seed in SEEDS]
    assert batches[0] != batches[1] != batches[2]
    assert len({curriculum.for_decoder(seed, sprites) for seed in range(50)}) == 50


def test_another_process_draws_the_same_scenes(sprites):
    program = (
        "from latentlab.training import curriculum, vocabulary\n"
        "from latentlab.training.drawings import Sprites\n"
        "from latentlab.training.icon_sets import STYLES\n"
        "from latentlab.training.things import things\n"
        "sprites = Sprites(None, {f'{s}/{t.name}': 0 for s in STYLES for t in things()})\n"
        "print([s.caption for s in curriculum.batch_for_clip(5, sprites, 60)], vocabulary.words())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "123"}  # the order of a set would show
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    here = [s.caption for s in curriculum.batch_for_clip(5, sprites, 60)]
    assert done.stdout.strip() == f"{here} {vocabulary.words()}"


def test_drawing_scenes_leaves_the_global_generators_alone(sprites):
    before = random.getstate(), torch.get_rng_state()
    many(sprites, count=20)
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])


# What is held out


def test_training_singles_are_never_a_held_out_combination(sprites):
    rng = random.Random(0)
    singles = [single(rng, sprites, name, centred=k % 2 == 0) for name in NAMES for k in range(8)]
    singles += [s for s in many(sprites) if s.kind in ("single", "labelled")]
    assert not any(held_out(*combination(scene)) for scene in singles)


def test_held_out_singles_are_always_a_held_out_combination(sprites):
    rng = random.Random(0)
    possible = {name for name in NAMES for c in COLOURS for p in scenes.PLACES if held_out(name, c, p)}
    singles = [single(rng, sprites, name, split="held-out", full=True) for name in sorted(possible) for _ in range(8)]
    assert len(possible) >= len(NAMES) - 1
    assert all(held_out(*combination(scene)) for scene in singles)


def test_held_out_singles_in_the_middle_are_held_out_combinations_too(sprites):
    rng = random.Random(0)
    possible = [name for name in NAMES if any(held_out(name, colour, "") for colour in COLOURS)]
    singles = [single(rng, sprites, name, split="held-out", centred=True) for name in possible for _ in range(4)]
    assert all(held_out(*combination(scene)) and scene.facts["place"] == "" for scene in singles)


def test_held_out_singles_show_each_thing_in_several_ways(sprites):
    rng = random.Random(0)
    combinations = [{combination(single(rng, sprites, name, split="held-out")) for _ in range(30)} for name in NAMES]
    assert np.mean([len(ways) for ways in combinations]) > 2


def test_about_one_combination_in_twelve_is_held_out():
    share = np.mean([held_out(n, c, p) for n in NAMES for c in COLOURS for p in scenes.PLACES])
    assert share == pytest.approx(1 / 12, rel=0.1)


@pytest.mark.parametrize("count", [1, 2])
def test_held_out_solids_never_appear_in_training(count):
    rng = random.Random(0)
    train, test = (
        {scenes.solids(rng, count=count, split=split).facts["solids"] for _ in range(400)}
        for split in ("train", "held-out")
    )
    assert train and test and not train & test


def test_training_never_uses_a_held_out_style(sprites):
    keys = {layer.key for seed in SEEDS for scene in many(sprites, seed) for layer in scene.layers}
    styles = {key.split("/")[0] for key in keys}
    assert not styles & set(HELD_OUT_STYLES)
    assert styles >= set(STYLES) - set(HELD_OUT_STYLES) | {"solid", "sign", "label"}


@pytest.mark.parametrize("style", [None, *HELD_OUT_STYLES])
def test_validation_scenes_show_every_thing_in_the_styles_asked_for(sprites, style):
    validation = validation_scenes(sprites, style=style, per_thing=2)
    assert Counter(scene.thing for scene in validation) == dict.fromkeys(NAMES, 2)
    styles = {scene.facts["style"] for scene in validation}
    assert styles == {style} if style else not styles & set(HELD_OUT_STYLES)


def test_the_first_editions_scenes_do_not_change_when_drawings_are_added(sprites):
    """They use only the first drawings of the first edition's artists."""
    first = sprites.first_edition()
    more = Sprites(sprites.pixels, {**sprites.index, **{f"noto/{name}/2": 1 for name in NAMES}})
    assert validation_scenes(first) == validation_scenes(more.first_edition())
    assert {scene.facts["style"] for scene in validation_scenes(first)} == set(FIRST_EDITION)
    assert "icon-park" in {s.facts["style"] for s in validation_scenes(sprites, style="icon-park")}
    batch = curriculum.batch_for_clip(3, first, 192, curriculum.REPORTED)
    keys = {layer.key.split("/")[0] for scene in batch for layer in scene.layers}
    assert keys <= {*FIRST_EDITION, "solid", "sign", "label"}


def test_second_drawings_are_shown_as_often_as_first_ones(sprites):
    more = Sprites(sprites.pixels, {**sprites.index, "noto/fox/2": 1})
    rng = random.Random(0)
    keys = Counter(single(rng, more, "fox", style="noto").layers[0].key for _ in range(200))
    assert set(keys) == {"noto/fox", "noto/fox/2"} and min(keys.values()) > 70


def test_a_drawing_in_one_ink_stands_out_from_its_ground(sprites):
    rng, checked = random.Random(0), 0
    for name in NAMES:
        scene = single(rng, sprites, name, style="tabler")
        layer = scene.layers[0]
        difference = abs(scenes.luma(layer.ink) - scenes.luma(scene.background))
        assert layer.fill is not None or difference > 40
        assert single(rng, sprites, name, style="noto").layers[0].ink is None
        checked += layer.fill is not None
    assert 0.3 < checked / len(NAMES) < 0.7


def test_scenes_that_are_trained_on_show_things_from_a_third_of_the_picture_to_all_of_it(sprites):
    rng = random.Random(0)
    sizes = [single(rng, sprites, wide=True).layers[0].size for _ in range(600)]
    assert 0.33 < min(sizes) < 0.37 and 0.97 < max(sizes) <= 1


def test_two_of_three_drawings_are_in_colour(sprites):
    rng = random.Random(0)
    styles = [single(rng, sprites).facts["style"] for _ in range(900)]
    assert np.mean([STYLES[style].monochrome for style in styles]) == pytest.approx(1 / 3, abs=0.06)


# Batches


@pytest.mark.parametrize("size", [1, 7, 192, 400])
def test_a_batch_has_the_size_asked_for(sprites, size):
    assert len(curriculum.batch_for_clip(1, sprites, size)) == size


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thing_is_the_subject_of_at_most_two_scenes_of_a_batch(sprites, seed):
    leaders = Counter(scene.thing for scene in curriculum.batch_for_clip(seed, sprites, 150) if scene.thing)
    assert max(leaders.values()) <= 2 and Counter(leaders.values())[1] > 50


def test_the_decoder_is_trained_on_every_thing(sprites):
    assert {curriculum.for_decoder(seed, sprites).thing for seed in range(4000)} >= set(NAMES)


def test_every_layer_is_a_drawing_that_exists(sprites):
    assert all(layer.key in sprites.index for scene in many(sprites) for layer in scene.layers)


# Captions


@pytest.mark.parametrize("seed", SEEDS)
def test_captions_are_of_known_words_and_fit_the_context(sprites, encoder, seed):
    captions = sorted({scene.caption for scene in many(sprites, seed)})
    tokenizer = encoder.tokenizer
    ids = tokenizer(captions, context_length=4 * vocabulary.CONTEXT)
    assert not (ids == tokenizer.tokenizer.unk_token_id).any()
    assert not ids[:, vocabulary.CONTEXT :].any()
    assert all(encoder.check_caption(caption) == CaptionCheck() for caption in captions[::20])


def test_every_phrase_in_every_template_is_known_and_fits(encoder):
    phrases = [phrase for thing in things() for phrase in thing.phrases]
    ids = encoder.tokenizer([t.format(p) for t in TEMPLATES for p in phrases], context_length=4 * vocabulary.CONTEXT)
    assert not (ids == encoder.tokenizer.tokenizer.unk_token_id).any()
    assert not ids[:, vocabulary.CONTEXT :].any()


def test_a_caption_that_names_a_background_names_its_own(sprites):
    for scene in many(sprites):
        named = re.search(r"(?: on| and)(?: an?)? (\w+)(?: background)?$", scene.caption)
        if named and named[1] in COLOURS and scene.kind != "solids":
            assert named[1] == scene.facts["colour"], scene.caption


def test_a_full_caption_names_the_place_and_the_background(sprites):
    rng = random.Random(0)
    for name in NAMES:
        scene = single(rng, sprites, name, full=True)
        assert scene.facts["colour"] in scene.caption and scene.facts["place"] in scene.caption


@pytest.mark.parametrize("axis", ["above|below|on top of", "left of|right of"])
def test_the_relation_in_a_caption_agrees_with_the_places_of_the_drawings(sprites, axis):
    rng, phrases = random.Random(0), {thing.name: thing.phrases for thing in things()}
    checked = 0
    for _ in range(300):
        scene = rng.choice([scenes.pair, lambda rng, _: scenes.solids(rng, count=2)])(rng, sprites)
        match = re.match(rf"(.+) ({axis}) (.+?)( on \w+)?$", scene.caption)
        if not match:
            continue
        first, second = scene.layers
        if scene.kind == "pair":
            names = phrases[scene.facts["things"][0]], phrases[scene.facts["things"][1]]
        else:
            names = [(article(" ".join(solid)),) for solid in scene.facts["solids"]]
        in_order = match[2] in ("above", "on top of", "left of")
        assert match[1] in names[0 if in_order else 1] and match[3] in names[1 if in_order else 0], scene.caption
        assert (first.y < second.y) if "above" in axis else (first.x < second.x)
        checked += 1
    assert checked > 50


@pytest.mark.parametrize("place", [place for place in scenes.PLACES if place])
def test_a_thing_is_at_the_place_that_its_caption_names(sprites, place):
    rng, layers = random.Random(0), []
    while len(layers) < 20:
        scene = single(rng, sprites, full=True)
        if scene.facts["place"] == place:
            layers.append(scene.layers[0])
    offset = {"left": lambda la: -la.x, "right": lambda la: la.x, "top": lambda la: -la.y, "bottom": lambda la: la.y}
    assert all(offset[place](layer) > 0.3 for layer in layers)


def test_the_number_in_a_caption_is_the_number_of_drawings(sprites):
    rng = random.Random(0)
    for name in NAMES:
        scene = scenes.several(rng, sprites, name)
        assert len(scene.layers) == scene.facts["count"]
        assert scene.caption.startswith(scenes.NUMBERS[scene.facts["count"]])


def test_a_scene_without_a_main_thing_has_no_name():
    with pytest.raises(ValueError, match=r"a scene of the kind 'solids' has no main thing: “.*”"):
        scenes.solids(random.Random(0)).name  # noqa: B018


def test_a_label_never_names_the_thing_that_wears_it(sprites):
    rng = random.Random(0)
    for name in NAMES:
        scene = scene_text.labelled(rng, sprites, name)
        thing, label = scene.layers
        assert thing.key.endswith(f"/{name}") and label.key == f"label/{scene.facts['word']}"
        assert scene.facts["word"] not in next(t for t in things() if t.name == name).phrases[0]


def test_the_caption_of_a_sign_holds_its_word():
    for word in sign_words():
        scene = scene_text.sign(random.Random(0), word)
        assert scene.layers[0].key == f"sign/{word}" and word in scene.caption.split()


@pytest.mark.parametrize("words", ["apple", "red apple", "orange cube", "dog", "yellow star"])
def test_an_article_fits_the_sound_that_follows(words):
    assert article(words) == ("an " if words[0] in "aeiou" else "a ") + words


def test_every_article_in_a_caption_fits_the_next_word(sprites):
    text = "\n".join(scene.caption for seed in SEEDS for scene in many(sprites, seed))
    wrong = set(re.findall(r"\ba [aeio]\w*|\ba u(?!nicorn)\w*|\ban (?!hourglass)[^aeiou\n]\w*", text))
    assert wrong == set()


# The vocabulary


def test_the_vocabulary_is_sorted_single_words_without_repeats():
    words = vocabulary.words()
    assert words == sorted(set(words))
    assert all(re.fullmatch(r"[a-z0-9]+", word) for word in words)


def test_every_known_word_is_one_token_of_its_own(encoder):
    ids = encoder.tokens(vocabulary.words())
    assert (ids[:, 2] == ids.max()).all() and not ids[:, 3:].any()  # start, the word, end
    assert ids[:, 1].unique().numel() == len(vocabulary.words())


# Pictures


@pytest.fixture(scope="module")
def render(sprites):
    return Renderer(sprites)


def scene(*layers, background=(30, 90, 200)):
    return Scene(background, layers, "", "test")


@pytest.mark.parametrize("size", [16, 64])
def test_pictures_are_within_the_range(sprites, render, size):
    pixels = render(many(sprites, count=40), size)
    assert pixels.shape == (80 + len(sign_words()), 3, size, size)
    assert pixels.min() >= -1 and pixels.max() <= 1 and pixels.isfinite().all()


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (30, 90, 200)])
@pytest.mark.parametrize("layers", [(), (Layer("transparent"),)], ids=["no layer", "a transparent one"])
def test_an_empty_scene_is_its_background_colour(render, background, layers):
    pixels = render([scene(*layers, background=background)] * 2, 12)
    wanted = torch.tensor(background).view(1, 3, 1, 1) / 127.5 - 1
    torch.testing.assert_close(pixels, wanted.expand(2, 3, 12, 12), rtol=0, atol=1e-5)


def test_an_opaque_sprite_hides_what_is_behind_it(render):
    pixels = render([scene(Layer("lopsided"), Layer("white", size=2.0))], 16)
    torch.testing.assert_close(pixels, torch.ones(1, 3, 16, 16), rtol=0, atol=1e-5)


def test_mirroring_a_symmetrical_sprite_changes_nothing(render):
    plain, mirrored = render([scene(Layer("symmetrical", 0.3, -0.2, 0.5, mirror)) for mirror in (False, True)], 32)
    torch.testing.assert_close(plain, mirrored, rtol=0, atol=1e-4)


def test_mirroring_another_sprite_in_the_middle_mirrors_the_picture(render):
    plain, mirrored = render([scene(Layer("lopsided", 0, 0.2, 0.7, mirror)) for mirror in (False, True)], 32)
    torch.testing.assert_close(plain.flip(-1), mirrored, rtol=0, atol=1e-4)
    assert not torch.allclose(plain, mirrored)


@pytest.mark.parametrize(("x", "y"), [(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5), (0.25, -0.5)])
def test_a_sprite_is_centred_where_its_layer_says(render, x, y):
    (pixels,) = render([scene(Layer("white", x, y, 0.25), background=(0, 0, 0))], 64)
    weight = (pixels.mean(0) + 1) / 2
    middles = (torch.arange(64) + 0.5) / 32 - 1
    assert (weight.sum(0) @ middles / weight.sum()).item() == pytest.approx(x, abs=0.01)
    assert (weight.sum(1) @ middles / weight.sum()).item() == pytest.approx(y, abs=0.01)


@pytest.mark.parametrize("size", [0.25, 0.5, 0.75])
def test_a_sprite_covers_its_share_of_the_picture(render, size):
    (pixels,) = render([scene(Layer("white", size=size), background=(0, 0, 0))], 64)
    assert ((pixels + 1) / 2).mean().item() == pytest.approx(size**2, rel=0.02)


@pytest.mark.parametrize(("background", "wanted"), [((0, 0, 0), (128, 0, 0)), ((255, 255, 255), (255, 127, 127))])
def test_half_transparent_red_is_mixed_with_what_is_behind_it(background, wanted):
    pixels = np.zeros((1, 4, 8, 8), np.uint8)
    pixels[0, 0] = pixels[0, 3] = 128  # premultiplied
    (rendered,) = Renderer(Sprites(pixels, {"glass": 0}))([scene(Layer("glass", size=2.0), background=background)], 8)
    torch.testing.assert_close(rendered[:, 4, 4], torch.tensor(wanted) / 127.5 - 1, rtol=0, atol=0.01)


def test_a_scene_looks_the_same_alone_and_in_any_batch(sprites, render):
    drawn_scenes = many(sprites, count=20)
    batch = render(drawn_scenes, 32)
    for k in range(0, len(drawn_scenes), 7):
        torch.testing.assert_close(render(drawn_scenes[k : k + 1], 32)[0], batch[k], rtol=0, atol=1e-5)


def test_a_large_picture_averaged_down_is_the_small_one(render):
    layer = scene(Layer("white", 0.2, 0.1, 0.6), background=(0, 0, 0))
    small, large = render([layer], 32), render([layer], 128)
    assert (torch.nn.functional.avg_pool2d(large, 4) - small).abs().mean() < 0.02


def test_every_solid_is_a_colour_and_a_shape_of_the_vocabulary():
    assert {*COLOURS, *SOLIDS, *(f"{solid}s" for solid in SOLIDS)} <= set(vocabulary.words())


def test_a_style_word_of_captions_is_a_known_word():
    assert {s.adjective for s in STYLES.values()} - {""} <= set(vocabulary.words())
