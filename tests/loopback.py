"""A hub on the loopback: it answers huggingface_hub as the real one does, and breaks transfers on request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories by OWNER/NAME, each the folder that it serves and its commit.

    Args:
        repositories: OWNER/NAME -> (folder, commit).

    `gated` and `broken` may be changed while it serves: broken is a file's name -> after how many bytes its transfer
    ends, once for each number in the list.  `log` has every request: (method, path, Range).
    """

    def __init__(self, repositories: dict[str, tuple[Path, str]]):
        self.repositories, self.gated, self.broken, self.log = repositories, set(), {}, []
        self.url = ""

    def find(self, path: str) -> tuple[str, str, str] | None:
        """The repository, the kind of request and the rest of a path; None where there is no such repository."""
        parts = unquote(urlsplit(path).path).strip("/").removeprefix("api/models/").split("/")
        name = "/".join(parts[:2])
        return (name, parts[2], "/".join(parts[3:])) if len(parts) > 3 and name in self.repositories else None

    @contextmanager
    def serving(self) -> Iterator[Hub]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.log.append((self.command, self.path, self.headers.get("Range")))
        target = self.hub.find(self.path)
        if self.path == "/":
            self.answer(200, b"")
        elif target is None:
            self.answer(401, b'{"error": "Invalid username or password."}', **{"X-Error-Code": "RepoNotFound"})
        elif target[1] == "resolve" and target[0] in self.hub.gated:
            self.answer(403, b'{"error": "gated"}', **{"X-Error-Code": "GatedRepo"})
        else:
            {"revision": self.revision, "tree": self.tree, "resolve": self.file}[target[1]](target[0], target[2])

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def has_revision(self, repository: str, revision: str) -> bool:
        _, commit = self.hub.repositories[repository]
        if revision not in ("main", commit):
            self.answer(404, b'{"error": "Invalid rev id"}', **{"X-Error-Code": "RevisionNotFound"})
        return revision in ("main", commit)

    def revision(self, repository: str, revision: str) -> None:
        if self.has_revision(repository, revision):
            folder, sha = self.hub.repositories[repository]
            names = [{"rfilename": str(file.relative_to(folder))} for file in listed(folder)]
            self.answer(200, json.dumps({"id": repository, "sha": sha, "siblings": names}).encode())

    def tree(self, repository: str, revision: str) -> None:
        folder = self.hub.repositories[repository][0]
        if self.has_revision(repository, revision):
            rows = [
                {"type": "file", "path": str(f.relative_to(folder)), "size": f.stat().st_size, "oid": etag(f)}
                for f in listed(folder)
            ]
            self.answer(200, json.dumps(rows).encode())

    def file(self, repository: str, rest: str) -> None:
        folder, commit = self.hub.repositories[repository]
        revision, _, name = rest.partition("/")
        if not self.has_revision(repository, revision):
            return
        if not (folder / name).is_file():
            self.answer(404, b"", **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        whole = (folder / name).read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {"ETag": f'"{etag(folder / name)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        ends = self.hub.broken.get(name) if self.command == "GET" else None
        if not ends:
            self.answer(206 if start else 200, whole[start:], **headers)
            return
        self.send_response(206 if start else 200)
        for key, value in {**headers, "Content-Length": str(len(whole) - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(whole[start : start + ends.pop(0)])
        self.close_connection = True


def listed(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
