"""Which of two conventions the boxes of a data set follow, when nobody wrote it down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from driftloop.datasets.tree import DataError

Region = tuple[float, float, float, float]
CONVENTIONS = ("xywh", "xyxy")

SLACK = 1.0
"""Pixels by which a box may leave its picture: rounding."""
FEWEST = 5
LEAST_SHARE = 0.01
"""How many boxes at least, in number and as a share of all, must fit one convention alone before it counts as found."""
MOST_AGAINST = 0.05
"""How many boxes may fit the other convention alone, as a share of those."""
LEAST_FIT = 0.9
"""Share of all boxes that must fit the convention found: the rest are sloppy."""


@dataclass(frozen=True, slots=True)
class Fits:
    """How many of `boxes` fit into their pictures only as xywh, only as xyxy, either way, or neither way."""

    xywh: int
    xyxy: int
    either: int
    neither: int

    @property
    def boxes(self) -> int:
        return self.xywh + self.xyxy + self.either + self.neither

    def __str__(self) -> str:
        return (
            f"of {self.boxes} boxes {self.xywh} fit into their pictures only as xywh, {self.xyxy} only as xyxy, "
            f"{self.either} either way, {self.neither} neither way"
        )


def corners(region: Region, convention: str) -> Region:
    """Left, top, right and bottom of a region."""
    left, top, third, fourth = region
    return region if convention == "xyxy" else (left, top, left + third, top + fourth)


def area(region: Region, convention: str) -> float:
    """In square pixels; 0 when a side is not positive."""
    left, top, right, bottom = corners(region, convention)
    return max(right - left, 0.0) * max(bottom - top, 0.0)


def fits(found: Iterable[tuple[Region, tuple[int, int]]]) -> Fits:
    """Both readings tried on every region, each with the width and height of its picture."""
    tried = [tuple(_inside(corners(region, name), size) for name in CONVENTIONS) for region, size in found]
    return Fits(tried.count((True, False)), tried.count((False, True)), tried.count((True, True)), tried.count((False, False)))


def convention(counts: Fits, option: str = "dataset.box") -> str:
    """The convention that the boxes as a whole follow; DataError when they do not tell."""
    alone = {"xywh": counts.xywh, "xyxy": counts.xyxy}
    best, other = sorted(alone, key=lambda name: -alone[name])
    enough = alone[best] >= max(FEWEST, LEAST_SHARE * counts.boxes)
    clear = alone[other] <= MOST_AGAINST * alone[best]
    if enough and clear and alone[best] + counts.either >= LEAST_FIT * counts.boxes:
        return best
    raise DataError(f"cannot tell whether boxes are xywh or xyxy: {counts}. Say {option}=xywh or {option}=xyxy")


def _inside(box: Region, size: tuple[int, int]) -> bool:
    left, top, right, bottom = box
    whole = left >= -SLACK and top >= -SLACK and right <= size[0] + SLACK and bottom <= size[1] + SLACK
    return whole and right - left >= 1 and bottom - top >= 1
