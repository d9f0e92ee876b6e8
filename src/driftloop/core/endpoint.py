"""A model behind an OpenAI-compatible server: the client, its key, and many requests at a time.

An adapter takes an `Endpoint` as its argument `endpoint` (in a yaml: a nested `_target_`) and calls
`endpoint.map(call, items)`, where `call` makes one request with `endpoint.client` and checks what came back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from driftloop.core.errors import ConfigError, DriftloopError
from driftloop.core.weights import check_at_least

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
R = TypeVar("R")

MOST_BYTES = 64 * 2**20  # of one answer; a picture of 4096 × 4096 pixels in base64 stays below
REFUSALS = (401, 403, 404)  # a wrong key or model name is wrong for every item


class EndpointError(DriftloopError):
    """A server did not give what was asked; the text never holds the key, nor does anything this error refers to."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server by its `base_url`, with its key from the environment variable `api_key_env` (None: it wants no key).

    `concurrency` requests are under way at a time. Answers 408, 409, 429 and 5xx, time-outs and lost connections are tried
    again `retries` times, after as long as the server's Retry-After says, else 0.5 s doubling to 8 s with jitter. `timeout`
    is in seconds, for a connection and for each wait on it. `requests_per_minute` spaces items evenly (None: as fast as they
    go). Neither the key nor `base_url` is part of what identifies a run.
    """

    base_url: str
    api_key_env: str | None = None
    concurrency: int = 8
    retries: int = 4
    timeout: float = 120.0
    requests_per_minute: float | None = None

    def __post_init__(self) -> None:
        check_at_least(1, concurrency=self.concurrency)
        check_at_least(0, retries=self.retries)
        if self.timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {self.timeout}")
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise ValueError(f"requests_per_minute must be more than 0, got {self.requests_per_minute}")
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must look like http://localhost:8000/v1")  # not quoted: it could hold a secret
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url must be an address alone; a key belongs into the environment variable api_key_env")

    def map(self, call: Callable[[T], R], items: Sequence[T]) -> list[R | Exception]:
        """`call(item)` for every item, `concurrency` at a time, in the order of `items`; what it raised in place of a result.

        Raises ConfigError without the `openai` package or the key, EndpointError where the server refuses the key or the
        model: those would be the same for every item.
        """
        _ = self.client
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(partial(self._one, call), items))

    @cached_property
    def client(self) -> OpenAI:
        """One client for all threads. Without `api_key_env` it sends a word that is no key, whatever the environment holds."""
        try:
            import openai
        except ImportError:
            raise ConfigError('a served model needs the package openai: pip install "driftloop[endpoint]"') from None
        http = openai.DefaultHttpxClient(event_hooks={"response": [_limit]}, headers={"Accept-Encoding": "identity"})
        return openai.OpenAI(
            base_url=self.base_url, api_key=self._key, max_retries=self.retries, timeout=self.timeout, http_client=http
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pickles without the client, which holds the key."""
        return {name: value for name, value in self.__dict__.items() if name not in ("client", "_pace")}

    @property
    def _key(self) -> str:
        if self.api_key_env is None:
            return "none"
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(f"the key of {self.base_url} must be in the environment variable {self.api_key_env}; it is empty")
        return key

    @cached_property
    def _pace(self) -> Pace | None:
        return None if self.requests_per_minute is None else Pace(60 / self.requests_per_minute)

    def _one(self, call: Callable[[T], R], item: T) -> R | Exception:
        if self._pace is not None:
            self._pace.wait()
        try:
            return call(item)
        except Exception as error:  # noqa: BLE001 (whatever a server provokes belongs to the item, not to the batch)
            wrong, said = getattr(error, "status_code", None), self._told(error)
        if wrong in REFUSALS:
            raise EndpointError(f"{self.base_url} refuses every request: {said}")
        return EndpointError(said)

    def _told(self, error: Exception) -> str:
        """What happened, in one line, without the key: servers repeat what they were sent."""
        cause = f" ({type(error.__cause__).__name__}: {error.__cause__})" if error.__cause__ else ""
        text = " ".join(f"{type(error).__name__}: {error}{cause}".split())
        return (text.replace(self._key, f"[{self.api_key_env}]") if self.api_key_env else text)[:400]


class Pace:
    """Lets threads through one by one, `seconds` apart; what was not used is not saved up."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._next, self._lock = seconds, 0.0, Lock()

    def wait(self) -> None:
        with self._lock:
            mine = max(self._next, time.monotonic())
            self._next = mine + self.seconds
        time.sleep(max(0.0, mine - time.monotonic()))


def _limit(response: Any) -> None:
    """Reads an answer here, as far as MOST_BYTES; one that is compressed could become any size, and was not asked for."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise EndpointError("the server sent a compressed answer, which it was asked not to")
    read = bytearray()
    for part in response.iter_raw():
        read += part
        if len(read) > MOST_BYTES:
            raise EndpointError(f"the server's answer is longer than {MOST_BYTES >> 20} MiB")
    response._content = bytes(read)  # as its own read() does, which has no limit
