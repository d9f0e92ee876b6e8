"""How a stage says how far it is, and how somebody outside asks it to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from driftloop.core.errors import Interrupted


class Watch:
    """Counts done items and carries the wish to stop; this one is silent, the terminal's shows bars."""

    def __init__(self) -> None:
        self.stopping = False

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage begins: `total` items, `done` of them found finished. Said again of the same stage, it adds to it."""

    def advance(self, count: int = 1) -> None:
        """`count` more items are finished."""

    def close(self) -> None:
        """Nothing more will be told."""

    def stop_if_asked(self) -> None:
        """Raises Interrupted between two batches once SIGTERM or Ctrl-C has arrived."""
        if self.stopping:
            raise Interrupted("stopped as asked; everything finished is written. The same command continues.")


@contextmanager
def listening(watch: Watch) -> Iterator[None]:
    """SIGTERM and SIGINT set `watch.stopping`; a second one acts as it would have."""

    def ask(number: int, _: FrameType | None) -> None:
        if watch.stopping:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)
        watch.stopping = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
