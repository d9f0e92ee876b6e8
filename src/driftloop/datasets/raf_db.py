"""RAF-DB, basic set (Li, Deng and Du, CVPR 2017): faces with perceived emotion, gender, ethnicity and age group.

For non-commercial research only and not to be passed on; everyone brings a copy. Read as copies really are: `basic/` as
published, doubled (`basic/basic/`), with its zips unpacked or not, or the repack `DATASET/{train,test}/{1..7}/`.
"""

from __future__ import annotations

import csv
import json
import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, TypeVar

from driftloop.core.records import Seed
from driftloop.datasets.checks import fingerprint, matched, not_empty, one_of
from driftloop.datasets.pictures import cropped, picture
from driftloop.datasets.table import read_table, text
from driftloop.datasets.tree import DataError, Member, Tree, some

EMOTIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""In the order of the label codes, which start at 1."""
PEOPLE: Mapping[str, tuple[str, ...]] = {
    "gender": ("male", "female", "unsure"),
    "ethnicity": ("caucasian", "african-american", "asian"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}
"""Attribute -> categories by code, from 0; in the order of the last three fields of a manual annotation.

The set's own page says "race"; here it is the ethnicity, as in the published figures and in every other data set.
"""

WHOLE_SET = 15_339
SPLIT_COUNTS: Mapping[str, tuple[int, ...]] = {
    "train": (1290, 281, 717, 4772, 1982, 705, 2524),
    "test": (329, 74, 160, 1185, 478, 162, 680),
}
"""Published images of each emotion, in the order of EMOTIONS."""

IMAGE = re.compile(r"(train|test)_(\d{1,9})(_aligned)?\.(?:jpe?g|png)", re.IGNORECASE)
MANUAL = re.compile(r"(train|test)_(\d{1,9})_manu_attri\.txt", re.IGNORECASE)
BOX = re.compile(r"(train|test)_(\d{1,9})_boundingbox\.txt", re.IGNORECASE)
LIST = re.compile(r"list_par?tition_label\.txt", re.IGNORECASE)
TABLE = re.compile(r"(train|test)_labels\.csv", re.IGNORECASE)
FOLDER = re.compile(r"(?:^|/)(?:train|test)/([1-7])/[^/]+$", re.IGNORECASE)
LOOKED_FOR = (
    "EmoLabel/list_patition_label.txt (the published set), train_labels.csv or test_labels.csv (the repack), "
    "or images in train/1 … test/7"
)
"""What an emotion is read from."""
SEPARATORS = re.compile(r"[\s,;]+")

T = TypeVar("T")
Cell = tuple[str, str, str]
"""Emotion, attribute, category."""


class Label(NamedTuple):
    """The emotion of one image and where it is written, for messages."""

    emotion: str
    place: str


class RafDb:
    """`root` is a folder or a zip; `annotations` another one with the annotations, where `root` has none.

    images: aligned (100×100 face crops) or original (photographs). split: all, train or test.
    crop: of original images, whole or face: the box of Annotation/boundingbox, widened on each side by `margin` times
    its own width and height, and cut at the edges of the photograph.
    unsure=drop leaves out faces of unsure gender; a note says how many.
    missing: whether a label without its image or face box, or the reverse, is an error or skipped with a warning.
    Without manual annotations the seeds carry no gender, ethnicity and age, and a warning says so. When the whole set is
    given its composition is compared with the published one: a note says that it agrees, a warning what differs.
    """

    concept_kind = "emotion"

    def __init__(
        self,
        root: str | Path,
        *,
        images: str = "aligned",
        crop: str = "whole",
        margin: float = 0.25,
        split: str = "all",
        unsure: str = "keep",
        missing: str = "error",
        annotations: str | Path | None = None,
    ) -> None:
        self._images = one_of("images", images, ("aligned", "original"))
        self._crop = one_of("crop", crop, ("whole", "face"))
        if crop == "face" and images == "aligned":
            raise ValueError("crop=face cuts faces out of images=original; aligned images are faces already")
        if not 0 <= margin < math.inf:
            raise ValueError(f"margin must be a share of the face box, at least 0; got {margin}")
        self._margin = margin
        self._splits = ("train", "test") if one_of("split", split, ("all", "train", "test")) == "all" else (split,)
        self._unsure = one_of("unsure", unsure, ("keep", "drop"))
        self._missing = one_of("missing", missing, ("error", "skip"))
        self._tree = Tree(root)
        self._annotations = self._tree if annotations is None else Tree(annotations)
        self._notes: list[str] = []

    def fingerprint(self) -> str:
        sizes = {seed.source: self._tree.size(seed.source) for seed in self._seeds}
        faces = {} if self._crop == "whole" else {"faces": json.dumps(self._boxes, sort_keys=True)}
        return fingerprint(self._seeds, sizes, images=self._images, **faces)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    def notes(self) -> list[str]:
        """How many seeds there are, how many were left out and why, and whether the whole set is as published."""
        return [f"RAF-DB: {len(self._seeds)} seeds of {self._images} images", *self._notes]

    @cached_property
    def _seeds(self) -> list[Seed]:
        labels = self._of_splits(read_labels(self._tree))
        pictures = self._pictures(labels)
        ids = matched(labels, pictures, self._missing)
        people = self._people(ids)
        if self._crop == "face":
            ids = matched(ids, self._boxes, self._missing, "a face box")
        seeds = [self._seed(seed_id, labels[seed_id].emotion, people, pictures[seed_id]) for seed_id in ids]
        if len(seeds) >= WHOLE_SET and check_composition(seeds):
            self._notes.append(f"RAF-DB: the composition of its {len(seeds)} images is the published one")
        where = f"{self._tree.root} has none with split in {'/'.join(self._splits)} and unsure={self._unsure}"
        return not_empty(self._sure(seeds), where)

    def _of_splits(self, by_id: Mapping[str, T]) -> dict[str, T]:
        return {seed_id: value for seed_id, value in by_id.items() if _split(seed_id) in self._splits}

    def _pictures(self, labels: Mapping[str, Label]) -> dict[str, Member]:
        """The image of each seed_id, of the kind asked for."""
        kinds = defaultdict[str, list[Member]](list)
        for member in _basic(self._tree):
            if IMAGE.fullmatch(_base(member)):
                kinds[_kind(member.name)].append(member)
        found = self._of_splits(_by_id(kinds[self._images], IMAGE, same=lambda member: member.size))
        if labels and not found:
            others = ", ".join(f"{len(members)} {kind}" for kind, members in sorted(kinds.items()) if members)
            raise DataError(
                f"{self._tree.root} has no {self._images} images (like {_example(self._images)}) of split "
                f"{'/'.join(self._splits)}; it has {others or 'none of the other kind either'}. "
                f"Found {some(self._tree.names())}"
            )
        return found

    def _people(self, ids: list[str]) -> dict[str, dict[str, str]]:
        """Gender, ethnicity and age of each seed_id that has a manual annotation; a warning says how many have none."""
        manual = _by_id(_basic(self._annotations), MANUAL, same=lambda member: member.read())
        without = [seed_id for seed_id in ids if seed_id not in manual]
        if without:
            warnings.warn(
                f"RAF-DB: no gender, ethnicity and age for {len(without)} of {len(ids)} images, because their "
                f"Annotation/manual/*_manu_attri.txt are not in {self._annotations.root} ({some(without)})",
                stacklevel=2,
            )
        return {seed_id: read_people(manual[seed_id]) for seed_id in ids if seed_id in manual}

    @cached_property
    def _boxes(self) -> dict[str, tuple[float, ...]]:
        """The face box of each seed_id."""
        boxes = self._of_splits(_by_id(_basic(self._annotations), BOX, same=lambda member: member.read()))
        return {seed_id: read_box(member) for seed_id, member in boxes.items()}

    def _seed(self, seed_id: str, emotion: str, people: Mapping[str, Mapping[str, str]], member: Member) -> Seed:
        return Seed(
            seed_id=seed_id,
            dataset="raf_db",
            concept_kind="emotion",
            concept=emotion,
            labels={**people.get(seed_id, {}), "emotion": emotion},
            picture=partial(picture, member) if self._crop == "whole" else partial(cropped, member, self._face(seed_id)),
            split=_split(seed_id),
            source=member.name,
        )

    def _face(self, seed_id: str) -> tuple[float, float, float, float]:
        left, top, right, bottom = self._boxes[seed_id]
        across, down = self._margin * (right - left), self._margin * (bottom - top)
        return left - across, top - down, right + across, bottom + down

    def _sure(self, seeds: list[Seed]) -> list[Seed]:
        if self._unsure == "keep":
            return seeds
        sure = [seed for seed in seeds if seed.labels.get("gender") != "unsure"]
        self._notes.append(f"RAF-DB: unsure=drop left out {len(seeds) - len(sure)} of {len(seeds)} images of unsure gender")
        return sure


def read_labels(tree: Tree) -> dict[str, Label]:
    """The emotion of each seed_id: from the list file, the tables of the repack or, without either, its folders 1–7."""
    members = _basic(tree)
    lists = _distinct([member for member in members if LIST.fullmatch(_base(member))])
    tables = [member for member in members if TABLE.fullmatch(_base(member))]
    in_folders = [member for member in members if FOLDER.search(member.name) and IMAGE.fullmatch(_base(member))]
    if len(lists) > 1 or (lists and tables):
        several = some(member.name for member in (*lists, *tables))
        raise DataError(f"{tree.root} holds several label files ({several}); give the folder of one set as root")
    if lists:
        return _unique_labels(_list_rows(lists[0]))
    if tables:
        labels = _unique_labels(row for member in tables for row in _table_rows(member))
        _folder_labels(in_folders, known=labels)
        return labels
    if in_folders:
        return _folder_labels(in_folders, known={})
    raise DataError(f"no RAF-DB in {tree.root}: looked for {LOOKED_FOR}. Found {some(tree.names())}")


def read_box(member: Member) -> tuple[float, ...]:
    """Left, top, right and bottom of a face in the original image, in pixels."""
    fields = SEPARATORS.split(text(member.name, member.read()).strip())
    try:
        left, top, right, bottom = box = tuple(float(field) for field in fields)
    except ValueError:
        raise DataError(f"{member.name}: expected left, top, right and bottom, found {' '.join(fields)[:80]!r}") from None
    if not (all(map(math.isfinite, box)) and left < right and top < bottom):
        raise DataError(f"{member.name}: {box} is no box with left before right and top before bottom")
    return box


def read_people(member: Member) -> dict[str, str]:
    """Gender, ethnicity and age of one manual annotation: the last three fields, whatever separates them."""
    fields = SEPARATORS.split(text(member.name, member.read()).strip())
    if len(fields) < len(PEOPLE):
        raise DataError(f"{member.name}: expected landmarks, then gender, ethnicity and age; found {' '.join(fields)!r}")
    coded = zip(PEOPLE.items(), fields[-len(PEOPLE) :], strict=True)
    return {attribute: _decoded(code, names, 0, f"{member.name}: {attribute}") for (attribute, names), code in coded}


def check_composition(seeds: Sequence[Seed]) -> bool:
    """Whether the counts of the whole set are the published ones, for the attributes that the seeds carry; warns if not."""
    found = _composition(seeds)
    carried = {attribute for _, attribute, _ in found}
    published = {cell: count for cell, count in published_composition().items() if cell[1] in carried}
    wrong = [cell for cell in sorted({*published, *found}) if found[cell] != published.get(cell, 0)]
    if wrong:
        shown = some((f"{' '.join(cell)} {found[cell]} (published {published.get(cell, 0)})" for cell in wrong), 10)
        counts = f"{len(published)} published counts of images by emotion"
        warnings.warn(f"RAF-DB: {len(seeds)} images are here, but of the {counts} some differ, {shown}", stacklevel=2)
    return not wrong


def published_composition() -> dict[Cell, int]:
    """Images of each emotion by split, gender, ethnicity and age group."""
    content = (files("driftloop.datasets") / "raf_db_composition.csv").read_text("utf-8")
    rows = csv.DictReader(content.splitlines())
    cells = {(row["emotion"], row["attribute"], row["category"]): int(row["count"]) for row in rows}
    for split, counts in SPLIT_COUNTS.items():
        cells |= {(emotion, "split", split): count for emotion, count in zip(EMOTIONS, counts, strict=True)}
    return cells


def _composition(seeds: Iterable[Seed]) -> Counter[Cell]:
    cells = Counter[Cell]()
    for seed in seeds:
        cells[seed.concept, "split", seed.split] += 1
        cells.update((seed.concept, *label) for label in seed.labels.items() if label[0] in PEOPLE)
    return cells


def _basic(tree: Tree) -> list[Member]:
    """The files of the tree without those of the compound-emotion set, whose images have the same names."""
    return [member for name, member in tree.members.items() if "compound" not in name.lower().split("/")]


def _distinct(members: list[Member]) -> list[Member]:
    """One of each content, nearest to the root first: copies of a label file beside each other are one."""
    by_content = {member.read(): member for member in sorted(members, key=lambda member: -member.name.count("/"))}
    return list(by_content.values())


def _by_id(members: Iterable[Member], pattern: re.Pattern[str], same: Callable[[Member], object]) -> dict[str, Member]:
    """The file of each seed_id. A zip and its unpacked copy beside each other are one when `same` gives the same."""
    chosen: dict[str, Member] = {}
    for member in members:
        if match := pattern.fullmatch(_base(member)):
            other = chosen.setdefault(_id_of(match), member)
            if other is not member and same(other) != same(member):
                raise DataError(f"{other.name} and {member.name} are different files of one image; remove one")
    return chosen


def _list_rows(member: Member) -> Iterator[tuple[str, Label]]:
    for number, line in enumerate(text(member.name, member.read()).splitlines(), 1):
        fields = SEPARATORS.split(line.strip())
        place = f"{member.name} line {number}"
        if fields == [""]:
            continue
        if len(fields) != 2:
            raise DataError(f"{place}: expected an image name and a label like 'train_00001.jpg 5', got {line[:80]!r}")
        yield _seed_id(fields[0], place), Label(_decoded(fields[1], EMOTIONS, 1, f"{place}: label"), place)


def _table_rows(member: Member) -> Iterator[tuple[str, Label]]:
    table = read_table(member.name, member.read())
    table.require("image", "label")
    for row in table.rows:
        emotion = _decoded(row.need("label"), EMOTIONS, 1, f"{row.place}: label")
        yield _seed_id(row.need("image"), row.place), Label(emotion, row.place)


def _unique_labels(rows: Iterable[tuple[str, Label]]) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    for seed_id, label in rows:
        if seed_id in labels:
            raise DataError(f"{seed_id} is labelled twice: {labels[seed_id].place} and {label.place}")
        labels[seed_id] = label
    return labels


def _folder_labels(members: Iterable[Member], known: Mapping[str, Label]) -> dict[str, Label]:
    """The emotion that each image's folder says; refused where it differs from what is known of the image."""
    labels: dict[str, Label] = {}
    for member in members:
        seed_id = _seed_id(_base(member), member.name)
        label = Label(EMOTIONS[int(FOLDER.findall(member.name)[0]) - 1], member.name)
        other = known.get(seed_id) or labels.setdefault(seed_id, label)
        if other.emotion != label.emotion:
            raise DataError(f"{seed_id} is {label.emotion} by its folder ({label.place}), {other.emotion} by {other.place}")
    return labels


def _decoded(code: str, names: tuple[str, ...], first: int, what: str) -> str:
    known = {str(number): name for number, name in enumerate(names, first)}
    if code not in known:
        allowed = ", ".join(f"{number} {name}" for number, name in known.items())
        raise DataError(f"{what} {code[:40]!r} is unknown; known are {allowed}")
    return known[code]


def _seed_id(file_name: str, place: str) -> str:
    match = IMAGE.fullmatch(file_name)
    if match is None:
        raise DataError(f"{place}: {file_name[:80]!r} is no image name of RAF-DB (like train_00001.jpg)")
    return _id_of(match)


def _id_of(match: re.Match[str]) -> str:
    """ "raf-train-00001", "raf-test-0001": digits as in the published names, however a copy pads them."""
    split = match[1].lower()
    return f"raf-{split}-{int(match[2]):0{5 if split == 'train' else 4}d}"


def _split(seed_id: str) -> str:
    return seed_id.split("-")[1]


def _kind(name: str) -> str:
    """Aligned images say so in their name or folder; the repack holds no others."""
    *folders, base = name.lower().split("/")
    return "aligned" if "_aligned." in base or "aligned" in folders or FOLDER.search(name) else "original"


def _example(kind: str) -> str:
    return "aligned/train_00001_aligned.jpg" if kind == "aligned" else "original/train_00001.jpg"


def _base(member: Member) -> str:
    return member.name.rsplit("/", 1)[-1]
