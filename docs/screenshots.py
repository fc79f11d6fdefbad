"""Make docs/screens/*.png: every page of the app after one Run, in Chromium.

python docs/screenshots.py                                # starts the app, 1280 pixels wide
python docs/screenshots.py --width 390 --dark --only map,generate --out /tmp/screens
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "generate", "reconstruct", "variations", "interpolate", "text-diff", "pca", "attack", "prior", "binding", "clip",
    "map",
)  # fmt: skip


def started() -> tuple[subprocess.Popen, str]:
    """The app on a free port, answering."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    app = subprocess.Popen(
        [sys.executable, ROOT / "apps" / "app.py"], env={**os.environ, "GRADIO_SERVER_PORT": str(port)}
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=2)
            return app, address
        except OSError:
            time.sleep(0.5)
    sys.exit("the app did not answer within two minutes")


def shoot(page: Page, address: str, name: str, path: Path, dark: bool) -> float:
    """Open one page by its link, run it, and take the picture; the seconds from Run to result."""
    page.goto(f"{address}/?page={name}" + ("&__theme=dark" if dark else "&__theme=light"))
    page.get_by_role("heading", name="latentlab", exact=True).wait_for()
    page.wait_for_timeout(1500)
    begun = time.monotonic()
    if name == "map":
        page.locator(".map button").nth(3).wait_for()
        page.locator(".map button").nth(3).click()
    else:
        page.locator("button:visible", has_text="Run").first.click()
        page.locator(".bar.done:visible, .bar.wrong:visible").first.wait_for()
    took = time.monotonic() - begun
    page.wait_for_timeout(1200)
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=path, full_page=True)
    return took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "screens")
    options.add_argument("--width", type=int, default=1280)
    options.add_argument("--dark", action="store_true")
    options.add_argument("--only", default=",".join(PAGES), help="pages, with commas")
    options.add_argument("--url", help="of an app that runs already")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    app, address = (None, given.url) if given.url else started()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": given.width, "height": 900})
            page.set_default_timeout(120_000)
            for name in given.only.split(","):
                path = given.out / f"{name}{'-dark' * given.dark}-{given.width}.png"
                print(f"{path}: {shoot(page, address, name, path, given.dark):.1f} s from Run to the result")
            browser.close()
    finally:
        if app:
            app.terminate()


if __name__ == "__main__":
    main()
