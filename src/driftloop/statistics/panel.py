"""The dense form of readings: one row per seed, one column per round and category; and who is averaged over whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


def tally(seed: Ints, round_: Ints, category: Ints, shape: tuple[int, int, int]) -> Ints:
    """Readings counted per seed, round and category [n_seeds, n_rounds, n_categories]; category -1 (not ok) is left out."""
    ok = category >= 0
    flat = np.ravel_multi_index((seed[ok], round_[ok], category[ok]), shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)


def seed_means(counts: Ints) -> Floats:
    """Mean one-hot reading of each seed over its replicates [n_seeds, n_rounds, n_categories]; NaN where none is ok."""
    total = counts.sum(axis=2, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


@dataclass(frozen=True, slots=True)
class Group:
    """Seeds to average over, and how.

    `members` [n] are rows of the panel. `strata` [n] numbers the concept of each member where concepts are weighted alike,
    and is 0 throughout where seeds are. `units` [n] numbers what is independent: the seed itself, or its cohort.
    """

    name: str
    members: Ints
    strata: Ints
    units: Ints

    @property
    def n_strata(self) -> int:
        return int(self.strata.max()) + 1 if self.strata.size else 0

    @property
    def n_units(self) -> int:
        return int(self.units.max()) + 1 if self.units.size else 0

    @property
    def clustered(self) -> bool:
        """True where some unit holds more than one seed."""
        return self.n_units < self.units.size


def group(name: str, members: Ints, strata: Ints | None = None, cohorts: Ints | None = None) -> Group:
    """A group of panel rows; strata and cohorts (codes of the members, None = none) are renumbered without gaps."""
    zeros = np.zeros(members.size, np.intp)
    units = np.arange(members.size) if cohorts is None else _renumbered(cohorts)
    return Group(name, members, zeros if strata is None else _renumbered(strata), units)


def _renumbered(codes: Ints) -> Ints:
    return np.unique(codes, return_inverse=True)[1].astype(np.intp)


def concept_groups(concepts: Sequence[str], cohorts: Ints | None = None) -> list[Group]:
    """`all`, `all_standardised` (concepts weighted alike), and each concept by name.

    `concepts` [n_seeds] in panel order; `cohorts` [n_seeds] codes, or None where the seed is the unit.
    """
    everyone = np.arange(len(concepts))
    names, codes = np.unique(np.asarray(concepts, dtype=str), return_inverse=True)
    groups = [group("all", everyone, None, cohorts), group("all_standardised", everyone, codes, cohorts)]
    for code, name in enumerate(names):
        members = np.flatnonzero(codes == code)
        groups.append(group(str(name), members, None, None if cohorts is None else cohorts[members]))
    return groups
