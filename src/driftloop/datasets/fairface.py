"""FairFace (Kärkkäinen and Joo, WACV 2021; CC BY 4.0): 108,501 faces with perceived gender, age group and ethnicity.

A folder or zip with `train.csv` and `val.csv` (or `fairface_label_{train,val}.csv`) of columns file, age, gender, race,
service_test, and the images they name. It has neither emotion nor activity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from driftloop.core.errors import nearest
from driftloop.core.records import Seed
from driftloop.datasets.checks import fingerprint, matched, not_empty, one_of, plain_id, unique
from driftloop.datasets.pictures import SUFFIXES, picture
from driftloop.datasets.table import Row, read_table
from driftloop.datasets.tree import DataError, Tree, inside, some

AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
KNOWN: Mapping[str, Mapping[str, str]] = {
    "gender": {"male": "male", "female": "female"},
    "age": {age: age for age in AGES} | {"more than 70": "70+"},
    "ethnicity": {
        name: name
        for name in ("white", "black", "latino hispanic", "east asian", "southeast asian", "indian", "middle eastern")
    },
}
"""Attribute -> what the table says, in small letters -> category."""
COLUMNS = {"gender": "gender", "age": "age", "ethnicity": "race"}
TABLE = re.compile(r"(?:fairface_label_)?(train|val)\.csv", re.IGNORECASE)
CONCEPT_KINDS = ("image", *KNOWN)


class FairFace:
    """`root` is a folder or a zip. split: all, train or val.

    concept_kind: image (every seed has the concept "image") or gender, age, ethnicity: that label is the concept.
    missing: whether a label without its image, or the reverse, is an error or skipped with a warning.
    """

    def __init__(self, root: str | Path, *, concept_kind: str = "image", split: str = "all", missing: str = "error") -> None:
        self.concept_kind = one_of("concept_kind", concept_kind, CONCEPT_KINDS)
        self._splits = ("train", "val") if one_of("split", split, ("all", "train", "val")) == "all" else (split,)
        self._missing = one_of("missing", missing, ("error", "skip"))
        self._tree = Tree(root)

    def fingerprint(self) -> str:
        sizes = {seed.source: self._tree.size(seed.source) for seed in self._seeds}
        return fingerprint(self._seeds, sizes, concept_kind=self.concept_kind)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    @cached_property
    def _seeds(self) -> list[Seed]:
        lines = [(split, _image(row, folder), row) for split, folder, row in self._rows()]
        unique((_seed_id(image, row), row.place) for _, image, row in lines)
        usable = set(matched({image for _, image, _ in lines}, self._images(), self._missing))
        seeds = [self._seed(*line) for line in lines if line[1] in usable]
        return not_empty(seeds, f"{self._tree.root} has none with split in {'/'.join(self._splits)}")

    def _rows(self) -> Iterator[tuple[str, str, Row]]:
        """Split, folder of the table, and row."""
        tables = self._tables()
        if not tables:
            looked = " or ".join(f"{split}.csv" for split in self._splits)
            raise DataError(f"no FairFace in {self._tree.root}: looked for {looked}. Found {some(self._tree.names())}")
        for split, name in tables.items():
            table = read_table(name, self._tree.read(name))
            table.require("file", *COLUMNS.values())
            yield from ((split, str(PurePosixPath(name).parent), row) for row in table.rows)

    def _tables(self) -> dict[str, str]:
        """The table of each split asked for."""
        found: dict[str, str] = {}
        for name in self._tree.names():
            match = TABLE.fullmatch(PurePosixPath(name).name)
            if match and match[1].lower() in self._splits and found.setdefault(match[1].lower(), name) != name:
                both = some([found[match[1].lower()], name])
                raise DataError(f"{self._tree.root} holds several tables of {match[1]} ({both}); give the folder of one")
        return found

    def _images(self) -> list[str]:
        """The images in the folders of the splits asked for."""
        named = [PurePosixPath(name) for name in self._tree.names()]
        return [str(name) for name in named if name.suffix.lower() in SUFFIXES and name.parent.name.lower() in self._splits]

    def _seed(self, split: str, image: str, row: Row) -> Seed:
        labels = {attribute: _label(attribute, row) for attribute in KNOWN}
        return Seed(
            seed_id=_seed_id(image, row),
            dataset="fairface",
            concept_kind=self.concept_kind,
            concept=labels.get(self.concept_kind, "image"),
            labels=labels,
            picture=partial(picture, self._tree.member(image)),
            split=split,
            source=image,
        )


def _image(row: Row, folder: str) -> str:
    try:
        return inside(row.need("file"), folder)
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from error


def _seed_id(image: str, row: Row) -> str:
    """ "fairface-train-17" of train/17.jpg."""
    path = PurePosixPath(image)
    return plain_id(f"fairface-{path.parent.name}-{path.stem}", row.place)


def _label(attribute: str, row: Row) -> str:
    column, known = COLUMNS[attribute], KNOWN[attribute]
    said = row.need(column)
    plain = said.lower().replace("_", " ")
    if plain not in known:
        allowed = ", ".join(known)
        raise DataError(f"{row.place}: {column} {said[:40]!r} is unknown; known are {allowed}.{nearest(plain, known)}")
    return known[plain]
