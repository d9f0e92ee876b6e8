"""Opens a picture of a data set the way every model gets it: RGB, upright, read to the end."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image, ImageOps

from driftloop.datasets.tree import DataError, Member

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What is read. Formats that start other programs (EPS) stay closed."""
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error)
"""What Pillow raises for damaged files, by format."""


def picture(member: Member) -> Image.Image:
    """The picture, turned as its EXIF says, transparency laid on white.

    A `partial(picture, member)` is what `Seed.picture` is: it can be sent to other processes.
    """
    data = member.read()
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as opened:
            opened.load()
            return rgb(ImageOps.exif_transpose(opened))
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the picture {member.name}: {error}") from error


def rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB of 8 bits a channel."""
    if image.mode.startswith("I"):  # 16 bits of grey, which a plain conversion would clip to white
        return image.convert("I").point([value // 256 for value in range(65536)], "L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), clear).convert("RGB")
