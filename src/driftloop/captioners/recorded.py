"""Stands for the captioner of rounds that were played elsewhere and came in with the data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from driftloop.core.errors import DriftloopError
from driftloop.core.records import Caption

if TYPE_CHECKING:
    from PIL.Image import Image


class RecordedCaptioner:
    """`made_by` says which model it was; it names the run and is a column of every table. Asked to play, it refuses."""

    def __init__(self, *, made_by: str = "unknown") -> None:
        self.made_by = made_by

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]:  # noqa: ARG002
        raise DriftloopError(
            "captioner=recorded has nothing beyond what was recorded: lower rounds and replicates to those of the data set, "
            "or choose a captioner that plays on"
        )
