"""Rounds that were played elsewhere: a folder or zip of images with a table that says what is what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from driftloop.core.records import Seed
from driftloop.datasets import rounds
from driftloop.datasets.checks import concept, one_of, plain_id
from driftloop.datasets.rounds import About, Line, Recording
from driftloop.datasets.table import Row, Table, read_table
from driftloop.datasets.tree import DataError, Member, Tree, inside

PREFIX = "label_"


class RecordedRounds:
    """`rounds` is a .csv, .tsv or .parquet inside `root` with a row a chain-round; image names are relative to it.

    Columns: seed_id, round and image; caption, replicate (0 without), concept, split and label_<attribute> where there are
    any. What is said of a seed in several rows must agree. Round 0 is the seed's image with its caption; without an image
    its caption is the prompt that the chain began with.
    missing: whether a chain-round that others have is an error, or skip makes it a failed row.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        rounds: str = "rounds.csv",
        concept_kind: str = "concept",
        missing: str = "error",
        name: str = "recorded",
    ) -> None:
        self.concept_kind = concept_kind
        self._tree = Tree(root)
        self._table = inside(rounds)
        self._missing = one_of("missing", missing, ("error", "skip"))
        self._name = name

    def fingerprint(self) -> str:
        return rounds.history_fingerprint(self._recording, self._seeds, self.concept_kind)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    def notes(self) -> list[str]:
        """How far the recording goes, and what is missing of it."""
        return rounds.notes(self._recording)

    @cached_property
    def _seeds(self) -> list[Seed]:
        return rounds.seeds(self._recording, self._about, self._name, self.concept_kind)

    @cached_property
    def _rows(self) -> Table:
        table = read_table(self._table, self._tree.read(self._table))
        table.require("seed_id", "round", "image")
        return table

    @cached_property
    def _recording(self) -> Recording:
        return rounds.recording(map(self._line, self._rows.rows), self._missing, f"{self._tree.root}/{self._table}")

    def _line(self, row: Row) -> Line:
        return Line(
            seed_id=plain_id(row.need("seed_id"), row.place),
            replicate=_number(row, "replicate", "0"),
            round=_number(row, "round"),
            image=self._image(row),
            caption=row.cells.get("caption"),
            place=row.place,
        )

    def _image(self, row: Row) -> Member | None:
        if "image" not in row.cells:
            return None
        try:
            name = inside(row.cells["image"], str(PurePosixPath(self._table).parent))
            return self._tree.members.get(name) if self._missing == "skip" else self._tree.member(name)
        except DataError as error:
            raise DataError(f"{row.place}: {error}") from error

    @property
    def _about(self) -> dict[str, About]:
        said: dict[str, dict[str, str]] = {}
        for row in self._rows.rows:
            known = said.setdefault(row.need("seed_id"), {})
            for column, text in row.cells.items():
                if (column in {"concept", "split"} or column.startswith(PREFIX)) and known.setdefault(column, text) != text:
                    raise DataError(f"{row.place}: {column} of {row.need('seed_id')} is {text!r}, before {known[column]!r}")
        return {seed_id: about(cells, f"{self._table}: {seed_id}") for seed_id, cells in said.items()}


def about(cells: Mapping[str, str], place: str) -> About:
    """What columns concept, split and label_<attribute> say of a seed."""
    labels = {column.removeprefix(PREFIX): text for column, text in cells.items() if column.startswith(PREFIX)}
    return About(concept(cells.get("concept", "image"), place), labels, cells.get("split", ""))


def _number(row: Row, column: str, absent: str | None = None) -> int:
    said = row.need(column) if absent is None else row.cells.get(column, absent)
    if not (said.isascii() and said.isdigit() and len(said) < 7):
        raise DataError(f"{row.place}: {column} must be a whole number from 0, got {said[:40]!r}")
    return int(said)
