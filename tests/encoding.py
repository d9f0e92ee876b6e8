"""Encoders that are instant and known: what a picture or caption is turned into can be told by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from doubles import happened, out_of_memory
from driftloop.core.packs import pixel_hash
from driftloop.core.records import TextEmbeddings
from driftloop.core.rng import derive, generator

TARGET = "encoding.ToyEncoder"


class ToyEncoder:
    """A direction of its own for every picture, and for every text. `sides`: those it has. `fail`: a pattern of texts that
    raise; `blind`: "nan", "zero" or "flat" come of every picture. `most`: more items than this raise MemoryError."""

    def __init__(
        self,
        *,
        sides: Sequence[str] = ("image", "text"),
        fail: str | None = None,
        blind: str | None = None,
        most: int | None = None,
        width: int = 8,
        batch_size: int = 64,
    ) -> None:
        happened("built", "encoder")
        self.fail, self.blind, self.most, self.width, self.batch_size = fail, blind, most, width, batch_size
        self.embed_images = self._seen if "image" in sides else None
        self.embed_texts = self._told if "text" in sides else None

    def _seen(self, images: Sequence[Image.Image]) -> Any:
        happened("read", len(images))
        self._check_room(len(images))
        found = np.stack([direction(derive(0, pixel_hash(image)), self.width) for image in images])
        return {"nan": found * np.nan, "zero": found * 0, "flat": found[:, 0], None: found}[self.blind]

    def _told(self, texts: Sequence[str]) -> TextEmbeddings:
        happened("read", len(texts))
        self._check_room(len(texts))
        if self.fail and any(re.search(self.fail, text) for text in texts):
            raise RuntimeError("cannot embed")
        vectors = np.stack([direction(derive(0, text), self.width) for text in texts])
        return TextEmbeddings(vectors, [len(text.split()) > 6 for text in texts])

    def _check_room(self, items: int) -> None:
        if self.most is not None and items > self.most:
            raise out_of_memory()


def direction(value: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Not of length 1."""
    return 3 * generator(value).standard_normal(width).astype(np.float32)
