"""Text prompts as seeds: a chain then starts from a caption, without an image of round 0."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from driftloop.core.records import Seed
from driftloop.datasets.checks import concept, fingerprint, not_empty, plain_id, unique
from driftloop.datasets.table import Row, read_table, text
from driftloop.datasets.tree import DataError


class Prompts:
    """Give `prompts`, or a `file`: .txt with one prompt a line, or a table with columns prompt (and concept, id).

    A prompt without a concept has the concept "prompt". Without an id its seed_id is a hash of concept and prompt, so
    that it stays the same when other prompts come and go. Repetitions of a prompt are `replicates`, not more seeds.
    """

    def __init__(
        self,
        *,
        prompts: Sequence[str] | None = None,
        file: str | Path | None = None,
        concept_kind: str = "prompt",
    ) -> None:
        if (prompts is None) == (file is None):
            raise ValueError("give either prompts (a list) or file (a path), not both and not neither")
        if isinstance(prompts, str):
            raise ValueError(f"prompts must be a list of texts, got the one text {prompts!r}")
        self.concept_kind = concept_kind
        self._prompts = prompts
        self._source = "prompts" if file is None else Path(file).name
        self._file = None if file is None else Path(file).expanduser()
        if self._file is not None and not self._file.is_file():
            raise DataError(f"no file of prompts at {self._file}")

    def fingerprint(self) -> str:
        return fingerprint(self._seeds, {}, concept_kind=self.concept_kind)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    @cached_property
    def _seeds(self) -> list[Seed]:
        rows = list(self._rows())
        seeds = [self._seed(row) for row in rows]
        unique((seed.seed_id, row.place) for seed, row in zip(seeds, rows, strict=True))
        return not_empty(seeds, f"{self._file or 'the list'} holds no prompt")

    def _rows(self) -> Iterable[Row]:
        if self._prompts is not None:
            return _numbered("prompt", self._prompts)
        assert self._file is not None  # noqa: S101 (the constructor saw to it)
        if self._file.suffix.lower() == ".txt":
            return _numbered(f"{self._file.name} line", text(self._file.name, self._file.read_bytes()).splitlines())
        table = read_table(self._file.name, self._file.read_bytes())
        table.require("prompt")
        return table.rows

    def _seed(self, row: Row) -> Seed:
        prompt, shown = row.need("prompt"), concept(row.cells.get("concept", "prompt"), row.place)
        seed_id = plain_id(row.cells.get("id") or _content_id(shown, prompt), row.place)
        return Seed(seed_id, "prompts", self.concept_kind, shown, caption=prompt, source=self._source)


def _numbered(what: str, lines: Iterable[object]) -> list[Row]:
    stripped = ((number, str(line).strip()) for number, line in enumerate(lines, 1))
    return [Row(f"{what} {number}", {"prompt": line}) for number, line in stripped if line]


def _content_id(concept: str, prompt: str) -> str:
    digest = hashlib.blake2b(f"{len(concept)}:{concept}{prompt}".encode(), digest_size=8)
    return f"prompt-{digest.hexdigest()}"
