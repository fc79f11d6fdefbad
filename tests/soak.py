"""Faults and attacks on the library, counted: damaged files, hostile values, kills, full disks, a page under fire.

    make soak                                     # half a minute of each kind
    make soak ARGS="--minutes 30"                 # thirty minutes in all
    make soak ARGS="--only pictures --seed 7"

A try ends well if it is accepted or refused in a sentence.  Anything else is a failure: another exception, a wrong
number, a hang, a file that is neither old nor whole.  The exit status is 1 if there is one.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import os
import random
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import hypothesis
import numpy as np
import torch
import typer
from hypothesis import HealthCheck
from hypothesis import strategies as st
from PIL import Image

from latentlab import UserError, cli, latents, models
from latentlab.analysis.covariance import Moments
from latentlab.analysis.dictionary import Dictionary
from latentlab.analysis.intervals import markdown
from latentlab.analysis.pca import Directions
from latentlab.cli.inputs import integers, numbers
from latentlab.grammar import parse
from latentlab.io import embeddings, images, partitions
from latentlab.latents import Latent
from latentlab.slerp import slerp

ROOT = Path(__file__).resolve().parent.parent
OUTCOMES = ("accepted", "refused", "failed")
PATIENCE = 600.0  # seconds after which a process hangs, also on a machine that is busy

Try = Callable[[], Any]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


class Tally:
    """The outcomes of one kind of fault, and what failed."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []

    def count(self, attempt: Try, label: str) -> None:
        """Run one try; a UserError is a refusal, and every other exception is a failure."""
        try:
            attempt()
        except UserError:
            self.outcomes["refused"] += 1
        except Exception as error:
            self.outcomes["failed"] += 1
            self.failures.append(f"{label}: {type(error).__name__}: {str(error)[:160]}")
        else:
            self.outcomes["accepted"] += 1


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with some bits flipped, a part cut out, doubled or overwritten, or the end missing."""
    damage = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(max(len(damage), 1))
        kind = rng.randrange(5)
        if kind == 0 and damage:
            damage[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del damage[at : at + rng.randrange(1, 64)]
        elif kind == 2:
            damage[at:at] = damage[at : at + rng.randrange(1, 64)]
        elif kind == 3:
            damage[at : at + 4] = rng.randbytes(4)
        else:
            del damage[at:]
    return bytes(damage)


def until(seconds: float) -> Iterator[int]:
    """Count tries until the time is over, at least one."""
    end = time.monotonic() + seconds
    for k in itertools.count():
        yield k
        if time.monotonic() > end:
            return


def examples(strategy: st.SearchStrategy, rng: random.Random, count: int = 20) -> list[Any]:
    """Some values of a strategy of hypothesis, which begins with simple ones and looks for odd ones."""
    values: list[Any] = []

    @hypothesis.seed(rng.randrange(2**32))
    @hypothesis.settings(max_examples=count, database=None, deadline=None, suppress_health_check=[*HealthCheck])
    @hypothesis.given(strategy)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    return values


# Files


def soak_pictures(tally: Tally, rng: random.Random, seconds: float, folder: Path) -> None:
    """Damaged pictures are read as RGB, or refused."""
    originals = []
    for mode, kind in itertools.product(("RGB", "L", "P", "RGBA", "1"), images.FORMATS):
        buffer = io.BytesIO()
        with contextlib.suppress(OSError, KeyError):  # a mode that the format lacks
            Image.effect_noise((33, 21), 90).convert(mode).save(buffer, kind)
            originals.append(buffer.getvalue())

    def read(data: bytes) -> None:
        picture = images.decode_image(data, "picture")
        assert picture.mode == "RGB" and min(picture.size) >= 1

    for k in until(seconds):
        tally.count(functools.partial(read, damaged(rng.choice(originals), rng)), f"picture {k}")


def soak_files(tally: Tally, rng: random.Random, seconds: float, folder: Path) -> None:
    """Damaged files of latents, components, features, moments and z_i are refused, or give finite numbers."""
    z_i = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    rows = Directions.fit(z_i).components.float()
    ones = torch.ones(len(rows))
    path = folder / "a"
    names = tuple(map(str, range(40)))
    embeddings.write(path.with_suffix(".parquet"), [embeddings.Embeddings(names, z_i)])
    np.save(path.with_suffix(".npy"), z_i.numpy())
    readers: dict[str, Callable[[Path], list[torch.Tensor]]] = {
        "a.parquet": lambda p: [embeddings.read(p).z_i],
        "a.npy": lambda p: [*embeddings.batches(p)],
    }
    for name, value, read in (
        ("latent", Latent(z_i[:2], torch.randn(2, 3, 4, 4)), lambda p: [latents.load(p).z_i]),
        ("pca", Directions.fit(z_i), lambda p: [Directions.load(p).mean]),
        (
            "features",
            Dictionary(z_i.mean(0), 1.0, rows, 0 * ones, rows, 2, ones, ones, 0.9, 40),
            lambda p: [Dictionary.load(p).features],
        ),
        ("moments", Moments.of(z_i), lambda p: [Moments.load(p)[0].scatter]),
    ):
        value.save(folder / f"{name}.safetensors", {"model": "toy"})
        readers[f"{name}.safetensors"] = read
    contents = {name: (folder / name).read_bytes() for name in readers}

    def read(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        tensors = readers[name](folder / name)
        assert all(tensor.isfinite().all() for tensor in tensors), "numbers that are not finite"
        if name.endswith(".parquet"):
            assert torch.equal(torch.cat(tensors), z_i), "other numbers than were written, despite the checksums"

    for k in until(seconds):
        name = rng.choice([*readers])
        tally.count(functools.partial(read, name, damaged(contents[name], rng)), f"{name} {k}")


# Values


def soak_doors(tally: Tally, rng: random.Random, seconds: float, folder: Path) -> None:
    """Any text, number and shape at the library's doors is taken, or refused."""
    floats = st.floats(width=32)
    tensors = st.lists(st.lists(floats, min_size=1, max_size=4), max_size=4)
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    components = Directions.fit(z)

    def as_tensor(rows: list[list[float]]) -> torch.Tensor:
        return torch.tensor([row[: min(map(len, rows))] for row in rows]) if rows else torch.empty(0, 3)

    doors: dict[str, tuple[st.SearchStrategy, Callable[[Any], Any]]] = {
        "numbers": (st.text(), lambda text: (numbers(text, "--eta"), integers(text, "--dims"))),
        "grammar": (st.text(), parse),
        "project": (tensors, lambda rows: components.project(as_tensor(rows))),
        "traverse": (st.lists(floats, max_size=3), lambda s: components.traverse(z[:1], 1, s)),
        "moments": (tensors, lambda rows: Moments.of(as_tensor(rows))),
        "slerp": (floats, lambda theta: slerp(z[:1], z[1:2], theta)),
        "share": (floats, components.needed),
        "model": (st.text(), lambda name: models.check(f"no-{name}", None)),
    }
    for k in until(seconds):
        name = [*doors][k % len(doors)]
        strategy, door = doors[name]
        for value in examples(strategy, rng):
            tally.count(functools.partial(door, value), f"{name}({value!r:.60})")


def soak_metadata(tally: Tally, rng: random.Random, seconds: float, folder: Path) -> None:
    """Any metadata in a PNG and in a link gives settings that the page can have, or none."""
    from latentlab.app import links, outputs

    path = folder / "picture.png"
    known = st.sampled_from(["page", "experiment", "fields", "seed", "seeds", "steps", "task", "model"])
    metadata = st.dictionaries(known | st.text(max_size=8), JSON, max_size=5)

    def read(values: dict) -> None:
        images.save_png(Image.new("RGB", (2, 2)), path, values)
        page, fields = links.page_settings(outputs.settings_in(str(path)) or {})
        assert page is None or isinstance(page, str)
        assert isinstance(fields, dict)

    for _ in until(seconds):
        for values in examples(metadata, rng):
            tally.count(functools.partial(read, values), f"metadata {values!r:.80}")


# Processes


def run(*words: object, limit: int | None = None, kill_after: float | None = None) -> tuple[int, str]:
    """A command line in a fork of this process, which has imported the libraries: exit code and standard error.

    Args:
        limit: the largest file in bytes that it can write, like a disk that is full.
        kill_after: seconds until SIGKILL, which its own processes receive as well.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        _command(list(map(str, words)), writing, limit)
    with contextlib.suppress(OSError):  # the process has done so itself
        os.setpgid(process, process)
    os.close(writing)
    deadline, err, killed = time.monotonic() + (kill_after or PATIENCE), b"", False
    with open(reading, "rb", buffering=0) as pipe:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 and not killed:
                os.killpg(process, signal.SIGKILL)
                killed = True
            if not select.select([pipe], [], [], max(left, 0) if not killed else None)[0]:
                continue
            if not (read := pipe.read(65536)):
                break
            err += read
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if killed and kill_after is None:
        raise RuntimeError(f"{' '.join(map(str, words[:2]))} hangs")
    return code, err.decode("utf-8", "replace")


def _command(words: list[str], writing: int, limit: int | None) -> NoReturn:
    """Run a command line in the forked process, and end it."""
    code = 70
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(writing, 2)
        os.close(writing)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        sys.argv = ["latentlab", *words]
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def sample(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    for k in range(count):
        Image.effect_noise((16, 16), 20 + k).convert("RGB").save(folder / f"{k:02d}.png")
    return folder


def intact(folder: Path) -> None:
    """Fail if a file in a folder is not whole; what a killed run was writing has a name of its own."""
    for path in folder.rglob("*"):
        if path.name.endswith(".part") or not path.is_file():
            continue
        if "moments" in path.name:
            Moments.load(path)
        elif path.name == "pca.safetensors":
            Directions.load(path)
        elif path.name == "features.safetensors":
            Dictionary.load(path)
        elif path.suffix == ".safetensors":
            latents.load(path)
        elif path.suffix == ".parquet":
            embeddings.read(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            Image.open(path).load()


def long_commands(folder: Path, photos: Path, z_i: Path) -> dict[str, tuple[object, ...]]:
    """Commands that take a while, with what they write in `folder`."""
    shards = ("embed", photos, "--model", "toy", "--rows", 2, "--batch", 1, "--out", folder / "shards")
    first = photos / "00.png"
    return {
        "embed to a file": ("embed", photos, "--model", "toy", "--batch", 1, "--out", folder / "z.parquet"),
        "embed to shards": shards,
        "embed by two workers": (*shards, "--workers", 2),
        "pca fit": ("pca", "fit", z_i, "--out", folder / "pca.safetensors"),
        "features fit": (
            "features",
            "fit",
            z_i,
            "--features",
            8,
            "--steps",
            100,
            "--out",
            folder / "features.safetensors",
        ),
        "export": ("export", z_i, "--out", folder / "exported"),
        "invert": ("invert", first, "--model", "toy", "--steps", 4, "--out", folder / "inverted"),
        "generate": ("generate", "a cat", "--model", "toy", "--count", 4, "--steps", 10, "--out", folder / "generated"),
        "vary": ("vary", first, "--model", "toy", "--steps", 8, "--out", folder / "varied"),
        "pca walk": (
            "pca",
            "walk",
            first,
            "--model",
            "toy",
            "--directions",
            z_i.parent / "pca.safetensors",
            "--steps",
            4,
            "--components",
            "0,1",
            "--out",
            folder / "walked",
        ),
    }


def soak_kills(tally: Tally, rng: random.Random, seconds: float, folder: Path) -> None:
    """A command that is killed at a random point damages no file and no finished shard; repeated, it ends well."""
    photos, z_i = sample(folder / "photos"), folder / "z.parquet"
    run("embed", photos, "--model", "toy", "--out", z_i)
    run("pca", "fit", z_i, "--out", folder / "pca.safetensors")
    durations: dict[str, float] = {}

    def kill(k: int) -> None:
        out = folder / f"{k}"
        commands = long_commands(out, photos, z_i)
        name = [*commands][k % len(commands)]
        if name not in durations:
            started = time.monotonic()
            code, err = run(*long_commands(folder / f"whole {k}", photos, z_i)[name])
            assert code == 0, f"{name}: {err[-200:]}"
            durations[name] = time.monotonic() - started
        run(*commands[name], kill_after=durations[name] * rng.uniform(0.02, 1.1))
        intact(out)
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.moments.safetensors")}
        code, err = run(*commands[name])
        there = code == 2 and ("is there already" in err or "not there yet" in err or "holds files" in err)
        assert code == 0 or there, f"{name}: {err[-200:]}"
        intact(out)
        assert all(path.stat().st_mtime_ns == at for path, at in before.items()), "a finished shard was written again"
        if (out / "shards").exists():
            moments, _, skipped = partitions.merged(out / "shards")
            assert (moments.count, skipped) == (12, {}) and sum(map(len, partitions.batches(out / "shards"))) == 12
        if (out / "z.parquet").exists():
            assert len(embeddings.read(out / "z.parquet")) == 12

    for k in until(seconds):
        tally.count(functools.partial(kill, k), f"kill {k}")


def soak_disks(tally: Tally, rng: random.Random, seconds: float, folder: Path) -> None:
    """A disk that fills up gives one sentence and no damaged file."""
    photos, z_i = sample(folder / "photos"), folder / "z.parquet"
    run("embed", photos, "--model", "toy", "--out", z_i)
    run("pca", "fit", z_i, "--out", folder / "pca.safetensors")

    def fill(k: int) -> None:
        out = folder / f"{k}"
        commands = long_commands(out, photos, z_i)
        name = [*commands][k % len(commands)]
        code, err = run(*commands[name], limit=int(10 ** rng.uniform(0, 5)))
        assert "Traceback" not in err, f"{name}: {err[-300:]}"
        assert code in (0, 2), f"{name}: exit code {code}"
        intact(out)
        if code:
            raise UserError(err.strip())

    for k in until(seconds):
        tally.count(functools.partial(fill, k), f"full disk {k}")


def named_endpoints(url: str, seconds: float) -> list[str]:
    """The endpoints of a page that is starting."""
    for _ in until(seconds):
        with contextlib.suppress(httpx.HTTPError):
            return [*httpx.get(f"{url}/gradio_api/info", timeout=PATIENCE).json()["named_endpoints"]]
        time.sleep(1)
    raise RuntimeError(f"the page does not start within {seconds:.0f} s")


def soak_page(tally: Tally, rng: random.Random, seconds: float, folder: Path) -> None:
    """Any payload to a running page's API is answered, and the page still answers after it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"LATENTLAB_MODEL": "toy", "GRADIO_SERVER_PORT": str(port)}
    log = (folder / "server.log").open("w")
    server = subprocess.Popen([sys.executable, str(ROOT / "apps" / "app.py")], env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        endpoints = named_endpoints(url, 4 * PATIENCE)

        def post(body: bytes, path: str) -> None:
            headers = {"Content-Type": "application/json"}
            answer = httpx.post(f"{url}{path}", content=body, headers=headers, timeout=PATIENCE)
            assert "Traceback" not in answer.text, answer.text[-200:]
            alive = httpx.get(f"{url}/gradio_api/info", timeout=PATIENCE).status_code
            assert alive == 200, f"the page answers {alive} afterwards"
            if answer.status_code >= 400:
                raise UserError(answer.text[:80])

        for k in until(seconds):
            path = rng.choice([f"/gradio_api/call{rng.choice(endpoints)}", "/gradio_api/queue/join", "/?page=x"])
            value = {"data": [rng.choice([None, -1, "x" * 50, 1e308, [], {}]) for _ in range(rng.randrange(6))]}
            body = json.dumps(value).encode()
            body = damaged(body, rng) if rng.random() < 0.5 else body
            tally.count(functools.partial(post, body, path), f"payload {k} to {path}")
    finally:
        server.terminate()
        server.wait()
        log.close()
    errors = re.findall(r"^(?!Traceback)[\w.]+(?:Error|Exception|Exit)\b.*", (folder / "server.log").read_text(), re.M)
    for error, count in Counter(errors).items():
        tally.outcomes["failed"] += count
        tally.failures.append(f"traceback in the page's log, {count} times: {error[:160]}")


KINDS = {
    "pictures": soak_pictures,
    "files": soak_files,
    "doors": soak_doors,
    "metadata": soak_metadata,
    "kills": soak_kills,
    "disks": soak_disks,
    "page": soak_page,
}


def soak(kinds: list[str], seconds: float, seed: int) -> dict[str, Tally]:
    """Run the kinds one after another, each for its share of the time, and return their tallies."""
    tallies = {}
    for kind in kinds:
        tallies[kind] = Tally()
        with tempfile.TemporaryDirectory() as name:
            KINDS[kind](tallies[kind], random.Random(f"{kind} {seed}"), seconds, Path(name))
        print(f"{kind}: {dict(tallies[kind].outcomes)}", file=sys.stderr, flush=True)
    return tallies


def main(
    minutes: Annotated[float, typer.Option(help="The time of all kinds together.")] = 3.5,
    only: Annotated[str, typer.Option(help=f"Kinds, separated by commas, out of {','.join(KINDS)}.")] = "",
    seed: Annotated[int, typer.Option(help="The seed of the faults.")] = 0,
) -> None:
    kinds = [kind.strip() for kind in only.split(",") if kind.strip()] or [*KINDS]
    if unknown := set(kinds) - set(KINDS):
        raise typer.BadParameter(f"{', '.join(unknown)}: give some of {', '.join(KINDS)}")
    tallies = soak(kinds, 60 * minutes / len(kinds), seed)
    rows = [
        [kind, str(sum(t.outcomes.values())), *(str(t.outcomes[name]) for name in OUTCOMES)]
        for kind, t in tallies.items()
    ]
    print(markdown(["kind", "tries", *OUTCOMES], rows))
    failures = [f"{kind}: {line}" for kind, t in tallies.items() for line in t.failures]
    print("\n".join(["", *failures[:40]]) if failures else "")
    sys.exit(bool(failures))


if __name__ == "__main__":
    typer.run(main)
