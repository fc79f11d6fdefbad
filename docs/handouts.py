"""Make a lesson's papers of a notebook: slides, a worksheet without code, or the answers.

python docs/handouts.py slides 03        # an HTML file of slides (reveal.js), without exercises
python docs/handouts.py worksheet 03     # predictions and exercises in words, with room to write
python docs/handouts.py answers 03       # solutions, and the sentences that were measured
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import nbformat
import typer
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
EXERCISE = {"exercise", "check", "solution"}
ROOM = "\n\n" + "\n\n".join(["\\_" * 60] * 2) + "\n"


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def heading(nb: NotebookNode) -> str:
    """The title and the notebook's question."""
    title, question = (re.search(p, nb.cells[0].source, re.M) for p in (r"^# .*", r"^\*\*(.*?)\*\*$"))
    return f"{title[0] if title else ''}\n\n{question[1] if question else ''}\n"


def paragraphs(nb: NotebookNode) -> Iterator[str]:
    """What is asked, in order: each prediction, and each exercise without its code."""
    for cell in nb.cells:
        if cell.cell_type != "markdown" or tags(cell):
            continue
        source = re.sub(r"^!?\[!?\[.*$", "", cell.source, flags=re.M)
        yield from (text.strip() for text in re.findall(r"^\*\*Predict\.\*\*.*?(?=\n\n|\Z)", source, re.M | re.S))
        yield from (text.strip() for text in re.findall(r"^### Exercise.*", source, re.M | re.S))


def worksheet(nb: NotebookNode) -> str:
    return heading(nb) + "\n" + "\n".join(text + ROOM for text in paragraphs(nb))


def answers(nb: NotebookNode) -> str:
    """Each solution under its exercise's heading, and the sentences of the claims as they were measured."""
    parts = [heading(nb)]
    title = ""
    for cell in nb.cells:
        if exercise := re.search(r"^### Exercise.*$", cell.source, re.M):
            title = exercise[0]
        if "solution" in tags(cell):
            body = re.sub(r"</?details>|<summary>.*?</summary>", "", cell.source).strip()
            parts.append(f"{title}\n\n{body}\n")
        for out in cell.get("outputs", ()) if "claim" in tags(cell) else ():
            parts.append(f"- {out['data']['text/plain']}\n")
    return "\n".join(parts)


def slides(nb: NotebookNode) -> str:
    """HTML slides: a heading begins a slide, figures and measured sentences follow, code is left out."""
    from nbconvert import SlidesExporter

    nb.cells = [cell for cell in nb.cells if not tags(cell) & {*EXERCISE, "widget"}]
    nb.cells = [cell for cell in nb.cells if "### Exercise" not in cell.source]
    for cell in nb.cells:
        begins = cell.cell_type == "markdown" and re.search(r"^##? ", cell.source, re.M)
        kind = "slide" if begins else "subslide" if cell.cell_type == "markdown" else "-"
        cell.metadata["slideshow"] = {"slide_type": kind}
    html: str = SlidesExporter(exclude_input=True, exclude_output_prompt=True).from_notebook_node(nb)[0]
    return html


KINDS: dict[str, tuple[Callable[[NotebookNode], str], str]] = {
    "slides": (slides, ".slides.html"),
    "worksheet": (worksheet, "-worksheet.md"),
    "answers": (answers, "-answers.md"),
}


def main(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(KINDS)}.")],
    names: Annotated[list[str], typer.Argument(help="Beginnings of the notebooks' names, like 03.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("handouts"),
) -> None:
    """Make a lesson's papers of notebooks: slides, worksheets without code, or answers."""
    if kind not in KINDS:
        sys.exit(f"there are no {kind}: give one of {', '.join(KINDS)}")
    paths = [p for p in sorted((ROOT / "notebooks").glob("*.ipynb")) if p.name.startswith(tuple(names))]
    if not paths:
        sys.exit(f"no notebook begins with {' or '.join(names)}")
    out.mkdir(parents=True, exist_ok=True)
    make, suffix = KINDS[kind]
    for path in paths:
        target = out / f"{path.stem}{suffix}"
        target.write_text(make(nbformat.read(path, as_version=4)), "utf-8")
        typer.echo(target)


if __name__ == "__main__":
    typer.run(main)
