"""Execute the notebooks in place, each in a fresh kernel, and strip what does not belong into the file.

python docs/notebooks.py           # all of them, those of notebooks/project too
python docs/notebooks.py 03 07     # some, by the beginnings of their names, or by path
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import nbformat
import typer
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def select(names: list[str]) -> list[Path]:
    """The notebooks whose names begin with one of these, or all of them: the course, then its project."""
    course = [path for place in ("", "project") for path in sorted((ROOT / "notebooks" / place).glob("*.ipynb"))]
    paths = [path for path in course if not names or any(path.name.startswith(name) for name in names)]
    paths += [Path(name) for name in names if name.endswith(".ipynb") and Path(name).is_file()]
    if not paths:
        sys.exit(f"no notebook begins with {' or '.join(names)}; there are {', '.join(p.stem for p in course)}")
    return list({path.resolve(): path for path in paths})


def code(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def clean(nb: NotebookNode) -> None:
    """Strip the state of widgets and what they show, the times of execution, and an editor's notes; ids stay."""
    nb.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    for cell in nb.cells:
        cell.metadata = NotebookNode({k: v for k, v in cell.metadata.items() if k == "tags" and v})
    for cell in code(nb):
        outputs = [out for out in cell.outputs if not any("widget-view" in kind for kind in out.get("data", {}))]
        cell.outputs = [] if "widget" in cell.metadata.get("tags", ()) else outputs
        for out in cell.outputs:
            if "metadata" in out:
                out.metadata = NotebookNode()


def problem_of(nb: NotebookNode) -> str:
    """Say which cell raised an error or wrote to stderr (a warning, a progress bar); empty if none did."""
    for k, cell in enumerate(code(nb), 1):
        for out in cell.outputs:
            if out.output_type == "error":
                return f"code cell {k} raised {out.ename}: {out.evalue}"
            if out.get("name") == "stderr":
                return f"code cell {k} wrote to stderr: {out.text.strip()[:300]}"
    return ""


def execute(path: Path) -> float:
    """Execute a notebook, write it back, and return the seconds from a cold kernel to the end."""
    nb = nbformat.read(path, as_version=4)
    for cell in code(nb):
        cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(path.parent)}}
    options = {"timeout": 600, "kernel_name": "python3", "record_timing": False, "coalesce_streams": True}
    client = NotebookClient(nb, resources=resources, **options)
    start = time.monotonic()
    try:
        client.execute()
    except (CellTimeoutError, DeadKernelError) as error:
        sys.exit(f"{path.name} is left as it was: {error}")
    except CellExecutionError:
        pass  # problem_of reports it from the cell's own output
    seconds = time.monotonic() - start
    if problem := problem_of(nb):
        sys.exit(f"{path.name} is left as it was: {problem}")
    clean(nb)
    nbformat.validate(nb)
    nbformat.write(nb, path)
    return seconds


def main(names: Annotated[list[str] | None, typer.Argument(help="Beginnings of names, or paths.")] = None) -> None:
    """Execute the notebooks in place, each in a fresh kernel, and strip what does not belong into the file."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    for path in select(names or []):
        typer.echo(f"{path.name:<36} {execute(path):6.1f} s  {path.stat().st_size / 2**20:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
