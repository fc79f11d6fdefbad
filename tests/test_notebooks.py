"""Every notebook keeps the laws, and one fresh run of it gives the stored texts (nbval) and figures (SSIM)."""

from __future__ import annotations

import base64
import io
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_laws import IGNORED, LAWS, code, ignored, tags
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 600  # for each notebook, on a busy machine


def fresh_runs(paths: list[Path], folder: Path) -> dict[str, dict[str, str]]:
    """Run notebooks by nbval and our plugin, each in a fresh kernel; per file and cell, what is wrong or ""."""
    nbval = ("--nbval", "--nbval-current-env", "--nbval-cell-timeout=300", "--nbval-kernel-startup-timeout=600")
    sanitize = f"--nbval-sanitize-with={ROOT / 'notebooks' / 'sanitize.cfg'}"
    report = folder / "report.xml"
    alone = ("-c", os.devnull, f"--rootdir={paths[0].parent}", f"--junitxml={report}", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "notebook_run", *alone, *nbval, sanitize, *map(str, paths)]
    # One thread, because two of these run side by side; the stored outputs were made with more.
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    env |= {"HF_HUB_OFFLINE": "1", "JUPYTER_PLATFORM_DIRS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS * len(paths))
    assert report.is_file(), done.stdout[-3000:] + done.stderr[-3000:]
    cells = {path.name: {} for path in paths}
    for case in ElementTree.parse(report).iter("testcase"):
        cells[case.get("classname")][case.get("name")] = "\n".join(child.text or child.tag for child in case)
    return cells


@pytest.fixture(scope="session")
def runs(request, tmp_path_factory):
    """One fresh run of each notebook that the selected tests need: two processes, or one beside pytest-xdist."""
    paths = [item.callspec.params["path"] for item in request.session.items if "runs" in item.fixturenames]
    count = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
    batches = [paths[k::count] for k in range(count) if paths[k::count]]
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(fresh_runs, batch, tmp_path_factory.mktemp("runs")) for batch in batches]
        yield {path: future for batch, future in zip(batches, futures) for path in batch}


def cell_names(nb) -> list[str]:
    """nbval's names of the code cells."""
    return [f"Cell {k}" for k in range(len(code(nb)))]


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_each_notebook_keeps_the_law(law, path):
    assert list(law(path, nbformat.read(path, as_version=4))) == []


@pytest.mark.notebooks
@each_notebook
def test_a_fresh_run_gives_the_stored_outputs_and_every_solution_passes_its_check(path, runs):
    cells = runs[path].result()[path.name]
    assert "\n".join(filter(None, cells.values())) == ""
    assert list(cells) == cell_names(nbformat.read(path, as_version=4))  # every cell was run


def test_the_cells_whose_output_is_not_compared_are_few_and_listed(list_ignored):
    cells = {path.name: ignored(nbformat.read(path, as_version=4)) for path in NOTEBOOKS}
    list_ignored(cells)
    assert sum(map(len, cells.values())) <= IGNORED * len(NOTEBOOKS)


def test_binder_installs_the_checkout_itself_and_jupyterlab():
    environment = (ROOT / "environment.yml").read_text()
    assert "\n      - -e .\n" in environment + "\n" and "- jupyterlab" in environment


def test_the_syllabus_lists_every_notebook_in_order():
    text = (ROOT / "notebooks" / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    listed = [row.partition("](")[2].partition(")")[0] for row in rows]
    assert listed == [path.name for path in NOTEBOOKS]


# The laws themselves are tested on a small notebook that keeps them all, and on copies that each break one.


def png(shift: int = 0) -> str:
    picture = Image.new("RGB", (300, 120), "white")
    for k in range(3):
        ImageDraw.Draw(picture).ellipse((20 + 90 * k, 30 + shift * (k == 1), 80 + 90 * k, 90 + shift), fill="navy")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


DRAW = """from PIL import Image, ImageDraw

picture = Image.new("RGB", (300, 120), "white")
for k in range(3):
    ImageDraw.Draw(picture).ellipse((20 + 90 * k, 30, 80 + 90 * k, 90), fill="navy")
picture"""
TITLE = """# 1. A sample

What is twice two? Takes 5 minutes, and its exercises 6 more.

[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/latentlab/latentlab/blob/main/notebooks/01_sample.ipynb) [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/latentlab/latentlab/main?labpath=notebooks/01_sample.ipynb)"""  # noqa: E501
END = """## Summary

- One.
- Two.
- Three.

## References

- arXiv 2204.06125"""


def exercise(number: int) -> list:
    imported = "from latentlab.exercises import check\n\n" if number == 1 else ""
    fold = "<details><summary>Solution</summary>\n\n```python\nanswer = 4\n```\n\nTwo and two.\n</details>"
    return [
        new_markdown_cell(f"### Exercise {number} · difficulty 1, 2 minutes\n\nTwice two."),
        new_code_cell("answer = ...", metadata={"tags": ["exercise"]}),
        new_code_cell(
            f'{imported}check(answer, (lambda a: a == 4, "Count."))',
            metadata={"tags": ["check"]},
            outputs=[result("Not yet, 0 of 1 checks hold. Put your answer in place of the dots. Count.")],
        ),
        new_markdown_cell(fold, metadata={"tags": ["solution"]}),
    ]


def result(text: str, **more):
    return nbformat.v4.new_output("execute_result", {"text/plain": text, **more}, execution_count=1)


def stdout(text: str):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def a_claim(number: int):
    imported = "from latentlab.claims import claim\n\n" if number == 1 else ""
    source = f'{imported}claim(x == {number}, "x is {{x}}.", x=x)'
    outputs = [result(f"x is {number}.", **{"text/markdown": f"**Measured.** x is {number}."})]
    return new_code_cell(source, metadata={"tags": ["claim"]}, outputs=outputs)


def make_sample():
    """A notebook that keeps every law; its outputs are typed by hand, not executed."""
    first = 'MODEL = "emoji"  # or another\n\nfrom latentlab import exercises\nfrom ipywidgets import interact'
    widget = "def double(k=1):\n    return 2 * k\n\n\ninteract(double, k=(0, 3));"
    cells = [new_markdown_cell(TITLE), new_code_cell(first)]
    cells += [new_markdown_cell("**Predict.** What comes?"), new_code_cell("print(1 + 1)", outputs=[stdout("2\n")])]
    for number in (1, 2, 3):
        cells += exercise(number)
        cells += [new_markdown_cell("And more."), new_code_cell(f"x = {number}"), a_claim(number)]
    cells += [
        new_markdown_cell("Move it."),
        new_code_cell(widget, metadata={"tags": ["widget", "nbval-ignore-output"]}),
    ]
    cells += [new_code_cell("double(2)", outputs=[result("4")]), new_markdown_cell("A picture.")]
    drawn = result("<PIL.Image.Image image mode=RGB size=300x120>", **{"image/png": png()})
    cells += [new_code_cell(DRAW, outputs=[drawn]), new_markdown_cell(END)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    for k, (_, cell) in enumerate(code(nb), 1):
        cell.execution_count = k
    return nb


@pytest.fixture
def sample():
    return make_sample()


def plain(nb, k: int):
    return code(nb)[k][1]


def first(nb, tag: str):
    return next(cell for cell in nb.cells if tag in tags(cell))


def on(k: int, **changes):
    """A breach: attributes of the k-th code cell, changed."""
    return lambda nb: plain(nb, k).update(changes)


def with_source(k: int, source: str):
    """A breach: another source of the k-th cell of all."""
    return lambda nb: nb.cells[k].update(source=source)


def retag(tag: str, *others: str):
    """A breach: the first cell with a tag gets others."""
    return lambda nb: first(nb, tag).metadata.update(tags=list(others))


def edit(tag: str, old: str, new: str):
    """A breach: other words in the first cell with a tag."""
    return lambda nb: first(nb, tag).update(source=first(nb, tag).source.replace(old, new))


def drop(tag: str):
    return lambda nb: nb.cells.remove(first(nb, tag))


def gather(nb) -> None:
    """All exercises one after another."""
    nb.cells = [cell for cell in nb.cells if cell.source not in ("And more.", "x = 1", "x = 2")]


BREACHES = {
    "is_a_valid_notebook_of_a_python_kernel": [
        lambda nb: nb.metadata.pop("kernelspec"),
        lambda nb: nb.cells[1].update(id=nb.cells[2].id),
        lambda nb: nb.cells[1].pop("outputs"),
    ],
    "was_executed_in_order": [on(1, execution_count=None), on(2, execution_count=1), drop("exercise")],
    "keeps_its_outputs": [
        on(1, outputs=[]),
        on(4, outputs=[stdout("3")]),
        on(1, outputs=[nbformat.v4.new_output("stream", name="stderr", text="UserWarning")]),
        on(1, outputs=[result("1"), result("2")]),
        on(1, outputs=[nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]),
    ],
    "holds_nothing_of_the_run": [
        lambda nb: nb.metadata.update(widgets={}),
        lambda nb: plain(nb, 1).metadata.update(execution={"iopub.status.busy": "2026-11-25"}),
        on(1, outputs=[result("x", **{"application/vnd.jupyter.widget-view+json": {}})]),
        on(1, outputs=[stdout("/home/someone/latentlab")]),
        on(1, source='open("/Users/someone/cat.png")'),
        on(1, outputs=[stdout(" 40%|####      |")]),
    ],
    "is_a_file_of_at_most_two_megabytes": [on(1, outputs=[stdout("x" * 2**21)])],
    "begins_with_its_title_a_question_and_the_model": [
        with_source(0, TITLE.replace("# 1.", "# 2.")),
        with_source(0, TITLE.replace("?", ".", 1).replace("?labpath", "/labpath")),
        with_source(0, TITLE.replace("5 minutes", "long")),
        with_source(0, TITLE.replace("6 more", "5 more")),
        with_source(0, TITLE.replace("01_sample", "02_another")),
        on(0, source="import latentlab"),
    ],
    "is_made_of_few_small_cells": [
        lambda nb: nb.cells.remove(plain(nb, 1)),
        lambda nb: nb.cells.extend(new_code_cell("x = 1") for _ in range(8)),
        on(1, source="x = 1\n" * 9),
        on(1, source="def f(x):\n" + "    x = 1\n" * 10),
        on(1, source=f"x = '{'x' * 120}'"),
        edit("exercise", "...", "...\n" * 9),
    ],
    "says_something_before_each_cell": [
        lambda nb: nb.cells.pop(2),
        with_source(2, "What comes?"),
    ],
    "has_a_widget_with_a_plain_twin": [
        drop("widget"),
        lambda nb: first(nb, "widget").update(outputs=[result("interactive(…)")]),
        lambda nb: nb.cells.remove(next(cell for cell in nb.cells if cell.source == "double(2)")),
    ],
    "compares_all_outputs_but_those_of_widgets": [
        lambda nb: plain(nb, 1).metadata.update(tags=["nbval-ignore-output"]),
        lambda nb: plain(nb, 1).metadata.update(tags=["nbval-skip"]),
        lambda nb: plain(nb, 1).metadata.update(tags=["raises-exception"]),
        on(1, source="# NBVAL_IGNORE_OUTPUT\nprint(2)"),
        lambda nb: [c.metadata.update(tags=["widget", "nbval-ignore-output"]) for _, c in code(nb)[:2]],
        retag("widget", "widget"),
    ],
    "has_exercises_with_stub_check_and_solution": [
        *(drop(tag) for tag in ("exercise", "check", "solution")),
        *(retag(tag) for tag in ("exercise", "check", "solution")),
        lambda nb: nb.cells.remove(next(cell for cell in nb.cells if cell.source.startswith("### Exercise 2"))),
        lambda nb: nb.cells[5 - 1].update(source="### Exercise 1\n\nTwice two."),
        edit("exercise", "...", "4"),
        edit("check", "from latentlab.exercises import check", ""),
        edit("check", "check(answer", "print(answer"),
        lambda nb: first(nb, "check").update(outputs=[result("Right: it holds.")]),
        edit("solution", "<details>", ""),
        edit("solution", "</details>", ""),
        edit("solution", "```python", "```"),
        edit("solution", "Two and two.", "```python\nanswer = 5\n```"),
        gather,
    ],
    "ends_with_a_figure_a_summary_and_references": [
        lambda nb: plain(nb, -1).update(outputs=[result("<PIL.Image.Image>")]),
        with_source(-1, END.replace("- Two.\n", "")),
        with_source(-1, END.replace("2204.06125", "")),
        with_source(-1, END.partition("## References")[0]),
    ],
    "states_its_findings_as_claims": [
        drop("claim"),
        edit("claim", "claim(x == 1", "print(x == 1"),
        lambda nb: first(nb, "claim").update(outputs=[result("x is 1.")]),
    ],
    "uses_public_names_alone": [
        on(1, source=source)
        for source in (
            "from latentlab.inversion import _mixed",
            "from latentlab import _PUBLIC",
            "from latentlab import no_such_name",
            "from latentlab.no_such_module import name",
            "import latentlab\n\nlatentlab.models._which",
            "import latentlab\n\nlatentlab.no_such_name",
            "from latentlab import decoding\n\ndecoding.itertools",
            "from latentlab.decoding import itertools",
            "from latentlab import images\n\nimages.Image.open('a.png')",
            "import sklearn",
        )
    ]
    + [edit("solution", "answer = 4", "import latentlab\n\nanswer = latentlab._PUBLIC")],
}


def test_the_sample_keeps_every_law(sample):
    path = Path("01_sample.ipynb")
    assert {law.__name__: list(law(path, sample)) for law in LAWS if list(law(path, sample))} == {}


def test_every_law_has_examples_of_breaches():
    assert list(BREACHES) == [law.__name__ for law in LAWS]


@pytest.mark.parametrize(
    ("law", "breach"),
    [
        pytest.param(law, breach, id=f"{law.__name__}-{k}")
        for law in LAWS
        for k, breach in enumerate(BREACHES.get(law.__name__, ()))
    ],
)
def test_a_law_names_each_breach(law, breach, sample):
    breach(sample)
    assert list(law(Path("01_sample.ipynb"), sample)) != []


@pytest.fixture(scope="module")
def sample_runs(tmp_path_factory):
    """A fresh run of the sample, with a cell that shows an unsolved stub, and of a copy with four faults.

    It returns the faults of each cell of both, and the names of the four faulty cells.
    """
    folder = tmp_path_factory.mktemp("samples")
    sound, faulty = make_sample(), make_sample()
    at = next(k for k, cell in enumerate(sound.cells) if "solution" in tags(cell))
    sound.cells.insert(at + 1, new_code_cell("answer", execution_count=9, outputs=[result("Ellipsis")]))
    stubs, solutions = ([k for k, c in enumerate(faulty.cells) if tag in tags(c)] for tag in ("exercise", "solution"))
    plain(faulty, 1).outputs = [stdout("3\n")]
    plain(faulty, -1).outputs[0].data["image/png"] = png(shift=12)  # one of three discs moved by a tenth
    faulty.cells[solutions[0]].source = faulty.cells[solutions[0]].source.replace("answer = 4", "answer = 5")
    faulty.cells[stubs[1]].source = "answer = 4  # ..."  # solved already
    faulty.cells[stubs[1] + 1].outputs = [result("Right: it holds.")]
    for nb, name in ((sound, "01_sound.ipynb"), (faulty, "02_faulty.ipynb")):
        nbformat.write(nb, folder / name)
    cells = [cell for _, cell in code(faulty)]
    checks = (cells.index(faulty.cells[stub + 1]) for stub in stubs[:2])
    names = [f"Cell {k}" for k in (1, *checks, len(cells) - 1)]
    runs = fresh_runs([folder / "01_sound.ipynb", folder / "02_faulty.ipynb"], folder)
    return runs["01_sound.ipynb"], runs["02_faulty.ipynb"], names


@pytest.mark.notebooks
def test_a_fresh_run_of_the_sample_reports_no_fault(sample_runs):
    cells, _, _ = sample_runs
    assert len(cells) > 10
    assert "\n".join(filter(None, cells.values())) == ""


@pytest.mark.notebooks
def test_a_fresh_run_reports_changed_texts_changed_figures_and_invalid_exercises(sample_runs):
    _, cells, names = sample_runs
    faults = {name: fault for name, fault in cells.items() if fault}
    assert list(faults) == names
    reasons = ("Cell outputs differ", "does not pass its check", "answer the stub", "draws another figure")
    for fault, reason in zip(faults.values(), reasons):
        assert reason in fault


def executor(*args) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "docs" / "notebooks.py", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The executor on the sample without outputs, then on a copy that raises: the files and the finished process."""
    folder = tmp_path_factory.mktemp("executed")
    sound, raising = folder / "01_sample.ipynb", folder / "02_sample.ipynb"
    nb = make_sample()
    for cell in nb.cells:
        cell.metadata["execution"] = {"iopub.status.busy": "2026-11-25"}
    for _, cell in code(nb):
        cell.outputs, cell.execution_count = [], None
    nbformat.write(nb, sound)
    plain(nb, 1).source = "1 / 0"
    nbformat.write(nb, raising)
    before = raising.read_bytes()
    return nb, sound, raising, before, executor(sound, raising)


@pytest.mark.notebooks
def test_an_executed_notebook_keeps_every_law_and_its_cell_ids(executed):
    nb, path, _, _, done = executed
    assert "01_sample.ipynb" in done.stdout
    filled = nbformat.read(path, as_version=4)
    assert [cell.id for cell in filled.cells] == [cell.id for cell in nb.cells]
    assert [breach for law in LAWS for breach in law(path, filled)] == []


@pytest.mark.notebooks
def test_the_executor_refuses_a_notebook_that_raises_and_names_the_cell(executed):
    _, _, path, before, done = executed
    assert done.returncode != 0
    assert "02_sample.ipynb is left as it was: code cell 2 raised ZeroDivisionError: division by zero" in done.stderr
    assert path.read_bytes() == before


def test_the_executor_refuses_a_notebook_that_warns_or_draws_a_progress_bar(sample):
    script = runpy.run_path(str(ROOT / "docs" / "notebooks.py"))
    assert script["problem_of"](sample) == ""
    plain(sample, 2).outputs = [nbformat.v4.new_output("stream", name="stderr", text=" 40%|####      |\n")]
    assert script["problem_of"](sample) == "code cell 3 wrote to stderr: 40%|####      |"
