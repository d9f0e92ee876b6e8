"""Renders a person of the built-in world at 64 × 64 pixels, with true region masks, and stamps pictures with their truth.

The stamp writes the attributes, whether the picture was generated, and a checksum of the whole picture into the least
significant bits of one pixel row: exact readers need no side channel, and any lossy step in between is caught at once.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from driftloop.core.rng import derive, generator
from driftloop.phantom.figure import BACKGROUND, PARTS, UNITS, Canvas, draw_person
from driftloop.phantom.world import CATEGORIES, Person

SIZE = UNITS
STAMP_ROW = 0
_MAGIC = 0xD71F
_FIELDS = (*CATEGORIES, "generated")


@dataclass(frozen=True, slots=True)
class Rendering:
    """A picture (PIL, RGB, 64 × 64) and the number of the part at each pixel, `parts` (64, 64) uint8 into PARTS."""

    image: Image.Image
    parts: np.ndarray

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Part name -> boolean mask (64, 64); the masks are disjoint and cover the picture."""
        return {name: self.parts == number for number, name in enumerate(PARTS)}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a stamped picture says of itself."""

    attributes: dict[str, str]
    generated: bool


def render(person: Person, seed: int) -> Rendering:
    """The picture of `person`; place, size, light and noise come from `seed`."""
    draw = generator(derive(seed, "render"))
    shift = (float(draw.uniform(-2.5, 2.5)), float(draw.uniform(-0.5, 2.5)))
    canvas = Canvas(BACKGROUND[person.background], float(draw.uniform(0.93, 1.03)), shift)
    draw_person(canvas, person)
    pixels, parts = canvas.reduced()
    light = draw.uniform(0.92, 1.06) + draw.uniform(-0.06, 0.06) * np.linspace(-1, 1, SIZE)[:, None, None]
    noisy = pixels * light + draw.standard_normal((SIZE, SIZE, 1), dtype=np.float32) * 2.5
    return Rendering(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), parts)


def stamp(image: Image.Image, person: Person, generated: bool) -> Image.Image:
    """A copy of `image` that carries the attributes of `person`; no pixel changes by more than one level."""
    pixels = np.array(image.convert("RGB"))
    row = pixels[STAMP_ROW].reshape(-1)
    row &= 0xFE
    numbers = [CATEGORIES[name].index(value) for name, value in person.attributes.items()]
    message = np.array([_MAGIC >> 8, _MAGIC & 0xFF, *numbers, int(generated)], np.uint8).tobytes()
    bits = np.unpackbits(np.frombuffer(message + _checksum(message, pixels), np.uint8))
    row[: bits.size] |= bits
    return Image.fromarray(pixels)


def read_stamp(image: Image.Image) -> Stamp | None:
    """The stamp of `image`, or None where there is none or any pixel changed since it was written."""
    pixels = np.array(image.convert("RGB"))
    if pixels.shape[1] * 3 < 8 * _STAMP_BYTES:
        return None
    row = pixels[STAMP_ROW].reshape(-1)
    found = np.packbits(row[: 8 * _STAMP_BYTES] & 1).tobytes()
    row &= 0xFE
    message = found[:-4]
    if found[:2] != _MAGIC.to_bytes(2) or found[-4:] != _checksum(message, pixels):
        return None
    numbers = zip(CATEGORIES.items(), message[2:], strict=False)
    return Stamp({name: values[number] for (name, values), number in numbers}, generated=bool(message[-1]))


_STAMP_BYTES = 2 + len(_FIELDS) + 4


def _checksum(message: bytes, pixels: np.ndarray) -> bytes:
    """CRC-32 of the message and of all pixels, the stamped row without its least significant bits."""
    return zlib.crc32(pixels.tobytes(), zlib.crc32(message)).to_bytes(4)
