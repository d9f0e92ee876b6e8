"""A hub on loopback: as much of its HTTP interface as fetching a model takes, for folders that stand for repositories."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """`repositories`: hub id -> folder. `gated` ones answer 403. `broken` files are sent half. `asked`: every request."""

    repositories: Mapping[str, Path]
    gated: frozenset[str] = frozenset()
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def environment(self, home: Path) -> dict[str, str]:
        """For a process: this hub, a home of its own, plain HTTP downloads."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, hub)

        def do_HEAD(self) -> None:
            answer(self, hub)

        def log_message(self, format: str, *words: Any) -> None:
            hub.asked.append(format % words)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, hub: Hub) -> None:
    parts = unquote(urlsplit(request.path).path).strip("/").split("/")
    if parts[4:5] == ["tree"]:  # of a folder that no repository here has
        return _send(request, 404, b"{}", {"X-Error-Code": "EntryNotFound"})
    if parts[:2] == ["api", "models"]:
        name, revision = "/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main"
        return _info(request, hub, name, revision)
    name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
    return _file(request, hub, name, revision, path)


def _info(request: BaseHTTPRequestHandler, hub: Hub, name: str, revision: str) -> None:
    if not _known(request, hub, name, revision):
        return
    folder = hub.repositories[name]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    siblings = [
        {"rfilename": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "blobId": _etag(path)} for path in files
    ]
    body = {"_id": "0", "id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
    _send(request, 200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _file(request: BaseHTTPRequestHandler, hub: Hub, name: str, revision: str, path: str) -> None:
    if not _known(request, hub, name, revision):
        return None
    file = hub.repositories[name] / path
    if not file.is_file():
        return _send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})
    data, start = file.read_bytes(), _start(request)
    headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
    if path in hub.broken and request.command == "GET":
        return _send(request, 500, b"", {})
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return _send(request, 206 if start else 200, data[start:], headers)


def _known(request: BaseHTTPRequestHandler, hub: Hub, name: str, revision: str) -> bool:
    if name not in hub.repositories:
        _send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
    elif name in hub.gated:
        _send(request, 403, b"{}", {"X-Error-Code": "GatedRepo"})
    elif revision not in ("main", COMMIT):
        _send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
    else:
        return True
    return False


def _start(request: BaseHTTPRequestHandler) -> int:
    asked = request.headers.get("Range", "bytes=0-")
    return int(asked.removeprefix("bytes=").split("-")[0])


def _send(request: BaseHTTPRequestHandler, code: int, body: bytes, headers: Mapping[str, str]) -> None:
    request.send_response(code)
    for key, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(key, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body)


def _etag(path: Path) -> str:
    return sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
