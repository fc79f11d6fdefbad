"""Drawings by CLIP alone, on the toy, whose z_i is the mean colour of four quarters, and on a tiny random CLIP."""

import dataclasses
import json

import pytest
import torch
from conftest import toy_pictures
from PIL import Image

from latentlab import UserError, experiments, models
from latentlab.experiments import Progress, drawing_stages
from latentlab.experiments.drawing import weights_of
from latentlab.experiments.drawing_stages import CANVASES

SMALL_RUN = {"prompt": "a cat", "strokes": 3, "steps": 3, "views": 1, "seeds": [0, 1], "labels": ["a cat", "a dog"]}
SMALL = {"strokes": 3, "steps": 3, "views": 1}


@pytest.fixture
def staged(lab):
    """The toy with a first stage: latents of half the side."""

    class Staged(type(lab.decoder)):
        shape = (3, 4, 4)

        def to_x0(self, pixels):
            return torch.nn.functional.avg_pool2d(pixels, 2)

        def to_pixels(self, x_0):
            return x_0.repeat_interleave(2, 2).repeat_interleave(2, 3).clamp(-1, 1)

        def mean(self, z_i):
            return z_i.view(-1, 3, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)

    return dataclasses.replace(lab, decoder=Staged())


@pytest.mark.parametrize("canvas", CANVASES)
def test_every_canvas_climbs_and_shows_what_it_recognises(staged, canvas):
    params = {**SMALL, "steps": 30, "labels": ["a cat", "a dog"], "canvas": canvas}
    result = experiments.draw(staged, "a cat", seeds=[0, 1], **params)
    assert (result.scores[-1] > result.scores[0]).all()
    assert result.pixels.shape[:2] == (2, 3) and (result.pixels.abs() <= 1).all()
    assert (result.paths is None) == (canvas != "strokes")
    assert result.value("top-1 over views", encoder="toy") <= 1 and result.value("cosine") <= 1
    assert f"{result.value('cosine'):.2f}" in result.summary()


def test_the_drawing_of_a_seed_is_the_same_alone_and_in_a_batch(lab):
    both = experiments.draw(lab, "a cat", seeds=[0, 1], **SMALL)
    alone = experiments.draw(lab, "a cat", seeds=[1], **SMALL)
    torch.testing.assert_close(both.pixels[1:], alone.pixels, atol=1e-3, rtol=0)


def test_a_target_picture_is_approached_without_a_prompt(lab):
    target = toy_pictures(1)
    result = experiments.draw(lab, target=target, canvas="pixels", steps=60, views=0)
    assert result.value("cosine") > 0.98
    assert not [row for row in result.table if row["quantity"].startswith("top-1")]


@pytest.mark.parametrize(
    ("prompt", "negative_prompt", "weights"),
    [
        ("a cat", (), {"a cat": 1.0}),
        (["a cat", "a dog"], "a fox", {"a cat": 1.0, "a dog": 1.0, "a fox": -0.3}),
        ({"a cat": 2, "a dog": 0.5}, (), {"a cat": 2.0, "a dog": 0.5}),
        ("", (), {}),
    ],
)
def test_prompts_have_their_weights(prompt, negative_prompt, weights):
    assert weights_of(prompt, negative_prompt) == weights


def test_a_heavier_prompt_is_nearer(lab):
    near = [
        experiments.draw(lab, {"a cat": w, "a dog": 1 - w}, canvas="pixels", steps=40, views=0).pixels
        for w in (0.9, 0.1)
    ]
    cat = lab.encoder.encode_text("a cat")
    cosines = [torch.cosine_similarity(lab.encoder.encode_image(pixels), cat).item() for pixels in near]
    assert cosines[0] > cosines[1]


def test_the_stream_shows_previews_from_the_first_step_and_can_be_closed(lab):
    stream = experiments.draw.stream(lab, "a cat", strokes=3, steps=50, views=1, preview_every=1)
    previews = [value for value in (next(stream) for _ in range(4)) if value.pixels is not None]
    assert [p.step for p in previews] == [1, 2, 3] and previews[0].pixels.shape == (1, 3, 8, 8)
    stream.close()


def test_a_climb_that_is_no_longer_finite_ends_with_its_last_good_picture_and_says_so(lab, monkeypatch):
    encode_image, calls = type(lab.encoder).encode_image, []

    def breaks(self, pixels):
        calls.append(1)
        return encode_image(self, pixels) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(type(lab.encoder), "encode_image", breaks)
    result = experiments.draw(lab, "a cat", canvas="pixels", steps=9, views=0)
    assert len(result.scores) == 2 and result.pixels.isfinite().all()
    assert result.notes[0] == "the climb stopped at step 3 of 9: its numbers were no longer finite"


def test_strokes_by_hand_go_on_from_where_the_drawing_was(lab):
    first = experiments.draw(lab, "a cat", **SMALL)
    start = first.paths.add([(0.1, 0.1), (0.9, 0.9)], colour="red")
    second = experiments.draw(lab, "a cat", start=start, strokes=4, steps=1, views=0)
    assert second.paths.curves.shape[1] == 4
    assert (second.paths.curves - start.curves).abs().max() < 0.05
    assert (second.frames[0] - start.render(8)).abs().max() < 1e-5


def test_random_strokes_lie_below_those_by_hand_where_these_are_too_few(lab):
    start = experiments.draw(lab, "a cat", **SMALL).paths
    result = experiments.draw(lab, "a cat", start=start, strokes=5, steps=1, views=0)
    assert result.paths.widths.shape == (1, 5)
    assert (result.paths.curves[:, 2:] - start.curves).abs().max() < 0.05


def test_the_start_of_another_style_or_number_of_pictures_is_refused(lab):
    line = experiments.draw(lab, "a cat", style="line", **SMALL).paths
    with pytest.raises(UserError, match="only strokes of one cubic each can be continued"):
        experiments.draw(lab, "a cat", start=line)
    strokes = experiments.draw(lab, "a cat", **SMALL).paths
    with pytest.raises(UserError, match="the start has 1 pictures for 2 seeds"):
        experiments.draw(lab, "a cat", start=strokes, seeds=[0, 1])
    with pytest.raises(UserError, match="which the canvas 'pixels' has not"):
        experiments.draw(lab, "a cat", start=strokes, canvas="pixels")


def test_strokes_lie_on_the_picture_that_they_start_from(lab):
    picture = toy_pictures(1)
    result = experiments.draw(lab, "a cat", start=picture, **SMALL)
    assert torch.equal(result.paths.paper, picture) and "data:image/png" in result.svg()


def test_the_result_writes_svg_and_an_animation(lab, tmp_path):
    result = experiments.draw(lab, "a cat", **SMALL)
    assert result.svg().count("<path") == 3
    with Image.open(result.save_animation(tmp_path / "drawing.gif")) as movie:
        assert movie.n_frames >= 2
    assert result.figure() and result.curve()
    pixels = experiments.draw(lab, "a cat", canvas="pixels", steps=2, views=0)
    with pytest.raises(UserError, match="a canvas of pixels has no strokes"):
        pixels.svg()


def test_a_second_encoder_only_scores(lab):
    class Second:
        def zero_shot(self, pixels, labels, templates=()):
            return torch.tensor([0.0, 1.0]).expand(len(pixels), -1)

    params = {**SMALL, "labels": ["a cat", "a dog"]}
    result = experiments.draw(lab, "a cat", encoders={"second": Second()}, **params)
    assert result.value("top-1 over views", encoder="second") == 0
    torch.testing.assert_close(result.pixels, experiments.draw(lab, "a cat", **params).pixels)


def test_without_labels_a_note_says_what_is_missing(lab):
    result = experiments.draw(lab, "a cat", **SMALL)
    assert any("no labels" in note for note in result.notes)


def test_an_open_clip_encoder_alone_draws(encoder):
    result = experiments.draw(encoder, "a cat", strokes=4, steps=2, views=2, labels=["a cat", "a dog"])
    assert result.pixels.shape[-1] >= 64 and len(result.scores) == 2
    assert result.value("top-1", encoder=encoder.name) in (0, 1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strokes": 0}, "strokes is 0: give at least 1"),
        ({"strokes": 10**9}, r"strokes is 1000000000: of 1 pictures at 8 pixels memory holds \d+; give fewer"),
        ({"prompt": ""}, "there is nothing to draw"),
        ({"prompt": ["a cat", ""]}, "the caption is empty"),
        ({"canvas": "oil"}, "canvas is 'oil': give one of strokes, pixels"),
        ({"canvas": "latents"}, "toy decodes pixels and has no first stage"),
        ({"start": "sand", "canvas": "pixels"}, "start is 'sand': give 'noise', 'blank'"),
        ({"negative_prompt": "a cat"}, "“a cat” is a prompt and a negative prompt"),
        ({"views": -1}, "views is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"seeds": []}, "seeds"),
        ({"palette": ["mauvish"]}, "'mauvish' is no colour"),
        ({"style": "dots"}, "style is 'dots'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(lab, params, message):
    with pytest.raises(UserError, match=message):
        experiments.draw(lab, **{"prompt": "a cat", **SMALL, **params})


@pytest.mark.parametrize("canvas", ["latents", "x_T", "z_i"])
def test_an_encoder_alone_has_no_canvas_of_a_decoder(lab, canvas):
    with pytest.raises(UserError, match="which is a decoder's, and there is none"):
        experiments.draw(lab.encoder, "a cat", canvas=canvas)


def test_the_views_of_the_measurement_are_others_than_those_of_the_climb(lab):
    pixels = toy_pictures(1)
    measured = next(iter(drawing_stages.seen(pixels, 8)))
    climbed = [drawing_stages.Views(4, 8)(pixels, step, 0) for step in range(5)]
    assert not any(torch.equal(measured, view) for view in climbed)


def test_the_judge_gives_probabilities_of_the_things_that_it_knows():
    from latentlab.models.judge import Judge

    judge = Judge(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 2)), ["cat", "owl"])
    p = judge.zero_shot(torch.rand(3, 3, 64, 64), ["an owl", "a unicorn", "a cat"])
    assert p.shape == (3, 3) and (p[:, 1] == 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(3))
    assert not judge.zero_shot(torch.rand(2, 3, 64, 64), ["a unicorn", "a gnome"]).any()


def test_the_shipped_judge_knows_every_thing_by_what_prompts_call_it(miniature):
    from latentlab.models.emoji_files import weights_folder
    from latentlab.models.judge import judge_of

    labels = json.loads((weights_folder() / "clip" / "labels.json").read_text("utf-8"))["things"]
    judge = judge_of(dataclasses.replace(miniature, name="emoji", things=tuple(labels)))
    assert "a dog" in labels and "dog" not in judge.names  # its class is dog-face
    assert (judge.zero_shot(torch.zeros(1, 3, 64, 64), labels) > 0).all()  # of an unknown thing it is 0


def test_a_lab_other_than_the_embedded_one_has_no_judge(lab):
    from latentlab.models.judge import judge_of

    assert judge_of(lab) is None and isinstance(lab, models.Lab)


def test_progress_names_the_declared_stage(lab):
    stages = {v.stage for v in experiments.draw.stream(lab, "a cat", **SMALL) if isinstance(v, Progress)}
    assert stages == set(experiments.draw.stages)
