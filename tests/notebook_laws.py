"""Laws that every notebook keeps. Each law reads the file alone and yields a sentence for every breach."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from inspect import ismodule
from itertools import pairwise
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import latentlab

Law = Callable[[Path, NotebookNode], Iterator[str]]

MAX_BYTES = 2 * 2**20
CODE_CELLS = range(8, 16)  # exercises and their checks apart
CLAIMS = 3  # sentences that follow from numbers, at least
LINES = {"exercise": 8, "check": 16, "claim": 24, "": 8}  # that are not blank, by tag
DEFINING = 10  # lines of a cell that defines a function or a class
EXERCISES = 3
IGNORED = 2  # most cells whose output is not compared
TAGS = {"widget", "nbval-ignore-output", "exercise", "check", "solution", "claim"}
PACKAGES = {"IPython", "PIL", "ipywidgets", "latentlab", "matplotlib", "numpy", "torch", *sys.stdlib_module_names}
MACHINE = re.compile(r"/(?:home|root|tmp|work|Users|mnt|opt|usr|content)/|[A-Z]:\\|site-packages|\.venv")


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def code(nb: NotebookNode, without: set[str] = frozenset()) -> list[tuple[str, NotebookNode]]:
    """The code cells without one of the tags, each with the name that a breach gives it."""
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    return [(f"code cell {k}", cell) for k, cell in enumerate(cells, 1) if not tags(cell) & without]


def markdown(nb: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")


def ignored(nb: NotebookNode) -> list[str]:
    """The cells whose output is not compared, by name."""
    return [name for name, cell in code(nb) if any("nbval" in tag for tag in tags(cell))]


def texts(cell: NotebookNode) -> str:
    """All text among the outputs of a code cell."""
    data = [value for out in cell.outputs for kind, value in out.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join([*data, *(out.text for out in cell.outputs if out.output_type == "stream")])


def figures(outputs: list[NotebookNode]) -> list[str]:
    """The PNGs among outputs, in base 64."""
    return [out["data"]["image/png"] for out in outputs if "image/png" in out.get("data", {})]


def solution(cell: NotebookNode) -> str:
    """The code of a folded solution; empty where there is none, or more than one block."""
    blocks = re.findall(r"^```python\n(.*?)^```$", cell.source, re.MULTILINE | re.DOTALL)
    return blocks[0] if len(blocks) == 1 else ""


def shows(source: str) -> bool:
    """Whether a cell has an output: it ends in an expression, or prints outside of a function."""
    body = ast.parse(source).body
    if body and isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";"):
        return True
    plain = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    calls = [node for top in plain for node in ast.walk(top) if isinstance(node, ast.Call)]
    return any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)


def is_a_valid_notebook_of_a_python_kernel(path: Path, nb: NotebookNode) -> Iterator[str]:
    problem = next(iter(nbformat.validator.iter_validate(nb)), None)
    if problem is not None:
        yield f"it is no valid notebook: {problem.message}"
    if nb.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "metadata.kernelspec is not that of python3"
    ids = Counter(cell.get("id") for cell in nb.cells)
    yield from (f"{count} cells have the id {name}" for name, count in ids.items() if name is None or count > 1)


def was_executed_in_order(path: Path, nb: NotebookNode) -> Iterator[str]:
    for k, (name, cell) in enumerate(code(nb), 1):
        if cell.execution_count != k:
            yield f"{name} has the execution count {cell.execution_count}"


def keeps_its_outputs(path: Path, nb: NotebookNode) -> Iterator[str]:
    for name, cell in code(nb, {"widget"}):
        if bool(cell.outputs) != shows(cell.source):
            yield f"{name} {'holds an output and shows nothing' if cell.outputs else 'shows something and holds none'}"
        kinds = Counter(out.output_type for out in cell.outputs)
        if kinds["error"] or any(out.get("name") == "stderr" for out in cell.outputs):
            yield f"{name} holds an error or a warning"
        if kinds["stream"] > 1 or kinds["execute_result"] + kinds["display_data"] > 1:
            yield f"{name} holds {len(cell.outputs)} outputs: one, and a printed line beside it, are enough"


def holds_nothing_of_the_run(path: Path, nb: NotebookNode) -> Iterator[str]:
    """No widget state, times, progress bars or paths of the machine that executed it."""
    if extra := set(nb.metadata) - {"kernelspec", "language_info"}:
        yield f"metadata holds {', '.join(sorted(extra))}: python docs/notebooks.py {path.stem} strips it"
    for cell in nb.cells:
        if extra := set(cell.metadata) - {"tags"}:
            yield f"cell {cell.get('id')} has the metadata {', '.join(sorted(extra))}"
    for name, cell in code(nb):
        if any("widget-view" in kind for out in cell.outputs for kind in out.get("data", {})):
            yield f"{name} holds a widget's output"
        if match := MACHINE.search(cell.source + "\n" + texts(cell)):
            yield f"{name} holds a path of a machine: {match[0]}"
        if re.search(r"\d%\|", texts(cell)):
            yield f"{name} holds a progress bar"


def is_a_file_of_at_most_two_megabytes(path: Path, nb: NotebookNode) -> Iterator[str]:
    size = len(nbformat.writes(nb).encode())
    if size > MAX_BYTES:
        yield f"it has {size / 2**20:.1f} MB: draw smaller figures"


def begins_with_its_title_a_question_and_the_model(path: Path, nb: NotebookNode) -> Iterator[str]:
    title, number = nb.cells[0].source, int(path.stem.partition("_")[0])
    exercises = sum(map(int, re.findall(r"^### Exercise .* (\d+) minutes$", markdown(nb), re.MULTILINE)))
    wanted = {
        f"# {number}. ": title.startswith(f"# {number}. "),
        "a question": "?" in title,
        "how many minutes it takes": re.search(r"\d minutes", title),
        f"how long its exercises take, {exercises} minutes": f"its exercises {exercises} more" in title,
        "a badge for Colab": f"colab.research.google.com/github/latentlab/latentlab/blob/main/notebooks/{path.name})",
        "a badge for Binder": f"mybinder.org/v2/gh/latentlab/latentlab/main?labpath=notebooks/{path.name})",
    }
    for what, expected in wanted.items():
        if not (expected in title if isinstance(expected, str) else expected):
            yield f"its first cell lacks {what}"
    if not code(nb)[0][1].source.startswith('MODEL = "emoji"  # or '):
        yield 'its first code cell does not begin with MODEL = "emoji"  # or …'


def is_made_of_few_small_cells(path: Path, nb: NotebookNode) -> Iterator[str]:
    count = len(code(nb, {"exercise", "check", "claim"}))
    if count not in CODE_CELLS:
        yield f"it has {count} code cells beside the exercises and claims, not {CODE_CELLS[0]} to {CODE_CELLS[-1]}"
    for name, cell in code(nb):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        most = next(most for tag, most in LINES.items() if not tag or tag in tags(cell))
        if most == LINES[""] and re.search(r"^(?:def|class) ", cell.source, re.MULTILINE):
            most = DEFINING
        if len(lines) > most:
            yield f"{name} has {len(lines)} lines, not {most} at most"
        if any(len(line) > 120 for line in lines):
            yield f"{name} has a line of more than 120 characters"


def says_something_before_each_cell(path: Path, nb: NotebookNode) -> Iterator[str]:
    names = {id(cell): name for name, cell in code(nb)}
    for before, cell in pairwise(nb.cells):
        introduced = before.cell_type == "markdown" or "widget" in tags(before) or tags(cell) & {"check", "claim"}
        if cell.cell_type == "code" and not introduced:
            yield f"{names[id(cell)]} follows another without a sentence between"
    if "**Predict" not in markdown(nb):
        yield "it asks for no prediction (**Predict**)"


def has_a_widget_with_a_plain_twin(path: Path, nb: NotebookNode) -> Iterator[str]:
    cells = code(nb)
    widgets = [k for k, (_, cell) in enumerate(cells) if "widget" in tags(cell)]
    if not widgets:
        yield "no cell is tagged widget"
    for k in widgets:
        if cells[k][1].outputs:
            yield f"{cells[k][0]}, a widget, holds an output"
        after = cells[k + 1][1].source if k + 1 < len(cells) else ""
        if not shows(after) or not _handlers(cells[k][1].source) & _called(after):
            yield f"{cells[k][0]}, a widget, has no plain cell after it that shows what its handler returns"


def _handlers(source: str) -> set[str]:
    """The functions that a cell gives a control: interact(name, …), or decorated with @interact(…)."""
    nodes = list(ast.walk(ast.parse(source)))
    arguments = [node.args[0] for node in nodes if isinstance(node, ast.Call) and node.args]
    decorated = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.decorator_list}
    return decorated | {name.id for name in arguments if isinstance(name, ast.Name)}


def _called(source: str) -> set[str]:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {name.id for name in calls if isinstance(name, ast.Name)}


def compares_all_outputs_but_those_of_widgets(path: Path, nb: NotebookNode) -> Iterator[str]:
    for name, cell in code(nb):
        if ("widget" in tags(cell)) != ("nbval-ignore-output" in tags(cell)):
            yield f"{name}: nbval-ignore-output belongs to widgets, and to nothing else"
        if re.search(r"#\s*(?:NBVAL_|PYTEST_VALIDATE)", cell.source):
            yield f"{name} turns nbval off in a comment"
    for cell in nb.cells:
        if unknown := tags(cell) - TAGS:
            yield f"cell {cell.get('id')} has the tags {', '.join(sorted(unknown))}"
    if len(ignored(nb)) > IGNORED:
        yield f"the outputs of {len(ignored(nb))} cells are not compared, of {IGNORED} at most"


def has_exercises_with_stub_check_and_solution(path: Path, nb: NotebookNode) -> Iterator[str]:
    starts = []
    for k, cell in enumerate(nb.cells):
        if not tags(cell) & {"exercise", "check", "solution"}:
            continue
        start = k - ["exercise", "check", "solution"].index(min(tags(cell) & {"exercise", "check", "solution"}))
        starts += [start] if start not in starts else []
    for number, start in enumerate(starts, 1):
        yield from (f"exercise {number}: {breach}" for breach in _exercise(nb.cells[start - 1 : start + 3], number))
    if len(starts) < EXERCISES:
        yield f"it has {len(starts)} exercises, not {EXERCISES} or more"
    between = nb.cells[starts[0] + 3 : starts[-1]] if starts else []
    if not any(cell.cell_type == "code" and not tags(cell) for cell in between):
        yield "its exercises stand all in one place"


def _exercise(cells: list[NotebookNode], number: int) -> Iterator[str]:
    if [tags(cell) for cell in cells] != [set(), {"exercise"}, {"check"}, {"solution"}]:
        yield "it is not four cells: a task, and cells tagged exercise, check and solution"
        return
    task, stub, check, answer = cells
    if [cell.cell_type for cell in cells] != ["markdown", "code", "code", "markdown"]:
        yield "task and solution are not markdown, or stub and check are not code"
    elif not re.search(rf"^### Exercise {number}\b", task.source, re.MULTILINE):
        yield f"its task is not headed ### Exercise {number}"
    elif not re.search(rf"^### Exercise {number} · difficulty [1-5], \d+ minutes$", task.source, re.MULTILINE):
        yield "its task does not say “· difficulty 1 to 5, so many minutes” in its heading"
    elif "..." not in stub.source:
        yield "its stub has no dots to fill in"
    elif not re.search(r"^check\(", check.source, re.MULTILINE) or not texts(check).startswith("Not yet"):
        yield "its check does not call check(…), or its stored output is not the stub's hint"
    elif ("import check" in check.source) != (number == 1):
        yield "check is imported in the first check cell, and in no other"
    elif not answer.source.startswith("<details><summary>Solution</summary>\n\n") or not solution(answer):
        yield "its solution is not folded, or not one block of Python"
    elif not answer.source.rstrip().endswith("</details>"):
        yield "its solution does not end with </details>"


def ends_with_a_figure_a_summary_and_references(path: Path, nb: NotebookNode) -> Iterator[str]:
    if not figures(code(nb, {"exercise", "check", "claim"})[-1][1].outputs):
        yield "its last code cell shows no figure"
    end = "\n".join(cell.source for cell in nb.cells[-2:] if cell.cell_type == "markdown")
    summary, _, references = end.partition("## References")
    if len(re.findall(r"^[-*] ", summary.partition("## Summary")[2], re.MULTILINE)) not in range(3, 6):
        yield "it does not end with ## Summary, of three to five bullets"
    if not re.search(r"\b\d{4}\.\d{5}\b", references):
        yield "it does not end with ## References that have arXiv numbers"


def states_its_findings_as_claims(path: Path, nb: NotebookNode) -> Iterator[str]:
    """A cell that is tagged claim ends in claim(…) or finding(…), whose sentence follows from numbers."""
    cells = [(name, cell) for name, cell in code(nb) if "claim" in tags(cell)]
    if len(cells) < CLAIMS:
        yield f"it has {len(cells)} claims, not {CLAIMS} or more"
    for name, cell in cells:
        last = ast.parse(cell.source).body[-1]
        call = last.value if isinstance(last, ast.Expr) else None
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) in ("claim", "finding")):
            yield f"{name}, a claim, does not end in claim(…) or finding(…)"
        elif not any("text/markdown" in out.get("data", {}) for out in cell.outputs):
            yield f"{name}, a claim, holds no sentence"


def uses_public_names_alone(path: Path, nb: NotebookNode) -> Iterator[str]:
    sources = [(name, cell.source) for name, cell in code(nb)]
    sources += [("a solution", solution(cell)) for cell in nb.cells if "solution" in tags(cell)]
    modules: dict[str, object] = {}
    for name, source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from (f"{name} imports {what}" for what in _imported(node, modules))
            elif isinstance(node, ast.Attribute) and (what := _private(node, modules)):
                yield f"{name} uses {what}"


def _imported(node: ast.Import | ast.ImportFrom, modules: dict[str, object]) -> Iterator[str]:
    """The imported names that are not public; modules of latentlab are recorded under their local name."""
    for alias in node.names:
        whole = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        root, *rest = whole.split(".")
        if root not in PACKAGES:
            yield f"{whole}, which is none of {', '.join(sorted(PACKAGES - set(sys.stdlib_module_names)))}"
        elif any(part.startswith("_") for part in rest):
            yield f"{whole}, which is private"
        elif root == "latentlab":
            value = latentlab
            for part in rest:
                value = _part(value, part)
            if value is None or not _ours(value):
                yield f"{whole}, which latentlab does not offer"
            if ismodule(value):
                modules[alias.asname or (alias.name if isinstance(node, ast.ImportFrom) else root)] = value


def _private(node: ast.Attribute, modules: dict[str, object]) -> str:
    """The name behind an attribute if it is private or not latentlab's own; else nothing."""
    if node.attr.startswith("_"):
        return f"{ast.unparse(node)}, which is private"
    chain, inner = [node.attr], node.value
    while isinstance(inner, ast.Attribute):
        chain, inner = [inner.attr, *chain], inner.value
    value = modules.get(inner.id) if isinstance(inner, ast.Name) else None
    for part in chain:
        if not ismodule(value):
            return ""
        value = getattr(value, part, None)
    return "" if value is not None and _ours(value) else f"{ast.unparse(node)}, which latentlab does not offer"


def _part(value: object, name: str) -> object:
    """A module's attribute or submodule of that name; None if there is none."""
    if ismodule(value) and not hasattr(value, name):
        with suppress(ImportError):
            return import_module(f"{value.__name__}.{name}")
    return getattr(value, name, None)


def _ours(value: object) -> bool:
    """Whether latentlab defines it; foreign modules and classes that our modules import are not our public names."""
    made_in = value.__name__ if ismodule(value) else getattr(value, "__module__", None)
    return not isinstance(made_in, str) or made_in.partition(".")[0] == "latentlab"


LAWS: tuple[Law, ...] = (
    is_a_valid_notebook_of_a_python_kernel,
    was_executed_in_order,
    keeps_its_outputs,
    holds_nothing_of_the_run,
    is_a_file_of_at_most_two_megabytes,
    begins_with_its_title_a_question_and_the_model,
    is_made_of_few_small_cells,
    says_something_before_each_cell,
    has_a_widget_with_a_plain_twin,
    compares_all_outputs_but_those_of_widgets,
    has_exercises_with_stub_check_and_solution,
    ends_with_a_figure_a_summary_and_references,
    states_its_findings_as_claims,
    uses_public_names_alone,
)
