"""The lists of requirements agree, make's targets run their commands, and importing latentlab needs no torch."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "transformers", "diffusers", "open_clip", "gradio"}


def read(lines):
    """Requirements by canonical name, from lines as pip reads them."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    parsed = [Requirement(line) for line in lines if line and not line.startswith("-")]
    by_name = {canonicalize_name(requirement.name): requirement for requirement in parsed}
    assert len(by_name) == len(parsed), "a requirement is listed twice"
    return by_name


def floor(requirement):
    return max(Version(s.version) for s in requirement.specifier if s.operator in (">=", "==", "~="))


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = read(PROJECT["dependencies"])
DIRECT = RUNTIME | read(line for extra in PROJECT["optional-dependencies"].values() for line in extra)
SPACE = read((ROOT / "requirements.txt").read_text().splitlines())
PINS = read((ROOT / "constraints.txt").read_text().splitlines())


def test_environment_yml_lists_the_requirements_of_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    listed = read(pip)
    assert {str(r) for r in listed.values()} == {str(r) for r in DIRECT.values()}


def test_every_import_of_the_library_is_among_its_requirements():
    parsed = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "latentlab").rglob("*.py"))
    nodes = [node for tree in parsed for node in ast.walk(tree)]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    packages = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names - {"latentlab"}
    distributions = packages_distributions()
    owners = {name: {canonicalize_name(owner) for owner in distributions.get(name, [name])} for name in packages}
    assert sorted(name for name, distribution in owners.items() if not distribution & set(DIRECT)) == []


@pytest.mark.parametrize("name", RUNTIME)
def test_the_space_asks_for_each_runtime_dependency_from_the_same_floor(name):
    assert name in SPACE
    assert floor(SPACE[name]) == floor(RUNTIME[name])


def test_the_space_stays_on_the_torch_that_zerogpu_supports():
    supported = SPACE["torch"].specifier
    assert "2.8.0" in supported and "2.11.0" in supported
    assert "2.7.1" not in supported and "2.12.0" not in supported


def test_the_space_leaves_gradio_to_sdk_version():
    assert "gradio" not in SPACE
    front_matter = re.search(r"^sdk_version:\s*['\"]?([\d.]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    if front_matter:
        assert front_matter[1] in DIRECT["gradio"].specifier


@pytest.mark.parametrize("name", DIRECT)
def test_each_direct_dependency_is_pinned_within_its_range(name):
    assert name in PINS
    assert floor(PINS[name]) in DIRECT[name].specifier


def test_each_constraint_is_one_public_version():
    exact = re.compile(r"[\w.-]+==[\w.]+")  # no range, no extra, no local version such as +cpu
    assert [str(pin) for pin in PINS.values() if not exact.fullmatch(str(pin))] == []


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize(
    ("goal", "command"),
    [
        ("app", "python apps/app.py"),
        ("app PORT=7861", "GRADIO_SERVER_PORT=7861"),
        ("test", "python -m pytest"),
        ("lab", "jupyter-lab notebooks"),
        ("lint", "ruff format --check"),
        ("lint", "bin/mypy"),
        ("docs", "mkdocs build --strict"),
        ("help", "awk"),
        ("clean", "rm -rf"),
    ],
)
def test_a_make_target_runs_its_command(goal, command):
    outer_make = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PORT")
    env = {name: value for name, value in os.environ.items() if name not in outer_make}
    dry = subprocess.run(["make", "-n", *goal.split()], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert command in dry.stdout


def test_ci_runs_lint_and_then_the_tests():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^make (\w+)$", script.read_text(), re.MULTILINE) == ["lint", "test"]


def python(*args):
    done = subprocess.run([sys.executable, *args], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.parametrize("arguments", [("-c", "import latentlab"), ("-m", "latentlab.cli", "--help")], ids=" ".join)
def test_importing_the_library_or_showing_help_does_not_import_torch(arguments):
    trace = python("-X", "importtime", *arguments).stderr
    imported = {line.rpartition("|")[2].strip() for line in trace.splitlines() if line.startswith("import time:")}
    assert any(name.startswith("latentlab") for name in imported)
    assert not imported & HEAVY


@pytest.mark.slow
def test_a_wheel_generates_a_picture_and_builds_the_app_away_from_the_checkout(tmp_path):
    others = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "notebooks", "build", "site")
    shutil.copytree(ROOT, tmp_path / "source", ignore=others)
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path]
    stored = "--config-settings=--build-option=--compression=stored"  # weights hardly get smaller, and it takes seconds
    subprocess.run([*wheel, stored, tmp_path / "source"], check=True)
    (built,) = tmp_path.glob("latentlab-*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import latentlab; print(latentlab.__file__); lab = latentlab.load('emoji');"
        "print(latentlab.generate(lab, 'a cat', steps=2).pixels.shape);"
        "from latentlab.app.main import build; print(build(lab).title)"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    place, shape, title = run.stdout.splitlines()[-3:]
    assert place.startswith(str(tmp_path / "site")) and "256" in shape and title == "latentlab"
