"""How a stage says how far it is and which models did work, and how somebody outside asks it to stop."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from driftloop.core.errors import Interrupted


class Watch:
    """Counts done items and carries the wish to stop; this one is silent, the terminal's shows bars."""

    def __init__(self) -> None:
        self.stopping = False
        self.models: dict[str, dict[str, Any]] = {}

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage begins: `total` items, `done` of them found finished. Said again of the same stage, it adds to it."""

    def advance(self, count: int = 1) -> None:
        """`count` more items are finished."""

    def used(self, role: str, model: Any) -> None:
        """`model` did work as `role`: what it says it loaded is kept in `models`, of the first that says so."""
        if role not in self.models and hasattr(model, "provenance"):
            self.models[role] = _told(model)

    def close(self) -> None:
        """Nothing more will be told."""

    def stop_if_asked(self) -> None:
        """Raises Interrupted between two batches once SIGTERM or Ctrl-C has arrived."""
        if self.stopping:
            raise Interrupted("stopped as asked; everything finished is written. The same command continues.")


def _told(model: Any) -> dict[str, Any]:
    """A model's provenance as JSON can hold it; one that cannot tell says why, for no result depends on it."""
    try:
        told: dict[str, Any] = json.loads(json.dumps(dict(model.provenance()), default=str))
    except Exception as error:  # noqa: BLE001 (a foreign model's fault in describing itself must not end a run)
        return {"error": f"{type(error).__name__}: {error}"}
    return told


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
