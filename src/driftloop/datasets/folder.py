"""Any folder or zip of images with a table of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from driftloop.core.records import Seed
from driftloop.datasets.checks import concept, fingerprint, matched, not_empty, one_of, plain_id, unique
from driftloop.datasets.pictures import SUFFIXES, picture
from driftloop.datasets.table import Row, Table, read_table
from driftloop.datasets.tree import DataError, Tree, inside

PREFIX = "label_"
ATTRIBUTES = ("gender", "age", "race", "ethnicity", "skintone", "emotion", "activity")
"""Columns taken as human labels when they are called so, next to every `label_<attribute>`."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the table with the id, the image and the concept that it says."""

    row: Row
    seed_id: str
    image: str
    concept: str


class Folder:
    """`labels` is a .csv, .tsv or .parquet inside `root`; image names in it are relative to where it lies.

    id_column: where seed_id stands; without it the image name is the id, with `-` for `/`.
    concept_column=None: every seed has the concept "image"; an empty concept in a column is an error.
    label_columns: attribute -> column; without it the columns `label_<attribute>`, and those called gender, age, race,
    ethnicity, skintone, emotion or activity. An empty cell is an absent label.
    missing: whether a label without its image, or the reverse, is an error or skipped with a warning.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        labels: str = "labels.csv",
        image_column: str = "image",
        concept_column: str | None = "concept",
        concept_kind: str = "concept",
        id_column: str | None = None,
        split_column: str | None = None,
        label_columns: Mapping[str, str] | None = None,
        missing: str = "error",
        name: str = "folder",
    ) -> None:
        self.concept_kind = concept_kind
        self._tree = Tree(root)
        self._table = inside(labels)
        self._image_column, self._concept_column = image_column, concept_column
        self._id_column, self._split_column = id_column, split_column
        self._label_columns = None if label_columns is None else dict(label_columns)
        self._missing = one_of("missing", missing, ("error", "skip"))
        self._name = name

    def fingerprint(self) -> str:
        sizes = {seed.source: self._tree.size(seed.source) for seed in self._seeds}
        return fingerprint(self._seeds, sizes, concept_kind=self.concept_kind)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    @cached_property
    def _seeds(self) -> list[Seed]:
        table = read_table(self._table, self._tree.read(self._table))
        columns = self._attributes(table)
        lines = [self._line(row) for row in table.rows]
        unique((line.seed_id, line.row.place) for line in lines)
        images = [name for name in self._tree.names() if PurePosixPath(name).suffix.lower() in SUFFIXES]
        usable = set(matched({line.image for line in lines}, images, self._missing))
        seeds = [self._seed(line, columns) for line in lines if line.image in usable]
        return not_empty(sorted(seeds, key=lambda seed: seed.seed_id), f"{self._table} names no image that is there")

    def _attributes(self, table: Table) -> dict[str, str]:
        """Attribute -> column, after a look that every column asked for is there."""
        asked = (self._image_column, self._concept_column, self._id_column, self._split_column)
        table.require(*(column for column in asked if column is not None))
        if self._label_columns is None:
            names = {self._image_column, self._id_column, self._split_column}
            return _found_attributes([column for column in table.columns if column not in names])
        table.require(*self._label_columns.values())
        return self._label_columns

    def _line(self, row: Row) -> _Line:
        try:
            image = inside(row.need(self._image_column), str(PurePosixPath(self._table).parent))
        except DataError as error:
            raise DataError(f"{row.place}: {error}") from error
        seed_id = image.replace("/", "-") if self._id_column is None else row.need(self._id_column)
        return _Line(row, plain_id(seed_id, row.place), image, self._concept(row))

    def _concept(self, row: Row) -> str:
        return "image" if self._concept_column is None else concept(row.need(self._concept_column), row.place)

    def _seed(self, line: _Line, columns: Mapping[str, str]) -> Seed:
        cells = line.row.cells
        return Seed(
            seed_id=line.seed_id,
            dataset=self._name,
            concept_kind=self.concept_kind,
            concept=line.concept,
            labels={attribute: cells[column] for attribute, column in columns.items() if column in cells},
            picture=partial(picture, self._tree.member(line.image)),
            split="" if self._split_column is None else cells.get(self._split_column, ""),
            source=line.image,
        )


def _found_attributes(columns: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for column in columns:
        attribute = column.removeprefix(PREFIX)
        if attribute == column and column not in ATTRIBUTES:
            continue
        if found.setdefault(attribute, column) != column:
            both = f"columns {found[attribute]!r} and {column!r} both label {attribute}"
            raise DataError(f"{both}; name one of them in label_columns")
    return found
