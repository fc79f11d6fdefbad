"""Compression of what a browser reads as text: the page with its settings, scripts, styles and the map's data."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

LEVEL = 5  # a quarter of the bytes remain; level 9 takes three times as long for 2% less
API = "/gradio_api/"
FILES = f"{API}file="
TEXTS = (".js", ".json", ".css")


class Compression:
    """Middleware that compresses the page and its texts, but no call, no stream of events and no picture."""

    def __init__(self, app: ASGIApp):
        self.app, self.compressed = app, GZipMiddleware(app, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_text = scope["type"] == "http" and (
            not path.startswith(API) or (path.startswith(FILES) and path.endswith(TEXTS))
        )
        await (self.compressed if is_text else self.app)(scope, receive, send)
