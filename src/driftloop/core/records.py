"""The nouns of driftloop as frozen records, and one small Protocol per kind of plug-in.

Images travel as `PIL.Image.Image` in mode RGB, 8 bits a channel: what is saved is what is described and read.
Every plug-in takes lists and returns lists of the same length and order; what it draws at random for an item comes from
that item's own seed, so that nothing depends on which items share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

PlayStatus = Literal["ok", "black_image", "empty_caption", "failed", "parent_failed"]
ReadingStatus = Literal["ok", "no_person", "no_face", "several", "low_confidence", "failed"]


@dataclass(frozen=True, slots=True)
class Seed:
    """One image of a data set, or one text prompt, with its human labels.

    `picture` opens the image (RGB) or is None for a text-seeded chain, whose round-0 caption is `caption`.
    `labels` maps an attribute to its human label ("gender" -> "female"); an attribute nobody labelled is absent.
    `source` says where the seed comes from (a file name inside the data set, never an absolute path). Once a run has taken
    the seed in, `image` is its key in images/ and `image_sha256` its pixel hash, or `error` says why there is no picture.
    """

    seed_id: str
    dataset: str
    concept_kind: str
    concept: str
    labels: Mapping[str, str] = field(default_factory=dict)
    picture: Callable[[], Image] | None = None
    caption: str | None = None
    split: str = ""
    source: str = ""
    image: str = ""
    image_sha256: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """One seed × replicate."""

    seed: Seed
    replicate: int

    @property
    def key(self) -> str:
        return f"{self.seed.seed_id}/{self.replicate}"


@dataclass(frozen=True, slots=True)
class Picture:
    """What a generator made of one caption; `prompt_truncated` when its text encoder did not see all of it."""

    image: Image
    prompt_truncated: bool = False


@dataclass(frozen=True, slots=True)
class Caption:
    """What a captioner said of one image: `truncated` at the token limit, `echo` when it only repeats the prompt."""

    text: str
    tokens: int = 0
    truncated: bool = False
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What one classifier says about one attribute of one image.

    `probabilities` follow the declared category order of the classifier; `label` is one of those categories, or None
    unless `status` is ok. `years` is set by instruments that read age as a number.
    """

    attribute: str
    status: ReadingStatus
    label: str | None = None
    probability: float | None = None
    probabilities: tuple[float, ...] | None = None
    years: float | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A located person or face, in pixels: left, top, right, bottom."""

    kind: Literal["person", "face", "whole"]
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True, slots=True)
class Context:
    """What a mitigation may know of one item: its chain, its round, the round-0 caption, and random numbers of its own.

    `draw(name)` is a random seed (63 bits) that belongs to this item and to that name alone.
    """

    chain: Chain
    round: int
    first_caption: str | None
    draw: Callable[[str], int]


class Dataset(Protocol):
    """Where seeds come from. `fingerprint` is cheap: label files, names and sizes, before any limit."""

    concept_kind: str

    def fingerprint(self) -> str: ...
    def load(self) -> list[Seed]: ...


class Generator(Protocol):
    """Text to image."""

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]: ...


class Captioner(Protocol):
    """Image to text."""

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]: ...


class Classifier(Protocol):
    """Reads every attribute it declares in `categories` (attribute -> categories in order) from each image."""

    categories: Mapping[str, tuple[str, ...]]

    def read(self, images: Sequence[Image]) -> list[list[Reading]]: ...


class Locator(Protocol):
    """Finds persons or faces; an empty list where there are none."""

    def locate(self, images: Sequence[Image]) -> list[list[Box]]: ...


Describe = Callable[[Sequence["Image"], Sequence[Context]], list[Caption]]
Generate = Callable[[Sequence[str], Sequence[Context]], list[Picture]]


class Mitigation(Protocol):
    """Wraps both models. `scope` says whether items of different chains influence each other (`cohort`) or not (`chain`).

    Each method calls what it wraps (`inner`), before or after its own work, and keeps length and order.
    """

    scope: Literal["chain", "cohort"]

    def describe(self, images: Sequence[Image], contexts: Sequence[Context], inner: Describe) -> list[Caption]: ...
    def generate(self, captions: Sequence[str], contexts: Sequence[Context], inner: Generate) -> list[Picture]: ...


class Truth(Protocol):
    """A world whose drift is known: expected rows (round, concept, attribute, category, share) for given seeds.

    `seeds` are rows of seeds.parquet as dicts.
    """

    def shares(self, seeds: Sequence[Mapping[str, Any]], rounds: int) -> list[dict[str, Any]]: ...
