"""One thing found twice is one box."""

from __future__ import annotations

from collections.abc import Sequence

from driftloop.core.records import Box


def distinct(boxes: Sequence[Box], overlap: float) -> list[Box]:
    """Of boxes of one kind whose intersection over union exceeds `overlap`, the surest; surest first."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if all(other.kind != box.kind or shared(box, other) <= overlap for other in kept):
            kept.append(box)
    return kept


def shared(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(0.0, width) * max(0.0, height)
    return both / (one.area + other.area - both)
