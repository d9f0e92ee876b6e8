"""The built-in world: what a person is made of, and the associations planted in it.

A cartoon of known truth that calibrates the instrument. "Gender" and "age" are what a drawing shows, nothing more.
Silent attributes are completed in one order: activity and emotion uniformly, then perceived gender given the activity
and age given the emotion. Nothing runs backwards: naming the gender leaves a silent activity uniform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from driftloop.core.rng import derive, generator

VERSION = 1
"""Raised whenever the same seed would draw another person or picture."""

CATEGORIES: dict[str, tuple[str, ...]] = {
    "gender": ("female", "male"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
    "emotion": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "activity": ("reading", "drinking", "cooking", "football", "repairing", "dancing"),
}
"""Attribute -> categories in order. Age groups and emotions are RAF-DB's."""

NUISANCE: dict[str, tuple[str, ...]] = {
    "hair": ("black", "brown", "blond", "red"),
    "clothes": ("crimson", "navy", "forest", "orange", "violet", "teal"),
    "background": ("sky", "mint", "sand", "rose", "lilac", "grey"),
    "skin": ("pale", "fair", "tan", "brown", "dark"),
}
"""What varies and no caption names."""

CONDITION = {"gender": "activity", "age": "emotion"}
"""The planted associations: attribute -> the concept that its prior depends on."""

PRIOR_GENDER: dict[str, float] = {
    "reading": 0.50,
    "drinking": 0.65,
    "cooking": 0.90,
    "football": 0.30,
    "repairing": 0.10,
    "dancing": 0.80,
}
"""P(female | activity) of a silent caption."""

PRIOR_AGE: dict[str, tuple[float, ...]] = {
    "surprise": (0.45, 0.30, 0.15, 0.05, 0.05),
    "fear": (0.10, 0.60, 0.15, 0.10, 0.05),
    "disgust": (0.05, 0.15, 0.60, 0.15, 0.05),
    "happiness": (0.15, 0.35, 0.35, 0.10, 0.05),
    "sadness": (0.05, 0.05, 0.10, 0.20, 0.60),
    "anger": (0.02, 0.08, 0.30, 0.55, 0.05),
    "neutral": (0.05, 0.10, 0.35, 0.35, 0.15),
}
"""P(age group | emotion) of a silent caption, in the order of CATEGORIES["age"]."""

SEED_GENDER = (0.5, 0.5)
SEED_AGE = (0.10, 0.20, 0.30, 0.25, 0.15)
"""The balanced composition of seeds, the same for every concept, so that drift towards the prior is visible."""

Row = tuple[float, ...]
Table = Mapping[str, Row]
"""Condition category -> probabilities over an attribute's categories."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person of the world: four attributes a caption may name, four nuisances it never names."""

    gender: str
    age: str
    emotion: str
    activity: str
    hair: str = "brown"
    clothes: str = "navy"
    background: str = "sky"
    skin: str = "fair"

    def __post_init__(self) -> None:
        for name, allowed in {**CATEGORIES, **NUISANCE}.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")

    @property
    def attributes(self) -> dict[str, str]:
        """The four named attributes, in the order of CATEGORIES."""
        return {name: getattr(self, name) for name in CATEGORIES}


@dataclass(frozen=True, slots=True)
class Spurious:
    """A planted shortcut: with probability `strength`, nuisance `cue` takes the value tied to the category of `attribute`.

    Category number k is tied to value number k of the cue (modulo their number).
    """

    cue: str
    attribute: str = "gender"
    strength: float = 0.0

    def __post_init__(self) -> None:
        if self.cue not in NUISANCE:
            raise ValueError(f"cue must be one of {', '.join(NUISANCE)}; got {self.cue!r}")
        if self.attribute not in CATEGORIES:
            raise ValueError(f"attribute must be one of {', '.join(CATEGORIES)}; got {self.attribute!r}")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must lie in 0..1, got {self.strength}")


def checked_row(row: Sequence[float], size: int, name: str) -> Row:
    """`row` as probabilities of `size` categories that sum to one, or an error that says what was got."""
    values = tuple(float(value) for value in row)
    if len(values) != size or min(values) < 0 or abs(sum(values) - 1) > 1e-6:
        raise ValueError(f"{name} must hold {size} probabilities that sum to 1, got {list(row)}")
    return values


def checked_gender(row: float | Sequence[float], name: str) -> Row:
    """A row over (female, male), given whole or as P(female) alone."""
    return checked_row((row, 1 - row) if isinstance(row, (int, float)) else row, 2, name)


@dataclass(frozen=True, slots=True)
class Prior:
    """P(gender | activity) and P(age | emotion) of silent captions; concepts left out keep the planted defaults."""

    gender: Table = field(default_factory=dict)
    age: Table = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gender", _filled(self.gender, PRIOR_GENDER, "gender"))
        object.__setattr__(self, "age", _filled(self.age, PRIOR_AGE, "age"))

    def row(self, attribute: str, named: Mapping[str, str]) -> Row:
        """Probabilities over the categories of `attribute`, given the concepts in `named`; uniform for concepts."""
        if attribute not in CONDITION:
            return uniform(attribute)
        table: Table = getattr(self, attribute)
        return table[named[CONDITION[attribute]]]

    @classmethod
    def of(cls, given: Prior | Mapping[str, Table] | None) -> Prior:
        """A prior from what a config says: nothing, or {"gender": {activity: P(female)}, "age": {emotion: row}}."""
        if isinstance(given, Prior):
            return given
        if unknown := set(given or {}) - set(CONDITION):
            raise ValueError(f"prior must be keyed by {', '.join(CONDITION)}; got {sorted(unknown)}")
        return cls(**(given or {}))


def _filled(given: Mapping[str, float | Sequence[float]], default: Mapping[str, float | Row], attribute: str) -> Table:
    if unknown := set(given) - set(default):
        raise ValueError(f"prior of {attribute} must be keyed by {', '.join(default)}; got {sorted(unknown)}")
    size = len(CATEGORIES[attribute])
    rows = {**default, **given}
    check = checked_gender if attribute == "gender" else lambda row, name: checked_row(row, size, name)
    return {concept: check(row, f"prior of {attribute} given {concept}") for concept, row in rows.items()}


def uniform(attribute: str) -> Row:
    """Equal probabilities over the categories of `attribute`."""
    size = len(CATEGORIES[attribute])
    return (1 / size,) * size


def pick(attribute: str, row: Sequence[float], seed: int) -> str:
    """The category of `attribute` drawn from `row` with the random number that belongs to (seed, attribute)."""
    left = float(generator(derive(seed, "pick", attribute)).random())
    for category, share in zip(CATEGORIES[attribute], row, strict=True):
        left -= share
        if left < 0:
            return category
    return max(zip(row, CATEGORIES[attribute], strict=True))[1]


def complete(named: Mapping[str, str], seed: int, prior: Prior | None = None, spurious: Sequence[Spurious] = ()) -> Person:
    """The person that a caption naming only `named` stands for: what it leaves out is drawn from the prior.

    Each attribute has a random number of its own, so naming one does not change the draw of another.
    """
    prior = prior or Prior()
    attributes = dict(named)
    for attribute in ("activity", "emotion", "gender", "age"):
        if attribute not in attributes:
            attributes[attribute] = pick(attribute, prior.row(attribute, attributes), seed)
    return Person(**attributes, **nuisances(attributes, seed, spurious))


def draw_seed_person(
    concept_kind: str,
    concept: str,
    seed: int,
    *,
    gender: Sequence[float] = SEED_GENDER,
    age: Sequence[float] = SEED_AGE,
    spurious: Sequence[Spurious] = (),
) -> Person:
    """A person of the seed composition: gender and age independent of the concept, the other concept kind uniform."""
    attributes = {"gender": pick("gender", gender, seed), "age": pick("age", age, seed), concept_kind: concept}
    return complete(attributes, seed, spurious=spurious)


def nuisances(attributes: Mapping[str, str], seed: int, spurious: Sequence[Spurious] = ()) -> dict[str, str]:
    """Values of the four nuisances: uniform, unless a planted shortcut ties one to an attribute."""
    draw = generator(derive(seed, "nuisances"))
    values = {name: allowed[draw.integers(len(allowed))] for name, allowed in NUISANCE.items()}
    for shortcut in spurious:
        if generator(derive(seed, "spurious", shortcut.cue)).random() < shortcut.strength:
            rank = CATEGORIES[shortcut.attribute].index(attributes[shortcut.attribute])
            values[shortcut.cue] = NUISANCE[shortcut.cue][rank % len(NUISANCE[shortcut.cue])]
    return values
