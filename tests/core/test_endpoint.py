"""Requests to a server are spaced as its limit asks, however many threads there are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from driftloop.core import endpoint
from driftloop.core.endpoint import Endpoint, Pace


class Clock:
    """Stands still unless it is set; remembers how long somebody wanted to sleep."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(endpoint, "time", found)
    return found


def test_threads_are_let_through_one_by_one(clock: Clock) -> None:
    pace = Pace(0.5)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: pace.wait(), range(8)))
    assert sorted(clock.slept) == pytest.approx([0.5 * place for place in range(8)])


def test_a_pause_is_not_saved_up(clock: Clock) -> None:
    pace = Pace(0.5)
    pace.wait()
    clock.now += 60
    for _ in range(3):
        pace.wait()
    assert clock.slept == pytest.approx([0, 0, 0.5, 1.0])


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="requests_per_minute must be more than 0, got 0"):
        Endpoint(base_url="http://localhost/v1", requests_per_minute=0)
