"""What a check of the statistics gives: rates over repetitions, and whether they meet what is demanded.

A section is a module of this package with `cases(repetitions) -> Iterator[Case]`; `scripts/validate_statistics` finds it
by its name. `repetitions` are those at the level of readings: a section that costs more takes a stated part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from driftloop.statistics.panel import Bools, Floats

NAN = float("nan")
LEVEL = 0.95
ERRORS = 2.5  # Monte-Carlo standard errors that a rate may be off: hundreds of rates are looked at
ONCE_IN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One rate. `covers`: how often an interval called 95 % held the truth, with its mean `width`. `rejects`: how often
    a test at .05 rejected where nothing was to be found, `finds` where something was. `off`, no rate but a distance: how far
    the means over repetitions are from what they estimate at most, in Monte-Carlo errors. `demand` is NaN where none is made.
    """

    quantity: str
    kind: Literal["covers", "rejects", "finds", "off"]
    n_seeds: int
    repetitions: int
    rate: float
    demand: float = NAN
    width: float = NAN

    @property
    def error(self) -> float:
        """A Monte-Carlo standard error of a rate at its demand; NaN of what is none."""
        if self.kind == "off":
            return NAN
        at = self.rate if np.isnan(self.demand) else self.demand
        return float(np.sqrt(at * (1 - at) / self.repetitions))

    @property
    def holds(self) -> bool | None:
        """Whether the demand is met but for `ERRORS` Monte-Carlo standard errors; None where there is none."""
        if np.isnan(self.demand):
            return None
        if self.kind == "off":
            return self.rate <= self.demand
        over = (self.rate - self.demand) * (1 if self.kind == "covers" else -1)
        return bool(over >= -ERRORS * self.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One setting, named once in its section; `check` is seeded by its name and gives the same outcomes every time."""

    name: str
    check: Callable[[], Iterable[Outcome]]


def covers(quantity: str, n_seeds: int, held: Bools, width: Floats, *, demanded: bool = True) -> Outcome:
    """`held` and `width` of every repetition."""
    mean = float(np.nanmean(width)) if np.isfinite(width).any() else NAN
    return coverage(quantity, n_seeds, held.size, float(held.mean()), mean, demanded=demanded)


def coverage(quantity: str, n_seeds: int, repetitions: int, rate: float, width: float, *, demanded: bool = True) -> Outcome:
    """The demand is one-sided: .95 from 100 seeds, .93 below (none under 30)."""
    demand = (LEVEL if n_seeds >= 100 else 0.93) if demanded and n_seeds >= 30 else NAN
    return Outcome(
        quantity=quantity,
        kind="covers",
        n_seeds=n_seeds,
        repetitions=repetitions,
        rate=rate,
        demand=demand,
        width=width,
    )


def rejects(quantity: str, n_seeds: int, rejected: Bools, *, null: bool) -> Outcome:
    """`rejected` of every repetition; `null` where there is nothing to be found."""
    return rejection(quantity, n_seeds, rejected.size, float(rejected.mean()), null=null)


def rejection(quantity: str, n_seeds: int, repetitions: int, rate: float, *, null: bool) -> Outcome:
    """How often a test rejected; `null` where there is nothing to be found, and so a demand."""
    return Outcome(
        quantity=quantity,
        kind="rejects" if null else "finds",
        n_seeds=n_seeds,
        repetitions=repetitions,
        rate=rate,
        demand=1 - LEVEL if null else NAN,
    )


def farthest(quantity: str, n_seeds: int, errors: Floats) -> Outcome:
    """`errors` [repetitions, m] of m estimates; the demand is what so many normals exceed once in `ONCE_IN` times."""
    mean, error = errors.mean(axis=0), errors.std(axis=0) / np.sqrt(len(errors))
    away = np.abs(np.where(np.abs(mean) < 1e-9, 0.0, mean))
    off = np.divide(away, error, out=np.where(away > 0, np.inf, 0.0), where=error > 1e-12)
    limit = -float(special.ndtri((1 - (1 - 1 / ONCE_IN) ** (1 / off.size)) / 2))
    return Outcome(quantity=quantity, kind="off", n_seeds=n_seeds, repetitions=len(errors), rate=float(off.max()), demand=limit)


def holds(low: Floats, high: Floats, true: Floats | float) -> Bools:
    """Whether intervals hold the truth, but for rounding."""
    return (low <= true + 1e-9) & (true - 1e-9 <= high)
