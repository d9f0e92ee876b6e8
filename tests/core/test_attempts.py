"""attempt(): every item gets its own outcome, in order, whatever happens to the others."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.core.attempts import Room, attempt
from driftloop.core.batches import ahead, batches, padded
from driftloop.core.errors import DriftloopError, StoreError, out_of_memory

# What an item does at each attempt: answers, raises, or answers with a fault. The last word holds from then on.
SCRIPT = st.lists(st.sampled_from(["ok", "raise", "fault"]), min_size=1, max_size=4)


def at(script: Sequence[str], number: int) -> str:
    return script[min(number, len(script) - 1)]


@given(scripts=st.lists(SCRIPT, max_size=20), retries=st.integers(0, 3), room=st.integers(1, 20))
def test_every_item_gets_what_it_would_get_alone(scripts: list[list[str]], retries: int, room: int) -> None:
    def call(items: Sequence[list[str]], number: int) -> list[str]:
        if len(items) > room:
            raise MemoryError
        if any(at(item, number) == "raise" for item in items):
            raise ValueError("a bad item")
        return [f"{at(item, number)} {number}" for item in items]

    def fault(result: str) -> str | None:
        return "empty" if result.startswith("fault") else None

    outcomes = attempt(scripts, call, fault, retries)
    assert len(outcomes) == len(scripts)
    for script, outcome in zip(scripts, outcomes, strict=True):
        tried = next((n for n in range(retries + 1) if at(script, n) == "ok"), retries)
        last = at(script, tried)
        assert outcome.attempts == tried + 1
        assert outcome.status == {"ok": "ok", "raise": "failed", "fault": "empty"}[last]
        assert outcome.result == (None if last == "raise" else f"{last} {tried}")
        assert outcome.error == ("ValueError: a bad item" if last == "raise" else "")


@given(bad=st.sets(st.integers(0, 63), max_size=3))
def test_the_culprit_is_found_by_halving_and_not_one_by_one(bad: set[int]) -> None:
    sizes: list[int] = []

    def call(items: Sequence[int], number: int) -> list[int]:
        sizes.append(len(items))
        if bad & set(items):
            raise ValueError
        return list(items)

    outcomes = attempt(range(64), call, lambda _: None, retries=0)
    assert {index for index, outcome in enumerate(outcomes) if outcome.status == "failed"} == bad
    assert len(sizes) <= 1 + 2 * 6 * len(bad)


def test_only_items_that_failed_are_asked_again() -> None:
    asked: list[list[int]] = []

    def call(items: Sequence[int], number: int) -> list[int]:
        asked.append(list(items))
        return list(items)

    attempt(range(6), call, lambda value: "odd" if value % 2 else None, retries=2)
    assert asked == [[0, 1, 2, 3, 4, 5], [1, 3, 5], [1, 3, 5]]


@pytest.mark.parametrize("error", [DriftloopError("no weights"), StoreError("no room")])
def test_an_error_of_ours_is_nobodys_item(error: DriftloopError) -> None:
    def call(items: Sequence[int], number: int) -> list[int]:
        raise error

    with pytest.raises(DriftloopError, match=str(error)):
        attempt(range(4), call, lambda _: None, retries=3)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_stop_is_no_failure(stop: type[BaseException]) -> None:
    def call(items: Sequence[int], number: int) -> list[int]:
        raise stop

    with pytest.raises(stop):
        attempt(range(4), call, lambda _: None, retries=3)


def test_no_items_call_nothing_that_matters() -> None:
    assert attempt([], lambda items, number: list(items), lambda _: None, retries=3) == []


def test_the_text_of_an_error_is_kept_short() -> None:
    def call(items: Sequence[int], number: int) -> list[int]:
        raise ValueError("x" * 10_000)

    assert len(attempt([1], call, lambda _: None, retries=0)[0].error) == 500


@given(items=st.lists(st.integers()), size=st.integers(1, 9))
def test_batches_are_the_list_in_slices(items: list[int], size: int) -> None:
    parts = list(batches(items, size))
    assert [item for part in parts for item in part] == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(0 < len(part) <= size for part in parts)


@given(items=st.lists(st.integers()), multiple=st.integers(1, 9))
def test_padding_repeats_the_last_row_up_to_a_multiple(items: list[int], multiple: int) -> None:
    rows = padded(items, multiple)
    assert rows[: len(items)] == items
    assert len(rows) % multiple == 0
    assert len(rows) - len(items) < multiple
    assert set(rows[len(items) :]) <= set(items[-1:])


@given(items=st.lists(st.integers()))
def test_working_ahead_keeps_the_order(items: list[int]) -> None:
    assert list(ahead(lambda value: value * 2, items)) == [(value, value * 2) for value in items]


def test_working_ahead_passes_errors_on() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda value: 1 // value, [1, 0, 2]))


@given(count=st.integers(1, 200), size=st.integers(1, 64), most=st.integers(1, 64))
def test_after_memory_ran_out_batches_stay_small(count: int, size: int, most: int) -> None:
    """Every batch that was let through is as large as allowed; after the first refusals nobody asks for too much again."""
    asked: list[int] = []

    def call(items: Sequence[int], number: int) -> list[int]:
        asked.append(len(items))
        if len(items) > most:
            raise MemoryError
        return list(items)

    room = Room(size)
    outcomes = [one for batch in room.batches(range(count)) for one in attempt(batch, call, lambda _: None, 0, room)]
    assert [outcome.result for outcome in outcomes] == list(range(count))
    assert all(outcome.attempts == 1 for outcome in outcomes)
    assert all(outcome.rows <= most for outcome in outcomes)
    refused = [number for number, rows in enumerate(asked) if rows > most]
    assert refused == list(range(len(refused)))  # halvings come first, and then no more
    assert len(refused) <= 6
    assert room.size <= max(most, 1) or not refused


def test_a_bad_item_makes_no_room_smaller() -> None:
    room = Room(8)

    def call(items: Sequence[int], number: int) -> list[int]:
        if 3 in items:
            raise ValueError("a bad item")
        return list(items)

    outcomes = attempt(range(8), call, lambda _: None, 0, room)
    assert room.size == 8
    assert [outcome.rows for outcome in outcomes] == [2, 2, 1, 1, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("error", "of_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("no room"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("memory"), False),
    ],
)
def test_what_running_out_of_memory_looks_like(error: Exception, of_memory: bool) -> None:
    assert out_of_memory(error) is of_memory


def test_a_failed_call_lets_go_of_what_it_held() -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    def call(items: Sequence[int], number: int) -> list[int]:
        large = Held()
        held.append(weakref.ref(large))
        if len(items) > 1:
            raise MemoryError
        assert held[-2]() is None, "the batch before is still in memory"
        return list(items)

    assert len(attempt([1, 2], call, lambda _: None, 0)) == 2
