"""What a page is put together from: sections, and the blocks in them. Each `kind` has a macro in parts.html.j2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from markupsafe import Markup

from driftloop.report import figures
from driftloop.report.strips import Strip

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Paper

    Make = Callable[[figures.Layout], Paper]

TEXT = frozenset({
    "concept", "attribute", "category", "classifier", "status", "example", "start", "outcome", "extent", "commit", "device",
    "looks", "people say", "of", "what", "by", "captions were", "model", "change", "what it says", "encoder", "compared",
})  # fmt: skip
"""Headings above words; all others stand above numbers."""


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    notes: Sequence[str]
    tag: str


@dataclass(frozen=True, slots=True)
class Answers:
    """The boxes that a reader sees first."""

    each: Sequence[Answer]
    kind: ClassVar[str] = "answers"


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    tone: Literal["", "note", "warning"] = ""
    kind: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True, slots=True)
class Bullets:
    lines: Sequence[str]
    kind: ClassVar[str] = "bullets"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by heading; headings outside TEXT hold numbers. `note` stands below."""

    caption: str
    rows: Sequence[Mapping[str, str]]
    note: str = ""
    kind: ClassVar[str] = "table"

    @property
    def head(self) -> list[tuple[str, bool]]:
        return [(name, name not in TEXT) for name in self.rows[0]]


@dataclass(frozen=True, slots=True)
class Folded:
    """A table behind its caption."""

    table: Table
    kind: ClassVar[str] = "folded"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure before it is drawn: for a page (wide and narrow) and for files."""

    name: str
    caption: str
    layouts: tuple[figures.Layout, figures.Layout]
    make: Make
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True, slots=True)
class Drawn:
    """The same as the page and the folder of figures want it. `width` is the natural width in CSS pixels."""

    name: str
    caption: str
    wide: Markup
    narrow: Markup
    width: int
    file: str
    picture: bytes
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True, slots=True)
class Filmstrips:
    strips: Sequence[Strip]
    kind: ClassVar[str] = "filmstrips"


@dataclass(frozen=True, slots=True)
class Card:
    """(heading, (key, value) …)"""

    groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    kind: ClassVar[str] = "card"


Block = Answers | Text | Heading | Bullets | Table | Folded | Figure | Drawn | Filmstrips | Card


@dataclass(frozen=True, slots=True)
class Section:
    """`name` is its anchor, `short` its place in the contents."""

    name: str
    short: str
    title: str
    blocks: Sequence[Block]
