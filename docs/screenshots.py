"""Make docs/screens/*.webp: every page of the app after one Run, in Chromium, at three widths, light and dark.

python docs/screenshots.py                       # starts the app; what the README shows
python docs/screenshots.py --all --only map,generate --out screens --format png   # every width in both themes
"""

from __future__ import annotations

import argparse
import io
import itertools
import shutil
import sys
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from load import ROOT, started

from latentlab.app.pages import PAGES

NAMES = [page.key for page in PAGES]
QUERIES = {"generate": "&count=4", "edit": "&strength=0.6&prompt=a penguin on a yellow background"}
WIDTHS, THEMES = (1280, 1600, 390), ("light", "dark")
README_VIEWS = [(1280, "light"), (390, "dark")]


def run_page(page: Page, address: str, name: str) -> str:
    """Open one page by its link, run it, and return the seconds from Run to the first picture and to the result."""
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    page.goto(f"{address}/?page={name}&__theme=light{QUERIES.get(name, '')}")
    page.locator(f"#run-{name}").wait_for()
    if name == "map":
        page.locator(".map[data-ready]").wait_for()
    page.wait_for_timeout(1000)
    start, seconds = time.monotonic(), []
    page.locator(f"#run-{name}").click()
    for selector in (
        ".outputs:visible img, .probabilities:visible li, .strip:visible img",
        ".bar.done:visible, .bar.wrong:visible",
    ):
        page.locator(selector).first.wait_for()
        seconds.append(time.monotonic() - start)
    page.wait_for_timeout(1200)
    page.add_style_tag(
        content=".output-bar {position: static !important}"
    )  # it would stick in the middle of the picture
    return "first picture {:.1f} s after Run, the result {:.1f} s".format(*seconds)


def shoot(page: Page, path: Path, width: int, theme: str) -> None:
    """The same page in another window, without running it again."""
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.mouse.move(0, 0)  # a picture under the pointer would have a frame
    page.wait_for_timeout(700)
    image = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    image.save(path, **({"quality": 70, "method": 6} if path.suffix == ".webp" else {}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screens")
    parser.add_argument("--all", action="store_true", help="every width in both themes")
    parser.add_argument("--only", default=",".join(NAMES), help="the pages, comma-separated")
    parser.add_argument("--format", default="webp", choices=("webp", "png"))
    parser.add_argument("--url", help="the address of a running app")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    app, address = (None, arguments.url) if arguments.url else started()
    browsers = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, browsers)), None)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
            page.set_default_timeout(300_000)
            for name in arguments.only.split(","):
                timing = run_page(page, address, name)
                for width, theme in itertools.product(WIDTHS, THEMES) if arguments.all else README_VIEWS:
                    shoot(page, arguments.out / f"{name}-{width}-{theme}.{arguments.format}", width, theme)
                print(f"{name}: {timing}", flush=True)
            browser.close()
    finally:
        if app:
            app.terminate()


if __name__ == "__main__":
    main()
