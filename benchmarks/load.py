"""Load on the page: many visitors press Run at once, and each run is finished, refused as busy, or cancelled.

python benchmarks/load.py                                  # 16 visitors, two minutes, on the embedded model
python benchmarks/load.py --visitors 4 --seconds 20

Talks to this machine alone, in the browser's own protocol: join the queue, read its stream, cancel.  Exit status 1 if a
run is lost or fails, or if the server's memory grows by more than 500 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from latentlab.analysis.intervals import markdown

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("generate", "reconstruct", "variations", "interpolate", "text-diff", "clip")
OUTCOMES = ("finished", "refused", "cancelled", "failed", "lost")
PATIENCE = 300.0  # seconds after which a run that says nothing is lost
GROWTH = 500  # MB


@dataclass
class Found:
    """What the visitors saw: outcomes, and seconds from Run to the result of those that finished."""

    outcomes: Counter = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # MB of the server, along the way
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        heads = ("runs", *OUTCOMES, "median, s", "slowest, s", "memory, MB: start", "highest", "end")
        times = sorted(self.seconds) or [float("nan")]
        numbers = [sum(self.outcomes.values()), *(self.outcomes[name] for name in OUTCOMES)]
        memory = [self.memory[0], max(self.memory), self.memory[-1]] if self.memory else [float("nan")] * 3
        cells = [*map(str, numbers), *(f"{t:.1f}" for t in (times[len(times) // 2], times[-1]))]
        cells += [f"{m:.0f}" for m in memory]
        return markdown(heads, [cells])


@dataclass(frozen=True)
class Press:
    """A page's Run as the browser sends it: the event's number, and the inputs as the page fills them in."""

    page: str
    event: int
    data: list


def presses(config: dict, pages: tuple[str, ...] = PAGES, steps: int = 8) -> list[Press]:
    """The Run of each page, from the server's own description of itself."""
    parts = {part["id"]: part for part in config["components"]}
    found = []
    for page in pages:
        stop = next(i for i, part in parts.items() if part["props"].get("elem_id") == f"stop-{page}")
        for event in config["dependencies"]:
            runs = any(kind == "click" and parts[i]["props"].get("value") == "Run" for i, kind in event["targets"])
            if runs and event["backend_fn"] and stop in event["outputs"]:
                found.append(Press(page, event["id"], [_value(parts[i], steps) for i in event["inputs"]]))
    return found


def _value(part: dict, steps: int):
    if part["type"] == "state":  # which the server keeps for each visitor
        return None
    return steps if part["props"].get("label") == "Steps" else part["props"].get("value")


def events(client: httpx.Client, session: str) -> Iterator[dict]:
    """The messages of a visitor's stream."""
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


def run(client: httpx.Client, press: Press, session: str, cancel_after: float | None) -> tuple[str, str]:
    """Press Run and wait: the page_result, and what was said where it is no good one."""
    call = {"data": press.data, "fn_index": press.event, "session_hash": session, "trigger_id": None}
    answer = client.post("/gradio_api/queue/join", json=call)
    if answer.status_code == 503 and "try again" in answer.text:
        return "refused", ""
    if answer.status_code != 200:
        return "failed", answer.text[:200]
    one = {"session_hash": session, "fn_index": press.event, "event_id": answer.json()["event_id"]}
    cancelled = threading.Event()

    def cancel() -> None:
        cancelled.set()
        client.post("/gradio_api/cancel", json=one)

    timer = threading.Timer(cancel_after or 0, cancel)
    if cancel_after is not None:
        timer.start()
    said = ""
    try:
        for message in events(client, session):
            said = json.dumps(message, ensure_ascii=False) if "bar " in json.dumps(message) else said
            if message["msg"] == "process_completed":
                if "bar done" in said and message["success"]:
                    return "finished", ""
                return ("cancelled", "") if cancelled.is_set() else ("failed", said[:300])
    finally:
        timer.cancel()
    return "lost", said[:300]


def visitor(number: int, address: str, given: list[Press], until: float, found: Found, lock: threading.Lock) -> None:
    """Press Run on one page after another until the time is over; one in five runs is cancelled on the way."""
    dice = random.Random(number)
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        while time.monotonic() < until:
            begun = time.monotonic()
            session = f"{number:x}-{dice.getrandbits(40):x}"
            press, cancel = dice.choice(given), dice.uniform(0, 6) if dice.random() < 0.2 else None
            try:
                page_result, said = run(client, press, session, cancel)
            except httpx.HTTPError as error:
                page_result, said = "lost", repr(error)
            with lock:
                found.outcomes[page_result] += 1
                if page_result == "finished":
                    found.seconds.append(time.monotonic() - begun)
                if page_result in ("failed", "lost"):
                    found.wrong.append(f"{press.page}: {said}")
            time.sleep(1.0 if page_result == "refused" else dice.uniform(0, 0.5))


def load(address: str, *, visitors: int, seconds: float, pid: int, pages: tuple[str, ...] = PAGES) -> Found:
    """So many visitors for so long on a server that runs; its memory is run_experiment, from after one run of every page."""
    config = httpx.get(f"{address}/config", timeout=60).json()
    given, found, lock = presses(config, pages), Found(), threading.Lock()
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        for number, press in enumerate(given):
            page_result, said = run(client, press, f"first-{number}", None)
            if page_result != "finished":
                raise SystemExit(f"the page {press.page} does not run at all: {said}")
    server, until = psutil.Process(pid), time.monotonic() + seconds
    found.memory.append(server.memory_info().rss / 2**20)
    each = (address, given, until, found, lock)
    threads = [threading.Thread(target=visitor, args=(number, *each)) for number in range(visitors)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.5)
        found.memory.append(server.memory_info().rss / 2**20)
    return found


def started() -> tuple[subprocess.Popen, str]:
    """The app on a free port of this machine, answering."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    app = subprocess.Popen(
        [sys.executable, ROOT / "apps" / "app.py"], env={**os.environ, "GRADIO_SERVER_PORT": str(port)},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            httpx.get(address, timeout=2)
            return app, address
        except httpx.HTTPError:
            if app.poll() is not None:
                sys.exit("the app ended at once: `latentlab app` says why")
            time.sleep(0.5)
    app.terminate()
    sys.exit("the app did not answer within two minutes")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--visitors", type=int, default=16, help="at most 64")
    options.add_argument("--seconds", type=float, default=120, help="at most 600")
    given = options.parse_args()
    app, address = started()
    try:
        size = {"visitors": min(given.visitors, 64), "seconds": min(given.seconds, 600)}
        found = load(address, pid=app.pid, **size)
    finally:
        app.terminate()
        app.wait(30)
    print(found.table(), *found.wrong[:10], sep="\n")
    grown = max(found.memory) - found.memory[0]
    sys.exit(bool(found.wrong) or grown > GROWTH)


if __name__ == "__main__":
    main()
