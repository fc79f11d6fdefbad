"""The examples of the docstrings, the README and the guides run as they stand."""

from __future__ import annotations

import dataclasses
import doctest
import functools
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
import typer
from conftest import toy_pictures
from PIL import Image
from typer.testing import CliRunner

import latentlab
from latentlab import experiments, models
from latentlab.analysis.pca import Directions
from latentlab.app import model_cache, running
from latentlab.errors import UserError
from latentlab.experiments import Progress
from latentlab.experiments.stages import run_to_end
from latentlab.latents import Latent
from latentlab.models import registry

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "latentlab").rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_modules_docstrings_hold(name):
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"torch": torch})
    assert results.attempted and not results.failed


@pytest.fixture
def as_module(monkeypatch):
    """Make a module of latentlab from its source, as if its file were there."""

    def run(name, source):
        module = types.ModuleType(name)
        module.__package__ = name.rpartition(".")[0]
        monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
        exec(source, vars(module))
        return module

    return run


def test_the_modules_that_contributing_shows_keep_the_lint(tmp_path):
    experiment, _, page, _, family, _ = python_blocks("CONTRIBUTING.md")
    sources = {"experiments/agreement.py": experiment, "app/pages/agreement.py": page, "models/painter.py": family}
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, source in sources.items():
        (tmp_path / "latentlab" / name).parent.mkdir(parents=True)
        (tmp_path / "latentlab" / name).write_text(source, "utf-8")
    for words in (("check",), ("format", "--check", "--diff")):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, "."], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def agree(as_module, monkeypatch):
    """The example experiment, in its place among the others."""
    agree = as_module("latentlab.experiments.agreement", python_blocks("CONTRIBUTING.md")[0]).agree
    monkeypatch.setattr(experiments, "agree", agree, raising=False)
    monkeypatch.setitem(experiments.EXPERIMENTS, "agree", agree)
    return agree


def test_the_example_experiment_runs_and_declares_itself(lab, agree):
    *progress, result = agree.stream(lab, "a cat", seeds=(3, 4), steps=2)
    assert {p.stage for p in progress if isinstance(p, Progress)} <= set(agree.stages)
    assert "mean cosine" in result.summary() and result.figure().axes
    assert (result.settings["prompt"], result.settings["seeds"], result.settings["steps"]) == ("a cat", (3, 4), 2)
    assert agree.count_images(lab, "a cat", seeds=(3, 4)) == len(result.pixels)
    with pytest.raises(UserError, match=r"seeds are \[3\]: give at least two"):
        agree(lab, "a cat", seeds=(3,))


def test_the_small_run_of_the_example_works(lab, agree):
    (block,) = [block for block in python_blocks("CONTRIBUTING.md") if block.startswith("SMALL_RUN")]
    names = {}
    exec(block, names)
    assert agree(lab, **names["SMALL_RUN"]).table


def test_the_example_command_writes_and_reports(agree, tmp_path):
    names = dict(vars(importlib.import_module("latentlab.cli.experiments")))
    exec(python_blocks("CONTRIBUTING.md")[1], names)
    app = typer.Typer()
    app.command()(names["agree"])
    words = ("a cat", "--model", "toy", "--count", "2", "--steps", "2", "--out", str(tmp_path), "--json")
    outcome = CliRunner().invoke(app, words, catch_exceptions=False)
    report = json.loads(outcome.stdout)
    assert (outcome.exit_code, report["experiment"], report["seeds"]) == (0, "agree", [0, 1])
    assert [row["quantity"] for row in report["table"]] == ["cosine"]
    assert (tmp_path / "a-cat-agreement.png").is_file()


def test_the_example_page_runs_and_has_the_key_that_the_experiment_declares(lab, agree, as_module, monkeypatch):
    page = as_module("latentlab.app.pages.agreement", python_blocks("CONTRIBUTING.md")[2]).PAGE
    assert page.key == agree.page
    monkeypatch.setitem(model_cache._LOADED, "toy", lab)
    fields = {name: control.value for name, control in page.controls().items()}
    shown = run_to_end(page.run("toy", **{**fields, "count": 2}))
    assert [image.title for image in shown.images] == ["seed 0", "seed 1"]
    assert shown.images[0].caption == fields["prompt"] and "mean cosine" in shown.result.summary()


def test_the_example_family_is_recognised_loaded_and_runs_by_one_module_and_one_entry(as_module, monkeypatch, tmp_path):
    *_, source, entry = python_blocks("CONTRIBUTING.md")
    painter = as_module("latentlab.models.painter", source)
    monkeypatch.setitem(models.REGISTRY, "painter", eval(entry, vars(registry)))
    painter.MeanPicture().save_pretrained(tmp_path / "ours" / "mean_picture")
    (tmp_path / "ours" / "model_index.json").write_text('{"_class_name": "PainterPipeline"}')
    lab = models.load(tmp_path / "ours", device="cpu")
    assert lab.name == "painter" and lab.weights.startswith("ours@")
    result = latentlab.reconstruct(lab, toy_pictures(2), steps=10, iterations=20, tolerance=1e-6)
    assert (result.psnr > 40).all()
    assert (result.settings["model"], result.settings["weights"]) == ("painter", lab.weights)
    assert "painter" in [model["name"] for model in models.listing()]
    assert running.gpu_seconds("painter", "generate", ("a cat",), {}) >= 5


def test_the_readmes_example_of_the_library_runs(miniature, monkeypatch, tmp_path):
    """On a tiny miniature, which has the shipped one's parts and other weights."""
    lab = dataclasses.replace(miniature, things=("a cat", "a dog"), words=("stop", "go"))
    monkeypatch.setattr(latentlab, "load", {"emoji": lab}.__getitem__)
    z_i = torch.randn(30, lab.prior.width, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(models, "directions", {"emoji": Directions.fit(z_i)}.__getitem__)
    truncate = functools.partial(latentlab.truncate, dims=(1, lab.prior.width))  # no room for 128 components
    monkeypatch.setattr(latentlab, "truncate", truncate)
    monkeypatch.chdir(tmp_path)
    for name, colour in {"photo.jpg": "red", "cat.png": "orange", "dog.png": "brown"}.items():
        Image.new("RGB", (60, 40), colour).save(name)
    names = {}
    library, experiments, _client = python_blocks("README.md")
    exec(library, names)
    assert names["apples"].pixels.shape[0] == 4 and Path("apples.png").is_file()
    assert len(Latent.load("photo.safetensors")) == 1
    exec(experiments, names)
    assert Path("cat-to-dog.gif").is_file()


def test_the_guides_examples_of_loading_a_checkpoint_run(published, monkeypatch):
    """Every name leads to a tiny copy of the checkpoint, and two steps are enough for its pictures."""

    def load(*args, **options):
        call = inspect.signature(models.load).bind(*args, **options)
        name = call.arguments["name"]
        family = call.arguments.get("family") or {"/models/karlo-v1-alpha": "karlo"}.get(name, name)
        if family not in models.REGISTRY:
            return models.load(published / "open_clip", device="cpu")
        return models.load(published, **{**options, "family": family, "device": "cpu"})

    monkeypatch.setattr(latentlab, "load", load)
    generate = latentlab.generate
    few = {"steps": 2, "prior_steps": 2}
    monkeypatch.setattr(latentlab, "generate", lambda *args, **options: generate(*args, **options | few))
    create = latentlab.clip._create
    monkeypatch.setattr(latentlab.clip, "_create", lambda *_: create(f"local-dir:{published / 'open_clip'}", None))
    names = {"latentlab": latentlab}
    for block in python_blocks("docs/checkpoints.md"):
        exec(block, names)
    assert names["lab"].decoder is None
