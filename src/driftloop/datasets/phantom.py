"""Seeds of the built-in world: rendered people of known make-up, no files needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from driftloop.core.records import Seed
from driftloop.core.rng import derive
from driftloop.phantom import world
from driftloop.phantom.render import render, stamp
from driftloop.phantom.world import CATEGORIES, Person, Row, Spurious, checked_gender, checked_row, draw_seed_person

if TYPE_CHECKING:
    from PIL.Image import Image

CONCEPT_KINDS = ("activity", "emotion")


class PhantomDataset:
    """`n` seeds, concepts in turn; gender and age independent of the concept unless stated, so that drift is visible.

    `gender` is P(female), `age` a row over the age groups; either may be given per concept (concepts left out keep the
    default). `spurious` plants shortcuts between an attribute and a nuisance. Seed number i is the same for every `n`.
    """

    def __init__(
        self,
        n: int = 96,
        root_seed: int = 0,
        concept_kind: Literal["activity", "emotion"] = "activity",
        gender: float | Sequence[float] | Mapping[str, float | Sequence[float]] = world.SEED_GENDER,
        age: Sequence[float] | Mapping[str, Sequence[float]] = world.SEED_AGE,
        spurious: Sequence[Spurious | Mapping[str, Any]] = (),
        root: str | None = None,
    ) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if concept_kind not in CONCEPT_KINDS:
            raise ValueError(f"concept_kind must be one of {', '.join(CONCEPT_KINDS)}; got {concept_kind!r}")
        self.n, self.root_seed, self.root = n, root_seed, root
        self.concept_kind: str = concept_kind
        self.concepts = CATEGORIES[concept_kind]
        self.gender = self._per_concept("gender", gender, world.SEED_GENDER)
        self.age = self._per_concept("age", age, world.SEED_AGE)
        self.spurious = tuple(s if isinstance(s, Spurious) else Spurious(**s) for s in spurious)

    def _per_concept(self, name: str, given: Any, default: Row) -> dict[str, Row]:
        rows = {**dict.fromkeys(self.concepts, default), **given} if isinstance(given, Mapping) else None
        rows = dict.fromkeys(self.concepts, given) if rows is None else rows
        if unknown := set(rows) - set(self.concepts):
            raise ValueError(f"{name} may be given for {', '.join(self.concepts)}; got {sorted(unknown)}")
        size = len(CATEGORIES[name])
        check = checked_gender if name == "gender" else lambda row, label: checked_row(row, size, label)
        return {concept: check(row, f"{name} of {concept} seeds") for concept, row in rows.items()}

    def fingerprint(self) -> str:
        """A hash of everything that decides a seed; `n` is not among it, because a longer list begins with the shorter."""
        made_of = (world.VERSION, self.root_seed, self.concept_kind, self.gender, self.age, self.spurious)
        return hashlib.blake2b(repr(made_of).encode(), digest_size=16).hexdigest()

    def load(self) -> list[Seed]:
        """The seeds; their pictures are drawn when opened."""
        return [self._seed(number) for number in range(self.n)]

    def counterfactuals(self, seed_id: str) -> dict[str, dict[str, Callable[[], Image]]]:
        """Attribute -> category -> the picture of that person with it, in the same place and light, nuisances included."""
        person, own = self._person(int(seed_id.removeprefix("phantom-")))
        return {
            attribute: {value: partial(seed_picture, replace(person, **{attribute: value}), own) for value in categories}
            for attribute, categories in CATEGORIES.items()
        }

    def _seed(self, number: int) -> Seed:
        person, own = self._person(number)
        seed_id = _name(number)
        return Seed(
            seed_id=seed_id,
            dataset="phantom",
            concept_kind=self.concept_kind,
            concept=person.attributes[self.concept_kind],
            labels=person.attributes,
            picture=partial(seed_picture, person, own),
            source=seed_id,
        )

    def _person(self, number: int) -> tuple[Person, int]:
        """The person of seed `number`, and the random number that belongs to it."""
        concept = self.concepts[number % len(self.concepts)]
        own = derive(self.root_seed, "phantom", self.concept_kind, _name(number))
        person = draw_seed_person(
            self.concept_kind, concept, own, gender=self.gender[concept], age=self.age[concept], spurious=self.spurious
        )
        return person, own


def _name(number: int) -> str:
    return f"phantom-{number:06d}"


def seed_picture(person: Person, seed: int) -> Image:
    """The stamped picture of a seed."""
    return stamp(render(person, seed).image, person, generated=False)
