"""The closed form: which shares a loop of exact models must show, from what was planted.

The state of a chain is the whole person (gender, age, emotion, activity): 420 states. One round of describing and
generating multiplies their distribution by one matrix, because every attribute is named, confused or left out on its
own, and what is left out is drawn given the concept that the new picture shows. While concepts are kept, the share of
a category follows the scalar form p' = (1 − q) p + q π(concept).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from driftloop.core.errors import DriftloopError
from driftloop.core.weights import locate
from driftloop.phantom.planted import Group, planted_confusion, planted_rates
from driftloop.phantom.world import CATEGORIES, Prior, Row, uniform

log = logging.getLogger("driftloop")

STATES: tuple[tuple[str, ...], ...] = tuple(product(*CATEGORIES.values()))
"""All (gender, age, emotion, activity)."""
_NUMBER = {state: number for number, state in enumerate(STATES)}
_COLUMN = {name: column for column, name in enumerate(CATEGORIES)}


class ClosedForm:
    """Expected shares of a loop of `ExactGenerator(prior)` and `ExactCaptioner(omission, confusion)`.

    `classifier_confusion` and `classifier_abstention` are those of an `ExactClassifier` over `attributes`; leave them out
    for the shares that the pictures truly show. With one replicate a seed and abstention, shares are ratios of expectations.
    For models that copy imperfectly, `confusion` is the product of what the captioner and the generator confuse.
    """

    def __init__(
        self,
        omission: float | Mapping[str, Any] = 0.0,
        confusion: Mapping[str, Any] | None = None,
        prior: Prior | Mapping[str, Any] | None = None,
        classifier_confusion: Mapping[str, Any] | None = None,
        classifier_abstention: float | Mapping[str, Any] | None = None,
        attributes: Sequence[str] = ("gender", "age"),
    ) -> None:
        self.attributes = tuple(attributes)
        self._omission = planted_rates(omission, ("gender", "age"), "omission")
        self._confusion = planted_confusion(confusion, "confusion")
        self._prior = Prior.of(prior)
        self._read = planted_confusion(classifier_confusion, "classifier_confusion")
        self._abstain = planted_rates(classifier_abstention, self.attributes, "classifier_abstention")

    def shares(self, seeds: Sequence[Mapping[str, Any]], rounds: int) -> list[dict[str, Any]]:
        """Rows (round, concept, attribute, category, share), rounds 0..`rounds`, for "all" and each concept of the seeds.

        `seeds` are rows of seeds.parquet as dicts: `concept` and `label_<attribute>` for all four attributes.
        """
        states = starts(seeds)
        rows = self._round(0, states)
        for number in range(1, rounds + 1):
            step = self.transition("seed" if number == 1 else "generated")
            states = {concept: state @ step for concept, state in states.items()}
            rows += self._round(number, states)
        return rows

    def _round(self, number: int, states: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        return [row for concept, state in states.items() for row in self._rows(number, concept, state)]

    def transition(self, origin: str) -> np.ndarray:
        """P(person of the next picture | person of this one), (420, 420), for pictures of this origin."""
        told = {attribute: self._told(attribute, origin) for attribute in CATEGORIES}
        silent = {attribute: self._by_state(self._omission, attribute, origin) for attribute in CATEGORIES}
        shown = {name: told[name] + silent[name][:, None] * np.array(uniform(name)) for name in ("activity", "emotion")}
        gender = told["gender"][:, None] + silent["gender"][:, None, None] * self._prior_table("gender", "activity")
        age = told["age"][:, None] + silent["age"][:, None, None] * self._prior_table("age", "emotion")
        joint: np.ndarray = np.einsum("sk,skg,se,sea->sgaek", shown["activity"], gender, shown["emotion"], age, optimize=True)
        return joint.reshape(len(STATES), len(STATES))

    def _told(self, attribute: str, origin: str) -> np.ndarray:
        """P(the caption names this category | person), (420, categories); rows sum to one minus the omission."""
        named = 1 - self._by_state(self._omission, attribute, origin)
        told: np.ndarray = named[:, None] * self._by_state(self._confusion, attribute, origin, row_of=attribute)
        return told

    def _prior_table(self, attribute: str, concept: str) -> np.ndarray:
        return np.array([self._prior.row(attribute, {concept: category}) for category in CATEGORIES[concept]])

    def _by_state(
        self, table: Mapping[str, Mapping[Group, Any]], attribute: str, origin: str, row_of: str | None = None
    ) -> np.ndarray:
        """The planted value of every state's group; with `row_of`, the row of the matrix for the state's category."""
        values = []
        for state in STATES:
            value = table[attribute][origin, state[_COLUMN["gender"]]]
            values.append(value if row_of is None else value[CATEGORIES[row_of].index(state[_COLUMN[row_of]])])
        return np.array(values, float)

    def _rows(self, number: int, concept: str, state: np.ndarray) -> list[dict[str, Any]]:
        origin = "seed" if number == 0 else "generated"
        rows = []
        for attribute in self.attributes:
            answered = state * (1 - self._by_state(self._abstain, attribute, origin))
            read = answered @ self._by_state(self._read, attribute, origin, row_of=attribute)
            for category, share in zip(CATEGORIES[attribute], read / read.sum(), strict=True):
                row = {"round": number, "concept": concept, "attribute": attribute, "category": category}
                rows.append({**row, "share": float(share)})
        return rows

    def readings(self, attribute: str, origin: str) -> np.ndarray:
        """P(read as this category | person), (420, categories), of pictures of this origin; abstention is what rows lack."""
        answered = 1 - self._by_state(self._abstain, attribute, origin)
        return np.asarray(answered[:, None] * self._by_state(self._read, attribute, origin, row_of=attribute))

    def expected(self, starts: np.ndarray, rounds: int) -> dict[str, np.ndarray]:
        """Attribute -> P(read as this category), (n, rounds + 1, categories), of chains that start as `starts`, (n, 420).

        A row of `starts` is a distribution over STATES, or 1 at a single person. Abstention is no category here: what
        is missing to 1 is the chance of no answer.
        """
        states = [np.asarray(starts, float)]
        for step in [self.transition("seed"), *[self.transition("generated")] * (rounds - 1)][:rounds]:
            states.append(states[-1] @ step)
        return {attribute: self._read_of(attribute, states) for attribute in self.attributes}

    def _read_of(self, attribute: str, states: Sequence[np.ndarray]) -> np.ndarray:
        """Readings of the distributions of each round, stacked along axis 1."""
        first, later = (self.readings(attribute, origin) for origin in ("seed", "generated"))
        return np.stack([states[0] @ first, *(state @ later for state in states[1:])], axis=1)


def starts(seeds: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Distribution over the states, (420,), of all seeds and of those of each concept, from their labels."""
    if not seeds:
        raise ValueError("the closed form needs at least one seed, got none")
    counts = {"all": np.zeros(len(STATES))}
    for seed in seeds:
        number = _NUMBER[tuple(seed[f"label_{attribute}"] for attribute in CATEGORIES)]
        for concept in ("all", seed["concept"]):
            counts.setdefault(concept, np.zeros(len(STATES)))[number] += 1
    return {concept: count / count.sum() for concept, count in counts.items()}


def scalar_shares(share: float, omission: float, prior: float, rounds: int) -> list[float]:
    """p' = (1 − q) p + q π, rounds 0..`rounds`: the closed form while the concept is kept."""
    shares = [share]
    for _ in range(rounds):
        shares.append((1 - omission) * shares[-1] + omission * prior)
    return shares


class CardForm:
    """The closed form of a trained loop: planted omission, and what the generator's card says it assumes and confuses.

    It is as exact as the card's measurements (their numbers of pictures stand there) and takes the captioner as faithful.
    Where the card has no figures for this guidance, the generator has no card, or the seeds are not of this world, nothing
    is known in advance: `shares` is empty and the run's log says why.
    """

    def __init__(self, *, omission: Any = 0.0, guidance: float | None = None, generator: str | None = None) -> None:
        self.omission, self.guidance, self.generator = omission, guidance, generator

    def shares(self, seeds: Sequence[Mapping[str, Any]], rounds: int) -> list[dict[str, Any]]:
        """Rows as of `ClosedForm.shares`, or none."""
        form = self.form()
        try:
            return form.shares(seeds, rounds) if form else []
        except (ValueError, KeyError) as reason:  # seeds without the labels of this world
            log.info("nothing is expected of these seeds: %s: %s", type(reason).__name__, reason)
            return []

    def form(
        self, *, omission: Any = None, prior: Mapping[str, Any] | None = None, attributes: Sequence[str] = ("gender", "age")
    ) -> ClosedForm | None:
        """The closed form by the card, or with another omission or prior; None, with a line in the log, without figures."""
        try:
            matrices = self._card()[f"confusion at guidance {self.guidance:g}"]
            confusion = {name: [_even(row) for row in matrix] for name, matrix in matrices.items()}
            rates = self.omission if omission is None else omission
            return ClosedForm(rates, prior=prior or self.silent(), confusion=confusion, attributes=attributes)
        except (TypeError, ValueError, KeyError, OSError, DriftloopError) as reason:
            log.info("no planted truth is drawn: %s: %s", type(reason).__name__, reason)
            return None

    def silent(self) -> dict[str, dict[str, Row]]:
        """The prior of captions that leave one attribute out and name the rest, as measured at this guidance."""
        key = f"guidance {self.guidance:g}"
        tables = self._card()["silent captions"]
        return {name: {concept: _even(row) for concept, row in table[key].items()} for name, table in tables.items()}

    def _card(self) -> dict[str, Any]:
        folder, _ = locate(str(self.generator))
        card: dict[str, Any] = json.loads((Path(folder) / "card.json").read_text())
        return card


def person_numbers(seeds: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """The number of each seed's person in STATES, [n_seeds]; None where a seed lacks a label of this world."""
    found = [_NUMBER.get(tuple(str(seed.get(f"label_{name}")) for name in CATEGORIES)) for seed in seeds]
    return None if None in found else np.array(found)


def _even(row: Sequence[float]) -> Row:
    """Cards are rounded; a distribution is not."""
    return tuple(value / sum(row) for value in row)
