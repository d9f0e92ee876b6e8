"""Captions over HTTP: what is sent, what comes back, everything that can go wrong on the way, and a real server."""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image
from serving import Answer, Server, always, completion, drop, first_pixel, forwarding, picture_of, serving, slow, until

from cards import MODELS
from comparing import answers
from doubles import painted
from driftloop.captioners.endpoint import EndpointCaptioner, UnansweredError
from driftloop.cli import CONF
from driftloop.core.attempts import attempt
from driftloop.core.config import Option, digest
from driftloop.core.endpoint import Endpoint, EndpointError
from driftloop.core.errors import ConfigError
from driftloop.core.packs import pixel_hash
from driftloop.runs import Run
from playing import composed, composed_toy, played

KEY = "sk-9f3b-this-is-the-key"
TOY = ("captioner=openai_chat", "captioner.served_model=toy", "captioner.prompt=say what you see")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of connections that were dropped on purpose


def seen(request: dict[str, Any]) -> Answer:
    """A well-answered request says which pixels arrived, with which seed."""
    return 200, {}, completion(f"saw  {pixel_hash(picture_of(request))[:12]}\n by {request.get('seed')}")


@pytest.fixture(scope="module", autouse=True)
def _connections_end_here() -> Iterator[None]:
    """Nobody closes a client before a process ends; their sockets are collected where the mark above is heard."""
    yield
    gc.collect()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(seen) as running:
        yield running


def captioner(server: Server, *, retries: int = 2, timeout: float = 10, key: str | None = None, **options: Any) -> Any:
    endpoint = Endpoint(base_url=server.url, concurrency=4, retries=retries, timeout=timeout, api_key_env=key)
    return EndpointCaptioner(endpoint=endpoint, **{"served_model": "toy", "prompt": "say what you see", **options})


# What is sent and what comes back ------------------------------------------------------------------------------------


def test_pixels_arrive_whole_and_answers_in_order(server: Server) -> None:
    draw = np.random.default_rng(3)
    pictures = [Image.fromarray(draw.integers(0, 256, (9, 7, 3), dtype=np.uint8)) for _ in range(12)]
    server.faults = {first_pixel(picture): slow(0.02 * (number % 3)) for number, picture in enumerate(pictures)}
    told = captioner(server).describe(pictures, range(12))
    assert [one.text for one in told] == [f"saw {pixel_hash(image)[:12]} by {seed}" for seed, image in enumerate(pictures)]
    assert {one.tokens for one in told} == {5}
    assert not any(one.truncated or one.echo for one in told)
    assert 1 < server.most_at_once <= 4


def test_what_is_asked_stands_in_the_request(server: Server) -> None:
    options: dict[str, Any] = {
        "prompt": "{concept_kind} in {words} words",
        "concept_kind": "activity",
        "words": 7,
        "max_tokens": 20,
    }
    big = 2**62 + 5
    captioner(server, **options, top_p=0.9, temperature=0.4, extra={"top_k": -1}).describe([painted(1)], [big])
    [request] = server.requests
    picture, words = request["messages"][0]["content"]
    assert picture["type"] == "image_url"
    assert words == {"type": "text", "text": "activity in 7 words"}
    asked = {name: request[name] for name in ("model", "max_tokens", "temperature", "top_p", "top_k", "seed")}
    assert asked == {"model": "toy", "max_tokens": 20, "temperature": 0.4, "top_p": 0.9, "top_k": -1, "seed": big % 2**31}


def test_fields_that_a_server_refuses_can_be_left_out(server: Server) -> None:
    captioner(server, temperature=None, top_p=None, seed_field=None).describe([painted(1)], [1])
    assert not {"temperature", "top_p", "seed"} & set(server.requests[0])
    captioner(server, seed_field="random_seed").describe([painted(1)], [1])
    assert server.requests[1]["random_seed"] == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (completion("cut he", finish="length"), {"text": "cut he", "truncated": True, "echo": False}),
        (completion("Say what you see!"), {"text": "Say what you see!", "truncated": False, "echo": True}),
        (completion(None), {"text": "", "truncated": False, "echo": False}),
        (completion("fine", tokens="many"), {"text": "fine", "tokens": 0}),
        (completion("fine", tokens=-3), {"text": "fine", "tokens": 0}),
        (completion("fine", tokens=10**30), {"text": "fine", "tokens": 0}),
    ],
    ids=["length", "echo", "nothing", "no number", "below zero", "far too many"],
)
def test_cut_empty_and_echoed_answers_are_told(server: Server, body: bytes, expected: dict[str, Any]) -> None:
    server.good = lambda request: (200, {}, body)
    [told] = captioner(server).describe([painted(1)], [1])
    assert {name: getattr(told, name) for name in expected} == expected


GARBAGE = {
    "no JSON": b"<html>welcome</html>",
    "another shape": b'{"ok": true}',
    "a list": b"[1, 2]",
    "no choices": b'{"choices": []}',
    "choices of another kind": b'{"choices": [17]}',
    "a number for text": completion(17),  # type: ignore[arg-type]
    "a flood": completion("word " * 100_000),
    "a refusal": completion(None, refusal="I will not describe people."),
    "not UTF-8": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_an_error_of_its_item(server: Server, body: bytes) -> None:
    server.good = lambda request: (200, {}, body)
    with pytest.raises(UnansweredError) as caught:
        captioner(server).describe([painted(1)], [1])
    assert len(str(caught.value)) < 500


# Faults --------------------------------------------------------------------------------------------------------------


def toy_colour(number: int) -> tuple[int, ...]:
    """What identifies seed number … of the toy data set."""
    return first_pixel(painted(number))


def play(server: Server, results: Path, *words: str, retries: int = 3) -> Run:
    endpoint = (f"captioner.endpoint.base_url={server.url}", f"captioner.endpoint.retries={retries}", *words)
    asked = composed_toy(results, *TOY, *endpoint, "stages=[play]", "on_failure.max_share=1", "captioner.endpoint.timeout=1")
    return played(asked)


def test_faults_that_pass_leave_no_trace(server: Server, tmp_path: Path) -> None:
    """429 with Retry-After, 500, a time-out and a dropped connection: the run is the one without them."""
    calm = answers(play(server, tmp_path / "calm"))
    server.attempts.clear()
    server.faults = {
        toy_colour(0): until(2, always(429, b'{"error": "busy"}', **{"Retry-After": "0.2"})),
        toy_colour(1): until(1, always(500, b"oops")),
        toy_colour(2): until(1, slow(1.5)),
        toy_colour(3): until(1, drop),
    }
    assert answers(play(server, tmp_path / "rough")) == calm
    assert [server.attempts[toy_colour(number)] for number in range(5)] == [3, 2, 2, 2, 1]


def test_faults_that_stay_are_rows_and_nobody_else_is_asked_twice(server: Server, tmp_path: Path) -> None:
    server.faults = {toy_colour(1): always(500, b"out of order"), toy_colour(4): always(200, b"<html>")}
    run = play(server, tmp_path, "on_failure.retries=1", retries=0)
    first = run.rounds[run.rounds["round"] == 0].set_index("chain").sort_index()
    assert first["status"].tolist() == ["ok", "failed", "ok", "ok", "failed", "ok"]
    assert "500" in str(first.loc["toy-1/0", "error"])
    assert [server.attempts[toy_colour(number)] for number in range(6)] == [1, 2, 1, 1, 2, 1]
    later = run.rounds[run.rounds["round"] > 0].groupby("chain")["status"].agg(set)
    assert later["toy-1/0"] == {"parent_failed"}
    assert later["toy-0/0"] == {"ok"}


def test_rows_tell_what_was_cut_empty_or_an_echo(server: Server, tmp_path: Path) -> None:
    server.faults = {
        toy_colour(0): always(200, completion("a man wi", finish="length", tokens=96)),
        toy_colour(1): always(200, completion("say what you see. Say what you see")),
        toy_colour(2): always(200, completion("  ")),
    }
    rows = play(server, tmp_path, "rounds=0").rounds.set_index("seed_id").sort_index()
    assert rows["caption_truncated"].tolist() == [True, False, False, False, False, False]
    assert rows["caption_echo"].tolist() == [False, True, False, False, False, False]
    assert rows["status"].tolist() == ["ok", "ok", "empty_caption", "ok", "ok", "ok"]
    assert rows["caption_tokens"].tolist() == [96, 5, 5, 5, 5, 5]


def test_with_a_mitigation_around_it_too(server: Server, tmp_path: Path) -> None:
    server.faults = {toy_colour(1): always(500, b"out of order")}
    run = play(server, tmp_path, "mitigation=[loud]", "rounds=0", "on_failure.retries=0", retries=0)
    first = run.rounds.set_index("chain").sort_index()
    assert first["status"].tolist() == ["ok", "failed", "ok", "ok", "ok", "ok"]
    assert "500" in str(first.loc["toy-1/0", "error"])
    assert str(first.loc["toy-0/0", "caption"]).startswith("loud saw ")
    assert max(server.attempts.values()) == 1


def test_halving_asks_for_no_picture_twice(server: Server) -> None:
    pictures = [painted(number) for number in range(16)]
    server.faults = {toy_colour(number): always(500, b"no") for number in (3, 4, 15)}
    describe = captioner(server, retries=0)
    outcomes = attempt(pictures, lambda some, _: describe.describe(some, [1] * len(some)), lambda told: None, retries=0)
    assert [number for number, outcome in enumerate(outcomes) if outcome.status == "failed"] == [3, 4, 15]
    assert set(server.attempts.values()) == {1}
    assert describe._answers == {}


def test_a_refused_key_ends_the_run_before_anything_is_spent(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TOY_KEY", KEY)
    server.good = lambda request: (401, {}, json.dumps({"error": request["headers"]["authorization"]}).encode())
    with pytest.raises(EndpointError) as caught:
        play(server, tmp_path, "captioner.endpoint.api_key_env=TOY_KEY", "captioner.endpoint.concurrency=1")
    assert KEY not in str(caught.value)
    assert "refuses" in str(caught.value)


def test_a_missing_key_is_told_by_the_name_of_its_variable(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("TOY_KEY", raising=False)
    with pytest.raises(ConfigError, match="TOY_KEY"):
        play(server, tmp_path, "captioner.endpoint.api_key_env=TOY_KEY")
    assert server.requests == []


# The key -------------------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_written_nowhere(server: Server, tmp_path: Path, monkeypatch: Any, caplog: Any, capfd: Any) -> None:
    """Not even when the server sends it back, in an error or in a caption's place."""
    monkeypatch.setenv("TOY_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key-that-is-not-ours")
    caplog.set_level("DEBUG")
    server.faults = {
        toy_colour(1): lambda _, request: (500, {}, request["headers"]["authorization"].encode()),
        toy_colour(2): lambda _, request: (400, {}, request["headers"]["authorization"].encode()),
    }
    run = play(server, tmp_path, "captioner.endpoint.api_key_env=TOY_KEY", retries=0)
    assert {request["headers"]["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert (run.rounds["status"] == "failed").sum() == 2
    printed = capfd.readouterr()
    told = [caplog.text, printed.out, printed.err]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    for secret in (KEY, "sk-another-key"):
        assert not [text for text in told if secret in text]
        assert not [data for data in files if secret.encode() in data]
    assert not run.rounds["error"].str.contains(KEY).any()


# Identity ------------------------------------------------------------------------------------------------------------


def test_the_address_is_no_part_of_a_run_and_the_model_is() -> None:
    call = yaml.safe_load((Path(CONF) / "captioner/openai_chat.yaml").read_text()) | {"served_model": "toy"}

    def identity(**changed: Any) -> str:
        return digest(Option("openai_chat", {**call, **changed}).identity())

    elsewhere = {"base_url": "http://other:9/v1", "concurrency": 2, "retries": 0, "timeout": 3, "api_key_env": "SOME_KEY"}
    assert identity(endpoint=call["endpoint"] | elsewhere, batch_size=3) == identity()
    other = {"served_model": "else", "prompt": "another", "max_tokens": 9, "temperature": 0.5, "top_p": 0.5,
             "extra": {"top_k": 5}, "words": 9, "seed_field": None}  # fmt: skip
    assert len({identity(), *[identity(**{name: value}) for name, value in other.items()]}) == 1 + len(other)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"prompt": None}, "prompt"),
        ({"served_model": ""}, "served_model"),
        ({"extra": {"max_tokens": 3}}, "max_tokens"),
        ({"extra": {"seed": 3}}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_sent(server: Server, wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        captioner(server, **wrong)
    assert server.requests == []


# A real server -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with the built-in LLaVA on loopback; gives its base_url."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    (home / "hub").mkdir()
    words = [str(Path(sys.executable).with_name("transformers")), "serve", str(MODELS / "captioner_llava"),
             "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]  # fmt: skip
    env = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (home / "log").open("w") as log, subprocess.Popen(words, env=env, stdout=log, stderr=log) as process:
        try:
            _wait_for(port, process, home / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[Any], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


PHANTOM = ("experiment=phantom_exact", "truth=none", "rounds=2", "dataset.limit=4", "stages=[play]")
SERVED = ("captioner=openai_chat", f"captioner.served_model={MODELS / 'captioner_llava'}", "captioner.max_tokens=32",
          "captioner.prompt=describe the person", "captioner.endpoint.concurrency=1")  # fmt: skip


def _captions(run: Run) -> dict[tuple[str, int], tuple[Any, ...]]:
    columns = ["caption", "image_sha256", "caption_truncated", "caption_echo", "status"]
    rows = run.rounds.set_index(["chain", "round"])[columns]
    return dict(zip(rows.index, rows.itertuples(index=False, name=None), strict=True))


@pytest.mark.slow
def test_a_served_model_says_what_it_says_here(real: str, tmp_path: Path) -> None:
    """Two rounds, over HTTP and in this process: the same captions and so the same pictures."""
    here = played(composed(*PHANTOM, "captioner=phantom_llava", f"results_dir={tmp_path}"))
    there = played(composed(*PHANTOM, *SERVED, f"captioner.endpoint.base_url={real}", f"results_dir={tmp_path}"))
    assert _captions(there) == _captions(here)
    assert len({row[0] for row in _captions(there).values()}) == 4
    assert set(there.rounds["status"]) == {"ok"}


@pytest.mark.slow
def test_a_served_model_is_cut_where_it_was_told_to_stop(real: str) -> None:
    endpoint = Endpoint(base_url=real, concurrency=1)
    asked = EndpointCaptioner(
        endpoint=endpoint, served_model=str(MODELS / "captioner_llava"), prompt="describe the person", max_tokens=3
    )
    [told] = asked.describe([painted(3, 64)], [1])
    assert told.truncated
    assert told.tokens == 3


@pytest.mark.slow
def test_faults_in_front_of_a_real_server_change_nothing(real: str, tmp_path: Path) -> None:
    calm = played(composed(*PHANTOM, *SERVED, f"captioner.endpoint.base_url={real}", f"results_dir={tmp_path / 'calm'}"))
    turns: list[Callable[..., Any]] = [until(1, drop), until(1, always(500, b"no")), until(1, slow(6)),
                                       until(2, always(429, b"{}", **{"Retry-After": "0.1"}))]  # fmt: skip
    with serving(forwarding(real)) as proxy:
        pictures = [calm.image(key) for key in calm.rounds["image"]]
        proxy.faults = {first_pixel(image): turns[number % 4] for number, image in enumerate(pictures)}
        rough = played(composed(*PHANTOM, *SERVED, f"captioner.endpoint.base_url={proxy.url}",
                                "captioner.endpoint.timeout=5", f"results_dir={tmp_path / 'rough'}"))  # fmt: skip
    assert _captions(rough) == _captions(calm)
    assert max(proxy.attempts.values()) > 1
