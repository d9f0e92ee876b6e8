"""Batch shapes: slices of a list, and padding to a multiple of rows so that batch size does not change the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive slices of at most `size` items."""
    if size < 1:
        raise ValueError(f"batch size must be at least 1, got {size}")
    for start in range(0, len(items), size):
        yield items[start : start + size]


def padded(items: Sequence[T], multiple: int) -> list[T]:
    """`items`, with the last one repeated up to the next multiple of `multiple` rows; the caller drops the extra rows."""
    if not items:
        return []
    missing = -len(items) % multiple
    return [*items, *[items[-1]] * missing]


def ahead(call: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """(item, call(item)) in order, the next call running on a thread while the caller works on the last result."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            running = (item, pool.submit(call, item))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = running
        if waiting is not None:
            yield waiting[0], waiting[1].result()
