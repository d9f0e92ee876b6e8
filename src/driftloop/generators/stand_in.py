"""An instant generator that obeys the contract: a picture coloured from a hash of caption and seed. For trying things out."""

from __future__ import annotations

from collections.abc import Sequence

from driftloop.core.records import Picture
from driftloop.core.rng import derive


class StandInGenerator:
    """Pictures of `size` × `size` pixels in one colour, never black."""

    def __init__(self, *, size: int = 64, batch_size: int = 64) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        self.size, self.batch_size = size, batch_size

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        from PIL import Image

        colours = [derive(seed, caption) for caption, seed in zip(captions, seeds, strict=True)]
        return [Picture(Image.new("RGB", (self.size, self.size), _colour(value))) for value in colours]


def _colour(value: int) -> tuple[int, int, int]:
    return 64 + value % 192, 64 + (value >> 16) % 192, 64 + (value >> 32) % 192
