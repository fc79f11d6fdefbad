"""What the app is made of, without a browser: settings from outside, sentences, the Space's files."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("gradio")
from PIL import Image

from apps.app import build
from apps.pages import PAGES
from apps.workbench import labs, links, running, saying, shots
from latentlab import UserError, images
from latentlab.experiments import Progress

ROOT = Path(__file__).parent.parent


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
    return shots.Chosen("a picture", Image.new("RGB", (64, 64), colour), "something")


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
    first, found = ended(running.inverted("toy", [picture()], steps=4))
    second, again = ended(running.inverted("toy", [picture()], steps=4))
    other, _ = ended(running.inverted("toy", [picture((0, 99, 9))], steps=4))
    assert "inversion" in first and "inversion" in other
    assert "inversion" not in second and again is found


def test_two_pictures_become_one_batch_and_keep_their_order(lab):
    labs.keep(lab)
    pair = [picture((10, 20, 30)), picture((230, 220, 210))]
    _, both = ended(running.inverted("toy", pair, steps=4))
    _, second = ended(running.inverted("toy", pair[1:], steps=4))
    assert torch.equal(both.row(1).latent.x_T, second.latent.x_T)


@pytest.mark.parametrize("key", [p.key for p in PAGES if p.key != "attack"])  # the toy's 8 pixels hold no word
def test_each_page_runs_on_any_lab(lab, page, key):
    labs.keep(lab)
    found = next(p for p in PAGES if p.key == key)
    with page:
        knobs = {**found.knobs(), **found.advanced()}
    values = {name: c.value for name, c in knobs.items() if name not in found.private} | (
        {"steps": 4} if "steps" in knobs else {}
    )
    _, outcome = ended(found.run("toy", *[picture((9 + 90 * k, 60, 30)) for k in range(len(found.pictures))], **values))
    assert outcome.result.summary()
    assert bool(outcome.shots) == found.gallery


def test_what_was_made_goes_on_with_its_latents(lab):
    labs.keep(lab)
    run = next(p for p in PAGES if p.key == "interpolate").run
    _, outcome = ended(run("toy", picture(), picture((0, 99, 9)), 4, "slerp", 0, 4, 1.0))
    stages, found = ended(running.inverted("toy", [outcome.shots[2].chosen()], steps=4))
    assert "inversion" not in stages
    assert torch.equal(found.latent.x_T, outcome.shots[2].latent.x_T)


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


def test_settings_of_the_command_line_find_their_page():
    page, fields = links.settings({"experiment": "vary", "seeds": [3, 4, 5], "steps": 9})
    assert (page, fields["seed"], fields["count"], fields["steps"]) == ("variations", 3, 3, 9)


def test_settings_travel_in_a_png_and_nothing_else_is_believed(tmp_path):
    path = images.save_png(Image.new("RGB", (4, 4)), tmp_path / "a.png", {"page": "generate", "fields": {"seed": 5}})
    assert links.settings(shots.settings_in(str(path))) == ("generate", {"seed": 5})
    (tmp_path / "b.png").write_text("<svg onload='alert(1)'/>")
    assert shots.settings_in(str(tmp_path / "b.png")) is None


def test_what_a_user_wrote_is_text_and_never_markup():
    evil = "<script>alert(1)</script>"
    table = saying.table([{"quantity": evil, "value": 1.0, "n": 1, "low": None, "high": None}])
    for written in (
        saying.sentence(evil, notes=[evil]),
        saying.bar(evil, 1, 2, 0.0),
        saying.chances({evil: [(evil, 1)]}),
        table,
    ):
        assert "<script" not in written


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>", b"", b"\x89PNG\r\n"])
def test_an_upload_that_is_no_picture_is_refused_without_a_path(tmp_path, content):
    path = tmp_path / "letter.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        shots.uploaded(str(path))
    assert str(tmp_path) not in str(refusal.value)


def test_a_gpu_is_asked_for_briefly_and_for_longer_runs_longer():
    short = running.seconds("emoji", "vary", (), {"seeds": (0,), "etas": (0,), "steps": 25})
    long = running.seconds("emoji", "vary", (), {"seeds": range(8), "etas": (0, 0.5, 1), "steps": 50})
    assert 1 <= short < long <= 60
    assert running.seconds("emoji", "vary", (), {"seeds": range(9999), "steps": 9999}) == 60


def test_away_from_zerogpu_the_wrapper_changes_nothing(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert running.on_gpu(ended) is ended


def test_progress_and_results_can_cross_to_another_process(lab):
    value = running._on_cpu(Progress("decoder", 1, 2, torch.zeros(1)))
    assert isinstance(value, Progress) and value.pixels.device.type == "cpu"


FRONT = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[1])


def test_the_front_matter_keeps_the_rules_of_spaces():
    assert FRONT["sdk"] == "gradio" and re.fullmatch(r"\d+\.\d+\.\d+", str(FRONT["sdk_version"]))
    assert FRONT["python_version"] in ("3.12", "3.12.12")
    assert (ROOT / FRONT["app_file"]).is_file()
    assert len(FRONT["short_description"]) <= 60 and len(FRONT["title"]) <= 40
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {FRONT["colorFrom"], FRONT["colorTo"]} <= colours


def test_the_app_starts_as_a_space_starts_it(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    space = {
        "SYSTEM": "spaces", "SPACE_ID": "somebody/latentlab", "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1", "LATENTLAB_MODEL": "toy",
    }  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, FRONT["app_file"]]
        app = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **space}, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read().decode()
                break
            except OSError:
                assert app.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        assert "latentlab" in answer
    finally:
        app.terminate()
        app.wait(20)
