"""A Hugging Face `datasets` folder on this disk: of save_to_disk, an image folder, or parquet files. No network, no code.

Needs the optional extra `huggingface_datasets`. Only the readers that come with `datasets` are used, by name: a script in
the folder is never run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.core.errors import ConfigError, nearest
from driftloop.core.records import Seed
from driftloop.datasets.checks import concept, fingerprint, not_empty, plain_id, unique
from driftloop.datasets.pictures import SUFFIXES, opened
from driftloop.datasets.tree import DataError, some

if TYPE_CHECKING:
    from PIL.Image import Image

Rows = Any
"""A `datasets.Dataset`; the library is imported only where it is used."""


class HuggingFace:
    """`root` is a folder. Splits are read together, or the one that `split` names.

    image_column, label_columns (attribute -> column) and concept_column name columns; class labels become their names.
    concept_column=None: every seed has the concept "image". id_column: where seed_id stands; without it the split and the
    row number are the id. cache: where an image folder or parquet files are kept unpacked; None is the library's own place.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        image_column: str = "image",
        concept_column: str | None = "label",
        concept_kind: str = "concept",
        id_column: str | None = None,
        label_columns: Mapping[str, str] | None = None,
        split: str | None = None,
        name: str = "huggingface",
        cache: str | Path | None = None,
    ) -> None:
        self.concept_kind = concept_kind
        self._root = Path(root).expanduser().resolve()
        if not self._root.is_dir():
            raise DataError(f"no data set at {self._root}: the root must be an existing folder")
        self._image_column, self._concept_column, self._id_column = image_column, concept_column, id_column
        self._label_columns = dict(label_columns or {})
        self._split, self._name, self._cache = split, name, cache

    def fingerprint(self) -> str:
        return fingerprint(self._seeds, self._sizes, concept_kind=self.concept_kind)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    @cached_property
    def _splits(self) -> dict[str, Rows]:
        """The rows of each split asked for, images not decoded."""
        found = _opened(self._root, self._cache)
        if self._split is not None and self._split not in found:
            have = ", ".join(found)
            raise DataError(f"{self._root} has no split {self._split!r}; it has {have}.{nearest(self._split, found)}")
        return {split: self._undecoded(rows) for split, rows in found.items() if self._split in (None, split)}

    def _undecoded(self, rows: Rows) -> Rows:
        asked = (self._image_column, self._concept_column, self._id_column, *self._label_columns.values())
        for column in filter(None, asked):
            if column not in rows.column_names:
                have = ", ".join(rows.column_names)
                raise DataError(f"{self._root} has no column {column!r}; it has {have}.{nearest(column, rows.column_names)}")
        return rows.cast_column(self._image_column, _library().Image(decode=False))

    @cached_property
    def _seeds(self) -> list[Seed]:
        seeds = [seed for split, rows in self._splits.items() for seed in self._of(split, rows)]
        unique((seed.seed_id, seed.source) for seed in seeds)
        return not_empty(seeds, f"{self._root} has no rows")

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Bytes of every image, by source."""
        return {
            _source(split, number): size
            for split, rows in self._splits.items()
            for number, size in enumerate(_sizes(rows, self._image_column, self._root))
        }

    def _of(self, split: str, rows: Rows) -> Iterator[Seed]:
        columns = {*self._label_columns.values(), *filter(None, (self._concept_column, self._id_column))}
        texts = {column: _texts(rows, column) for column in columns}
        for number in range(len(rows)):
            said = {column: cells[number] for column, cells in texts.items() if cells[number]}
            yield self._seed(split, number, said, rows)

    def _seed(self, split: str, number: int, said: Mapping[str, str], rows: Rows) -> Seed:
        place = f"{split} row {number}"
        for column in filter(None, (self._concept_column, self._id_column)):
            if column not in said:
                raise DataError(f"{place}: column {column!r} is empty")
        shown = "image" if self._concept_column is None else said[self._concept_column]
        seed_id = f"{split}-{number:07d}" if self._id_column is None else said[self._id_column]
        return Seed(
            seed_id=plain_id(seed_id, place),
            dataset=self._name,
            concept_kind=self.concept_kind,
            concept=concept(shown, place),
            labels={attribute: said[column] for attribute, column in self._label_columns.items() if column in said},
            picture=partial(_picture, rows, number, self._image_column, self._root),
            split=split,
            source=_source(split, number),
        )


def _library() -> Any:
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # read when datasets is first imported
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError("dataset=huggingface needs its extra: pip install 'driftloop[huggingface_datasets]'") from error
    return datasets


def _opened(root: Path, cache: str | Path | None) -> dict[str, Rows]:
    """The splits of a folder, by what is in it."""
    datasets, keep = _library(), None if cache is None else str(cache)
    if (root / "dataset_dict.json").exists():
        return dict(datasets.load_from_disk(str(root)))
    if (root / "state.json").exists():
        return {"all": datasets.load_from_disk(str(root))}
    if tables := sorted(path for path in root.rglob("*.parquet") if path.resolve().is_relative_to(root)):
        return dict(datasets.load_dataset("parquet", data_files=_by_split(root, tables), cache_dir=keep))
    if any(path.suffix.lower() in SUFFIXES for path in root.rglob("*")):
        return dict(datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=keep))
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    raise DataError(f"no Hugging Face data set in {root}: looked for state.json, *.parquet and images. Found {some(names)}")


def _by_split(root: Path, tables: Sequence[Path]) -> dict[str, list[str]]:
    """Parquet files by their folder or, in the root or its data/, by what their names begin with: train-00000-of-00001."""
    found: dict[str, list[str]] = {}
    for path in tables:
        split = path.stem.split("-")[0] if path.parent in (root, root / "data") else path.parent.name
        found.setdefault(split, []).append(str(path))
    return found


def _texts(rows: Rows, column: str) -> list[str]:
    """The cells of a column as text, class labels by name, nothing for null."""
    names = getattr(rows.features[column], "names", None)
    return [_text(cell, names) for cell in rows[column]]


def _text(cell: Any, names: Sequence[str] | None) -> str:
    if cell is None or (names and cell == -1):  # -1 is the library's class label of unlabelled rows
        return ""
    return (names[cell] if names else str(cell)).strip()


def _sizes(rows: Rows, column: str, root: Path) -> Iterator[int]:
    """Bytes of each image: of those held in the table by their lengths alone, so that nothing is read."""
    import pyarrow.compute as pc

    cells = rows.with_format("arrow")[:][column]
    lengths = pc.binary_length(pc.struct_field(cells, "bytes")).to_pylist()
    for length, path in zip(lengths, pc.struct_field(cells, "path").to_pylist(), strict=True):
        yield _file(path, root).stat().st_size if length is None and path is not None else length or 0


def _picture(rows: Rows, number: int, column: str, root: Path) -> Image:
    cell = rows[number][column]
    if cell is None:
        raise DataError(f"row {number} has no image")
    return opened(BytesIO(cell["bytes"] or _file(cell["path"], root).read_bytes()), f"row {number}")


def _file(path: str, root: Path) -> Path:
    """The file that a row names, which must lie inside the root."""
    file = (root / path).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        raise DataError(f"{path!r} is no file inside {root}")
    return file


def _source(split: str, number: int) -> str:
    return f"{split}/{number}"
