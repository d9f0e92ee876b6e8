"""The dense form of readings: a row per seed, a column per round and category; and who is averaged over whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


def tally(seed: Ints, round_: Ints, category: Ints, shape: tuple[int, int, int]) -> Ints:
    """Readings counted per seed, round and category: [n_seeds, n_rounds, n_categories].

    `seed`, `round_` and `category` [n_readings] are positions; a category of -1 (the reading is not ok) is left out.
    """
    ok = category >= 0
    flat = np.ravel_multi_index((seed[ok], round_[ok], category[ok]), shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)


def seed_means(counts: Ints) -> Floats:
    """Mean one-hot reading of a seed over its replicates [n_seeds, n_rounds, n_categories]; NaN where none is ok."""
    total = counts.sum(axis=2, keepdims=True)
    means = np.full(counts.shape, np.nan)
    np.divide(counts, total, out=means, where=total > 0)
    return means


@dataclass(frozen=True, slots=True)
class Group:
    """Seeds to average over, and how.

    `members` [n] are rows of the panel. `strata` [n] numbers the concept of each member where concepts are weighted
    alike, and is 0 throughout where seeds are. `units` [n] numbers what is independent: the seed itself, or its cohort.
    """

    name: str
    members: Ints
    strata: Ints
    units: Ints

    @property
    def n_strata(self) -> int:
        return int(self.strata.max()) + 1

    @property
    def n_units(self) -> int:
        return int(self.units.max()) + 1

    @property
    def clustered(self) -> bool:
        """True where some unit holds more than one seed."""
        return self.n_units < self.units.size


def group(name: str, members: Ints, strata: Ints | None = None, cohorts: Ints | None = None) -> Group:
    """A group of at least one panel row; `strata` and `cohorts` [n] are any codes of the members, None = none."""
    if members.size == 0:
        raise ValueError(f"group {name} has no member")
    alone = np.arange(members.size)
    return Group(
        name=name,
        members=members,
        strata=np.zeros_like(members) if strata is None else _renumbered(strata),
        units=alone if cohorts is None else _renumbered(cohorts),
    )


def _renumbered(codes: Ints) -> Ints:
    """The same partition in numbers without gaps."""
    return np.unique(codes, return_inverse=True)[1].astype(np.intp)


def concept_groups(concepts: Sequence[str], cohorts: Ints | None = None) -> list[Group]:
    """`all`, `all_standardised` (concepts weighted alike), then each concept by name.

    `concepts` [n_seeds] in panel order; `cohorts` [n_seeds] codes, or None where the seed is the unit.
    """
    everyone = np.arange(len(concepts))
    names, codes = np.unique(np.asarray(concepts, dtype=str), return_inverse=True)
    groups = [group("all", everyone, None, cohorts), group("all_standardised", everyone, codes, cohorts)]
    for code, name in enumerate(names):
        members = np.flatnonzero(codes == code)
        groups.append(group(str(name), members, None, None if cohorts is None else cohorts[members]))
    return groups
