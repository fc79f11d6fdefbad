"""Limits on requests: a call that is too large, or a run that would wait too long, is refused before it is parsed."""

from __future__ import annotations

import httpx
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_WAITING = 24  # runs that may wait at once, some seconds each
MAX_BODY_BYTES = 2**20  # bytes of a call; pictures come as uploads, which have a limit of their own
BUSY = "The server is busy: {} runs are waiting already. Please try again in a minute."
TOO_LARGE = f"The call is larger than {MAX_BODY_BYTES // 2**20} MB: upload files first, and send their paths."


class RequestLimits:
    """Middleware that counts the runs itself, because Gradio's own limit admits all that arrive at the same moment.

    Gradio's `/queue/status` tells how many runs are waiting already.
    """

    def __init__(self, app: ASGIApp):
        self.app, self.joining = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "POST" or path.endswith("/upload"):
            return await self.app(scope, receive, send)
        body = await _body(receive)
        if body is None:
            return await _refused(413, TOO_LARGE)(scope, receive, send)
        if not (path.endswith("/queue/join") or "/call/" in path):
            return await self.app(scope, _replay(body, receive), send)
        self.joining += 1
        try:
            joining = self.joining  # read before the queue's size, so that no run is missed between the two counts
            if joining + await self._waiting() > MAX_WAITING:
                return await _refused(503, BUSY.format(MAX_WAITING))(scope, receive, send)
            await self.app(scope, _replay(body, receive), send)
        finally:
            self.joining -= 1

    async def _waiting(self) -> int:
        """Return how many runs wait in Gradio's queue."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost") as client:
            response = await client.get("/gradio_api/queue/status")
        return response.raise_for_status().json()["queue_size"]


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status)


async def _body(receive: Receive) -> bytes | None:
    """Return what a client sends, or None as soon as it is too much, whatever its header announced."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a function that receives a body again that was read before."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again
