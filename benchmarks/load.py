"""Load on the page: many visitors press Run at once, and each run is finished, refused as busy, or cancelled.

python benchmarks/load.py                                  # 16 visitors, two minutes, on the embedded model
python benchmarks/load.py --visitors 4 --seconds 20

It talks to this machine alone, in the browser's own protocol: join the queue, read its stream, cancel.  The exit status
is 1 if a run is lost or fails, or if the server's memory grows by more than 500 MB.
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
PATIENCE = 300.0  # seconds without a message, after which a run is lost
GROWTH = 500  # MB


@dataclass
class Measurement:
    """The outcomes of all runs, the seconds from Run to the result of those that finished, and the server's memory."""

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
    """The Run of each page, from the server's configuration."""
    parts = {part["id"]: part for part in config["components"]}
    runs = []
    for page in pages:
        stop = next(i for i, part in parts.items() if part["props"].get("elem_id") == f"stop-{page}")
        for event in config["dependencies"]:
            is_run = any(kind == "click" and parts[i]["props"].get("value") == "Run" for i, kind in event["targets"])
            if is_run and event["backend_fn"] and stop in event["outputs"]:
                runs.append(Press(page, event["id"], [_value(parts[i], steps) for i in event["inputs"]]))
    return runs


def _value(part: dict, steps: int):
    if part["type"] == "state":  # the server keeps it for each visitor
        return None
    return steps if part["props"].get("label") == "Steps" else part["props"].get("value")


def events(client: httpx.Client, session: str) -> Iterator[dict]:
    """The messages of a visitor's stream."""
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


def run(client: httpx.Client, press: Press, session: str, cancel_after: float | None) -> tuple[str, str]:
    """Press Run and wait: the outcome, and the message where it failed."""
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
    message_text = ""
    try:
        for message in events(client, session):
            message_text = json.dumps(message, ensure_ascii=False) if "bar " in json.dumps(message) else message_text
            if message["msg"] == "process_completed":
                if "bar done" in message_text and message["success"]:
                    return "finished", ""
                return ("cancelled", "") if cancelled.is_set() else ("failed", message_text[:300])
    finally:
        timer.cancel()
    return "lost", message_text[:300]


def visitor(
    number: int, address: str, page_runs: list[Press], until: float, measurement: Measurement, lock: threading.Lock
) -> None:
    """Press Run on one page after another until the time is over; one in five runs is cancelled."""
    dice = random.Random(number)
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        while time.monotonic() < until:
            start = time.monotonic()
            session = f"{number:x}-{dice.getrandbits(40):x}"
            press, cancel = dice.choice(page_runs), dice.uniform(0, 6) if dice.random() < 0.2 else None
            try:
                outcome, message = run(client, press, session, cancel)
            except httpx.HTTPError as error:
                outcome, message = "lost", repr(error)
            with lock:
                measurement.outcomes[outcome] += 1
                if outcome == "finished":
                    measurement.seconds.append(time.monotonic() - start)
                if outcome in ("failed", "lost"):
                    measurement.wrong.append(f"{press.page}: {message}")
            time.sleep(1.0 if outcome == "refused" else dice.uniform(0, 0.5))


def load(address: str, *, visitors: int, seconds: float, pid: int, pages: tuple[str, ...] = PAGES) -> Measurement:
    """Visit a running server so often for so long; its memory is measured after one run of every page."""
    config = httpx.get(f"{address}/config", timeout=60).json()
    page_runs, measurement, lock = presses(config, pages), Measurement(), threading.Lock()
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        for number, press in enumerate(page_runs):
            outcome, message = run(client, press, f"first-{number}", None)
            if outcome != "finished":
                raise SystemExit(f"the page {press.page} does not run at all: {message}")
    server, until = psutil.Process(pid), time.monotonic() + seconds
    measurement.memory.append(server.memory_info().rss / 2**20)
    shared = (address, page_runs, until, measurement, lock)
    threads = [threading.Thread(target=visitor, args=(number, *shared)) for number in range(visitors)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.5)
        measurement.memory.append(server.memory_info().rss / 2**20)
    return measurement


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=16, help="how many visitors, at most 64")
    parser.add_argument("--seconds", type=float, default=120, help="for how long they press Run, at most 600")
    arguments = parser.parse_args()
    app, address = started()
    try:
        size = {"visitors": min(arguments.visitors, 64), "seconds": min(arguments.seconds, 600)}
        measurement = load(address, pid=app.pid, **size)
    finally:
        app.terminate()
        app.wait(30)
    print(measurement.table(), *measurement.wrong[:10], sep="\n")
    grown = max(measurement.memory) - measurement.memory[0]
    sys.exit(bool(measurement.wrong) or grown > GROWTH)


if __name__ == "__main__":
    main()
