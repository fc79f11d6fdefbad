"""The page in a real browser, and its named endpoints: on the embedded model, with nothing fetched from elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from latentlab import images, models

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Background services of the browser itself would be counted as requests of the page.
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The app as `make app` starts it, on a free port."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("app") / "log"
    with log.open("w") as output:
        app = subprocess.Popen([sys.executable, ROOT / "apps" / "app.py"], env=env, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(address, timeout=2)
                break
            except OSError:
                if app.poll() is not None:
                    pytest.fail(f"the app ended at once:\n{log.read_text()}")
                time.sleep(0.5)
        else:
            pytest.fail("the app did not answer within two minutes")
        yield address
    finally:
        app.terminate()
        app.wait(20)


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, url):
    """The opened page; at the end of the test every request has gone to the app alone."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(60_000)
    page.goto(url)
    page.get_by_role("heading", name="latentlab").wait_for()
    yield page
    context.close()
    outside = [address for address in asked if not address.startswith((url, "data:", "blob:", "ws://127.0.0.1"))]
    assert not outside


def status(page, text: str):
    found = page.locator(".bar:visible", has_text=text)
    found.first.wait_for()
    return found.first


def test_generate_shows_one_picture_a_seed_and_says_what_to_see(page):
    page.get_by_role("button", name="Run").click()
    status(page, "4 pictures in")
    assert page.locator(".grid-wrap img:visible").count() == 4


def test_a_word_the_model_does_not_know_is_named_and_a_picture_made_all_the_same(page):
    page.get_by_label("Caption", exact=True).fill("a zebrafish")
    page.get_by_role("button", name="Run").click()
    assert "zebrafish" in status(page, "pictures in").inner_text()


def test_an_empty_caption_is_refused_with_a_sentence(page):
    page.get_by_label("Caption", exact=True).fill("  ")
    page.get_by_role("button", name="Run").click()
    status(page, "the caption is empty")


def test_cancel_stops_a_run_and_the_next_one_works(page):
    page.get_by_role("button", name="Advanced").first.click()
    page.get_by_label("number input for Decoder steps").fill("100")
    page.get_by_role("button", name="Run").click()
    status(page, "of 100")
    page.get_by_role("button", name="Cancel").click()
    status(page, "Cancelled.")
    page.get_by_label("number input for Decoder steps").fill("4")
    page.get_by_role("button", name="Run").click()
    status(page, "4 pictures in")


def test_an_example_is_reconstructed_from_both_latents(page):
    page.get_by_role("tab", name="Reconstruct").click()
    page.locator(".thumbnail-item:visible").nth(2).click()
    chosen = models.gallery("emoji")[2][0].stem
    page.wait_for_function("name => document.body.innerText.includes(name)", arg=chosen)
    page.get_by_role("button", name="Run").last.click()
    status(page, "With both latents the picture comes back at")
    assert (
        page.get_by_role("button", name="Download the latents")
        .or_(page.get_by_role("link", name="Download the latents"))
        .is_visible()
    )


def test_a_file_that_is_no_picture_is_refused_with_a_sentence_and_no_path(page, tmp_path):
    bad = tmp_path / "letter.png"
    bad.write_text("dear latentlab")
    page.get_by_role("tab", name="Reconstruct").click()
    page.locator("input[type=file]:not([disabled])").last.set_input_files(str(bad))
    page.get_by_text("letter.png").first.wait_for()
    page.get_by_role("button", name="Run").last.click()
    said = status(page, "is not an image").inner_text()
    assert "Traceback" not in said and "/tmp" not in said


def test_the_generate_endpoint_returns_pngs_that_carry_their_settings(url):
    from gradio_client import Client

    client = Client(url, verbose=False)
    gallery, _ = client.predict("a red apple", 1, 7, 8, 2.0, api_name="/generate")
    found = images.read_metadata(gallery[0]["image"])
    assert found is not None
    assert (found["prompt"], found["seed"], found["steps"]) == ("a red apple", 7, 8)
