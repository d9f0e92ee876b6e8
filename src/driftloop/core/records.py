"""The nouns of driftloop as frozen records, and one small Protocol per kind of plug-in.

Images travel as `PIL.Image.Image` in mode RGB, 8 bits a channel: what is saved is what is described and read.
Every plug-in takes lists and returns lists of the same length and order; what it draws at random for an item comes from
that item's own seed, so that nothing depends on which items share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PlayStatus = Literal["ok", "black_image", "empty_caption", "failed", "parent_failed"]
ReadingStatus = Literal["ok", "no_person", "no_face", "several", "low_confidence", "failed"]
Kind = Literal["person", "face", "whole"]


@dataclass(frozen=True, slots=True)
class Seed:
    """One image of a data set, or one text prompt, with its human labels.

    `picture` opens the image (RGB) or is None for a text-seeded chain, whose round-0 caption is `caption`.
    `labels` maps an attribute to its human label ("gender" -> "female"); an attribute nobody labelled is absent.
    `source` says where the seed comes from (a file name inside the data set, never an absolute path). Once a run has taken
    the seed in, `image` is its key in images/ and `image_sha256` its pixel hash, or `error` says why there is no picture.
    `place` is its position among all seeds of its data set in hash order, before any limit. `recorded` are rounds that were
    played elsewhere: a run takes them in with the seed instead of playing them.
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
    place: int | None = None
    recorded: Sequence[Recorded] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """One chain-round that was played elsewhere. `picture` is None at round 0 (it is the seed's) or where it is missing,
    which `error` then tells; `caption` is None where nobody wrote one down: a chain cannot be played on from there."""

    replicate: int
    round: int
    picture: Callable[[], Image] | None = None
    caption: str | None = None
    error: str = ""


def chain_key(seed_id: str, replicate: int) -> str:
    """What names a chain in every table."""
    return f"{seed_id}/{replicate}"


@dataclass(frozen=True, slots=True)
class Chain:
    """One seed × replicate."""

    seed: Seed
    replicate: int

    @property
    def key(self) -> str:
        return chain_key(self.seed.seed_id, self.replicate)


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
    """A located person or face, in pixels: left, top, right, bottom; `score` is how sure its locator is, in [0, 1]."""

    kind: Kind
    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class SubjectRule:
    """Which located box of a picture is read, and how it is cut out; the same in every round.

    The subject is a box of `kind`: the `largest` by area, the one nearest to the `centre` of the picture, or the `only`
    one; who cannot be told apart is `several`. A box below `threshold`, or with a side shorter than `min_size` pixels, is
    not read. `margin` widens the crop by that share of the box on each side. `sought` are the kinds that are looked for:
    what is not sought is not counted.
    """

    kind: Kind
    sought: tuple[Kind, ...] = ()
    choose: Literal["largest", "centre", "only"] = "largest"
    threshold: float = 0.0
    min_size: float = 0.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.choose not in ("largest", "centre", "only"):
            raise ValueError(f"choose must be largest, centre or only, got {self.choose!r}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")
        if self.min_size < 0 or self.margin < 0:
            raise ValueError(f"min_size and margin must be at least 0, got {self.min_size} and {self.margin}")


@dataclass(frozen=True, slots=True)
class Context:
    """What a mitigation may know of one item: its chain, its round, the round-0 caption, and random numbers of its own.

    `draw(name)` is a random seed (63 bits) that belongs to this item and to that name alone. `parent` opens the picture of
    the round before; None where there is none.
    """

    chain: Chain
    round: int
    first_caption: str | None
    draw: Callable[[str], int]
    parent: Callable[[], Image] | None = None


class Dataset(Protocol):
    """Where seeds come from. `fingerprint` is cheap: label files, names and sizes, before any limit.

    A data set may also have `notes() -> list[str]`: what its loader detected, mapped and left out, for whoever reads the run.
    """

    concept_kind: str

    def fingerprint(self) -> str: ...
    def load(self) -> list[Seed]: ...


@runtime_checkable
class Counterfactual(Protocol):
    """A data set that can show a seed otherwise: the same person and surroundings with one attribute changed.

    `counterfactuals` maps attribute -> value -> how to open that picture, the seed's own value included: that one is its
    picture.
    """

    def counterfactuals(self, seed_id: str) -> Mapping[str, Mapping[str, Callable[[], Image]]]: ...


class Generator(Protocol):
    """Text to image. An exception may stand in the place of a picture that could not be had; it costs the others nothing."""

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]: ...


@runtime_checkable
class Redrawer(Protocol):
    """A generator that is shown the picture of the round before in place of its caption (a control arm)."""

    def redraw(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Picture]: ...


class Captioner(Protocol):
    """Image to text."""

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]: ...


class Classifier(Protocol):
    """Reads every attribute it declares in `categories` (attribute -> categories in order) from each image."""

    categories: Mapping[str, tuple[str, ...]]

    def read(self, images: Sequence[Image]) -> list[list[Reading]]: ...


@runtime_checkable
class MatchingClassifier(Classifier, Protocol):
    """A classifier that first brings every whole picture to common conditions; `seeds` are their seeds' sizes in pixels."""

    def prepare(self, images: Sequence[Image], seeds: Sequence[tuple[int, int]]) -> list[Image]: ...


@runtime_checkable
class Checked(Protocol):
    """A plug-in that can say without loading weights that it will not do: `check` raises ModelError."""

    def check(self) -> None: ...


class TextEmbeddings(NamedTuple):
    """Of n texts: `vectors` (n, width) float32, and of which not all was seen (n)."""

    vectors: NDArray[np.float32]
    cut: Sequence[bool]


class Encoder(Protocol):
    """Turns pictures and texts into vectors whose directions tell how alike they are; of both, in one space.

    What an encoder has no side for is None: it is never asked. `embed_images` gives (n, width) float32.
    """

    @property
    def embed_images(self) -> Callable[[Sequence[Image]], NDArray[np.float32]] | None: ...
    @property
    def embed_texts(self) -> Callable[[Sequence[str]], TextEmbeddings] | None: ...


class Locator(Protocol):
    """Finds persons or faces; an empty list where there are none. `subject` says which of them is read."""

    subject: SubjectRule

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
