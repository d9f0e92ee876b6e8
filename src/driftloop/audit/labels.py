"""Labels that people exported from the page, read back: nothing in such a file is taken on trust."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from driftloop.audit.sample import DESIGN, SAMPLE, Design, design_id
from driftloop.core.errors import ConfigError, nearest
from driftloop.core.store import Store, write_bytes

FOLDER = "audit/labels"
CANNOT_TELL = "cannot tell"
COLUMNS = ["run", "design", "item", "attribute", "label", "annotator", "at"]
MOST_BYTES = 64 * 2**20


def take_in(store: Store, paths: Iterable[Path]) -> None:
    """Checks exported files and keeps a copy of each in the run, so that later analyses have them too."""
    for path in paths:
        content = _content(path)
        read_file(path, content, *_asked(store))
        name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}{path.suffix.lower()}"
        if not any(_content(other) == content for other in files(store)):
            write_bytes(store.folder / FOLDER / name, content)


def files(store: Store) -> list[Path]:
    """The label files of the run, those that somebody dropped there included."""
    folder = store.folder / FOLDER
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in (".csv", ".json") and path.name[0] != ".")


def state(store: Store) -> dict[str, str]:
    """A hash of the sample and of every label file."""
    known = [path for path in (store.folder / DESIGN, store.folder / SAMPLE) if path.exists()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in [*known, *files(store)]}


def read_labels(store: Store) -> pd.DataFrame:
    """One row an item, attribute and annotator: COLUMNS. Of two labels by the same annotator the later one counts."""
    asked = _asked(store) if files(store) else None
    rows = [row for path in files(store) for row in read_file(path, _content(path), *(asked or ()))]
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    table = table.sort_values("at", kind="stable", key=lambda column: column.astype(str))
    return table.drop_duplicates(["item", "attribute", "annotator"], keep="last", ignore_index=True)


def _asked(store: Store) -> tuple[Design, set[str]]:
    """The design and the items of this run's sample."""
    design = store.read_json(DESIGN)
    if not design:
        raise ConfigError(f"{store.run_id} has labels but no sample that was to be labelled; run it with 'stages=[audit]'")
    return design, set(store.read_table(SAMPLE)["item"])


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path} is larger than {MOST_BYTES >> 20} MiB; that is no file of labels")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the labels in {path}: {error.strerror or error}") from error


def read_file(path: Path, content: bytes, design: Design, items: set[str]) -> list[dict[str, str]]:
    """The rows of one exported file. ConfigError with file, row and what is allowed when anything is unknown."""
    rows = _parsed(path, content)
    for number, row in enumerate(rows, 1):
        _check_row(f"{path.name}, label {number}", row, design, items)
    return rows


def _parsed(path: Path, content: bytes) -> list[dict[str, str]]:
    try:
        text = content.decode("utf-8-sig")
        found = _from_json(json.loads(text)) if path.suffix.lower() == ".json" else _from_csv(text)
    except (ValueError, TypeError, KeyError, AttributeError, csv.Error, RecursionError) as error:
        raise ConfigError(f"{path} is no file that the audit page exported: {error}") from error
    if any(not isinstance(row[name], str) for row in found for name in COLUMNS):
        raise ConfigError(f"{path} is no file that the audit page exported: a value is no text")
    return found


def _from_csv(text: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text))
    if missing := set(COLUMNS) - set(reader.fieldnames or ()):
        raise ValueError(f"it has no column {', '.join(sorted(missing))}; columns are {', '.join(COLUMNS)}")
    return [{name: row[name] for name in COLUMNS} for row in reader]


def _from_json(body: Mapping[str, Any]) -> list[dict[str, str]]:
    shared = {name: body[name] for name in ("run", "design", "annotator")}
    return [{**shared, **{name: row[name] for name in ("item", "attribute", "label", "at")}} for row in body["labels"]]


def _check_row(where: str, row: Mapping[str, str], design: Design, items: set[str]) -> None:
    if (row["run"], row["design"]) != (design["run"], design_id(design)):
        raise ConfigError(
            f"{where}: made for sample {row['design']!r} of run {row['run']!r}; "
            f"this is sample {design_id(design)!r} of run {design['run']!r}"
        )
    if row["item"] not in items:
        raise ConfigError(f"{where}: there is no item {row['item']!r} in the sample of {len(items)}")
    _check_known(where, "attribute", row["attribute"], list(design["attributes"]))
    _check_known(where, f"label of {row['attribute']}", row["label"], [*design["attributes"][row["attribute"]], CANNOT_TELL])
    if not row["annotator"].strip():
        raise ConfigError(f"{where}: no annotator is named")


def _check_known(where: str, what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{where}: unknown {what} {value!r}.{nearest(value, allowed)} Allowed: {', '.join(allowed)}.")
