"""What the app is made of, without a browser: models, settings from outside, sentences, uploads."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
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
from latentlab import UserError, decoding, edits, models
from latentlab.app import controls, edit_canvas, fits, layout, links, markup, model_cache, outputs, picker, running
from latentlab.app.main import build, main
from latentlab.app.output_bar import OutputBar
from latentlab.app.page import validated_params, with_settings
from latentlab.app.pages import PAGES, attack, clip, dalle, edit, generate, interpolate, pca
from latentlab.experiments import Progress
from latentlab.io import images


@pytest.fixture(scope="module")
def page(lab):
    """The whole page on the toy lab."""
    return build(lab)


def collect(stream):
    """Run a stream to its end: its stages, and what it returns."""
    stages = []
    while True:
        try:
            stages.append(next(stream).stage)
        except StopIteration as end:
            return stages, end.value


def picture(colour=(200, 60, 30)):
    return outputs.InputImage("a picture", Image.new("RGB", (64, 64), colour), "something")


def test_each_page_has_an_endpoint_whose_parameters_have_names(page):
    info = page.get_api_info()["named_endpoints"]
    assert set(info) == {f"/{p.key.replace('-', '_')}" for p in PAGES}
    for name, endpoint in info.items():
        assert all(not p["parameter_name"].startswith("param_") for p in endpoint["parameters"]), name


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "don't fit"),
        ({"model": "nobody"}, "list of choices"),
        ({"count": {}}, "don't fit"),
        ({"count": 10**9}, "maximum"),
    ],
    ids=["none", "a choice", "a kind", "a number"],
)
def test_values_that_fit_no_control_are_refused_in_a_sentence_without_a_traceback(page, values, sentence):
    generate = next(fn for fn in page.fns.values() if fn.api_name == "generate")
    begins = dict(zip(inspect.signature(generate.fn).parameters, [control.value for control in generate.inputs]))
    values = [*(begins | values).values()] if values else []
    with pytest.raises(gr.Error, match=sentence) as refusal:
        asyncio.run(page.preprocess_data(generate, values, None))
    assert not refusal.value.print_exception and "\n" not in refusal.value.message


def test_heavy_events_run_one_at_a_time(page):
    heavy = [fn for fn in page.fns.values() if fn.concurrency_id == "model"]
    assert len(heavy) > 2 * len(PAGES)
    assert {fn.concurrency_limit for fn in heavy} == {1}


def test_drawing_the_map_does_not_answer_for_what_is_chosen_meanwhile(page):
    draw = next(fn for fn in page.fns.values() if fn.name == "_draw")
    choose = next(fn for fn in page.fns.values() if fn.name == "_choose")
    assert not set(draw.outputs) & set(choose.outputs)


def test_a_picture_is_inverted_once_for_all_pages(lab):
    model_cache.set_lab(lab)
    mine = [picture((31, 41, 59))]  # that no other test inverts
    first, inverted = collect(running.invert_images("toy", mine, steps=4))
    second, again = collect(running.invert_images("toy", mine, steps=4))
    other, _ = collect(running.invert_images("toy", [picture((0, 99, 9))], steps=4))
    assert "inversion" in first and "inversion" in other
    assert "inversion" not in second and again is inverted


def test_two_pictures_become_one_batch_and_keep_their_order(lab):
    model_cache.set_lab(lab)
    pair = [picture((10, 20, 30)), picture((230, 220, 210))]
    _, both = collect(running.invert_images("toy", pair, steps=4))
    _, second = collect(running.invert_images("toy", pair[1:], steps=4))
    assert torch.equal(both.row(1).latent.x_T, second.latent.x_T)


def test_a_generated_picture_used_as_input_keeps_its_latents(lab):
    model_cache.set_lab(lab)
    run = next(p for p in PAGES if p.key == "interpolate").run
    _, page_result = collect(run("toy", picture(), picture((0, 99, 9)), 4, "slerp", 0, 4, 1.0))
    stages, inverted = collect(running.invert_images("toy", [page_result.images[2].as_input()], steps=4))
    assert "inversion" not in stages
    assert torch.equal(inverted.latent.x_T, page_result.images[2].latent.x_T)


@pytest.mark.parametrize("solver", decoding.SOLVERS)
def test_a_generated_picture_has_the_latents_that_its_solver_decoded(lab, solver):
    model_cache.set_lab(lab)
    _, page_result = collect(generate.run("toy", "a cat", 1, 0, 4, 2.0, solver, 1.0, 2))
    image, text = page_result.images[0], lab.decoder.encode_prompt(["a cat"])
    x_0 = decoding.decode(lab.decoder, image.latent, text=text, steps=4, guidance=2.0, solver=solver)
    again = images.to_pil(decoding.pictures(lab.decoder, x_0))[0]
    assert ImageChops.difference(again, image.picture).getextrema() == ((0, 0),) * 3


def test_truncated_pictures_have_the_latents_that_they_were_decoded_from(lab):
    model_cache.set_lab(lab)
    _, interpolation = collect(interpolate.run("toy", picture(), picture((0, 99, 9)), 4, "slerp", 0, 4, 1.0))
    picture_in = interpolation.images[2].as_input()
    _, page_result = collect(pca.run("toy", picture_in, picture_in, "truncate", *[0] * 6, 2, 0, 3, 0, 4))
    for image in page_result.images:
        inverted = image.known_latents.inverted
        again = decoding.pictures(lab.decoder, decoding.decode(lab.decoder, inverted.latent, steps=4))
        torch.testing.assert_close(again, inverted.original, atol=1e-4, rtol=0)


def directions_page(task, *distances, exchanged=2):
    moves = [*distances, *[0.0] * (6 - len(distances))]
    _, page_result = collect(pca.run("toy", picture(), picture((0, 99, 9)), task, *moves, exchanged, 0, 3, 0, 4))
    return page_result


def test_sliders_move_a_picture_along_several_components_and_features_at_once(lab):
    model_cache.set_lab(lab)
    still, moved = directions_page("several"), directions_page("several", 2.0, 0.0, -1.0, 1.5)
    assert torch.equal(still.images[0].latent.z_i, still.images[1].latent.z_i) and "move some" in still.summary
    before, after = (image.latent.z_i for image in moved.images)
    (components, _), (features, _) = fits.components("toy", lab), fits.features("toy", lab)
    strongest = features.leading(before, 1)[0]
    moves = [(components, 0, 2.0), (components, 2, -1.0), (features, strongest, 1.5)]
    torch.testing.assert_close(after, edits.move(before, moves))
    for words in ("first component by +2 (towards", "third component by -1 (", "strongest feature by +1.5 ("):
        assert words in moved.summary


def test_two_pictures_exchange_one_feature_and_several_and_are_first_shown_as_they_are(lab):
    model_cache.set_lab(lab)
    page_result = directions_page("exchange")
    z_i = torch.cat([image.latent.z_i for image in page_result.images]).view(2, 3, -1)
    features, _ = fits.features("toy", lab)
    chosen = features.differing(z_i[:, 0], 2)
    for column, some in enumerate(([], chosen[:1], chosen)):
        torch.testing.assert_close(z_i[:, column], features.exchange(z_i[:, 0], some))
    titles = [image.title for image in page_result.images]
    assert titles[:3] == titles[3:] == ["as it is", "one feature exchanged", "2 features exchanged"]
    assert page_result.columns == 3 and page_result.summary.startswith("With 2 features exchanged, CLIP sees")
    x_T = torch.cat([image.latent.x_T for image in page_result.images]).view(2, 3, -1)
    assert torch.equal(x_T[:, 1], x_T[:, 2]) and not torch.equal(x_T[:, 0], x_T[:, 1])


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("prompt", "a cat", "a cat"),
        ("prompt", "x" * 301, None),
        ("seed", "7", 7),
        ("seed", "-1", None),
        ("seed", "1.5", None),
        ("seed", "nan", None),
        ("steps", "12", 12),
        ("steps", "1000000", None),
        ("steps", "twelve", None),
        ("guidance", "2.5", 2.5),
        ("guidance", "inf", None),
    ],
)
def test_a_link_sets_only_what_its_control_allows(page, name, text, wanted):
    with page:
        page_declaration = next(p for p in PAGES if p.key == "generate")
        control = {**page_declaration.controls(), **page_declaration.advanced()}[name]
    assert links.validated_value(control, text) == wanted


def test_a_link_names_its_pictures_among_the_examples(lab):
    built = next(b for b in built_pages(lab) if b.page.key == "interpolate")
    settings = {"picture_1": "03-heart", "picture_2": "../../etc/passwd", "picture": "03-heart", "frames": "5"}
    assert links.validated_settings(built, settings, {"03-heart"}) == (
        {"picture_1": "03-heart", "frames": 5},
        ["picture_2"],
    )


def built_pages(lab):
    model_cache.set_lab(lab)
    with gr.Blocks():
        model = gr.Dropdown(["toy"])
        return [layout.build(p, model, picker.load_examples()) for p in PAGES if p.key in ("interpolate", "text-diff")]


def test_the_columns_of_a_sweep_are_in_the_order_of_its_places_though_a_quantity_lacks_the_first():
    rows = [{"quantity": "drift", "value": 0.1 * k, "n": 1, "theta": 0.1 * k} for k in (1, 2)]
    rows += [{"quantity": "PSNR to the first frame", "value": 30.0, "n": 1, "theta": 0.1 * k} for k in (0, 1, 2)]
    heads = re.findall(r'<th scope="col">(.*?)</th>', markup.results_table(rows))
    assert heads == ["quantity", "θ = 0", "θ = 0.1", "θ = 0.2"]


def test_a_link_sets_the_picture_without_changing_the_source_caption(lab):
    built = built_pages(lab)
    diff = next(b for b in built if b.page.key == "text-diff")
    with gr.Blocks():
        output_bar = OutputBar(built, gr.Tabs(), gr.Dropdown(["toy"]), gr.HTML(), picker.load_examples())
    name = next(iter(output_bar.examples))
    both = [*output_bar.fields(), *output_bar.all_pickers()]
    updates = output_bar.filled(diff, {"picture": name, "source": "a cat"})
    pictures = [v for c, v in zip(both, updates) if c is diff.pickers[0].state]
    sources = [v for c, v in zip(both, updates) if c is diff.controls["source"]]
    assert pictures == [output_bar.examples[name]]
    assert [w for w in sources if isinstance(w, str)] == ["a cat"]


def test_settings_of_the_command_line_find_their_page():
    page, fields = links.page_settings({"experiment": "vary", "seeds": [3, 4, 5], "steps": 9})
    assert (page, fields["seed"], fields["count"], fields["steps"]) == ("variations", 3, 3, 9)


@pytest.mark.parametrize(
    ("experiment", "page", "task"),
    [("guide", "prior", "sweep"), ("spell", "binding", "spell"), ("walk_components", "pca", "walk")],
)
def test_settings_of_a_second_experiment_of_a_page_find_its_page_and_its_task(experiment, page, task):
    assert links.page_settings({"experiment": experiment, "steps": 9})[0] == page
    assert links.page_settings({"experiment": experiment, "steps": 9})[1]["task"] == task


def test_settings_are_read_from_a_png_and_from_no_other_file(tmp_path):
    path = images.save_png(Image.new("RGB", (4, 4)), tmp_path / "a.png", {"page": "generate", "fields": {"seed": 5}})
    assert links.page_settings(outputs.settings_in(str(path))) == ("generate", {"seed": 5})
    (tmp_path / "b.png").write_text("<svg onload='alert(1)'/>")
    assert outputs.settings_in(str(tmp_path / "b.png")) is None


@pytest.mark.parametrize("odd", [["03-heart"], {"a": 1}, None, 10**400])
def test_odd_settings_in_a_png_are_ignored(lab, odd):
    assert links.page_settings({"page": odd, "experiment": odd})[0] is None
    built = next(b for b in built_pages(lab) if b.page.key == "interpolate")
    settings = dict.fromkeys((*built.controls, "picture_1"), odd)
    assert links.validated_settings(built, settings, {"03-heart"}) == ({}, [*built.controls, "picture_1"])


def test_the_link_of_a_picture_names_the_model_that_made_it(lab):
    _, page_result = collect(interpolate.run("toy", picture(), picture((0, 99, 9)), 3, "slerp", 0, 4, 1.0))
    built = built_pages(lab)
    with gr.Blocks():
        output_bar = OutputBar(built, gr.Tabs(), gr.Dropdown(["toy"]), gr.HTML(), picker.load_examples())
    run_output = outputs.RunOutput(
        "interpolate", tuple(with_settings(built[0].page, s, page_result.result, {}) for s in page_result.images)
    )
    assert any("model=toy" in str(update) for update in output_bar._select(run_output, 0, "emoji", []))


def test_a_picture_made_of_an_example_is_compared_with_its_own_caption(lab, monkeypatch):
    model_cache.set_lab(lab)
    seen = {}

    def run_experiment(model, experiment, pixels, captions):
        seen.update(pixels=len(pixels), captions=captions)
        yield
        return None

    monkeypatch.setattr(clip, "run_experiment", run_experiment)
    one = picker.load_examples()[0]
    again = dataclasses.replace(one, name="made of it", example="")
    next(stream := clip.run("toy", again, "compare", "a label", True))
    stream.close()
    assert seen["captions"][0] == one.caption and len(set(seen["captions"])) == seen["pixels"] + 1


def test_the_page_is_updated_at_each_stage_and_at_most_once_per_interval(monkeypatch):
    drawn, clock, seen, cleared = torch.zeros(1, 3, 4, 4), [9.0], [], 0
    gallery = gr.Gallery()
    monkeypatch.setattr(layout, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def stream():
        steps = [("prior", 0, None), *(("decoder", k, drawn if k % 5 == 1 else None) for k in range(1, 10))]
        for stage, step, pixels in steps:
            clock[0] += 0.4 * layout.MIN_INTERVAL
            yield Progress(stage, step, 9, pixels)
        return "the result"

    updates = layout._stream_updates(stream(), "status", gallery, "run_output", {"run": "held"})
    with pytest.raises(StopIteration) as end:
        while True:
            update = next(updates)
            seen.append((int(re.search(r'value="(\d)"', update["status"])[1]), gallery in update))
            assert ("run" in update) == (len(seen) == 1)
            assert "run_output" not in update or (gallery in update and not update["run_output"].images)
            cleared += "run_output" in update
            if gallery in update:
                (path, title), *_ = update[gallery]
                assert Path(path).suffix == ".png" and title.startswith("unfinished, step ")
    assert end.value.value == "the result"
    assert seen == [(0, False), (1, True), (4, False), (6, True), (9, False)]
    assert cleared == 1  # the first preview clears the pictures of the run before


def test_the_time_left_is_estimated_from_the_steps_of_the_stage_so_far(monkeypatch):
    now, clock, seconds_left = [0.0], markup.StageClock(), []
    monkeypatch.setattr(markup, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for stage, step, seconds in [
        ("prior", 0, 0),
        *(("decoder", k, 5 if k == 1 else 2) for k in range(1, 7)),
        ("decoder", 1, 5),
    ]:
        now[0] += seconds
        seconds_left.append(clock.left(stage, step, 6))
    assert seconds_left == [None] * 4 + [4, 2, 0, None]  # the first step is slow, so it is left out of the estimate
    assert "about 4 s left of this stage" in markup.progress_bar("decoder", 4, 6, 4.0)
    assert "left" not in markup.progress_bar("decoder", 2, 6)


@pytest.mark.parametrize("key", ["reconstruct", "generate"])
def test_pictures_are_sent_to_the_page_as_files(lab, key):
    model_cache.set_lab(lab)
    with gr.Blocks():
        built = layout.build(next(p for p in PAGES if p.key == key), gr.Dropdown(["toy"]), picker.load_examples())
    values = [4 if name == "steps" else control.value for name, control in built.controls.items()]
    *_, last = updates = list(built.events[0].fn("toy", *(p.state.value for p in built.pickers), *values))
    assert len(last[built.run_output].images) == len(last[built.gallery]["value"]) > 1

    def pictures(value):
        if isinstance(value, dict | list | tuple):
            return [p for v in (value.values() if isinstance(value, dict) else value) for p in pictures(v)]
        return [value] if isinstance(value, Image.Image) else []

    assert not [p for update in updates for c, v in update.items() if c is not built.run_output for p in pictures(v)]
    for one, image in zip(last[built.gallery]["value"], last[built.run_output].images):
        assert images.read_metadata(one[0])["shows"] == image.title == one[1]


def test_a_picture_that_is_optional_is_asked_for_after_the_prompt_and_only_when_it_is_wanted(lab):
    model_cache.set_lab(lab)
    with gr.Blocks():
        built = layout.build(dalle.PAGE, gr.Dropdown(["toy"]), picker.load_examples())
    inputs = built.run.parent.parent.children
    slot = next(c for c in inputs if isinstance(c, gr.Column) and built.pickers[0].slot in c.children)
    assert not slot.visible
    before = [c for k in inputs[: inputs.index(slot)] for c in (k, *getattr(k, "children", ()))]
    assert built.controls["prompt"] in before and built.controls["carry_on"] in before
    shows = next(fn for fn in built.tab.parent.parent.fns.values() if [*fn.outputs] == [slot])
    assert shows.fn(True)["visible"] and not shows.fn(False)["visible"]
    values = {name: control.value for name, control in built.controls.items()} | {"carry_on": True, "drawn": 3}
    *_, last = built.events[0].fn("toy", picture(), *values.values())
    shown = last[built.run_output].images
    assert len(shown) == 1 + 4 and shown[0].title == "your picture in tokens"
    assert "kept the upper half of the picture and drew the lower half 4 times" in last[built.status]


def test_a_table_of_one_value_is_left_to_the_sentence(lab):
    model_cache.set_lab(lab)
    with gr.Blocks():
        built = layout.build(clip.PAGE, gr.Dropdown(["toy"]), picker.load_examples())
    values = {name: control.value for name, control in built.controls.items()} | {"labels": "a cat, a dog"}
    *_, last = built.events[0].fn("toy", picture(), *values.values())
    assert [value["visible"] for c, value in last.items() if isinstance(c, gr.Accordion)] == [False]


def test_text_from_users_is_escaped_in_html():
    evil = "<script>alert(1)</script>"
    table = markup.results_table([{"quantity": evil, "value": 1.0, "n": 1, "low": None, "high": None}])
    for written in (
        markup.message(evil, notes=[evil]),
        markup.progress_bar(evil, 1, 2, 3.0),
        markup.probability_bars({evil: [(evil, 1)]}),
        markup.similarity_table(torch.zeros(2, 3, 4, 4), [evil], torch.zeros(2, 1)),
        table,
    ):
        assert "<script" not in written


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>", b"", b"\x89PNG\r\n"])
def test_an_upload_that_is_no_picture_is_refused_without_a_path(tmp_path, content):
    path = tmp_path / "letter.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        outputs.uploaded_image(str(path))
    assert str(tmp_path) not in str(refusal.value)


def test_an_upload_of_too_many_pixels_is_refused_without_a_path(tmp_path):
    path = tmp_path / "wall.png"
    Image.new("1", (7000, 6000)).save(path)
    assert path.stat().st_size < 2**16
    with pytest.raises(UserError, match="42 Mpx, at most 40 Mpx is read") as refusal:
        outputs.uploaded_image(str(path))
    assert str(tmp_path) not in str(refusal.value)


def test_a_visitor_cannot_make_the_server_download_a_model(monkeypatch):
    monkeypatch.setattr(latentlab, "load", lambda *args, **kwargs: pytest.fail("it was to be loaded"))
    monkeypatch.setattr(models, "availability", lambda row: {"cached": False, "why_not": ""})
    assert dict((name, label) for label, name in model_cache.dropdown_choices())["karlo"].endswith("(not downloaded)")
    with pytest.raises(UserError, match="karlo is not downloaded here"):
        collect(model_cache.load_with_progress("karlo"))


def test_the_present_model_is_released_before_the_next_one_is_loaded(lab, monkeypatch):
    seen = []

    def load(name):
        seen.append(dict(model_cache._LOADED))
        time.sleep(0.7)
        return dataclasses.replace(lab, name=name)

    monkeypatch.setattr(latentlab, "load", load)
    model_cache._LOADED.clear()
    model_cache.set_lab(dataclasses.replace(lab, name="emoji"))
    stages, loaded = collect(model_cache.load_with_progress("toy"))
    assert seen == [{}] and loaded.name == "toy" and model_cache.loaded_lab("emoji") is None
    assert any("loading the model toy" in stage for stage in stages)
    model_cache.set_lab(lab)


def test_the_page_opens_with_a_model_too_small_for_a_label(lab, monkeypatch):
    monkeypatch.setattr(model_cache, "DEFAULT_MODEL", "toy")
    model_cache.set_lab(lab)
    with pytest.raises(UserError, match="can't be read"):
        attack.labelled(picture(), "candy", **attack.PLACE)
    assert attack.preview(picture((9, 9, 9))).getextrema() == ((9, 9),) * 3


def test_the_preview_shows_the_label_where_the_sliders_put_it():
    white = outputs.InputImage("a wall", Image.new("RGB", (64, 64), "white"))
    for x in (0.26, 0.74):
        labelled = attack.labelled(white, "pizza", x=x, y=0.4, size=0.5)
        left, top, right, bottom = ImageChops.difference(labelled, Image.new("RGB", labelled.size, "white")).getbbox()
        assert (left + right) / 2 / labelled.width == pytest.approx(x, abs=0.02)
        assert (top + bottom) / 2 / labelled.height == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("seed", [-5, 10**20, controls.SEED_MAX + 1, 1.5, float("nan"), float("inf"), None])
def test_an_invalid_seed_is_refused_with_the_name_of_its_box(seed):
    value = "empty" if seed is None else seed
    wanted = f"Seed of x_T is {value}, wanted is a whole number from 0 to {controls.SEED_MAX}"
    box = controls.seed("Seed of x_T")
    # Gradio makes each visitor's own box from its constructor's arguments; attributes set later are lost.
    box = type(box)(**box.constructor_args)
    with pytest.raises(UserError, match=wanted):
        validated_params({"seed": box}, [box.preprocess(seed)])
    for good in (0, 7.0, controls.SEED_MAX):
        assert validated_params({"seed": box}, [box.preprocess(good)]) == {"seed": good}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("bad.png is empty", "bad.png is empty."),
        ("x_0 is odd", "x_0 is odd."),
        ("the caption is empty", "The caption is empty."),
    ],
)
def test_an_error_begins_with_a_capital_unless_it_begins_with_a_name(error, sentence):
    assert markup.error_sentence(UserError(error)) == sentence


def test_captions_beyond_the_limit_are_named_in_a_note(lab):
    labels = ", ".join(f"a cat {k}" for k in range(clip.MORE + 2))
    _, page_result = collect(clip.run("toy", picture(), "compare", labels, True))
    assert f"a cat {clip.MORE}, a cat {clip.MORE + 1}" in page_result.notes[-1]
    _, page_result = collect(clip.run("toy", picture(), "compare", "a cat", True))
    assert not any("left out" in note for note in page_result.notes)


def test_the_app_prints_its_address_and_nothing_of_gradios_about_sharing(lab, monkeypatch, capsys):
    with gr.Blocks() as page:
        pass
    monkeypatch.setattr(model_cache, "get", lambda name: lab)
    monkeypatch.setattr("latentlab.app.main.build", lambda lab: page)
    monkeypatch.setattr(gr.Blocks, "block_thread", gr.Blocks.close)
    main()
    out = capsys.readouterr().out
    assert re.search(r"^latentlab is at http://127.0.0.1:\d+/", out, re.MULTILINE) and "public" not in out


# The page Edit


def canvas(box=None, side=512):
    """The canvas of the editor, with a box painted half transparent."""
    layer = Image.new("RGBA", (side, side))
    if box:
        layer.paste((236, 72, 153, 170), box)
    return {"background": Image.new("RGBA", (side, side)), "layers": [layer], "composite": None}


def run_edit(lab, drawn, history=None, prompt="a cat", grow="", strength=1):
    model_cache.set_lab(lab)
    return collect(edit.run("toy", picture(), prompt, grow, strength, 1, 0, 4, 2.0, drawn, history))[1]


def test_what_is_painted_on_the_canvas_is_the_mask_in_the_pictures_size():
    mask = edit_canvas.painted(canvas((128, 256, 256, 512)), (8, 8))
    assert mask.nonzero().tolist() == [[row, column] for row in (4, 5, 6, 7) for column in (2, 3)]
    assert edit_canvas.painted(canvas(), (8, 8)) is None and edit_canvas.painted(None, (8, 8)) is None


def test_an_edit_on_the_page_starts_from_the_last_one_and_becomes_a_state_of_the_history(lab):
    drawn = canvas((128, 128, 384, 384))
    first = run_edit(lab, drawn).extras["history"]["value"]
    result = run_edit(lab, drawn, first, "a dog")
    history = result.extras["history"]["value"]
    assert [state.title for state in history.states] == ["the picture", "a cat", "a dog"]
    assert (len(first.states), history.path()) == (2, [0, 1, 2]), "the history of a run that is cancelled is unchanged"
    outside = ~history.states[2].mask
    assert torch.equal(history.pixels.where(outside, 0), first.pixels.where(outside, 0))
    titles = [title for _, title in result.extras["strip"]["value"]]
    assert titles == ["0. the picture", "1. a cat", "▸ 2. a dog"]
    assert [result.extras[name]["interactive"] for name in ("undo", "redo")] == [True, False]


def test_the_page_says_what_an_edit_lacks(lab):
    for drawn, params, message in (
        (None, {}, "nothing is painted yet: paint over"),
        (canvas((0, 0, 99, 99)), {"grow": "top"}, "a canvas grows without a mask"),
    ):
        with pytest.raises(UserError, match=message):
            run_edit(lab, drawn, **params)


def test_edit_opens_with_its_picture_before_the_browser_has_drawn_the_canvas_and_numbers_are_folded_away(page):
    """The canvas says “select the draw tool to start” meanwhile, and its preview covers that."""
    (live,) = (block for block in page.blocks.values() if "live" in (getattr(block, "elem_classes", None) or ()))
    (canvas,) = (block for block in page.blocks.values() if block.elem_id == "edit-canvas")
    assert live.value and canvas.value["background"]
    drawers = [block for block in page.blocks.values() if getattr(block, "label", "") == "Numbers"]
    assert sum(drawer.open for drawer in drawers) == sum(not p.gallery and not p.live for p in PAGES)


def test_a_grown_canvas_does_not_grow_once_more_at_the_next_edit(page):
    (grow,) = (block for block in page.blocks.values() if getattr(block, "label", "") == "Grow the canvas")
    (reset,) = (fn for fn in page.fns.values() if fn.js == "() => ''" and fn.outputs == [grow])
    assert [event for _, event in reset.targets] == ["change"], "of the history"


def test_the_examples_of_edits_are_finished_histories_that_begin_with_a_picture():
    histories = edit.example_histories()
    assert len(histories) >= 3 and {image.example for image in edit.examples()} == histories.keys()
    assert all(len(history.states) > 1 and history.path()[0] == 0 for history in histories.values())


def test_a_chosen_picture_and_its_history_arrive_in_one_answer_and_the_strip_frames_the_current_state():
    """The history once came after Run was enabled again, so that a quick Run edited the picture before."""
    example = edit.examples()[1]
    values = edit.follow(example)
    assert values.keys() == set(edit.PAGE.following) and "history" in edit.PAGE.following
    history = values["history"]["value"]
    assert history is edit.example_histories()[example.example]
    assert values["strip"]["selected_index"] == history.position > 0
    plain = edit.follow(picture())
    assert plain["history"]["value"] is None and plain["strip"]["selected_index"] is None
    assert plain["canvas"]["value"]["background"].endswith(".png")
