"""What the app is made of, without a browser: settings from outside, sentences, the Space's files."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("gradio")
import gradio as gr
from PIL import Image, ImageChops

import latentlab
from apps.app import build, launch
from apps.pages import PAGES, attack
from apps.workbench import door, labs, layout, links, picker, running, saying, shots
from apps.workbench.bench import Bench
from latentlab import UserError, images, models
from latentlab.experiments import Progress

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import load

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


@pytest.fixture
def across(monkeypatch):
    """What goes to the GPU's process and comes from it is pickled, as on a Space."""
    for name in ("_stream", "_embedded"):
        here = getattr(running, name)

        def there(*given, here=here):
            for value in here(*pickle.loads(pickle.dumps(given))):
                yield pickle.loads(pickle.dumps(value))

        monkeypatch.setattr(running, name, there)


@pytest.mark.parametrize("key", [p.key for p in PAGES if p.key != "attack"])  # the toy's 8 pixels hold no word
def test_each_page_runs_on_any_lab_and_in_another_process(lab, page, across, key):
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
        bench = Bench(built, gr.Tabs(), gr.Dropdown(["toy"]), picker.examples())
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


def test_an_upload_of_too_many_pixels_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "wall.png"
    Image.new("1", (7000, 6000)).save(path)
    assert path.stat().st_size < 2**16
    with pytest.raises(UserError, match="42 Mpx, at most 40 Mpx is read") as refusal:
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


def test_every_tensor_of_what_travels_is_moved(lab):
    labs.keep(lab)
    _, found = ended(running.inverted("toy", [picture()], steps=4))
    meta = torch.device("meta")
    (moved, bar), knobs = running.moved(((found, Progress("decoder", 1, 2, torch.zeros(1))), {"x": [found]}), meta)
    assert (bar.stage, bar.step) == ("decoder", 1)
    for one in (moved, knobs["x"][0]):
        tensors = (one.original, one.latent.z_i, one.latent.x_T, one.residual, one.converged, bar.pixels)
        assert {t.device.type for t in tensors} == {"meta"}


def test_a_refusal_crosses_the_border_of_a_process_as_it_is(lab, across):
    labs.keep(lab)
    with pytest.raises(UserError, match="caption is empty"):
        ended(running.watched("toy", "generate", "  "))


def test_on_zerogpu_only_the_model_of_the_start_is_at_hand(lab, monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    labs._LOADED.clear()
    labs.keep(lab)
    assert labs.why_not("toy") == "" and "LATENTLAB_MODEL=emoji" in labs.why_not("emoji")
    with pytest.raises(UserError, match="this Space lends its GPU"):
        ended(labs.obtain("emoji"))


def test_no_visitor_makes_the_server_download_a_model(monkeypatch):
    monkeypatch.setattr(latentlab, "load", lambda *args, **kwargs: pytest.fail("it was to be loaded"))
    monkeypatch.setattr(models, "standing", lambda row: {"cached": False, "why_not": ""})
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


FRONT = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[1])


def test_the_front_matter_keeps_the_rules_of_spaces():
    # A version that was installed from where pip finds it, so a real one; within our range, says test_packaging.
    assert FRONT["sdk"] == "gradio" and f"gradio=={FRONT['sdk_version']}\n" in (ROOT / "constraints.txt").read_text()
    assert isinstance(FRONT["python_version"], str) and FRONT["python_version"] in ("3.12", "3.12.12")
    assert (ROOT / FRONT["app_file"]).is_file()
    assert len(FRONT["short_description"]) <= 60 and len(FRONT["title"]) <= 40
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {FRONT["colorFrom"], FRONT["colorTo"]} <= colours


@pytest.fixture
def lender():
    """ZeroGPU's own server, which hears of the start: (address, the paths that were asked for)."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_the_app_starts_as_a_space_with_zerogpu_starts_it(tmp_path, lender):
    """There `spaces` puts a stand-in of CUDA in torch's place, on which the model is loaded at module level."""
    port = free_port()
    space = {
        "SYSTEM": "spaces", "SPACE_ID": "somebody/latentlab", "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1", "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": lender[0], "ZEROGPU_OFFLOAD_DIR": str(tmp_path / "offload"),
    }  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, FRONT["app_file"]]
        app = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **space}, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read().decode()
                break
            except OSError:
                assert app.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        assert "latentlab" in answer
        assert lender[1] == ["/startup-report"]
        packed = sum(part.stat().st_size for part in (tmp_path / "offload").rglob("*") if part.is_file())
        assert packed > 50 * 2**20  # the whole model was on "cuda"
    finally:
        app.terminate()
        app.wait(20)


def call(app, body: bytes, path: str = "/gradio_api/queue/join", header: int | None = None) -> asyncio.Future:
    """One POST to an ASGI app, its body in pieces: the status that came back."""
    pieces = [body[k : k + 2**16] for k in range(0, len(body), 2**16)] or [b""]
    answer = asyncio.get_running_loop().create_future()

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.set_result(message["status"])

    async def run():
        await app({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
        return await answer

    return asyncio.ensure_future(run())


def test_the_door_counts_the_runs_that_arrive_at_the_same_moment():
    queue, opened = [], asyncio.Event()

    async def app(scope, receive, send):
        await opened.wait()  # all are on their way before one has joined
        queue.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def arrive():
        calls = [call(guarded, b"%d" % k) for k in range(3 * door.MOST)]
        await asyncio.sleep(0)
        opened.set()
        return [await c for c in calls]

    guarded = door.Door(app, waiting=lambda: len(queue))
    statuses = asyncio.run(arrive())
    assert statuses.count(200) == door.MOST == len(set(queue))
    assert set(statuses) == {200, 503}


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/call/generate"])
def test_a_call_of_more_than_a_megabyte_is_refused_before_it_is_parsed(path):
    async def app(scope, receive, send):
        pytest.fail("it came through")

    async def arrive():
        return await call(door.Door(app, waiting=lambda: 0), bytes(door.LARGEST + 1), path)

    assert asyncio.run(arrive()) == 413


def test_the_label_is_shown_where_the_sliders_put_it():
    white = shots.Chosen("a wall", Image.new("RGB", (64, 64), "white"))
    for x in (0.26, 0.74):
        shown = attack.dressed(white, "pizza", x=x, y=0.4, size=0.5)
        left, top, right, bottom = ImageChops.difference(shown, Image.new("RGB", shown.size, "white")).getbbox()
        assert (left + right) / 2 / shown.width == pytest.approx(x, abs=0.02)
        assert (top + bottom) / 2 / shown.height == pytest.approx(0.4, abs=0.02)


@pytest.fixture(scope="module")
def served(lab):
    """The whole page on the toy lab, answering; its address."""
    labs.keep(lab)
    page = build(lab)
    _, address, _ = launch(page, prevent_thread_lock=True, quiet=True, server_port=free_port())
    yield address.rstrip("/")
    page.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_model_that_fails_says_so_and_frees_the_queue(served, monkeypatch):
    def broken(*args, **knobs):
        raise RuntimeError("CUDA error in /secret/place.py")
        yield

    press = load.presses(load.httpx.get(f"{served}/config").json(), ("generate",), steps=4)[0]
    with load.httpx.Client(base_url=served, timeout=30) as client:
        with monkeypatch.context() as patch:
            patch.setattr(latentlab.experiments.generate, "stream", broken)
            outcome, said = load.run(client, press, "first", None)
        assert outcome == "failed" and saying.OURS in said and "secret" not in said
        assert load.run(client, press, "second", None)[0] == "finished"


def test_every_run_of_a_crowd_is_finished_refused_or_cancelled(served, monkeypatch):
    monkeypatch.setattr(door, "MOST", 4)
    pages = ("generate", "variations", "interpolate", "clip")
    found = load.load(served, visitors=16, seconds=6, pid=os.getpid(), pages=pages)
    assert not found.wrong and not found.outcomes["lost"] and not found.outcomes["failed"]
    assert found.outcomes["finished"] and found.outcomes["refused"]
    assert max(found.memory) - found.memory[0] < load.GROWTH
