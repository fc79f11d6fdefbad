"""The door: calls that are too large, and runs that would wait too long, are refused before anything is done."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import JSONResponse

MOST = 24  # runs that may wait at once, some seconds each
LARGEST = 2**20  # bytes of a call; pictures come as uploads, which have a limit of their own
BUSY = "Busy: {} runs are waiting already. Please try again in a minute."
TOO_LARGE = f"The call has more than {LARGEST // 2**20} MB: upload files first, and send their paths."


class Door:
    """Middleware that counts the runs itself: Gradio's own limit lets through whatever arrives at the same moment.

    Args:
        waiting: how many runs wait in the queue.
    """

    def __init__(self, app, waiting: Callable[[], int]):
        self.app, self.waiting, self.joining = app, waiting, 0

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "POST" or path.endswith("/upload"):
            return await self.app(scope, receive, send)
        body = await _body(receive)
        if body is None:
            return await _refused(413, TOO_LARGE)(scope, receive, send)
        if not (path.endswith("/queue/join") or "/call/" in path):
            return await self.app(scope, _again(body, receive), send)
        if self.joining + self.waiting() >= MOST:
            return await _refused(503, BUSY.format(MOST))(scope, receive, send)
        self.joining += 1
        try:
            await self.app(scope, _again(body, receive), send)
        finally:
            self.joining -= 1


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status)


async def _body(receive) -> bytes | None:
    """What a client sends, or None as soon as it is too much, whatever its header said."""
    found, more = bytearray(), True
    while more:
        message = await receive()
        found += message.get("body", b"")
        more = message.get("more_body", False)
        if len(found) > LARGEST:
            return None
    return bytes(found)


def _again(body: bytes, receive):
    """A body that was read, to be read again."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def told():
        return first.pop() if first else await receive()

    return told
