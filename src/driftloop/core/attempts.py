"""Calls a model on a batch so that one bad item never costs the others."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from driftloop.core.errors import DriftloopError, out_of_memory
from driftloop.core.records import Caption, Picture

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of one item: its result (None if the model raised), a status, the error's text, attempts made.

    `rows` is how many items shared the call that it came out of.
    """

    result: R | None
    status: str
    error: str
    attempts: int
    rows: int


class Room:
    """How many items a model takes at a time. Once its memory ran out that is half as many, from then on."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"batch size must be at least 1, got {size}")
        self.size = size

    def batches(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """Consecutive slices of at most `size` items, of what `size` is by then."""
        start = 0
        while start < len(items):
            batch = items[start : start + self.size]
            yield batch
            start += len(batch)

    def shrink(self, below: int) -> None:
        """`below` items were too many."""
        self.size = max(1, min(self.size, below // 2))


def attempt(
    items: Sequence[T],
    call: Callable[[Sequence[T], int], Sequence[R]],
    fault: Callable[[R], str | None],
    retries: int,
    room: Room | None = None,
) -> list[Outcome[R]]:
    """`call(items, attempt)` for attempt 0, then again for the items that raised or have a `fault`, at most `retries` times.

    A batch that raises is halved until the culprit is alone. Where memory ran out, `room` is halved, and what is left of
    the batch is called in slices of that size.
    """
    room = room or Room(max(1, len(items)))
    outcomes: dict[int, Outcome[R]] = {}
    todo = list(range(len(items)))
    for number in range(retries + 1):
        results = _in_room([items[index] for index in todo], number, call, room)
        for index, (result, rows) in zip(todo, results, strict=True):
            outcomes[index] = _outcome(result, fault, number + 1, rows)
        todo = [index for index in todo if outcomes[index].status != "ok"]
        if not todo:
            break
    return [outcomes[index] for index in range(len(items))]


Answers = list[tuple[R | Exception, int]]


def _in_room(items: Sequence[T], number: int, call: Callable[[Sequence[T], int], Sequence[R]], room: Room) -> Answers[R]:
    return [answer for batch in room.batches(items) for answer in _halving(batch, number, call, room)]


def _halving(items: Sequence[T], number: int, call: Callable[[Sequence[T], int], Sequence[R]], room: Room) -> Answers[R]:
    try:
        results = list(call(items, number))
        if len(results) != len(items):
            raise DriftloopError(f"a model returned {len(results)} results for {len(items)} items")
    except DriftloopError:  # of the config's or the disk's making: trying again item by item would not help
        raise
    except Exception as error:  # noqa: BLE001 (whatever a foreign model raises belongs to the item, not to the run)
        failure = error.with_traceback(None)  # its frames hold what the model had in memory
    else:
        return [(result, len(items)) for result in results]
    if out_of_memory(failure):
        _let_go()
        room.shrink(len(items))
    if len(items) == 1:
        return [(failure, 1)]
    if out_of_memory(failure):
        return _in_room(items, number, call, room)
    middle = len(items) // 2
    return _halving(items[:middle], number, call, room) + _halving(items[middle:], number, call, room)


def _let_go() -> None:
    """Gives the device back what the failed call left behind, if anybody uses one."""
    gc.collect(1)  # what has just failed is young; going through everything that models hold would take a second
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _outcome(result: R | Exception, fault: Callable[[R], str | None], attempts: int, rows: int) -> Outcome[R]:
    if isinstance(result, Exception):
        return Outcome(None, "failed", f"{type(result).__name__}: {result}"[:500], attempts, rows)
    return Outcome(result, fault(result) or "ok", "", attempts, rows)


def check_picture(picture: Picture) -> None:
    """Raises DriftloopError for what a generator may not return: there is no fault in anything else."""
    if not isinstance(picture, Picture) or picture.image.mode != "RGB":
        raise DriftloopError(f"a generator must return driftloop.Picture of RGB images, got {picture!r}")


def check_caption(caption: Caption) -> None:
    """Raises DriftloopError for what a captioner may not return."""
    if not isinstance(caption, Caption):
        raise DriftloopError(f"a captioner must return driftloop.Caption, got {caption!r}")
