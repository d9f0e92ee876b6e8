"""Reads a table of labels (.csv, .tsv, .parquet) as rows of texts, each knowing where it stands."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from driftloop.core.errors import nearest
from driftloop.datasets.tree import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `cells` maps a column to its text, without empty cells. `place` is for messages: "labels.csv line 3"."""

    place: str
    cells: Mapping[str, str]

    def need(self, column: str) -> str:
        try:
            return self.cells[column]
        except KeyError:
            raise DataError(f"{self.place}: column {column!r} is empty") from None


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def require(self, *columns: str) -> None:
        """Refuses a table that lacks one of the columns."""
        for column in columns:
            if column not in self.columns:
                have = ", ".join(self.columns)
                raise DataError(f"{self.name} has no column {column!r}; it has {have}.{nearest(column, self.columns)}")


def read_table(name: str, data: bytes) -> Table:
    """The table in `data`, by the suffix of `name`. CSV has a header line; texts stay as they are written: "01" too."""
    suffix = name[name.rfind(".") :].lower()
    if suffix == ".parquet":
        return _parquet(name, data)
    if suffix not in DELIMITERS:
        raise DataError(f"{name}: tables are read from .csv, .tsv and .parquet")
    return _csv(name, text(name, data), DELIMITERS[suffix])


def text(name: str, data: bytes) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text ({error})") from error


def _csv(name: str, content: str, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = tuple(column.strip() for column in next(reader, []))
        _check_header(name, columns)
        return Table(name, columns, tuple(_csv_rows(name, reader, columns)))
    except csv.Error as error:
        raise DataError(f"{name} line {reader.line_num}: {error}") from error


def _csv_rows(name: str, reader: Iterator[list[str]], columns: tuple[str, ...]) -> Iterator[Row]:
    for values in reader:
        place = f"{name} line {reader.line_num}"  # type: ignore[attr-defined]
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(columns):
            raise DataError(f"{place}: {len(values)} fields, but the header names {len(columns)}")
        stripped = zip(columns, map(str.strip, values), strict=True)
        yield Row(place, {column: value for column, value in stripped if value})


def _parquet(name: str, data: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} is not a readable parquet file ({error})") from error
    columns = tuple(str(column) for column in table.column_names)
    _check_header(name, columns)
    return Table(name, columns, tuple(_parquet_row(name, n, row) for n, row in enumerate(table.to_pylist(), 1)))


def _parquet_row(name: str, number: int, row: Mapping[str, object]) -> Row:
    texts = ((column, _cell(value)) for column, value in row.items())
    return Row(f"{name} row {number}", {column: value for column, value in texts if value})


def _cell(value: object) -> str:
    """The value as CSV would have it: whole numbers without a point, nothing for null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip().removesuffix(".0") if isinstance(value, float) else str(value).strip()


def _check_header(name: str, columns: tuple[str, ...]) -> None:
    if not columns:
        raise DataError(f"{name} is empty: a header line with the names of the columns was expected")
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(f"{name} names the column {twice[0]!r} twice")
