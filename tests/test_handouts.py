"""Handouts follow the notebooks: a worksheet asks all and answers nothing, the answers hold every solution."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SCRIPT = runpy.run_path(str(ROOT / "docs" / "handouts.py"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_a_worksheet_has_every_prediction_and_exercise_and_no_code(path):
    nb = nbformat.read(path, as_version=4)
    text = SCRIPT["worksheet"](nb)
    prose = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    assert text.count("**Predict.**") == len(re.findall(r"^\*\*Predict\.\*\*", prose, re.M)) > 0
    assert text.count("### Exercise") == prose.count("### Exercise") >= 3
    assert "```" not in text and "<details>" not in text


@each_notebook
def test_the_answers_have_every_solution_and_every_measured_sentence(path):
    nb = nbformat.read(path, as_version=4)
    text = SCRIPT["answers"](nb)
    tags = [set(cell.metadata.get("tags", ())) for cell in nb.cells]
    assert text.count("```python") == sum("solution" in of_cell for of_cell in tags)
    assert text.count("\n- ") >= sum("claim" in of_cell for of_cell in tags)
    assert "<summary>" not in text


def test_slides_begin_at_headings_and_show_no_code():
    nb = nbformat.read(NOTEBOOKS[0], as_version=4)
    headings = sum(bool(re.search(r"^##? ", c.source, re.M)) for c in nb.cells if c.cell_type == "markdown")
    html = SCRIPT["slides"](nb)
    assert html.count("<section>") >= headings > 3
    assert "latentlab.load(MODEL)" not in html and "### Exercise" not in html


@pytest.mark.parametrize(
    ("kind", "name", "message"), [("poster", "01", "no poster"), ("slides", "99", "begins with 99")]
)
def test_an_unknown_kind_or_notebook_is_refused(kind, name, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        SCRIPT["main"](kind, [name], tmp_path)


def test_the_routes_for_teachers_lead_to_files_and_name_the_minutes_of_the_notebooks():
    text = (ROOT / "notebooks" / "TEACHING.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all((ROOT / "notebooks" / link).is_file() for link in links)
    afternoon = text.partition("### An afternoon")[2].partition("### A week")[0]
    for minutes, name, number in re.findall(
        r"^\| (\d+) \| \[.+\]\((\d\d_\w+\.ipynb)\): exercise (\d)", afternoon, re.M
    ):
        cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
        reading = re.search(r"\b(\d+) minutes", cells[0].source)
        exercise = re.search(rf"^### Exercise {number} .* (\d+) minutes$", "\n".join(c.source for c in cells), re.M)
        assert int(minutes) == int(reading[1]) + int(exercise[1]), name
    lesson = text.partition("### One lesson, 45 minutes")[2].partition("### An afternoon")[0]
    assert sum(map(int, re.findall(r"^\| (\d+) \|", lesson, re.M))) == 45
    assert sum(map(int, re.findall(r"^\| (\d+) \|", afternoon, re.M))) == 220  # three hours and forty minutes


def test_the_readme_names_the_minutes_of_each_notebook_and_of_its_exercises():
    text = (ROOT / "notebooks" / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| \[.+\]\((\d\d_\w+\.ipynb)\) \| (\d+ \+ \d+) \|", text, re.M))
    assert list(rows) == [path.name for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        reading, exercises = rows[path.name].split(" + ")
        title = nbformat.read(path, as_version=4).cells[0].source
        assert f"{reading} minutes" in title and f"its exercises {exercises} more" in title, path.name


def test_the_worked_example_was_run_and_the_template_has_its_rubric():
    folder = ROOT / "notebooks" / "project"
    example, template = (nbformat.read(folder / f"{name}.ipynb", as_version=4) for name in ("example", "template"))
    cells = [cell for nb in (example, template) for cell in nb.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    sentence = example.cells[-2].outputs[0]["data"]["text/markdown"]
    assert sentence.startswith("**Measured.**") and "Twelve points" in template.cells[0].source
