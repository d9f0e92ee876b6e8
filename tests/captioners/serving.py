"""A small OpenAI-compatible server on loopback, or one that forwards to a real one; it answers wrongly when told to."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

Answer = tuple[int, dict[str, str], bytes]
Fault = Callable[[int, dict[str, Any]], Answer | None]
"""(number of the attempt for this picture, headers and body of the request) -> a wrong answer, or None to answer well."""


def completion(text: str | None, *, finish: str = "stop", tokens: Any = 5, **message: Any) -> bytes:
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "finish_reason": finish, "message": said}
    usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 14}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "toy", "choices": [choice], "usage": usage}
    ).encode()


def drop(*_: Any) -> Answer:
    raise ConnectionAbortedError


def slow(seconds: float) -> Fault:
    def fault(attempt: int, request: dict[str, Any]) -> Answer | None:
        time.sleep(seconds)
        return None

    return fault


def always(status: int, body: bytes, **headers: str) -> Fault:
    return lambda attempt, request: (status, headers, body)


def until(times: int, fault: Fault) -> Fault:
    """The fault at the first attempts only."""
    return lambda attempt, request: fault(attempt, request) if attempt <= times else None


@dataclass
class Server:
    """`faults` are by the colour of a picture's first pixel; `good` says what a well-answered request gets."""

    good: Callable[[dict[str, Any]], Answer]
    faults: dict[tuple[int, ...], Fault] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    attempts: Counter[tuple[int, ...]] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    lock: Any = field(default_factory=threading.Lock)

    def answer(self, headers: dict[str, str], body: bytes) -> Answer:
        request = {"headers": headers, **json.loads(body)}
        colour = first_pixel(picture_of(request))
        with self.lock:
            self.requests.append(request)
            self.attempts[colour] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            attempt = self.attempts[colour]
        try:
            fault = self.faults.get(colour)
            return (fault(attempt, request) if fault else None) or self.good(request)
        finally:
            with self.lock:
                self.at_once -= 1


def picture_of(request: dict[str, Any]) -> Image.Image:
    """The picture that a request carries; it must be a lossless PNG."""
    [image] = [part["image_url"]["url"] for part in request["messages"][0]["content"] if part["type"] == "image_url"]
    head, _, data = image.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG"])


def first_pixel(image: Image.Image) -> tuple[int, ...]:
    pixel = image.getpixel((0, image.height - 1))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


def forwarding(url: str) -> Callable[[dict[str, Any]], Answer]:
    """Asks the real server at `url`."""
    place = urlsplit(url)

    def good(request: dict[str, Any]) -> Answer:
        body = {name: value for name, value in request.items() if name != "headers"}
        real = HTTPConnection(str(place.hostname), place.port, timeout=60)
        real.request("POST", f"{place.path}/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = real.getresponse()
        content = answer.read()
        real.close()
        return answer.status, {}, content

    return good


@contextmanager
def serving(good: Callable[[dict[str, Any]], Answer]) -> Iterator[Server]:
    server = Server(good)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status, headers, content = server.answer({name.lower(): value for name, value in self.headers.items()}, body)
            except ConnectionAbortedError:
                self.connection.close()
                return
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence: tests look at what is printed."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up waiting is what a test wanted."""

    with Quiet(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_port}/v1"
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        listening.shutdown()
