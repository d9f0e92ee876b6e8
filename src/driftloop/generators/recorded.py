"""Stands for the generator of rounds that were played elsewhere and came in with the data set."""

from __future__ import annotations

from collections.abc import Sequence

from driftloop.core.errors import DriftloopError
from driftloop.core.records import Picture


class RecordedGenerator:
    """`made_by` says which model it was; it names the run and is a column of every table. Asked to play, it refuses."""

    def __init__(self, *, made_by: str = "unknown") -> None:
        self.made_by = made_by

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:  # noqa: ARG002
        raise DriftloopError(
            "generator=recorded has nothing beyond what was recorded: lower rounds and replicates to those of the data set, "
            "or choose a generator that plays on"
        )
