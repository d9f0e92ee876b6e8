"""Pictures from a real server on loopback, with everything that servers do wrong."""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from doubles import painted
from driftloop.core.attempts import attempt
from driftloop.core.endpoint import MOST_BYTES, Endpoint, EndpointError
from driftloop.core.errors import ConfigError
from driftloop.core.records import Picture
from driftloop.core.rng import derive
from driftloop.generators.endpoint import EndpointGenerator
from playing import composed, played

KEY = "sk-secret-0123456789abcdef"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of connections that were dropped on purpose


class Server(ThreadingHTTPServer):
    """Draws `painted` pictures; a caption with a fault's name in it meets that fault, `patience` times."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[dict[str, Any], str]] = []
        self.moments: dict[str, list[float]] = {}
        self.patience = 1
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def meets(self, caption: str) -> bool:
        """Notes that a caption has come; whether its fault is still due."""
        with self.lock:
            seen = self.moments.setdefault(caption, [])
            seen.append(time.monotonic())
            return len(seen) <= self.patience

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client may have gone, after its time-out."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((body, self.headers["Authorization"]))
            self.server.busy += 1
            self.server.most_busy = max(self.server.busy, self.server.most_busy)
        try:
            self.respond(body)
        finally:
            with self.server.lock:
                self.server.busy -= 1

    def respond(self, body: dict[str, Any]) -> None:
        fault = next((name for name in FAULTS if name in body["prompt"]), None)
        if fault and self.server.meets(body["prompt"]):
            FAULTS[fault](self)
        else:
            self.say(200, answer(png(painted(derive(body.get("seed", 0), body["prompt"])))))

    def say(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def echo(self, status: int) -> None:
        """Repeats what it was sent, as careless servers do."""
        self.say(status, json.dumps({"error": {"message": f"not for {self.headers['Authorization']}"}}).encode())

    def drop(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"data": [')
        self.close_connection = True

    def pour(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        for _ in range(MOST_BYTES // 2**20 + 2):
            self.wfile.write(bytes(2**20))

    def log_message(self, format: str, *words: Any) -> None:
        """Quiet."""


def png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def answer(content: bytes) -> bytes:
    return json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(content).decode()}]}).encode()


def bomb() -> bytes:
    """A PNG of 5000 × 5000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 5000, 5000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(5001 * 5000))) + chunk(b"IEND", b"")
    )


FAULTS: dict[str, Callable[[Handler], None]] = {
    "limited": lambda handler: handler.say(429, b'{"error": {"message": "slow down"}}', Retry_After="1"),
    "broken": lambda handler: handler.echo(500),
    "slow": lambda _: time.sleep(1.5),
    "dropped": Handler.drop,
    "refused": lambda handler: handler.echo(400),
    "unknown": lambda handler: handler.echo(401),
    "garbage": lambda handler: handler.say(200, b"<html>it works</html>"),
    "plain": lambda handler: handler.say(200, b"hello", Content_Type="text/plain"),
    "empty": lambda handler: handler.say(200, b'{"created": 1, "data": []}'),
    "nothing": lambda handler: handler.say(200, b"null"),
    "list": lambda handler: handler.say(200, b"[1, 2]"),
    "elsewhere": lambda handler: handler.say(200, b'{"created": 1, "data": [{"url": "http://127.0.0.1/x.png"}]}'),
    "letters": lambda handler: handler.say(200, b'{"created": 1, "data": [{"b64_json": "no base64!"}]}'),
    "text": lambda handler: handler.say(200, answer(b"no picture")),
    "half": lambda handler: handler.say(200, answer(png(painted(3, 64))[:80])),
    "bomb": lambda handler: handler.say(200, answer(bomb())),
    "squeezed": lambda handler: handler.say(200, b"\x1f\x8b", Content_Encoding="gzip"),
    "flood": Handler.pour,
}
PASSING = ("limited", "broken", "slow", "dropped")
LASTING = [name for name in FAULTS if name not in (*PASSING, "unknown")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TOY_KEY", KEY)
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def generator(server: Server) -> Callable[..., EndpointGenerator]:
    def made(retries: int = 1, concurrency: int = 4, **options: Any) -> EndpointGenerator:
        endpoint = Endpoint(base_url=server.url, api_key_env="TOY_KEY", timeout=0.8, retries=retries, concurrency=concurrency)
        return EndpointGenerator(endpoint=endpoint, served_model="toy", size=None, **options)

    return made


def pixels(found: list[Any]) -> list[bytes]:
    return [picture.image.tobytes() for picture in found]


Make = Callable[..., EndpointGenerator]


def test_pictures_come_in_order_each_from_its_caption_and_seed(generator: Make, server: Server) -> None:
    captions, seeds = [f"person {number}" for number in range(20)], [2**62 + number for number in range(20)]
    found = generator(concurrency=4).generate(captions, seeds)
    expected = [painted(derive(seed % 2**31, caption)) for caption, seed in zip(captions, seeds, strict=True)]
    assert pixels(found) == [image.tobytes() for image in expected]
    assert 1 < server.most_busy <= 4


def test_the_request_is_what_the_config_says(generator: Make, server: Server) -> None:
    generator(extra={"num_inference_steps": 28}).generate(["a hat"], [5])
    generator(seed_field=None, response_format=None).generate(["a hat"], [5])
    first, second = (body for body, _ in server.asked)
    assert first == {
        "model": "toy",
        "prompt": "a hat",
        "n": 1,
        "response_format": "b64_json",
        "seed": 5,
        "num_inference_steps": 28,
    }
    assert second == {"model": "toy", "prompt": "a hat", "n": 1}
    assert {key for _, key in server.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_waited_out(fault: str, generator: Make, server: Server) -> None:
    found = generator().generate([f"a {fault} hat", "a dog"], [1, 2])
    assert [type(one) for one in found] == [Picture, Picture]
    first, second = server.moments[f"a {fault} hat"]
    assert second - first >= (1.0 if fault == "limited" else 0.3)


def test_what_lasts_costs_only_its_own_picture(generator: Make, server: Server) -> None:
    server.patience = 9
    captions = [caption for fault in (*LASTING, *PASSING) for caption in (f"a {fault} hat", "a dog")]
    found = generator(retries=0, concurrency=16).generate(captions, list(range(len(captions))))
    assert not [str(one) for one in found[1::2] if not isinstance(one, Picture)]
    assert {type(one) for one in found[::2]} == {EndpointError}
    told = "\n".join(map(str, found[::2]))
    for said in ("429", "500", "APITimeoutError", "no b64_json", "5000 × 5000", "compressed", "64 MiB", "[TOY_KEY]"):
        assert said in told
    assert len(server.asked) == len(captions)  # the good ones were not asked for twice


def test_the_play_stage_draws_failed_pictures_again_and_no_other(generator: Make, server: Server) -> None:
    model = generator(retries=0)
    captions = ["a dog", "a garbage hat", "a cat"]

    def call(batch: Any, trial: int) -> Any:
        return model.generate([captions[index] for index in batch], [trial] * len(batch))

    found = attempt([0, 1, 2], call, lambda _: None, retries=1)
    assert [(one.status, one.attempts) for one in found] == [("ok", 1), ("ok", 2), ("ok", 1)]
    assert len(server.asked) == 4


def test_a_refused_key_stops_the_run_at_once(generator: Make) -> None:
    with pytest.raises(EndpointError, match=r"refuses every request.*401.*\[TOY_KEY\]") as caught:
        generator().generate(["an unknown hat"], [1])
    assert_secret(caught.value)


def test_no_error_holds_the_key(generator: Make, server: Server) -> None:
    for error in generator(retries=0).generate(["a broken hat", "a refused hat"], [1, 2]):
        assert isinstance(error, EndpointError)
        assert_secret(error)


def assert_secret(error: Exception) -> None:
    """Neither in the text nor in what the error refers to, which a crash report or a pickle would carry along."""
    assert KEY not in repr(error)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    assert KEY.encode() not in pickle.dumps(error)


def test_a_pickled_endpoint_holds_no_key(generator: Make) -> None:
    model = generator()
    model.generate(["a dog"], [1])
    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert KEY.encode() not in pickle.dumps(model)
    assert KEY not in repr(model.endpoint)
    assert pixels(again.generate(["a dog"], [1])) == pixels(model.generate(["a dog"], [1]))


def test_a_key_that_is_not_there_is_said_before_anything_is_asked(
    generator: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOY_KEY")
    with pytest.raises(ConfigError, match="environment variable TOY_KEY"):
        generator().generate(["a dog"], [1])
    assert server.asked == []


def test_no_key_of_the_environment_goes_to_a_server_that_wants_none(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, KEY)
    endpoint = Endpoint(base_url=server.url)
    EndpointGenerator(endpoint=endpoint, served_model="toy").generate(["a dog"], [1])
    assert KEY not in str(server.asked)


def test_a_server_that_is_not_there_fails_each_picture(server: Server) -> None:
    gone = Endpoint(base_url="http://127.0.0.1:9/v1", retries=0)
    found = EndpointGenerator(endpoint=gone, served_model="toy").generate(["a dog", "a hat"], [1, 2])
    assert [type(one) for one in found] == [EndpointError] * 2
    assert "ConnectError" in str(found[0])


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"base_url": "localhost:8000"}, "http://localhost"),
        ({"base_url": "http://me:sk-1@host/v1"}, "environment variable"),
        ({"base_url": "http://host/v1?api-key=sk-1"}, "environment variable"),
        ({"concurrency": 0}, "concurrency"),
        ({"retries": -1}, "retries"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_a_wrong_setting_is_refused_without_being_repeated(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        Endpoint(**{"base_url": "http://host/v1", **wrong})
    assert "sk-1" not in str(caught.value)


def test_extra_cannot_override_what_the_adapter_sets(server: Server) -> None:
    with pytest.raises(ValueError, match="seed"):
        EndpointGenerator(endpoint=Endpoint(base_url=server.url), served_model="toy", extra={"seed": 1})


def test_where_a_model_is_served_is_not_what_it_is(tmp_path: Any) -> None:
    def run_id(*words: str) -> str:
        return str(composed("generator=openai_images", f"results_dir={tmp_path}", *words).run_id)

    one = run_id("generator.served_model=a")
    assert run_id("generator.served_model=a", "generator.endpoint.base_url=http://elsewhere/v1",
                  "generator.endpoint.concurrency=2", "generator.endpoint.api_key_env=TOY_KEY") == one  # fmt: skip
    assert run_id("generator.served_model=b") != one
    assert run_id("generator.served_model=a", "+generator.extra.num_inference_steps=4") != one


@pytest.mark.parametrize("word", ["", "a broken word that lasts, "])
def test_the_key_is_in_no_file_and_no_log_of_a_run(
    word: str, server: Server, tmp_path: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """Played by the command's own machinery, everything logged, with pictures that fail and without."""
    server.patience = 999
    asked = composed(
        "experiment=phantom_exact", "generator=openai_images", f"generator.endpoint.base_url={server.url}",
        "generator.endpoint.api_key_env=TOY_KEY", "generator.endpoint.retries=0", "generator.served_model=toy",
        "dataset=prompts", f"dataset.prompts=['{word}a dog','a woman']", "captioner=stand_in", "classifier=[exact]",
        "truth=none", "rounds=2", "stages=[play]", "on_failure.max_share=1", f"results_dir={tmp_path}",
    )  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        run = played(asked)
    assert (run.rounds["status"] == "failed").any() == bool(word)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in caplog.text + "".join(capfd.readouterr())
