"""Calls a model on a batch so that one bad item never costs the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from driftloop.core.errors import DriftloopError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of one item: its result (None if the model raised), a status, the error's text, attempts made."""

    result: R | None
    status: str
    error: str
    attempts: int


def attempt(
    items: Sequence[T],
    call: Callable[[Sequence[T], int], Sequence[R]],
    fault: Callable[[R], str | None],
    retries: int,
) -> list[Outcome[R]]:
    """`call(items, attempt)` for attempt 0, then again for the items that raised or have a `fault`, at most `retries` times.

    A batch that raises is halved until the culprit is alone; running out of memory is survived the same way.
    """
    outcomes: dict[int, Outcome[R]] = {}
    todo = list(range(len(items)))
    for number in range(retries + 1):
        results = _halving([items[index] for index in todo], number, call)
        for index, result in zip(todo, results, strict=True):
            outcomes[index] = _outcome(result, fault, number + 1)
        todo = [index for index in todo if outcomes[index].status != "ok"]
        if not todo:
            break
    return [outcomes[index] for index in range(len(items))]


def _halving(items: Sequence[T], number: int, call: Callable[[Sequence[T], int], Sequence[R]]) -> list[R | Exception]:
    try:
        results = list(call(items, number))
        if len(results) != len(items):
            raise DriftloopError(f"a model returned {len(results)} results for {len(items)} items")
    except DriftloopError:  # of the config's or the disk's making: trying again item by item would not help
        raise
    except Exception as error:  # noqa: BLE001 (whatever a foreign model raises belongs to the item, not to the run)
        if len(items) == 1:
            return [error]
        middle = len(items) // 2
        return _halving(items[:middle], number, call) + _halving(items[middle:], number, call)
    return list(results)


def _outcome(result: R | Exception, fault: Callable[[R], str | None], attempts: int) -> Outcome[R]:
    if isinstance(result, Exception):
        return Outcome(None, "failed", f"{type(result).__name__}: {result}"[:500], attempts)
    return Outcome(result, fault(result) or "ok", "", attempts)
