"""JupyterLab, as `make lab` starts it, opens a notebook in Chromium and runs it, and its slider changes the figure."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from notebook_laws import code, tags

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "01_what_clip_sees.ipynb"
# Cells far from the window are otherwise not in the page at all; and news would be fetched from elsewhere.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def notebook():
    """The notebook up to the figure after its slider, without outputs, so that every output seen later is new.

    test_notebooks.py runs the rest of it.
    """
    nb = nbformat.read(NOTEBOOK, as_version=4)
    slider = next(k for k, cell in enumerate(nb.cells) if "widget" in tags(cell))
    nb.cells = nb.cells[: slider + 3]  # the slider, a sentence, and the same figure without it
    for _, cell in code(nb):
        cell.outputs, cell.execution_count = [], None
    return nb


@pytest.fixture
def folder(notebook, tmp_path):
    """A folder that holds the notebook alone."""
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / NOTEBOOK.name)
    return tmp_path / "notebooks"


@pytest.fixture
def url(folder, tmp_path):
    """JupyterLab on the folder, on a free port."""
    for name, settings in SETTINGS.items():
        file = tmp_path / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    # What `make lab` says, and what a test must add: nobody is there to log in, or to see a window open.
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--IdentityProvider.token="]
    command = [Path(sys.executable).parent / "jupyter-lab", folder, *options]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2)
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail("JupyterLab did not answer within two minutes")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    yield page
    context.close()


def test_a_notebook_opens_in_jupyterlab_runs_to_its_end_and_its_slider_moves_the_figure(notebook, url, page):
    from playwright.sync_api import expect

    count = len(code(notebook))
    page.goto(f"{url}/lab/tree/{NOTEBOOK.name}")
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    expect(cells).to_have_count(count, timeout=120_000)
    page.get_by_text("| Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(cells.last.locator(".jp-InputPrompt")).to_have_text(f"[{count}]:", timeout=300_000)
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert cells.last.locator("img").count() == 1

    control = page.locator(".widget-interact").first
    figure, number = control.locator(".jp-OutputArea img"), control.locator(".widget-readout")
    figure.wait_for()
    before = figure.get_attribute("src"), number.inner_text()
    control.locator(".noUi-handle").press("ArrowRight")
    expect(figure).not_to_have_attribute("src", before[0], timeout=60_000)
    assert number.inner_text() != before[1]
