"""A pytest plugin beside nbval: it checks figures and exercises in nbval's one fresh run of a notebook.

    python -m pytest -p notebook_run --nbval --nbval-current-env --nbval-sanitize-with notebooks/sanitize.cfg FILE

nbval compares texts and never pictures; this plugin compares each stored figure with the fresh one.  After each check
cell, which answers the stub with its hint, it puts the folded solution in the stub's place and repeats the check.
"""

from __future__ import annotations

import base64
import functools
import io
import tempfile

import nbval.kernel
import numpy as np
import pytest
from forked_kernels import ForkingManager
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell
from notebook_laws import figures, solution, tags
from PIL import Image
from skimage.metrics import structural_similarity

# SSIM that the least similar square of a figure must reach. Rounding on another machine leaves 0.99 and more; another
# picture in a grid, or a curve that moved by more than its line's width, gives far less.
MIN_SIMILARITY = 0.9
SQUARE = 48  # pixels

# Kernels that start at the same time can choose the same free port, and then one of them dies: use sockets in a folder.
SOCKETS = tempfile.TemporaryDirectory(prefix="nbval")
IPC = {"transport": "ipc", "ip": f"{SOCKETS.name}/kernel"}
nbval.kernel.KernelManager = functools.partial(KernelManager, **IPC)
FEW = 2  # notebooks for which a process that forks their kernels is not worth its start


def pytest_collection_finish(session):
    notebooks = {item.path for item in session.items if isinstance(item, IPyNbCell)}
    if len(notebooks) > FEW:
        ForkingManager.start(SOCKETS.name)
        nbval.kernel.KernelManager = functools.partial(ForkingManager, **IPC)


def pytest_sessionfinish():
    ForkingManager.stop()


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
        similarity = least_similarity(a, b)
        assert similarity >= MIN_SIMILARITY, (
            f"a fresh run draws another figure: SSIM {similarity:.2f} in one place, not {MIN_SIMILARITY} or more"
        )


def least_similarity(a: str, b: str) -> float:
    """SSIM of two PNGs in base 64 where they are least similar: the mean of the worst square.  Wang et al. 2004.

    The mean over the whole figure hardly falls when one of its pictures changes, because most of a figure is white.
    """
    x, y = (np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), float) for png in (a, b))
    if x.shape != y.shape:
        return 0.0
    if np.array_equal(x, y):  # SSIM takes half a second for a megapixel
        return 1.0
    _, ssim = structural_similarity(x, y, channel_axis=2, data_range=255, full=True)
    height, width = ssim.shape[:2]
    corners = [(top, left) for top in range(0, height, SQUARE) for left in range(0, width, SQUARE)]
    return min(float(ssim[top : top + SQUARE, left : left + SQUARE].mean()) for top, left in corners)


def try_exercise(item: IPyNbCell) -> None:
    cells = item.parent.nb.cells
    at = next(k for k, cell in enumerate(cells) if cell is item.cell)
    hint = "".join(out["data"]["text/plain"] for out in item.test_outputs if "data" in out)
    assert hint.startswith("Not yet"), f"the check does not answer the stub with a hint, but with {hint!r}"
    answer = execute(item, solution(cells[at + 1]))
    answer += execute(item, item.cell.source)
    assert answer.startswith("Right"), f"the solution does not pass its check, which says {answer!r}"
    execute(item, cells[at - 1].source)  # later cells use the stub, as in a reader's first run


def execute(item: IPyNbCell, source: str) -> str:
    """Execute code in the notebook's kernel and return its result or its error, as text."""
    replies = []

    def collect(message: dict) -> None:
        content = message["content"]
        if message["msg_type"] == "execute_result":
            replies.append(content["data"]["text/plain"])
        elif message["msg_type"] == "error":
            replies.append(f"{content['ename']}: {content['evalue']}")

    kernel = item.parent.kernel.kc
    kernel.execute_interactive(source, store_history=False, allow_stdin=False, output_hook=collect, timeout=300)
    return "\n".join(replies)
