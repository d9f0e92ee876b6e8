"""Every picture arrives as RGB, upright and whole, or with an error that names it."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from driftloop.datasets.pictures import picture
from driftloop.datasets.tree import DataError, PlainFile, Tree


def saved(path: Path, image: Image.Image, **options: Any) -> PlainFile:
    image.save(path, **options)
    return PlainFile(path.name, path.stat().st_size, path)


def written(path: Path, data: bytes) -> PlainFile:
    path.write_bytes(data)
    return PlainFile(path.name, len(data), path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    opened = picture(saved(tmp_path / "a.png", Image.new(mode, (4, 3))))
    assert (opened.mode, opened.size) == ("RGB", (4, 3))


def test_print_colours_become_rgb(tmp_path: Path) -> None:
    assert picture(saved(tmp_path / "a.jpg", Image.new("CMYK", (4, 3)))).getpixel((0, 0)) == (255, 255, 255)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    opened = picture(saved(tmp_path / "a.png", half))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]


def test_a_transparent_palette_colour_is_laid_on_white(tmp_path: Path) -> None:
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([10, 20, 30])
    assert picture(saved(tmp_path / "a.png", palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    opened = picture(saved(tmp_path / "a.png", grey))
    assert [opened.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture(saved(tmp_path / "a.jpg", image, exif=exif)).size == (20, 40)


def test_a_truncated_jpeg_is_named(tmp_path: Path, jpeg: bytes) -> None:
    with pytest.raises(DataError, match=r"cannot read the picture cut\.jpg"):
        picture(written(tmp_path / "cut.jpg", jpeg[: len(jpeg) // 2]))


@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_an_unreadable_picture_is_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"cannot read the picture bad\.jpg"):
        picture(written(tmp_path / "bad.jpg", data))


def test_a_damaged_png_is_named(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.effect_noise((32, 32), 50).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[60:90] = bytes(30)
    with pytest.raises(DataError, match=r"bad\.png"):
        picture(written(tmp_path / "bad.png", bytes(data)))


def test_a_picture_of_absurd_size_is_refused(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    with pytest.raises(DataError, match=r"bomb\.png"):
        picture(written(tmp_path / "bomb.png", b"\x89PNG\r\n\x1a\n" + chunk + bytes(20)))


def test_a_picture_that_vanished_is_named(tmp_path: Path, jpeg: bytes) -> None:
    written(tmp_path / "a.jpg", jpeg)
    member = Tree(tmp_path).member("a.jpg")
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a\.jpg"):
        picture(member)
