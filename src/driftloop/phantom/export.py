"""Writes seeds of the built-in world as a licensed data set has them on disk, so that its loader can be tried.

The pictures are cartoons; only names, layout and formats are those of the real set.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from driftloop.core.records import Seed
from driftloop.core.rng import derive

if TYPE_CHECKING:
    from PIL.Image import Image

EMOTIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
GENDERS = ("male", "female", "unsure")
ETHNICITIES = ("caucasian", "african-american", "asian")
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

BOXES = ("xywh", "xyxy")
ANNOTATIONS = ("regions", "all", "both")
PHOTOGRAPH = (320, 240)
SECOND = (4, 8, 32, 40)
"""The smaller second person: left, top, width, height."""
PHASE_AGES = {"0-3": "baby", "4-19": "child", "20-39": "young", "40-69": "adult", "70+": "senior"}
PHASE_EMOTIONS = {"surprise": "unsure", "disgust": "disagreement"}
PHASE_ACTIVITIES = {
    "reading": "other", "drinking": "eating", "cooking": "household", "football": "sports", "repairing": "work",
    "dancing": "music",
}  # fmt: skip
PHASE_SKIN = ("lighter", "darker", "unsure")
PHASE_ETHNICITIES = ("white", "black", "east_asian", "middle_eastern")
FAIRFACE_AGES = {"0-3": "0-2", "4-19": "10-19", "20-39": "30-39", "40-69": "50-59", "70+": "more than 70"}
FAIRFACE_RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
UTK_YEARS = {"0-3": 1, "4-19": 12, "20-39": 30, "40-69": 55, "70+": 80}
"""The built-in world's age groups in those of other sets, which cut elsewhere: cartoons, so about right is enough."""

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
        return _picture(self.seed)


@dataclass(frozen=True, slots=True)
class _Photograph:
    """A seed with its id and split in PHASE, and where its person stands: left, top, width, height."""

    name: str
    split: str
    number: int
    seed: Seed
    picture: Image
    box: tuple[int, int, int, int]


def raf_db(seeds: Sequence[Seed], folder: Path, layout: str = "basic") -> None:
    """Writes the seeds as RAF-DB, every fifth as a test image. `folder` must be new or empty.

    layout: basic (unpacked), basic_nested (basic/basic with the junk of a Mac), zips (as published) or repack.
    """
    _check_choice("layout", layout, LAYOUTS)
    _check_new(folder)
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


def phase(seeds: Sequence[Seed], folder: Path, *, box: str = "xywh", annotations: str = "regions", zips: bool = False) -> None:
    """Writes the seeds as PHASE, every fifth as a validation image. `folder` must be new or empty.

    The seed is the largest person; every third image has a smaller second one, and now and then one has no region, no
    annotations, or a box that leaves the picture. box: xywh or xyxy. annotations: regions, all or both. Labels that the
    built-in world has not mean nothing.
    """
    _check_new(folder)
    _check_choice("box", box, BOXES)
    _check_choice("annotations", annotations, ANNOTATIONS)
    files = list(_phase_files(list(_photographs(seeds)), box, annotations))
    images = [(name, content) for name, content in files if name.endswith(".png")]
    if zips:
        _write_zip(images, folder / "phase_images.zip")
    else:
        _write(iter(images), folder)
    _write(iter([(name, content) for name, content in files if not name.endswith(".png")]), folder)


def fairface(seeds: Sequence[Seed], folder: Path) -> None:
    """Writes the seeds as FairFace, every fifth as a validation image. Ages are the first group that overlaps."""
    _check_new(folder)
    tables = {split: ["file,age,gender,race,service_test\n"] for split in ("train", "val")}
    for number, seed in enumerate(seeds, 1):
        split = "val" if number % 5 == 0 else "train"
        ethnicity = FAIRFACE_RACES[derive(0, "ethnicity", seed.seed_id) % len(FAIRFACE_RACES)]
        age, gender = FAIRFACE_AGES[seed.labels["age"]], seed.labels["gender"].capitalize()
        tables[split].append(f"{split}/{number}.jpg,{age},{gender},{ethnicity},{bool(number % 2)}\n")
        _write(iter([(f"{split}/{number}.jpg", _jpeg(_picture(seed).resize((224, 224))))]), folder)
    _write(((f"{split}.csv", "".join(lines).encode()) for split, lines in tables.items()), folder)


def utkface(seeds: Sequence[Seed], folder: Path) -> None:
    """Writes the seeds as aligned UTKFace, with the kinds of malformed names that the published set has."""
    _check_new(folder)
    for number, seed in enumerate(seeds):
        years = UTK_YEARS[seed.labels["age"]]
        ethnicity = derive(0, "ethnicity", seed.seed_id) % 5
        name = (
            f"{years}_{('male', 'female').index(seed.labels['gender'])}_{ethnicity}_{20170116000000000 + number}.jpg.chip.jpg"
        )
        _write(iter([(f"UTKFace/{name}", _jpeg(_picture(seed).resize((200, 200))))]), folder)
    odd = ("61_1_20170109150557335.jpg.chip.jpg", "53__0_20170116184028385.jpg.chip.jpg")
    _write(((f"UTKFace/{name}", _jpeg(_picture(seeds[0]))) for name in odd), folder)


def telephone_game(seeds: Sequence[Seed], folder: Path, *, rounds: int = 2) -> None:
    """Writes a game of `rounds` rounds that the exact models of the built-in world play, images first."""
    from driftloop.phantom.exact import ExactCaptioner, ExactGenerator

    _check_new(folder)
    names, images = [f"{seed.seed_id}.png" for seed in seeds], [_picture(seed) for seed in seeds]
    captioner, generator = ExactCaptioner(omission=0.2), ExactGenerator()
    for number in range(rounds + 1):
        _write(((f"images-first/gen-{2 * number}/{n}", _png(image)) for n, image in zip(names, images, strict=True)), folder)
        told = captioner.describe(images, [derive(0, "describe", name, number) for name in names])
        _write_table(folder / f"images-first/gen-{2 * number + 1}.csv", ["filename", "caption"], names, [t.text for t in told])
        made = generator.generate([t.text for t in told], [derive(0, "generate", name, number) for name in names])
        images = [one.image for one in made]
    _write_table(folder / "labels.csv", ["filename", "concept"], names, [seed.concept for seed in seeds])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `scripts/phantom_as`."""
    asked = _parser().parse_args(arguments)
    options = {
        name: value for name, value in vars(asked).items() if name not in {"write", "format", "folder", "n", "root_seed"}
    }
    try:
        asked.write(_phantom_seeds(asked.n, asked.root_seed), asked.folder, **options)
    except ValueError as error:
        _parser().error(str(error))
    sys.stdout.write(f"{asked.n} seeds in {asked.folder}: try dataset={asked.format} dataset.root={asked.folder}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="phantom_as", description="Writes built-in seeds as another data set.")
    formats = parser.add_subparsers(dest="format", required=True, metavar="format")
    raf = _format(formats, "raf_db", raf_db)
    raf.add_argument("--layout", choices=LAYOUTS, default="basic", help="how the copy is packed (default basic)")
    photographs = _format(formats, "phase", phase)
    photographs.add_argument("--box", choices=BOXES, default="xywh", help="how regions are written (default xywh)")
    photographs.add_argument("--annotations", choices=ANNOTATIONS, default="regions", help="which files (default regions)")
    photographs.add_argument("--zips", action="store_true", help="the images in a zip")
    _format(formats, "fairface", fairface)
    _format(formats, "utkface", utkface)
    game = _format(formats, "telephone_game", telephone_game)
    game.add_argument("--rounds", type=int, default=2, help="how many rounds after round 0 (default 2)")
    return parser


def _format(formats: Any, name: str, write: Callable[..., None]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = formats.add_parser(name, help=f"as dataset={name} reads it")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--n", type=int, default=96, help="how many seeds (default 96)")
    parser.add_argument("--root-seed", type=int, default=0, help="which seeds (default 0)")
    parser.set_defaults(write=write)
    return parser


def _phantom_seeds(n: int, root_seed: int) -> list[Seed]:
    from driftloop.datasets.phantom import PhantomDataset

    return PhantomDataset(n=n, root_seed=root_seed, concept_kind="emotion").load()


def _check_new(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; choose a new folder")


def _check_choice(what: str, got: str, allowed: Sequence[str]) -> None:
    if got not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}; got {got!r}")


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


def _photographs(seeds: Iterable[Seed]) -> Iterator[_Photograph]:
    """The person in its own size, so that cutting it out gives the very pixels of the seed."""
    from PIL import Image

    for number, seed in enumerate(seeds):
        person = _picture(seed)
        left, top = 100 + number % 7 * 10, 60 + number % 5 * 10
        photograph = Image.new("RGB", PHOTOGRAPH, person.getpixel((0, 0)))
        photograph.paste(person, (left, top))
        if number % 3 == 0:
            photograph.paste(person.resize(SECOND[2:]), SECOND[:2])
        split, box = "val" if number % 5 == 4 else "train", (left, top, *person.size)
        yield _Photograph(f"{number:09d}", split, number, seed, photograph, box)


def _phase_files(photographs: Sequence[_Photograph], box: str, annotations: str) -> Files:
    for one in photographs:
        yield f"phase_images/{one.split}/{one.name}.png", _png(one.picture)
    for kind in ("regions", "all") if annotations == "both" else (annotations,):
        for split in ("train", "val"):
            entries = {one.name: _phase_entry(one, box, kind) for one in photographs if one.split == split}
            yield f"phase_gcc_{split}_{kind}_20221101.json", json.dumps(entries).encode()
    yield "annotators.csv", b"worker,gender,age\n"


def _phase_entry(one: _Photograph, box: str, kind: str) -> dict[str, Any]:
    """The seed's person, last; one of the others in four lacks its region, another its annotations."""
    labels = _phase_labels(one.seed)
    region = _written(one.box, box)
    if one.number % 50 == 7:
        region[2] += 400  # sloppy: beyond the picture
    entry: dict[str, Any] = {"caption": f"photograph number {one.number}"}
    if one.number % 3 == 0:
        other = {"region": _written(SECOND, box), "annotations": _answers(labels, kind)}
        entry["person1"] = {key: value for key, value in other.items() if (key, one.number % 4) not in LACKING}
    return entry | {"person2": {"region": region, "annotations": _answers(labels, kind)}}


LACKING = {("region", 1), ("annotations", 2)}
"""What the second person of an image lacks, by its number modulo 4."""


def _written(box: tuple[int, int, int, int], convention: str) -> list[int]:
    left, top, width, height = box
    return [left, top, width, height] if convention == "xywh" else [left, top, left + width, top + height]


def _phase_labels(seed: Seed) -> dict[str, str]:
    """A seed's labels in PHASE's words; what the built-in world has not goes by hash and means nothing."""
    emotion, activity = seed.labels["emotion"], seed.labels["activity"]
    return {
        "age": PHASE_AGES[seed.labels["age"]],
        "gender": seed.labels["gender"],
        "skintone": PHASE_SKIN[derive(0, "skin", seed.seed_id) % len(PHASE_SKIN)],
        "ethnicity": PHASE_ETHNICITIES[derive(0, "ethnicity", seed.seed_id) % len(PHASE_ETHNICITIES)],
        "emotion": PHASE_EMOTIONS.get(emotion, emotion),
        "activity": PHASE_ACTIVITIES[activity],
    }


def _answers(labels: Mapping[str, str], kind: str) -> dict[str, str] | list[dict[str, str]]:
    """One answer, or those of three workers: two agree and one is unsure; a disagreement is three different answers."""
    if kind == "regions":
        return dict(labels)
    disputed = {key: DISPUTED[key] for key, said in labels.items() if said == "disagreement"}
    votes = [{key: disputed.get(key, (said, said, "unsure"))[worker] for key, said in labels.items()} for worker in range(3)]
    return [{"worker": f"w{worker}", **vote} for worker, vote in enumerate(votes)]


DISPUTED = {"emotion": ("anger", "fear", "unsure")}


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


def _picture(seed: Seed) -> Image:
    if seed.picture is None:
        raise ValueError(f"{seed.seed_id} has no picture to write")
    return seed.picture()


def _png(image: Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _jpeg(image: Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _manual(face: _Face) -> bytes:
    """Landmarks, then gender, ethnicity and age. A seed without an ethnicity gets one by hash, which means nothing."""
    left, top, right, bottom = PERSON
    points = [f"{left + x * (right - left):.3f}\t{top + y * (bottom - top):.3f}" for x, y in LANDMARKS]
    ethnicity = (
        face.code("ethnicity", ETHNICITIES)
        if "ethnicity" in face.seed.labels
        else derive(0, "ethnicity", face.name) % len(ETHNICITIES)
    )
    codes = (face.code("gender", GENDERS), ethnicity, face.code("age", AGES))
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


def _write_table(path: Path, header: Sequence[str], *columns: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *zip(*columns, strict=True)])


def _write_zip(files: Iterable[tuple[str, bytes]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name.removeprefix("phase_images/")), content)


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
