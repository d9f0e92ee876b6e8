"""What is planted in a world to be validated, and what must then come out on average over all seeds there could be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from driftloop.phantom.truth import STATES, ClosedForm
from driftloop.phantom.world import CATEGORIES, SEED_AGE, SEED_GENDER
from driftloop.statistics.panel import Floats, Ints

ATTRIBUTES = ("gender", "age")
CONCEPTS = CATEGORIES["activity"]
START: dict[str, Ints] = {
    name: np.array([CATEGORIES[name].index(state[column]) for state in STATES]) for column, name in enumerate(CATEGORIES)
}
"""Attribute -> number of its category in each state (420,)."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Exact models with planted errors. `dropped`: omission comes from drop_words around a captioner that omits nothing.

    `confusion` and `abstention` are the classifier's, in the forms that `ExactClassifier` takes.
    """

    name: str
    omission: float = 0.3
    dropped: bool = False
    confusion: Mapping[str, Any] | None = None
    abstention: Mapping[str, Any] | None = None

    def form(self, omission: float | None = None) -> ClosedForm:
        """The closed form of what is planted, or with another omission hypothesised."""
        rate = self.omission if omission is None else omission
        return ClosedForm(rate, classifier_confusion=self.confusion, classifier_abstention=self.abstention)


GENDER_READ = {
    "seed": {"female": [[0.97, 0.03], [0.06, 0.94]], "male": [[0.97, 0.03], [0.06, 0.94]]},
    "generated": {"female": [[0.90, 0.10], [0.02, 0.98]], "male": [[0.90, 0.10], [0.02, 0.98]]},
}
OLDER_MISREAD = {
    "female": [[0.95, 0.05, 0, 0, 0], [0.05, 0.85, 0.1, 0, 0], [0, 0.1, 0.9, 0, 0], [0, 0, 0.3, 0.7, 0], [0, 0, 0, 0.3, 0.7]],
    "male": [[0.9, 0.1, 0, 0, 0], [0.1, 0.7, 0.2, 0, 0], [0, 0, 0.95, 0.05, 0], [0, 0, 0.1, 0.8, 0.1], [0, 0, 0, 0.1, 0.9]],
}  # fmt: skip
AGE_READ = {"seed": np.eye(5).tolist(), "generated": OLDER_MISREAD}
ABSTAINS = {
    "gender": {"seed": {"female": 0.02, "male": 0.10}, "generated": {"female": 0.20, "male": 0.05}},
    "age": {"seed": {"female": 0.05, "male": 0.15}, "generated": {"female": 0.25, "male": 0.10}},
}
PLAIN = Setting(name="plain")
MISREAD = Setting(name="misread", confusion={"gender": GENDER_READ, "age": AGE_READ}, abstention=ABSTAINS)
DROPPED = Setting(name="dropped", dropped=True)
SETTINGS = (PLAIN, MISREAD, DROPPED)


@cache
def compositions() -> dict[str, Floats]:
    """The planted composition of seeds over STATES, (420,), of all seeds and of those of each activity."""
    gender, age = np.array(SEED_GENDER)[START["gender"]], np.array(SEED_AGE)[START["age"]]
    weights = gender * age / len(CATEGORIES["emotion"])
    of_concepts = {name: weights * (START["activity"] == number) for number, name in enumerate(CONCEPTS)}
    return {"all": weights / len(CONCEPTS), **of_concepts}


def expected(form: ClosedForm, rounds: int) -> dict[str, Floats]:
    """Attribute -> P(read as this category), (420, rounds + 1, categories), of chains that start in each state."""
    return form.expected(np.eye(len(STATES)), rounds)


@dataclass(frozen=True)
class Planted:
    """What estimates aim at, for one attribute: `share` and `shift`, (groups, rounds + 1, categories)."""

    share: Floats
    shift: Floats


def planted(setting: Setting, rounds: int, replicates: int) -> dict[str, Planted]:
    """Attribute -> true shares and shifts as read, for the groups of `compositions`.

    A seed counts at a round if any of its replicates was read there, and its mean is over those: so a seed weighs
    1 - (1 - a)^replicates where each is read with probability a. All replicates share the picture of round 0.
    """
    return {name: _planted(chances, replicates) for name, chances in expected(setting.form(), rounds).items()}


def _planted(chances: Floats, replicates: int) -> Planted:
    answered = chances.sum(axis=2, keepdims=True)
    given = chances / answered
    counts = 1 - (1 - answered) ** replicates
    counts[:, 0] = answered[:, 0]
    weights = np.stack(list(compositions().values()))
    both = counts * np.where(np.arange(counts.shape[1]) == 0, 1.0, counts[:, 0])[:, :, None]
    return Planted(_average(given, counts, weights), _average(given - given[:, :1], both, weights))


def _average(values: Floats, counts: Floats, weights: Floats) -> Floats:
    """Means over states of `values` (420, rounds, categories), weighted by group and by who counts (420, rounds, 1)."""
    total = np.einsum("gs,srk->grk", weights, values * counts)
    return np.asarray(total / np.einsum("gs,srk->grk", weights, counts))


def departure(setting: Setting, omission: float, attribute: str, rounds: int) -> Floats:
    """How far the kept label's expectation is from that under another omission, (420, rounds)."""
    true, hypothesised = (expected(form, rounds)[attribute] for form in (setting.form(), setting.form(omission)))
    return kept_of_states((true - hypothesised)[:, 1:], attribute)


def kept_of_states(values: Floats, attribute: str) -> Floats:
    """`values` (420, ..., categories) of the category that each state shows, (420, ...)."""
    return np.asarray(np.stack([row[..., category] for row, category in zip(values, START[attribute], strict=True)]))


def kept_covariance(setting: Setting, attribute: str, rounds: int) -> Floats:
    """Covariance over rounds 1.. of "read with the starting label" of a chain, given its start: (420, rounds, rounds)."""
    form = setting.form()
    step, read = form.transition("generated"), form.readings(attribute, "generated")
    at = [form.transition("seed")]
    later = [read]  # P(read as k, so many rounds from now | person)
    for _ in range(rounds - 1):
        at.append(at[-1] @ step)
        later.append(step @ later[-1])
    mean = np.stack([kept_of_states(state @ read, attribute) for state in at], axis=1)
    both = np.empty((len(STATES), rounds, rounds))
    for i in range(rounds):
        for j in range(i, rounds):
            joint = read if i == j else read * later[j - i]
            both[:, i, j] = both[:, j, i] = kept_of_states(at[i] @ joint, attribute)
    return np.asarray(both - mean[:, :, None] * mean[:, None, :])
