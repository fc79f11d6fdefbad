"""The app as a Space: its files follow the rules of Spaces, its runs work in a GPU's process, and it starts there."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("gradio")
import gradio as gr
from test_app_load import free_port
from test_app_parts import collect, picture

from latentlab import UserError, experiments
from latentlab.app import model_cache, running
from latentlab.app.pages import PAGES
from latentlab.experiments import Progress

ROOT = Path(__file__).parent.parent


@pytest.fixture
def in_other_process(monkeypatch):
    """Pickle the arguments and results of a GPU's process, as a Space does."""
    for name in ("_stream", "_encode"):
        stream = getattr(running, name)

        def pickled(*args, stream=stream):
            for value in stream(*pickle.loads(pickle.dumps(args))):
                yield pickle.loads(pickle.dumps(value))

        monkeypatch.setattr(running, name, pickled)


@pytest.mark.parametrize("key", [p.key for p in PAGES if p.key != "attack"])  # the toy's 8 pixels hold no word
def test_each_page_runs_in_another_process(lab, in_other_process, key):
    model_cache.set_lab(lab)
    page_declaration = next(p for p in PAGES if p.key == key)
    with gr.Blocks():
        controls = {**page_declaration.controls(), **page_declaration.advanced()}
    values = {name: c.value for name, c in controls.items() if name not in page_declaration.not_in_api} | (
        {"steps": 4} if "steps" in controls else {}
    )
    values |= page_declaration.fill(picture())
    values |= {"grow": "right"} if key == "edit" else {}  # by default it waits for a mask
    _, page_result = collect(
        page_declaration.run(
            "toy", *[picture((9 + 90 * k, 60, 30)) for k in range(len(page_declaration.pictures))], **values
        )
    )
    assert page_result.result.summary()
    assert bool(page_result.images) == (page_declaration.gallery or bool(page_declaration.live))


def test_a_longer_run_asks_for_more_gpu_seconds_up_to_60():
    short = running.gpu_seconds("emoji", "vary", (None,), {"seeds": (0,), "etas": (0,), "steps": 25})
    long = running.gpu_seconds("emoji", "vary", (None,), {"seeds": range(8), "etas": (0, 0.5, 1), "steps": 50})
    assert 1 <= short < long <= 60
    assert running.gpu_seconds("emoji", "vary", (None,), {"etas": (0,), "seeds": range(9999), "steps": 9999}) == 60


def test_away_from_zerogpu_the_wrapper_changes_nothing(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert running.on_gpu(collect) is collect


def test_to_device_moves_every_tensor(lab):
    model_cache.set_lab(lab)
    _, inverted = collect(running.invert_images("toy", [picture()], steps=4))
    meta = torch.device("meta")
    (moved, bar), controls = running.to_device(
        ((inverted, Progress("decoder", 1, 2, torch.zeros(1))), {"x": [inverted]}), meta
    )
    assert (bar.stage, bar.step) == ("decoder", 1)
    for one in (moved, controls["x"][0]):
        tensors = (one.original, one.latent.z_i, one.latent.x_T, one.residual, one.converged, bar.pixels)
        assert {t.device.type for t in tensors} == {"meta"}


def test_a_user_error_keeps_its_message_across_processes(lab, in_other_process):
    model_cache.set_lab(lab)
    with pytest.raises(UserError, match="caption is empty"):
        collect(running.run_experiment("toy", experiments.generate, "  "))


def test_on_zerogpu_only_the_model_loaded_at_the_start_is_available(lab, monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    model_cache._LOADED.clear()
    model_cache.set_lab(lab)
    assert model_cache.unavailable_reason("toy") == "" and "LATENTLAB_MODEL=emoji" in model_cache.unavailable_reason(
        "emoji"
    )
    with pytest.raises(UserError, match="this Space lends its GPU"):
        collect(model_cache.load_with_progress("emoji"))


FRONT = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[1])


def test_the_front_matter_keeps_the_rules_of_spaces():
    # A version that was installed from where pip finds it, so a real one; within our range, says test_packaging.
    assert FRONT["sdk"] == "gradio" and f"gradio=={FRONT['sdk_version']}\n" in (ROOT / "constraints.txt").read_text()
    assert isinstance(FRONT["python_version"], str) and FRONT["python_version"] in ("3.12", "3.12.12")
    assert (ROOT / FRONT["app_file"]).is_file()
    assert len(FRONT["short_description"]) <= 60 and len(FRONT["title"]) <= 40
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {FRONT["colorFrom"], FRONT["colorTo"]} <= colours


@pytest.mark.slow
def test_the_app_starts_as_a_space_with_zerogpu_starts_it(tmp_path, bystander):
    """On a Space, `spaces` emulates CUDA in torch, and the model is loaded on it at module level."""
    port, (lender, reported) = free_port(), bystander
    space = {
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/latentlab",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "HF_HUB_OFFLINE": "1",
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": lender,
        "ZEROGPU_OFFLOAD_DIR": str(tmp_path / "offload"),
    }
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
        assert reported == ["/startup-report"]
        packed = sum(part.stat().st_size for part in (tmp_path / "offload").rglob("*") if part.is_file())
        assert packed > 50 * 2**20  # the whole model was on "cuda"
    finally:
        app.terminate()
        app.wait(20)
