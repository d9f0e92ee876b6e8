"""Writes seeds of the built-in world as a licensed data set has them on disk, so that its loader can be tried.

The pictures are cartoons; only names, layout and formats are those of the real set.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from driftloop.core.records import Seed
from driftloop.core.rng import derive

if TYPE_CHECKING:
    from PIL.Image import Image

EMOTIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
GENDERS = ("male", "female", "unsure")
RACES = ("caucasian", "african-american", "asian")
AGES = ("0-3", "4-19", "20-39", "40-69", "70+")
"""RAF-DB's categories in the order of its codes; those of emotion start at 1."""

LAYOUTS = ("basic", "basic_nested", "zips", "repack")
ZIPPED = ("Image/original", "Image/aligned", "Annotation/manual", "Annotation/auto", "Annotation/boundingbox")
"""Folders that the published set has as zips."""

ALIGNED = (100, 100)
ORIGINAL = (240, 180)
PERSON = (70, 20, 198, 148)
"""Where the person stands in the original photograph: left, top, right, bottom."""
LANDMARKS = ((0.42, 0.45), (0.60, 0.45), (0.51, 0.52), (0.42, 0.61), (0.60, 0.61))
"""Eyes, nose and corners of the mouth, as shares of the person's box; about right for the drawings."""
AUTO_POINTS = 37

Files = Iterator[tuple[str, bytes]]
"""Names inside the data set with their contents."""


@dataclass(frozen=True, slots=True)
class _Face:
    """A seed with its name in RAF-DB: "train_00001"."""

    name: str
    split: str
    seed: Seed

    def code(self, attribute: str, names: tuple[str, ...]) -> int:
        try:
            return names.index(self.seed.labels[attribute])
        except (KeyError, ValueError):
            got = self.seed.labels.get(attribute)
            allowed = ", ".join(names)
            raise ValueError(f"{self.seed.seed_id}: {attribute} must be one of {allowed}; got {got!r}") from None

    def picture(self) -> Image:
        if self.seed.picture is None:
            raise ValueError(f"{self.seed.seed_id} has no picture to write")
        return self.seed.picture()


def raf_db(seeds: Sequence[Seed], folder: Path, layout: str = "basic") -> None:
    """Writes the seeds as RAF-DB, every fifth as a test image. `folder` must be new or empty.

    layout: basic (unpacked), basic_nested (basic/basic with the junk of a Mac), zips (as published) or repack.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; choose a new folder")
    faces = list(_faces(seeds))
    if layout == "repack":
        _write(_repack(faces), folder)
    elif layout == "zips":
        _write_zips(_basic(faces), folder / "basic")
    elif layout == "basic":
        _write(_basic(faces), folder / "basic")
    else:
        _write(_basic(faces), folder / "basic" / "basic")
        _write(_mac_junk(faces), folder / "basic")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `scripts/phantom_as`."""
    parser = argparse.ArgumentParser(prog="phantom_as", description="Writes built-in seeds as another data set.")
    parser.add_argument("format", choices=["raf_db"], help="the data set to imitate")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--n", type=int, default=96, help="how many seeds (default 96)")
    parser.add_argument("--layout", choices=LAYOUTS, default="basic", help="how the copy is packed (default basic)")
    parser.add_argument("--root-seed", type=int, default=0, help="which seeds (default 0)")
    asked = parser.parse_args(arguments)
    try:
        raf_db(_phantom_seeds(asked.n, asked.root_seed), asked.folder, asked.layout)
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(f"{asked.n} seeds in {asked.folder}: try dataset=raf_db dataset.root={asked.folder}\n")


def _phantom_seeds(n: int, root_seed: int) -> list[Seed]:
    from driftloop.datasets.phantom import PhantomDataset

    return PhantomDataset(n=n, root_seed=root_seed, concept_kind="emotion").load()


def _faces(seeds: Iterable[Seed]) -> Iterator[_Face]:
    numbers = Counter[str]()
    for index, seed in enumerate(seeds):
        split = "test" if index % 5 == 4 else "train"
        numbers[split] += 1
        yield _Face(f"{split}_{numbers[split]:0{5 if split == 'train' else 4}d}", split, seed)


def _basic(faces: Iterable[_Face]) -> Files:
    labels = []
    for face in faces:
        labels.append(f"{face.name}.jpg {face.code('emotion', EMOTIONS) + 1}\n")
        yield f"Image/aligned/{face.name}_aligned.jpg", _aligned(face)
        yield f"Image/original/{face.name}.jpg", _original(face)
        yield f"Annotation/manual/{face.name}_manu_attri.txt", _manual(face)
        yield f"Annotation/auto/{face.name}_auto_attri.txt", _auto()
        yield f"Annotation/boundingbox/{face.name}_boundingbox.txt", _bounding_box()
    yield "EmoLabel/list_patition_label.txt", "".join(labels).encode()


def _repack(faces: Iterable[_Face]) -> Files:
    tables = {split: ["image,label\n"] for split in ("train", "test")}
    for face in faces:
        name, label = f"{face.name}_aligned.jpg", face.code("emotion", EMOTIONS) + 1
        tables[face.split].append(f"{name},{label}\n")
        yield f"DATASET/{face.split}/{label}/{name}", _aligned(face)
    for split, lines in tables.items():
        yield f"{split}_labels.csv", "".join(lines).encode()


def _mac_junk(faces: Iterable[_Face]) -> Files:
    yield ".DS_Store", b"junk"
    for face in faces:
        yield f"__MACOSX/basic/Image/aligned/._{face.name}_aligned.jpg", b"junk"
        yield f"basic/Image/aligned/._{face.name}_aligned.jpg", b"junk"


def _aligned(face: _Face) -> bytes:
    return _jpeg(face.picture().resize(ALIGNED))


def _original(face: _Face) -> bytes:
    """The person in a wider photograph, on a plain ground of the picture's corner colour."""
    from PIL import Image

    left, top, right, bottom = PERSON
    picture = face.picture()
    photograph = Image.new("RGB", ORIGINAL, picture.getpixel((0, 0)))
    photograph.paste(picture.resize((right - left, bottom - top)), (left, top))
    return _jpeg(photograph)


def _jpeg(image: Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _manual(face: _Face) -> bytes:
    """Landmarks, then gender, race and age. A seed without a race gets one by hash, which means nothing."""
    left, top, right, bottom = PERSON
    points = [f"{left + x * (right - left):.3f}\t{top + y * (bottom - top):.3f}" for x, y in LANDMARKS]
    race = face.code("race", RACES) if "race" in face.seed.labels else derive(0, "race", face.name) % len(RACES)
    codes = (face.code("gender", GENDERS), race, face.code("age", AGES))
    return "".join(f"{line}\n" for line in (*points, *codes)).encode()


def _auto() -> bytes:
    """Points on an oval around the face."""
    left, top, right, bottom = PERSON
    turns = np.linspace(0, 2 * np.pi, AUTO_POINTS, endpoint=False)
    x = (left + right) / 2 + (right - left) / 4 * np.cos(turns)
    y = (top + bottom) / 2 + (bottom - top) / 4 * np.sin(turns)
    return "".join(f"{a:.3f} {b:.3f}\n" for a, b in zip(x, y, strict=True)).encode()


def _bounding_box() -> bytes:
    return (" ".join(f"{edge:.6f}" for edge in PERSON) + " \n").encode()


def _write(files: Files, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_zips(files: Files, folder: Path) -> None:
    """As `_write`, with the folders of ZIPPED as zips that hold the folder: Image/aligned.zip with aligned/…"""
    with ExitStack() as stack:
        archives: dict[str, zipfile.ZipFile] = {}
        for name, content in files:
            parent = str(Path(name).parent)
            if parent not in ZIPPED:
                _write(iter([(name, content)]), folder)
                continue
            if parent not in archives:
                (folder / parent).parent.mkdir(parents=True, exist_ok=True)
                archives[parent] = stack.enter_context(zipfile.ZipFile(folder / f"{parent}.zip", "w"))
            member = zipfile.ZipInfo("/".join(name.split("/")[-2:]))  # a fixed date: the same seeds are the same bytes
            archives[parent].writestr(member, content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
