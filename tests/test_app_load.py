"""The app under load: the limits on requests, a model that fails, and many visitors at once."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("gradio")
import gradio as gr

import latentlab
from latentlab.app import markup, model_cache, request_limits
from latentlab.app.main import build, launch

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import load


def call(app, body: bytes, path: str = "/gradio_api/queue/join", header: int | None = None) -> asyncio.Future:
    """One POST to an ASGI app, its body in pieces: the status that came back."""
    pieces = [body[k : k + 2**16] for k in range(0, len(body), 2**16)] or [b""]
    answer = asyncio.get_running_loop().create_future()

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.set_result(message["status"])

    async def run():
        await app({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
        return await answer

    return asyncio.ensure_future(run())


def test_the_limit_counts_the_runs_that_arrive_at_the_same_moment():
    queue, opened = [], asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"].endswith("/queue/status"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            return await send({"type": "http.response.body", "body": b'{"queue_size": %d}' % len(queue)})
        await opened.wait()  # every call has arrived before one has joined
        queue.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def arrive():
        calls = [call(guarded, b"%d" % k) for k in range(3 * request_limits.MAX_WAITING)]
        await asyncio.sleep(0)
        opened.set()
        return [await c for c in calls]

    guarded = request_limits.RequestLimits(app)
    statuses = asyncio.run(arrive())
    assert statuses.count(200) == request_limits.MAX_WAITING == len(set(queue))
    assert set(statuses) == {200, 503}


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/call/generate"])
def test_a_call_of_more_than_a_megabyte_is_refused_before_it_is_parsed(path):
    async def app(scope, receive, send):
        pytest.fail("it came through")

    async def arrive():
        return await call(request_limits.RequestLimits(app), bytes(request_limits.MAX_BODY_BYTES + 1), path)

    assert asyncio.run(arrive()) == 413


@pytest.fixture(scope="module")
def served(lab):
    """The whole page on the toy lab, answering; its address."""
    model_cache.set_lab(lab)
    page = build(lab)
    _, address, _ = launch(page, prevent_thread_lock=True, quiet=True, server_port=free_port())
    yield address.rstrip("/")
    page.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_slow_first_answer_does_not_end_the_app(monkeypatch):
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)  # as after three seconds
    with gr.Blocks() as page:
        pass
    launch(page, prevent_thread_lock=True, quiet=True, server_port=free_port())
    page.close()


def test_a_model_that_fails_gives_a_message_and_frees_the_queue(served, monkeypatch):
    def broken(*args, **controls):
        raise RuntimeError("CUDA error in /secret/place.py")
        yield

    press = load.presses(load.httpx.get(f"{served}/config").json(), ("generate",), steps=4)[0]
    with load.httpx.Client(base_url=served, timeout=30) as client:
        with monkeypatch.context() as patch:
            patch.setattr(latentlab.experiments.generate, "stream", broken)
            outcome, message = load.run(client, press, "first", None)
        assert outcome == "failed" and markup.SERVER_ERROR in message and "secret" not in message
        assert load.run(client, press, "second", None)[0] == "finished"


@pytest.mark.parametrize(("cancel_after", "outcome"), [(60, "failed"), (0, "cancelled")])
def test_a_run_that_fails_before_it_is_cancelled_counts_as_failed(cancel_after, outcome):
    cancelled = threading.Event()

    def answer(request):
        if request.url.path.endswith("/join"):
            return load.httpx.Response(200, json={"event_id": "1"})
        if request.url.path.endswith("/cancel"):
            cancelled.set()
            return load.httpx.Response(200)
        cancelled.wait(0 if cancel_after else 10)
        message = {"msg": "process_completed", "success": False, "output": "bar wrong"}
        return load.httpx.Response(200, text=f"data: {json.dumps(message)}\n\n")

    with load.httpx.Client(base_url="http://app", transport=load.httpx.MockTransport(answer)) as client:
        assert load.run(client, load.Press("generate", 0, []), "session", cancel_after)[0] == outcome


@pytest.mark.slow
def test_under_load_every_run_is_finished_refused_or_cancelled(served, monkeypatch):
    monkeypatch.setattr(request_limits, "MAX_WAITING", 4)
    pages = ("generate", "variations", "interpolate", "clip")
    measurement = load.load(served, visitors=16, seconds=6, pid=os.getpid(), pages=pages)
    assert not measurement.wrong and not measurement.outcomes["lost"] and not measurement.outcomes["failed"]
    assert measurement.outcomes["finished"] and measurement.outcomes["refused"]
    assert max(measurement.memory) - measurement.memory[0] < load.GROWTH


def test_the_page_is_compressed_but_no_stream_of_events_and_no_picture(served):
    whole = load.httpx.get(served, headers={"accept-encoding": "identity"})
    with load.httpx.stream("GET", served, headers={"accept-encoding": "gzip"}) as answer:
        sent = sum(map(len, answer.iter_raw()))
    assert answer.headers["content-encoding"] == "gzip" and sent < 0.25 * len(whole.content)
    with load.httpx.stream("GET", f"{served}/gradio_api/queue/data?session_hash=a", timeout=30) as events:
        assert "content-encoding" not in events.headers
