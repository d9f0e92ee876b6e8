"""An instant captioner that obeys the contract: names the colour of the first pixel. For trying things out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from driftloop.core.records import Caption

if TYPE_CHECKING:
    from PIL.Image import Image


class StandInCaptioner:
    """Captions such as "a picture in #8899aa"."""

    def __init__(self, *, batch_size: int = 64) -> None:
        self.batch_size = batch_size

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]:
        del seeds  # it never draws
        return [Caption("a picture in #" + bytes(image.getpixel((0, 0))).hex(), tokens=5) for image in images]  # type: ignore[arg-type]
