"""Doubles that look at pictures: a locator of stated boxes, readers of colour and of sharpness, and a world of scenes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from driftloop.core.records import Box, Caption, Kind, Picture, Reading, Seed, SubjectRule


class Window:
    """Finds `boxes` ([kind, left, top, right, bottom, score], as shares of the sides) in every picture."""

    def __init__(
        self, *, boxes: Sequence[Sequence[Any]], subject: Kind = "face", sought: Sequence[Kind] = ("face",), **rule: Any
    ) -> None:
        self.boxes, self.subject = boxes, SubjectRule(subject, tuple(sought), **rule)

    def locate(self, images: Sequence[Image.Image]) -> list[list[Box]]:
        return [[self._placed(image, *box) for box in self.boxes] for image in images]

    def _placed(self, image: Image.Image, kind: Kind, *shares: float) -> Box:
        sides = (image.width, image.height, image.width, image.height)
        left, top, right, bottom = (share * side for share, side in zip(shares[:4], sides, strict=True))
        return Box(kind, left, top, right, bottom, shares[4])


class Colour:
    """Reads the "gender" of what it is shown: bright is female."""

    categories: Mapping[str, tuple[str, ...]] = {"gender": ("female", "male")}

    def read(self, images: Sequence[Image.Image]) -> list[list[Reading]]:
        labels = ["female" if np.asarray(image).mean() > 128 else "male" for image in images]
        return [[Reading("gender", "ok", label, 1.0)] for label in labels]


class Sharpness:
    """Reads "age" off the difference between neighbouring pixels, as an instrument that takes detail for wrinkles."""

    categories: Mapping[str, tuple[str, ...]] = {"age": ("young", "old")}

    def __init__(self, *, limit: float) -> None:
        self.limit = limit

    def read(self, images: Sequence[Image.Image]) -> list[list[Reading]]:
        return [[Reading("age", "ok", "old" if sharpness(image) > self.limit else "young", 1.0)] for image in images]


class Scenes:
    """`n` scenes as the data set has them: `size` pixels wide, once JPEG if `quality` says so; even ones are rough."""

    concept_kind = "activity"

    def __init__(self, *, n: int = 20, size: int = 32, quality: int | None = None) -> None:
        self.n, self.size, self.quality = n, size, quality

    def fingerprint(self) -> str:
        return f"{self.n} scenes"

    def load(self) -> list[Seed]:
        return [
            Seed(f"scene-{number}", "scenes", "activity", "reading", picture=partial(self._picture, number))
            for number in range(self.n)
        ]

    def _picture(self, number: int) -> Image.Image:
        image, file = scene(number, self.size), io.BytesIO()
        if self.quality is None:
            return image
        image.save(file, "JPEG", quality=self.quality)
        return Image.open(file).convert("RGB")


class TellScene:
    """Says which scene a picture shows."""

    def describe(self, images: Sequence[Image.Image], seeds: Sequence[int]) -> list[Caption]:
        return [Caption(f"scene {round((int(np.asarray(image)[1, 1, 0]) - 10) / 12)}") for image in images]


class DrawScene:
    """Draws the very scene that it is told, `size` pixels wide: no drift at all."""

    def __init__(self, *, size: int) -> None:
        self.size = size

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        return [Picture(scene(int(caption.split()[1]), self.size)) for caption in captions]


def scene(number: int, size: int) -> Image.Image:
    """The same scene at any size: 16 × 16 random patches, those of an even number far apart.

    A corner tells the number (below 20), even through a hard JPEG.
    """
    spread = 90 if number % 2 == 0 else 15
    patches = np.random.default_rng(number).integers(128 - spread, 128 + spread, (16, 16), dtype=np.uint8)
    image = Image.fromarray(patches).resize((size, size), Image.Resampling.BICUBIC).convert("RGB")
    image.paste((12 * number + 10,) * 3, (0, 0, size // 4, size // 4))
    return image


def sharpness(image: Image.Image) -> float:
    return float(np.abs(np.diff(np.asarray(image.convert("L"), dtype=float), axis=1)).mean())
