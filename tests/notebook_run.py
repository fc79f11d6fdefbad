"""A plugin for pytest beside nbval: its one fresh run of a notebook also serves the figures and the exercises.

    python -m pytest -p notebook_run --nbval --nbval-current-env --nbval-sanitize-with notebooks/sanitize.cfg FILE

nbval compares texts and never pictures; here each stored figure is held against the fresh one.  After each check cell,
which answers the stub with its hint, the folded solution is put into the stub's place and must pass the same check.
"""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from nbval.plugin import IPyNbCell
from notebook_laws import figures, solution, tags
from PIL import Image
from skimage.metrics import structural_similarity

# The least similar square of a figure must be as like as this. Rounding on another machine leaves 0.99 and more; one
# other picture in a grid, or a curve that moved by more than its line's width, falls far below.
ALIKE = 0.9
SQUARE = 48


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    if isinstance(item, IPyNbCell):
        if item.options["check"]:
            compare_figures(item)
        if "check" in tags(item.cell):
            try_exercise(item)
    return result


def compare_figures(item: IPyNbCell) -> None:
    stored, fresh = figures(item.cell.outputs), figures(item.test_outputs)
    assert len(stored) == len(fresh), f"{len(stored)} figures are stored, a fresh run shows {len(fresh)}"
    for a, b in zip(stored, fresh):
        found = likeness(a, b)
        assert found >= ALIKE, f"a fresh run draws another figure: SSIM {found:.2f} in one place, not {ALIKE} or more"


def likeness(a: str, b: str) -> float:
    """SSIM of two PNGs in base 64 where they are least alike: the mean of the worst square.  Wang et al. 2004.

    The mean over all of a figure hardly falls when one of its pictures is another: most of it is white.
    """
    x, y = (np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), float) for png in (a, b))
    if x.shape != y.shape:
        return 0.0
    _, places = structural_similarity(x, y, channel_axis=2, data_range=255, full=True)
    height, width = places.shape[:2]
    corners = [(top, left) for top in range(0, height, SQUARE) for left in range(0, width, SQUARE)]
    return min(float(places[top : top + SQUARE, left : left + SQUARE].mean()) for top, left in corners)


def try_exercise(item: IPyNbCell) -> None:
    cells = item.parent.nb.cells
    at = next(k for k, cell in enumerate(cells) if cell is item.cell)
    hint = "".join(out["data"]["text/plain"] for out in item.test_outputs if "data" in out)
    assert hint.startswith("Not yet"), f"the check does not answer the stub with a hint, but with {hint!r}"
    said = asked(item, solution(cells[at + 1]))
    said += asked(item, item.cell.source)
    assert said.startswith("Right"), f"the solution does not pass its check, which says {said!r}"
    asked(item, cells[at - 1].source)  # what follows finds the stub, as a reader's first run does


def asked(item: IPyNbCell, source: str) -> str:
    """What the notebook's kernel answers to a piece of code: its result, or its error."""
    heard = []

    def hear(message: dict) -> None:
        content = message["content"]
        if message["msg_type"] == "execute_result":
            heard.append(content["data"]["text/plain"])
        elif message["msg_type"] == "error":
            heard.append(f"{content['ename']}: {content['evalue']}")

    kernel = item.parent.kernel.kc
    kernel.execute_interactive(source, store_history=False, allow_stdin=False, output_hook=hear, timeout=300)
    return "\n".join(heard)
