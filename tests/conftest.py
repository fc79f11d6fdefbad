"""Fixtures that several test files share: the toy lab, seeded randomness, small stand-ins for drawings and decoders."""

import dataclasses
import functools
import os
import shutil
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from latentlab import experiments, models
from latentlab.analysis.dictionary import Dictionary
from latentlab.analysis.pca import Directions
from latentlab.diffusion import abar_at, cosine_abar
from latentlab.models.toy import D, ToyDecoder
from latentlab.noise import SeededNoise

# The first, which draws no windows, loads a page in about half of the processor's time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
# Background services of the browser itself would be counted as requests of the page.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def lab():
    """The lab with closed-form answers."""
    return models.load("toy", device="cpu")


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(20221)


@pytest.fixture
def normal(rng):
    """Standard normal float64 tensors: `normal(B, C, H, W)`."""
    return lambda *shape: torch.randn(shape, generator=rng, dtype=torch.float64)


@pytest.fixture
def z_i(rng):
    """Three toy embeddings."""
    return torch.rand(3, D, generator=rng, dtype=torch.float64) * 2 - 1


@pytest.fixture
def x_0(lab, z_i, normal):
    """Three pictures drawn from the toy's own Gaussian, given z_i."""
    mean = lab.decoder.mean(z_i)
    return mean + lab.decoder.spread * normal(*mean.shape)


class Spy:
    """A decoder that records every evaluation: the batch, the time and the guidance."""

    def __init__(self, decoder):
        self.decoder, self.calls = decoder, []

    def __getattr__(self, name):
        return getattr(self.decoder, name)

    def eps(self, x_t, t, cond, guidance=1.0):
        assert len(x_t) == 1 or len(x_t) * (1 if guidance == 1 else 2) <= self.max_batch_size
        assert len(cond) == len(x_t)
        self.calls.append((len(x_t), t, guidance))
        return self.decoder.eps(x_t, t, cond, guidance)


@pytest.fixture
def spy(lab):
    return Spy(lab.decoder)


@pytest.fixture
def spied():
    """Spy on another decoder: `spied(decoder, rows=2)` evaluates at most so many rows at once."""

    def make(decoder, rows=None):
        spy = Spy(decoder)
        spy.max_batch_size = rows or decoder.max_batch_size
        return spy

    return make


def spied_lab(lab):
    """The same lab, and the spy on its decoder."""
    spy = Spy(lab.decoder)
    return dataclasses.replace(lab, decoder=spy), spy


def toy_pictures(count=2, side=8):
    """Grey noise as pictures: (count, 3, side, side)."""
    return SeededNoise(range(count), (3, side, side), stream="test")().mul(0.3).clamp(-1, 1)


@pytest.fixture(scope="session")
def inversion(lab):
    """Two toy pictures, inverted to rounding."""
    return experiments.invert(lab, toy_pictures(), steps=20, iterations=20, tolerance=1e-7)


@pytest.fixture(scope="session")
def directions(lab):
    """The principal components of forty toy pictures."""
    return Directions.fit(lab.encoder.encode_image(toy_pictures(40)))


def as_dictionary(directions):
    """A dictionary whose features are these components."""
    rows = directions.components.float()
    ones = torch.ones(len(rows))
    return Dictionary(directions.mean.float(), 1.0, rows, 0 * ones, rows, 2, ones, ones, 0.9, 40)


class Curved(ToyDecoder):
    """The toy with a noise that is no linear function of x_t, and it mixes pixels: no formula inverts it by luck."""

    def eps(self, x_t, t, cond, guidance=1.0):
        a = abar_at(self.abar, t)
        bent = torch.sin(3 * x_t.roll(1, -1) + x_t.mean((1, 2, 3), keepdim=True) + t / 300)
        return super().eps(x_t, t, cond, guidance) + 0.2 * (a * (1 - a)) ** 0.5 * bent


@pytest.fixture
def curved():
    return Curved()


class Grain:
    """An upsampler that adds its own seeded noise."""

    abar, low, high, max_batch_size, steps = cosine_abar(), 8, 8, 4, 2

    def eps(self, x_t, t, pixels):
        return x_t / 2

    def to_pixels(self, x_0, pixels):
        return (pixels + 0.3 * x_0.tanh()).clamp(-1, 1)


@pytest.fixture
def bystander():
    """A server on this machine that records requests: (address, the requested paths)."""
    requested_paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requested_paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requested_paths
    server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    """A browser for the tests of one file.

    Playwright's own event loop runs until the browser is closed, and `asyncio.run` of another file's tests would be
    refused meanwhile.  A start takes 3 s, and two files have one.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sprites():
    """Every key of Emoji World on four tiny drawings, so that no test needs the artists' packages.

    Row 0 is mirror-symmetrical, row 1 is not, row 2 is transparent, row 3 is opaque white.
    """
    from latentlab.grammar import COLOURS, SOLIDS
    from latentlab.training.drawings import Sprites
    from latentlab.training.icon_sets import STYLES
    from latentlab.training.things import sign_words, things

    pixels = np.zeros((4, 4, 8, 8), np.uint8)
    pixels[0, :, :, 2:6] = np.array([200, 40, 90, 255])[:, None, None]
    pixels[1, :, :, :3] = np.array([20, 140, 60, 255])[:, None, None]
    pixels[3] = 255
    keys = [f"{style}/{thing.name}" for style in STYLES for thing in things()]
    keys += [f"solid/{colour}/{shape}" for colour in COLOURS for shape in SOLIDS]
    keys += [f"{kind}/{word}" for kind in ("sign", "label") for word in sign_words()]
    index = {"symmetrical": 0, "lopsided": 1, "transparent": 2, "white": 3}
    return Sprites(pixels, {**dict.fromkeys(keys, 1), **index})


@pytest.fixture(scope="session")
def write_once(tmp_path_factory):
    """A folder that one process of pytest-xdist writes and all processes read: `write_once(name, write)`."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    written = {}

    def folder(name, write):
        folder = shared / name
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                write(part := Path(tempfile.mkdtemp(dir=shared)))
                part.rename(folder)
        written[folder] = file_times(folder)
        return folder

    yield folder
    for folder, times in written.items():
        assert file_times(folder) == times, f"a test changed {folder.name}, which others read: copy it first"


def file_times(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="session")
def clip_folder(write_once):
    """A tiny open_clip model (32 pixels, 24-d) with Emoji World's tokenizer and random weights, as the shipped one."""
    import tiny_miniature

    return write_once("tiny_clip", lambda folder: tiny_miniature.write_clip(folder / "clip")) / "clip"


@pytest.fixture(scope="session")
def encoder(clip_folder):
    """The tiny CLIP."""
    from latentlab.clip import Encoder

    return Encoder(f"local-dir:{clip_folder}")


@pytest.fixture(scope="session")
def miniature_folder(write_once, clip_folder):
    """Every part of the miniature, tiny and with random weights, laid out as the shipped one."""
    import tiny_miniature

    return write_once("tiny_miniature", lambda folder: tiny_miniature.write(folder, clip_folder))


@pytest.fixture(scope="session")
def miniature(miniature_folder):
    """A whole lab of the emoji family, tiny and untrained: what does not depend on training can be tested on it."""
    from latentlab.models.emoji import load_folder

    return load_folder(miniature_folder, device=torch.device("cpu"))


@pytest.fixture(scope="session")
def published(write_once):
    """A folder with a tiny copy of every repository on which a family is published, random weights in it."""
    import checkpoints

    return write_once("published", checkpoints.write_all)


@pytest.fixture(scope="session")
def family(published):
    """The lab of a family by name, loaded from the tiny copies by the real code."""
    return functools.cache(lambda name: models.load(published, family=name, device="cpu"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with long tests come first, so that no process of pytest-xdist is left with one of them at the end."""
    marks = ("notebooks", "browser", "slow")
    long = {mark: {item.path for item in items if item.get_closest_marker(mark)} for mark in marks}
    items.sort(key=lambda item: [item.path not in long[mark] for mark in marks])


IGNORED = pytest.StashKey[list[tuple[str, list[str]]]]()


@pytest.fixture
def list_ignored(request):
    """Record the cells of notebooks whose output is not compared, for a list at the end of the run."""
    return lambda named: request.config.stash.setdefault(IGNORED, []).extend(named.items())


PARITY = pytest.StashKey[list]()


@pytest.fixture
def same(request):
    """Assert that ours is stock's to 1e-4, and record the largest difference for the table at the end of the run."""

    def check(family, part, ours, stock):
        assert ours.shape == stock.shape
        difference = float((ours.double() - stock.double()).abs().max())
        request.config.stash.setdefault(PARITY, []).append((family, part, difference, float(stock.double().std())))
        assert difference < 1e-4

    return check


LISTS = {"ignored": IGNORED, "parity": PARITY}


def pytest_sessionfinish(session):
    """A worker of pytest-xdist sends its records to the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput |= {name: session.config.stash.get(key, []) for name, key in LISTS.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for name, key in LISTS.items():
        node.config.stash.setdefault(key, []).extend(getattr(node, "workeroutput", {}).get(name, []))


def slowest_files(terminalreporter):
    """Name the test files that took longest, setup and teardown included."""
    seconds: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                file = report.nodeid.partition("::")[0]
                seconds[file] = seconds.get(file, 0.0) + report.duration
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:8]
    if longest and longest[0][1] > 1:
        terminalreporter.write_sep("-", "files that took longest")
        for file, spent in longest:
            terminalreporter.write_line(f"{spent:7.1f} s  {file}")


def pytest_terminal_summary(terminalreporter, config):
    ignored = config.stash.get(IGNORED, [])
    if ignored:
        terminalreporter.section("cells of notebooks whose output is not compared")
        for name, cells in ignored:
            terminalreporter.write_line(f"{name:<36} {', '.join(cells)}")
    differences = config.stash.get(PARITY, [])
    if differences:
        terminalreporter.section("largest difference from the stock pipelines, float32")
        for family, part, difference, spread in differences:
            terminalreporter.write_line(f"{family:<16} {part:<44} {difference:.1e}   (spread {spread:.2f})")
    slowest_files(terminalreporter)
