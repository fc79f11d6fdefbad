"""The encoder gives open_clip's own embeddings and reports the parts of a caption that the model does not see."""

import copy
import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from latentlab.captions import CaptionCheck, caption_warnings, check_captions
from latentlab.clip import Encoder, local
from latentlab.errors import UserError
from latentlab.io import images
from latentlab.training.vocabulary import CONTEXT, words

SIDE, D = 32, 24  # of the tiny CLIP in conftest.py
KNOWN = "a red apple above a dog on blue"


@pytest.fixture(scope="session")
def stock(clip_folder):
    """open_clip's own model, preprocessing and tokenizer of the same folder."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    return model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{clip_folder}")


@pytest.fixture
def pictures():
    """Three PIL pictures of a given size."""

    def make(width, height):
        noise = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
        return [Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC) for pixels in noise]

    return make


# Embeddings


@torch.no_grad()
def test_z_i_is_open_clips_own_on_its_own_preprocessing(encoder, stock, pictures):
    model, preprocess, _ = stock
    photos = pictures(SIDE, SIDE)
    wanted = model.encode_image(torch.stack([preprocess(image) for image in photos]))
    torch.testing.assert_close(encoder.encode_image(images.to_tensor(*photos)), wanted, rtol=1e-5, atol=1e-5)
    assert wanted.shape == (3, D)


@torch.no_grad()
def test_z_i_of_another_size_is_nearly_open_clips_own(encoder, stock, pictures):
    model, preprocess, _ = stock
    small = pictures(20, 20)
    wanted = model.encode_image(torch.stack([preprocess(image) for image in small]))
    cosine = torch.cosine_similarity(encoder.encode_image(images.to_tensor(*small)), wanted)
    assert (cosine > 0.999).all()  # Pillow rounds to grey levels where torch does not


@torch.no_grad()
@pytest.mark.parametrize(("width", "height"), [(90, 50), (33, 70)])
@pytest.mark.parametrize(
    "preprocess_cfg",
    [
        {"resize_mode": "shortest", "interpolation": "bicubic"},
        {"resize_mode": "squash", "interpolation": "bilinear"},
        {"resize_mode": "longest", "interpolation": "bicubic", "fill_color": 90},
    ],
    ids=lambda config: config["resize_mode"],
)
def test_a_picture_is_sized_by_the_models_own_preprocessing(
    clip_folder, tmp_path, pictures, preprocess_cfg, width, height
):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"] |= preprocess_cfg
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    encoder, photos = local(folder), pictures(width, height)
    wanted = model.eval().encode_image(torch.stack([preprocess(photo) for photo in photos]))
    z_i = encoder.encode_image(images.to_tensor(*map(encoder.square, photos)))
    torch.testing.assert_close(z_i, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_z_t_is_open_clips_own(encoder, stock):
    model, _, tokenizer = stock
    captions = [KNOWN, "two dogs", "a zeppelin"]
    torch.testing.assert_close(encoder.encode_text(captions), model.encode_text(tokenizer(captions)))


def test_embeddings_keep_clips_own_scale(encoder, pictures):
    z_i, z_t = encoder.encode_image(images.to_tensor(*pictures(SIDE, SIDE))), encoder.encode_text([KNOWN, "a dog"])
    for z in (z_i, z_t):
        assert ((z.norm(dim=-1) - 1).abs() > 0.01).all()


def test_a_picture_encodes_the_same_alone_and_in_a_batch(encoder, pictures):
    pixels = images.to_tensor(*pictures(50, 40))
    torch.testing.assert_close(
        encoder.encode_image(pixels)[1:2], encoder.encode_image(pixels[1:2]), rtol=1e-4, atol=1e-5
    )


def test_encoding_tracks_a_gradient_of_the_pixels_alone_and_only_where_they_ask_for_it(encoder, pictures):
    pixels = images.to_tensor(*pictures(SIDE, SIDE))
    assert not encoder.encode_image(pixels).requires_grad
    assert encoder.encode_image(pixels.requires_grad_()).requires_grad
    assert not encoder.model.training and not any(p.requires_grad for p in encoder.model.parameters())


def test_an_encoder_in_half_precision_gives_nearly_the_same_embedding_in_float32(clip_folder, encoder, pictures):
    half, pixels = local(clip_folder, dtype=torch.bfloat16), images.to_tensor(*pictures(SIDE, SIDE))
    z_i = half.encode_image(pixels)
    assert next(half.model.parameters()).dtype == torch.bfloat16 and z_i.dtype == torch.float32
    assert (torch.cosine_similarity(z_i, encoder.encode_image(pixels)) > 0.99).all()


# Zero-shot


@pytest.mark.parametrize("templates", [("{}",), ("a picture of {}", "{} on blue", "{}")], ids=["one", "three"])
def test_zero_shot_rows_sum_to_1_over_the_labels(encoder, pictures, templates):
    probabilities = encoder.zero_shot(
        images.to_tensor(*pictures(48, 36)), ["a dog", "a cat", "a fox", "a bear"], templates
    )
    assert probabilities.shape == (3, 4) and (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3))


def test_zero_shot_encodes_the_same_labels_once_and_again_when_the_weights_change_in_place(encoder):
    pictures, labels, own = torch.zeros(1, 3, 64, 64), ["a cat", "a dog"], copy.copy(encoder)
    own.model, calls = copy.deepcopy(encoder.model), []
    own.encode_text = lambda captions: calls.append(captions) or Encoder.encode_text(own, captions)
    before = own.zero_shot(pictures, labels)
    assert torch.equal(own.zero_shot(pictures, labels), before) and len(calls) == 1
    with torch.no_grad():
        for parameter in own.model.parameters():
            parameter.mul_(1.1)
    assert not torch.equal(own.zero_shot(pictures, labels), before) and len(calls) == 2


@torch.no_grad()
def test_zero_shot_is_open_clips_own_recipe(encoder, stock, pictures):
    model, preprocess, tokenizer = stock
    photos, labels = pictures(SIDE, SIDE), ["a dog", "a cat"]
    z_i = model.encode_image(torch.stack([preprocess(image) for image in photos]), normalize=True)
    z_t = model.encode_text(tokenizer(labels), normalize=True)
    wanted = (model.logit_scale.exp() * z_i @ z_t.T).softmax(-1)
    torch.testing.assert_close(encoder.zero_shot(images.to_tensor(*photos), labels), wanted, rtol=1e-3, atol=1e-5)


def test_repeating_a_template_changes_nothing(encoder, pictures):
    pixels, labels = images.to_tensor(*pictures(SIDE, SIDE)), ["a dog", "a cat"]
    once, twice = (encoder.zero_shot(pixels, labels, ("an emoji of {}",) * n) for n in (1, 2))
    torch.testing.assert_close(once, twice)


# The parts of a caption that the model does not see


def test_a_caption_of_known_words_gives_no_warning(encoder):
    assert encoder.check_caption(KNOWN) == CaptionCheck()
    assert caption_warnings([encoder.check_caption(KNOWN)]) == []


def test_unknown_words_are_named_with_near_words(encoder):
    check = encoder.check_caption("A zebr and an aple, a xqzwv, a zebr")
    assert check.unknown == ("zebr", "aple", "xqzwv")
    assert "apple" in check.suggestions[1] and check.suggestions[2] == ()
    assert set(sum(check.suggestions, ())) <= set(words())
    (warning,) = caption_warnings([check])
    assert "“aple” (near words: maple, apple, apples)" in warning and warning.endswith(", “xqzwv”")
    checks = [encoder.check_caption(f"a {word}") for word in ("zebr", "aple", "xqzwv", "aple")]
    assert caption_warnings(checks) == [warning]


@pytest.mark.parametrize(
    "caption",
    [
        "a dog",
        "A DOG!",
        "a dog, a cat.",
        "a red-apple",
        "a zébra",
        "an äpple",
        "a dög",
        "dog🐶",
        "a 🐶",
        "a dog_cat",
        "it's a dog",
        "★ a dog",
        "ｃａｔ",
        "a cat &amp; a dog",
        "3 dogs",
        "ice   cream\n",
        "ein Hund",
        "一只狗",
        "a €uro",
        "-",
        "½",
    ],
)
def test_exactly_the_words_that_the_model_lacks_are_reported(encoder, caption):
    unknown_token = encoder.tokenizer.tokenizer.unk_token_id
    lost = (encoder.tokens([caption]) == unknown_token).sum().item()
    assert len(encoder.check_caption(caption).unknown) == lost


def test_an_emoji_character_has_the_embedding_of_its_thing(encoder):
    torch.testing.assert_close(*encoder.encode_text(["🦊 on blue", "a fox on blue"]).split(1))
    assert encoder.check_caption("🦊 on blue") == CaptionCheck()


@pytest.mark.parametrize("caption", ["asdf", "a zebrafish", "an asdf on the qwer", "🪿"])
def test_a_caption_that_names_nothing_the_model_knows_is_refused(encoder, caption):
    with pytest.raises(UserError, match=r"the model does not know .*: write of what it knows"):
        check_captions(encoder, ["a dog", caption])


@pytest.mark.parametrize("caption", ["a red asdf", "a picture of a dog", "a photo", "a background", "asdf and a cat"])
def test_a_caption_with_something_known_is_not_refused(encoder, caption):
    check_captions(encoder, [caption])


@pytest.mark.parametrize("caption", [" ".join(["dog"] * 40), "a dog " * 30, "-".join(["dog"] * 40), "a, " * 30])
def test_the_check_of_a_caption_that_is_too_long_gives_the_part_that_fits(encoder, caption):
    truncated = encoder.check_caption(caption).truncated
    assert truncated is not None and caption.startswith(truncated)
    assert any("it was cut after" in sentence for sentence in caption_warnings([encoder.check_caption(caption)]))


@pytest.mark.parametrize("count", range(CONTEXT - 4, CONTEXT + 6))
def test_a_truncated_caption_has_as_many_words_as_fit_between_the_start_and_end_tokens(encoder, count):
    caption = " ".join(words()[:count])
    fits = CONTEXT - 2  # one place each for the start and the end token
    assert encoder.check_caption(caption).truncated == (None if count <= fits else " ".join(words()[:fits]))


def test_the_truncated_words_make_no_difference_to_z_t(encoder):
    caption = " ".join(words()[:40])
    torch.testing.assert_close(
        encoder.encode_text([caption]), encoder.encode_text([encoder.check_caption(caption).truncated])
    )


def test_checking_a_very_long_caption_takes_few_calls_of_the_tokenizer(encoder):
    calls = []
    slow = copy.copy(encoder)
    slow.tokenizer = _Counting(encoder.tokenizer, calls)
    slow.check_caption("a dog " * 5000)
    assert len(calls) < 30


class _Counting:
    """A tokenizer that counts its calls."""

    def __init__(self, tokenizer, calls):
        self._tokenizer, self._calls = tokenizer, calls

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def __call__(self, *args, **kwargs):
        self._calls.append(args)
        return self._tokenizer(*args, **kwargs)


def test_a_byte_pair_tokenizer_knows_every_word_and_still_truncates(encoder):
    clip = copy.copy(encoder)
    clip.tokenizer = open_clip.SimpleTokenizer()
    assert clip.check_caption("a xqzwv 🐶") == CaptionCheck()
    assert clip.check_caption("dog " * 100).truncated == " ".join(["dog"] * 75)


@pytest.mark.parametrize("caption", ["", "   ", "\n\t"])
def test_an_empty_caption_is_refused(encoder, caption):
    with pytest.raises(UserError, match="the caption is empty: say what the picture shows"):
        encoder.check_caption(caption)


# Names


@pytest.mark.parametrize(
    ("name", "near"), [("ViT-B-3", "ViT-B-32"), ("vit-l-14", "ViT-L-14"), ("ViT-L/14", "ViT-L-14"), ("RN5", "RN50")]
)
def test_an_unknown_model_is_refused_with_near_names(name, near):
    with pytest.raises(UserError, match=rf"open_clip has no model '{name}'; near names: .*{near}"):
        Encoder(name, "openai")


def test_a_model_like_no_other_is_refused_without_a_guess():
    with pytest.raises(UserError, match="near names: none"):
        Encoder("qqqqqqqq", "openai")


@pytest.mark.parametrize("tag", ["openia", None])
def test_an_unknown_tag_is_refused_with_the_models_tags(tag):
    with pytest.raises(UserError, match=rf"ViT-B-32 has no weights called {tag!r}: give one of .*openai"):
        Encoder("ViT-B-32", tag)


def test_an_encoder_loads_from_a_folder(clip_folder, encoder):
    assert torch.equal(local(clip_folder).encode_text([KNOWN]), encoder.encode_text([KNOWN]))


def test_the_tokens_are_the_words_between_start_and_end(encoder):
    vocabulary = encoder.tokenizer.tokenizer.get_vocab()
    by_id = {number: word for word, number in vocabulary.items()}
    (row,) = encoder.tokens(["A red dog, on BLUE"]).tolist()
    assert [by_id[k] for k in row] == ["[SOT]", "a", "red", "dog", "on", "blue", "[EOT]"] + ["[PAD]"] * (CONTEXT - 7)
    assert vocabulary["[EOT]"] == max(vocabulary.values()) and vocabulary["[PAD]"] == 0


@pytest.mark.parametrize(("name", "message"), [("local-dir:nowhere", "is not there"), ("ViT-B-32:openai", "no model")])
def test_a_name_with_a_colon_that_is_neither_a_folder_nor_a_model_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        Encoder(name)
