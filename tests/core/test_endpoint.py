"""Requests to a server are spaced as its limit asks, however many threads there are."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from driftloop.core.endpoint import Endpoint, Pace


def test_threads_are_let_through_one_by_one() -> None:
    pace = Pace(0.02)

    def passed(_: int) -> float:
        pace.wait()
        return time.monotonic()

    with ThreadPoolExecutor(8) as pool:
        times = sorted(pool.map(passed, range(8)))
    assert times[-1] - times[0] >= 7 * 0.02 - 0.005


def test_a_pause_is_not_saved_up() -> None:
    pace = Pace(0.02)
    pace.wait()
    time.sleep(0.1)
    started = time.monotonic()
    for _ in range(3):
        pace.wait()
    assert time.monotonic() - started >= 2 * 0.02 - 0.005


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="requests_per_minute must be more than 0, got 0"):
        Endpoint(base_url="http://localhost/v1", requests_per_minute=0)
