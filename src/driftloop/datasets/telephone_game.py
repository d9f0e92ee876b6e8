"""The exchange layout of The Telephone Game (Mollah et al., arXiv 2509.04438): generations of images and of captions in turn.

`images-first/`: gen-0/ (images), gen-1.csv (columns filename, caption), gen-2/, gen-3.csv …; `captions-first/`: gen-0.csv,
gen-1/, gen-2.csv … A round here is an image and its caption: generations 2r and 2r + 1 where images come first, 2r − 1 and
2r where captions do. Files are matched by name, with or without its ending; never by position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from driftloop.core.records import Seed
from driftloop.datasets import rounds
from driftloop.datasets.checks import one_of, plain_id
from driftloop.datasets.pictures import SUFFIXES
from driftloop.datasets.recorded import about
from driftloop.datasets.rounds import About, Line, Recording
from driftloop.datasets.table import Row, read_table
from driftloop.datasets.tree import DataError, Member, Tree, inside, some

TABLE = re.compile(r"(?:(?P<side>.+)/)?gen-(?P<number>\d{1,4})\.csv")
IMAGE = re.compile(r"(?:(?P<side>.+)/)?gen-(?P<number>\d{1,4})/(?P<file>[^/]+)")
SIDES = {"images": ("images-first", "image-first"), "captions": ("captions-first", "caption-first", "text-first")}


class TelephoneGame:
    """`root` is a folder or a zip with the generations, or with images-first/ and captions-first/, or one of these.

    first: images or captions, needed where both are there.
    labels: a table inside `root` with columns filename, concept, split and label_<attribute>, where there is one.
    missing: whether an image that other generations have is an error, or skip makes its chain-round a failed row.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        first: str | None = None,
        labels: str | None = None,
        concept_kind: str = "concept",
        missing: str = "error",
        name: str = "telephone_game",
    ) -> None:
        self.concept_kind = concept_kind
        self._tree = Tree(root)
        self._first = None if first is None else one_of("first", first, tuple(SIDES))
        self._labels = None if labels is None else inside(labels)
        self._missing = one_of("missing", missing, ("error", "skip"))
        self._name = name

    def fingerprint(self) -> str:
        return rounds.history_fingerprint(self._recording, self._seeds, self.concept_kind)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    def notes(self) -> list[str]:
        """How far the recording goes, and what is missing of it."""
        return [f"Telephone Game: {self._side[1]} first", *rounds.notes(self._recording)]

    @cached_property
    def _seeds(self) -> list[Seed]:
        return rounds.seeds(self._recording, self._about(), self._name, self.concept_kind)

    @cached_property
    def _side(self) -> tuple[str, str]:
        """The folder of the generations, and what comes first in it."""
        starts: dict[str, set[str]] = {}
        for name in self._tree.names():
            for kind, pattern in (("captions", TABLE), ("images", IMAGE)):
                if (match := pattern.fullmatch(name)) and int(match["number"]) == 0:
                    starts.setdefault(match["side"] or "", set()).add(kind)
        sides = [(side, kind) for side, kinds in starts.items() for kind in kinds if self._first in (None, kind)]
        if len(sides) == 1:
            return sides[0]
        looked = f"gen-0.csv or gen-0/ (first={self._first})" if self._first else "gen-0.csv or gen-0/"
        if not sides:
            raise DataError(f"no Telephone Game in {self._tree.root}: looked for {looked}. Found {some(self._tree.names())}")
        told = some(f"{side or '.'} with {kind} first" for side, kind in sides)
        raise DataError(f"{self._tree.root} holds several games ({told}); say first=images or captions, or give one as root")

    @cached_property
    def _recording(self) -> Recording:
        side, first = self._side
        captions = {(_stem(row), number): row for number, row in self._caption_rows(side, first)}
        images = {(stem, number): member for stem, number, member in self._images(side, first)}
        lines = [_line(*key, images.get(key), captions.get(key)) for key in sorted({*captions, *images})]
        return rounds.recording(lines, self._missing, f"{self._tree.root}/{side}")

    def _caption_rows(self, side: str, first: str) -> Iterator[tuple[int, Row]]:
        """Round and row of every caption."""
        for name in self._tree.names():
            if (match := TABLE.fullmatch(name)) and (match["side"] or "") == side:
                number = _round(name, int(match["number"]), 1 if first == "images" else 0)
                table = read_table(name, _utf8(self._tree.read(name)))
                table.require("filename", "caption")
                _check_once(table.rows)
                yield from ((number, row) for row in table.rows)

    def _images(self, side: str, first: str) -> Iterator[tuple[str, int, Member]]:
        """Name without ending, round and file of every image."""
        found: dict[tuple[str, int], Member] = {}
        for name, member in self._tree.members.items():
            match = IMAGE.fullmatch(name)
            if match and (match["side"] or "") == side and PurePosixPath(name).suffix.lower() in SUFFIXES:
                number = _round(name, int(match["number"]) + (first == "captions"), 0)
                stem = plain_id(PurePosixPath(name).stem, name)
                if found.setdefault((stem, number), member) is not member:
                    raise DataError(f"{found[stem, number].name} and {name} are two images of one name; remove one")
                yield stem, number, member

    def _about(self) -> Mapping[str, About]:
        if self._labels is None:
            return {}
        table = read_table(self._labels, self._tree.read(self._labels))
        table.require("filename")
        _check_once(table.rows)
        return {_stem(row): about(row.cells, row.place) for row in table.rows}


def _line(stem: str, number: int, image: Member | None, row: Row | None) -> Line:
    place = row.place if row is not None else image.name if image is not None else stem
    return Line(stem, 0, number, image, row.cells.get("caption") if row is not None else None, place)


def _round(name: str, generation: int, parity: int) -> int:
    if generation % 2 != parity:
        raise DataError(f"{name}: generations of images and captions take turns, so this one should be of the other kind")
    return generation // 2


def _stem(row: Row) -> str:
    """The name that a row gives, without the ending of an image."""
    name = PurePosixPath(row.need("filename"))
    return plain_id(name.with_suffix("").as_posix() if name.suffix.lower() in SUFFIXES else name.as_posix(), row.place)


def _check_once(rows: tuple[Row, ...]) -> None:
    places: dict[str, str] = {}
    for row in rows:
        if places.setdefault(_stem(row), row.place) != row.place:
            raise DataError(f"{row.place}: {row.need('filename')!r} stands twice, first in {places[_stem(row)]}")


def _utf8(data: bytes) -> bytes:
    """The authors' own tables are read as Latin-1; those in UTF-8 stay."""
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1").encode()
    return data
