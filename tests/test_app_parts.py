"""What the app is made of, without a browser: models, settings from outside, sentences, uploads."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("gradio")
import gradio as gr
from PIL import Image, ImageChops

import latentlab
from latentlab import UserError, decoding, models
from latentlab.app import controls, labs, layout, links, markup, outputs, picker, running
from latentlab.app.main import build
from latentlab.app.output_bar import Bench
from latentlab.app.page import fitting, stamp
from latentlab.app.pages import PAGES, attack, clip, interpolate, pca
from latentlab.experiments import Progress
from latentlab.io import images


@pytest.fixture(scope="module")
def page(lab):
    """The whole page on the toy lab."""
    return build(lab)


def ended(stream):
    """A stream's stages, and what it returns."""
    stages = []
    while True:
        try:
            stages.append(next(stream).stage)
        except StopIteration as end:
            return stages, end.value


def picture(colour=(200, 60, 30)):
    return outputs.Chosen("a picture", Image.new("RGB", (64, 64), colour), "something")


def test_each_page_has_an_endpoint_whose_parameters_have_names(page):
    info = page.get_api_info()["named_endpoints"]
    assert set(info) == {f"/{p.key.replace('-', '_')}" for p in PAGES}
    for name, endpoint in info.items():
        assert all(not p["parameter_name"].startswith("param_") for p in endpoint["parameters"]), name


def test_heavy_events_wait_for_one_another(page):
    heavy = [fn for fn in page.fns.values() if fn.concurrency_id == "model"]
    assert len(heavy) > 2 * len(PAGES)
    assert {fn.concurrency_limit for fn in heavy} == {1}


def test_a_picture_is_inverted_once_for_all_pages(lab):
    labs.keep(lab)
    mine = [picture((31, 41, 59))]  # that no other test inverts
    first, found = ended(running.inverted("toy", mine, steps=4))
    second, again = ended(running.inverted("toy", mine, steps=4))
    other, _ = ended(running.inverted("toy", [picture((0, 99, 9))], steps=4))
    assert "inversion" in first and "inversion" in other
    assert "inversion" not in second and again is found


def test_two_pictures_become_one_batch_and_keep_their_order(lab):
    labs.keep(lab)
    pair = [picture((10, 20, 30)), picture((230, 220, 210))]
    _, both = ended(running.inverted("toy", pair, steps=4))
    _, second = ended(running.inverted("toy", pair[1:], steps=4))
    assert torch.equal(both.row(1).latent.x_T, second.latent.x_T)


def test_what_was_made_goes_on_with_its_latents(lab):
    labs.keep(lab)
    run = next(p for p in PAGES if p.key == "interpolate").run
    _, outcome = ended(run("toy", picture(), picture((0, 99, 9)), 4, "slerp", 0, 4, 1.0))
    stages, found = ended(running.inverted("toy", [outcome.shots[2].chosen()], steps=4))
    assert "inversion" not in stages
    assert torch.equal(found.latent.x_T, outcome.shots[2].latent.x_T)


def test_components_of_what_was_made_go_on_with_the_latents_that_they_were_decoded_from(lab):
    labs.keep(lab)
    _, made = ended(interpolate.run("toy", picture(), picture((0, 99, 9)), 4, "slerp", 0, 4, 1.0))
    _, outcome = ended(pca.run("toy", made.shots[2].chosen(), "truncate", 0, 3, 0, 4))
    for shot in outcome.shots:
        found = shot.known.inverted
        again = decoding.pictures(lab.decoder, decoding.decode(lab.decoder, found.latent, steps=4))
        torch.testing.assert_close(again, found.original, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("prompt", "a cat", "a cat"), ("prompt", "x" * 301, None), ("seed", "7", 7), ("seed", "-1", None),
        ("seed", "1.5", None), ("seed", "nan", None), ("steps", "12", 12), ("steps", "1000000", None),
        ("steps", "twelve", None), ("guidance", "2.5", 2.5), ("guidance", "inf", None),
    ],
)  # fmt: skip
def test_a_link_sets_only_what_its_control_allows(page, name, text, wanted):
    with page:
        found = next(p for p in PAGES if p.key == "generate")
        control = {**found.knobs(), **found.advanced()}[name]
    assert links.accepted(control, text) == wanted


def test_a_link_names_its_pictures_among_the_examples(lab):
    built = next(b for b in built_pages(lab) if b.page.key == "interpolate")
    given = {"picture_1": "03-heart", "picture_2": "../../etc/passwd", "picture": "03-heart", "frames": "5"}
    assert links.checked(built, given, {"03-heart"}) == ({"picture_1": "03-heart", "frames": 5}, ["picture_2"])


def built_pages(lab):
    labs.keep(lab)
    with gr.Blocks():
        model = gr.Dropdown(["toy"])
        return [layout.build(p, model, picker.examples()) for p in PAGES if p.key in ("interpolate", "text-diff")]


def test_a_link_sets_the_picture_and_keeps_its_own_words(lab):
    built = built_pages(lab)
    diff = next(b for b in built if b.page.key == "text-diff")
    with gr.Blocks():
        bench = Bench(built, gr.Tabs(), gr.Dropdown(["toy"]), gr.HTML(), picker.examples())
    name = next(iter(bench.examples))
    both = [*bench.fields(), *bench.all_pickers()]
    told = bench.filled(diff, {"picture": name, "source": "a cat"})
    shown = [v for c, v in zip(both, told) if c is diff.pickers[0].state]
    words = [v for c, v in zip(both, told) if c is diff.knobs["source"]]
    assert shown == [bench.examples[name]]
    assert [w for w in words if isinstance(w, str)] == ["a cat"]


def test_settings_of_the_command_line_find_their_page():
    page, fields = links.settings({"experiment": "vary", "seeds": [3, 4, 5], "steps": 9})
    assert (page, fields["seed"], fields["count"], fields["steps"]) == ("variations", 3, 3, 9)


def test_settings_travel_in_a_png_and_nothing_else_is_believed(tmp_path):
    path = images.save_png(Image.new("RGB", (4, 4)), tmp_path / "a.png", {"page": "generate", "fields": {"seed": 5}})
    assert links.settings(outputs.settings_in(str(path))) == ("generate", {"seed": 5})
    (tmp_path / "b.png").write_text("<svg onload='alert(1)'/>")
    assert outputs.settings_in(str(tmp_path / "b.png")) is None


@pytest.mark.parametrize("odd", [["03-heart"], {"a": 1}, None, 10**400])
def test_a_png_that_somebody_else_filled_sets_nothing_and_breaks_nothing(lab, odd):
    assert links.settings({"page": odd, "experiment": odd})[0] is None
    built = next(b for b in built_pages(lab) if b.page.key == "interpolate")
    given = dict.fromkeys((*built.knobs, "picture_1"), odd)
    assert links.checked(built, given, {"03-heart"}) == ({}, [*built.knobs, "picture_1"])


def test_the_link_of_a_picture_names_the_model_that_made_it(lab):
    _, outcome = ended(interpolate.run("toy", picture(), picture((0, 99, 9)), 3, "slerp", 0, 4, 1.0))
    built = built_pages(lab)
    with gr.Blocks():
        bench = Bench(built, gr.Tabs(), gr.Dropdown(["toy"]), gr.HTML(), picker.examples())
    made = outputs.Made("interpolate", tuple(stamp(built[0].page, s, outcome.result, {}) for s in outcome.shots))
    assert any("model=toy" in str(told) for told in bench._take(made, 0, "emoji", []))


def test_a_picture_made_of_an_example_is_compared_with_its_own_caption(lab, monkeypatch):
    labs.keep(lab)
    seen = {}

    def watched(model, experiment, pixels, captions):
        seen.update(pixels=len(pixels), captions=captions)
        yield
        return None

    monkeypatch.setattr(clip, "watched", watched)
    one = picker.examples()[0]
    again = dataclasses.replace(one, name="made of it", example="")
    next(stream := clip.run("toy", again, "compare", "a label", True))
    stream.close()
    assert seen["captions"][0] == one.caption and len(set(seen["captions"])) == seen["pixels"] + 1


def test_the_page_is_updated_at_each_stage_and_then_as_often_as_a_browser_keeps_up(monkeypatch):
    drawn, clock, told, emptied = torch.zeros(1, 3, 4, 4), [9.0], [], 0
    monkeypatch.setattr(layout, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def stream():
        steps = [("prior", 0, None), *(("decoder", k, drawn if k % 5 == 1 else None) for k in range(1, 10))]
        for stage, step, pixels in steps:
            clock[0] += 0.4 * layout.PAUSE
            yield Progress(stage, step, 9, pixels)
        return "the outcome"

    updates = layout._shown(stream(), "said", "gallery", "made", {"run": "held"})
    with pytest.raises(StopIteration) as end:
        while True:
            update = next(updates)
            told.append((int(re.search(r'value="(\d)"', update["said"])[1]), "gallery" in update))
            assert ("run" in update) == (len(told) == 1)
            assert "made" not in update or ("gallery" in update and not update["made"].shots)
            emptied += "made" in update
            if "gallery" in update:
                (shown, title), *_ = update["gallery"]
                assert Path(shown).suffix == ".png" and title.startswith("unfinished, step ")
    assert end.value.value == "the outcome"
    assert told == [(0, False), (1, True), (4, False), (6, True), (9, False)]
    assert emptied == 1  # what the run before has made is gone with the first preview, and not before


def test_the_time_left_is_told_when_steps_have_shown_it_and_begins_anew_with_each_walk(monkeypatch):
    now, clock, told = [0.0], markup.Clock(), []
    monkeypatch.setattr(markup, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for stage, step, seconds in [
        ("prior", 0, 0), *(("decoder", k, 5 if k == 1 else 2) for k in range(1, 7)), ("decoder", 1, 5)
    ]:  # fmt: skip
        now[0] += seconds
        told.append(clock.left(stage, step, 6))
    assert told == [None] * 4 + [4, 2, 0, None]  # the first step is slow, and no measure of the others
    assert "about 4 s left of this stage" in markup.bar("decoder", 4, 6, 4.0)
    assert "left" not in markup.bar("decoder", 2, 6)


@pytest.mark.parametrize("key", ["reconstruct", "generate"])
def test_pictures_are_shown_as_files_so_that_none_is_written_over_while_it_is_read(lab, key):
    labs.keep(lab)
    with gr.Blocks():
        built = layout.build(next(p for p in PAGES if p.key == key), gr.Dropdown(["toy"]), picker.examples())
    values = [4 if name == "steps" else control.value for name, control in built.knobs.items()]
    *_, last = updates = list(built.events[0].fn("toy", *(p.state.value for p in built.pickers), *values))
    assert len(last[built.made].shots) == len(last[built.gallery]["value"]) > 1

    def pictures(value):
        if isinstance(value, dict | list | tuple):
            return [p for v in (value.values() if isinstance(value, dict) else value) for p in pictures(v)]
        return [value] if isinstance(value, Image.Image) else []

    assert not [p for told in updates for c, v in told.items() if c is not built.made for p in pictures(v)]
    for one, shot in zip(last[built.gallery]["value"], last[built.made].shots):
        assert images.read_metadata(one[0])["shows"] == shot.title == one[1]


def test_what_a_user_wrote_is_text_and_never_markup():
    evil = "<script>alert(1)</script>"
    table = markup.table([{"quantity": evil, "value": 1.0, "n": 1, "low": None, "high": None}])
    for written in (
        markup.sentence(evil, notes=[evil]),
        markup.bar(evil, 1, 2, 3.0),
        markup.chances({evil: [(evil, 1)]}),
        table,
    ):
        assert "<script" not in written


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>", b"", b"\x89PNG\r\n"])
def test_an_upload_that_is_no_picture_is_refused_without_a_path(tmp_path, content):
    path = tmp_path / "letter.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        outputs.uploaded(str(path))
    assert str(tmp_path) not in str(refusal.value)


def test_an_upload_of_too_many_pixels_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "wall.png"
    Image.new("1", (7000, 6000)).save(path)
    assert path.stat().st_size < 2**16
    with pytest.raises(UserError, match="42 Mpx, at most 40 Mpx is read") as refusal:
        outputs.uploaded(str(path))
    assert str(tmp_path) not in str(refusal.value)


def test_no_visitor_makes_the_server_download_a_model(monkeypatch):
    monkeypatch.setattr(latentlab, "load", lambda *args, **kwargs: pytest.fail("it was to be loaded"))
    monkeypatch.setattr(models, "availability", lambda row: {"cached": False, "why_not": ""})
    assert dict((name, label) for label, name in labs.choices())["karlo"].endswith("(not downloaded)")
    with pytest.raises(UserError, match="karlo is not downloaded here"):
        ended(labs.obtain("karlo"))


def test_the_present_model_is_let_go_before_the_next_one_is_loaded(lab, monkeypatch):
    seen = []

    def load(name):
        seen.append(dict(labs._LOADED))
        time.sleep(0.7)
        return dataclasses.replace(lab, name=name)

    monkeypatch.setattr(latentlab, "load", load)
    labs._LOADED.clear()
    labs.keep(dataclasses.replace(lab, name="emoji"))
    stages, found = ended(labs.obtain("toy"))
    assert seen == [{}] and found.name == "toy" and labs.loaded("emoji") is None
    assert any("loading the model toy" in stage for stage in stages)
    labs.keep(lab)


def test_the_page_opens_with_a_model_too_small_for_a_label(lab, monkeypatch):
    monkeypatch.setattr(labs, "DEFAULT", "toy")
    labs.keep(lab)
    with pytest.raises(UserError, match="can't be read"):
        attack.labelled(picture(), "candy", **attack.PLACE)
    assert attack.dressed(picture((9, 9, 9))).getextrema() == ((9, 9),) * 3


def test_the_label_is_shown_where_the_sliders_put_it():
    white = outputs.Chosen("a wall", Image.new("RGB", (64, 64), "white"))
    for x in (0.26, 0.74):
        shown = attack.labelled(white, "pizza", x=x, y=0.4, size=0.5)
        left, top, right, bottom = ImageChops.difference(shown, Image.new("RGB", shown.size, "white")).getbbox()
        assert (left + right) / 2 / shown.width == pytest.approx(x, abs=0.02)
        assert (top + bottom) / 2 / shown.height == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("seed", [-5, 10**20, controls.SEED_MAX + 1, 1.5, float("nan"), float("inf"), None])
def test_a_seed_that_is_none_is_refused_by_the_name_of_its_box(seed):
    given = "nothing" if seed is None else seed
    wanted = f"Seed of x_T: {given} is given, wanted is a whole number from 0 to {controls.SEED_MAX}"
    box = controls.seed("Seed of x_T")
    # As Gradio makes a visitor's own one, which loses what was hung on the first.
    box = type(box)(**box.constructor_args)
    with pytest.raises(UserError, match=wanted):
        fitting({"seed": box}, [box.preprocess(seed)])
    for good in (0, 7.0, controls.SEED_MAX):
        assert fitting({"seed": box}, [box.preprocess(good)]) == {"seed": good}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("bad.png is empty", "bad.png is empty."),
        ("x_0 is odd", "x_0 is odd."),
        ("the caption is empty", "The caption is empty."),
    ],
)
def test_a_sentence_begins_with_a_capital_and_a_name_as_it_is_written(error, said):
    assert markup.whole(UserError(error)) == said


def test_captions_that_find_no_room_beside_the_pictures_own_are_named(lab):
    labels = ", ".join(f"a cat {k}" for k in range(clip.MORE + 2))
    _, outcome = ended(clip.run("toy", picture(), "compare", labels, True))
    assert f"a cat {clip.MORE}, a cat {clip.MORE + 1}" in outcome.notes[-1]
    _, outcome = ended(clip.run("toy", picture(), "compare", "a cat", True))
    assert not any("not read" in note for note in outcome.notes)
