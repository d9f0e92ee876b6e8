"""Opens a picture of a data set the way every model gets it: RGB, upright, read to the end."""

from __future__ import annotations

import struct
import zlib
from functools import partial
from io import BytesIO

from PIL import Image, ImageOps

from driftloop.datasets.tree import DataError, Member

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What is read. Formats that start other programs (EPS) stay closed."""
HEAD = 4096
"""Bytes in which nearly every picture says its size."""
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error)
"""What Pillow raises for damaged files, by format."""


def picture(member: Member) -> Image.Image:
    """The picture, turned as its EXIF says, transparency laid on white.

    A `partial(picture, member)` is what `Seed.picture` is: it can be sent to other processes.
    """
    return opened(BytesIO(member.read()), member.name)


def opened(file: BytesIO, name: str) -> Image.Image:
    """The picture in a file, as `picture` gives it."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            image.load()
            return rgb(ImageOps.exif_transpose(image))
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the picture {name}: {error}") from error


def size(member: Member) -> tuple[int, int] | None:
    """Width and height, from the first bytes where they tell; None when it is no readable picture."""
    for data in (partial(member.head, HEAD), member.read):
        try:
            with Image.open(BytesIO(data()), formats=FORMATS) as image:
                return image.size
        except (*BROKEN, Image.DecompressionBombError):  # a long profile may stand before the size
            continue
    return None


def cropped(member: Member, box: tuple[float, float, float, float]) -> Image.Image:
    """The part of the picture inside `box` (left, top, right, bottom in pixels), cut at the picture's edges."""
    whole = picture(member)
    left, top, right, bottom = (round(edge) for edge in box)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, whole.width), min(bottom, whole.height)
    if left >= right or top >= bottom:
        raise DataError(f"the box {box} of {member.name} lies outside the picture of {whole.width}×{whole.height} pixels")
    return whole.crop((left, top, right, bottom))


def rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB of 8 bits a channel."""
    if image.mode.startswith("I"):  # 16 bits of grey, which a plain conversion would clip to white
        return image.convert("I").point([value // 256 for value in range(65536)], "L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), clear).convert("RGB")
