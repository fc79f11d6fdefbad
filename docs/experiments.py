"""Write what the declarations of the experiments say: the stubs of latentlab, and docs/experiments.md.

python docs/experiments.py      after an experiment was added, renamed or declared otherwise
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from latentlab.app.pages import PAGES
from latentlab.experiments import EXPERIMENTS, Experiment

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
PAGE = ROOT / "docs" / "experiments.md"
STUB, TOP = ROOT / "latentlab" / "experiments" / "__init__.pyi", ROOT / "latentlab" / "__init__.pyi"

STUB_HEAD = """\
# Written by docs/experiments.py.
from .base import Experiment as Experiment
from .base import Progress as Progress
from .base import Result as Result
"""
STUB_TAIL = """
EXPERIMENTS: dict[str, Experiment]
"""
HEAD = """\
# Experiments

*`python docs/experiments.py` writes this page from the experiments' declarations.*

Each experiment is one function that takes a lab, like `latentlab.vary(lab, pixels)`. It returns a result with pictures,
a tidy table, a `.figure()` and a `.summary()`; `latentlab.vary.stream(…)` yields its progress and, last, the result.
"""
MATRIX_HEAD = """\
## Which experiments work on which family

The table comes from running every experiment on a tiny checkpoint of every family, and on a tiny CLIP:
"""


def stub() -> str:
    """The stub of latentlab.experiments: each experiment with its result."""

    def lines(experiment: Experiment) -> Iterator[str]:
        module = experiment.__module__.rpartition(".")[2]
        for name in (experiment.result.__name__, experiment.name):
            yield f"from .{module} import {name} as {name}\n"

    by_module = sorted(EXPERIMENTS.values(), key=lambda experiment: experiment.__module__)
    return STUB_HEAD + "".join(line for experiment in by_module for line in lines(experiment)) + STUB_TAIL


def top_stub(text: str) -> str:
    """The stub of latentlab with a line for each experiment, in the place of those that it has."""
    line = r"from \.experiments import \w+ as \w+\n"
    lines = "".join(f"from .experiments import {name} as {name}\n" for name in EXPERIMENTS)
    return re.sub(f"({line})+", lines, text)


def call(experiment: Experiment) -> str:
    """The experiment's call without annotations and options."""
    options = inspect.Parameter.KEYWORD_ONLY
    names = [name for name, parameter in experiment.signature.parameters.items() if parameter.kind is not options]
    return f"latentlab.{experiment.name}({', '.join(names)})"


def listing() -> str:
    """A table of the experiments."""
    titles = {page.key: page.title for page in PAGES}
    lines = ["| call | what it does | figures | command | page |", "|---|---|---|---|---|"]
    for experiment in EXPERIMENTS.values():
        summary = " ".join((experiment.__doc__ or "").partition("\n\n")[0].split())
        command = f"`latentlab {experiment.command}`" if experiment.command else ""
        page = titles.get(experiment.page, "")
        lines.append(f"| `{call(experiment)}` | {summary} | {', '.join(experiment.figures)} | {command} | {page} |")
    return "\n".join(lines)


def page(matrix: str) -> str:
    return "\n".join([HEAD, listing(), "", MATRIX_HEAD, matrix, ""])


def main() -> None:
    import family_matrix

    STUB.write_text(stub(), "utf-8")
    TOP.write_text(top_stub(TOP.read_text("utf-8")), "utf-8")
    PAGE.write_text(page(family_matrix.measured()), "utf-8")


if __name__ == "__main__":
    main()
