"""What a check of the statistics gives: rates over repetitions, and whether they meet what is demanded.

A section is a module of this package with `cases(repetitions) -> Iterator[Case]`; `scripts/validate_statistics` finds it
by its name. `repetitions` are those at the level of readings: a section that costs more takes a stated part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from driftloop.statistics.panel import Bools, Floats

NAN = float("nan")
LEVEL = 0.95
ERRORS = 2.5  # Monte-Carlo standard errors that a rate may be off: hundreds of rates are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One rate. `covers`: how often an interval called 95 % held the truth, with its mean `width`. `rejects`: how often
    a test at .05 rejected where nothing was to be found, `finds` where something was. `demand` is NaN where none is made.
    """

    quantity: str
    kind: Literal["covers", "rejects", "finds"]
    n_seeds: int
    repetitions: int
    rate: float
    demand: float = NAN
    width: float = NAN

    @property
    def error(self) -> float:
        """A Monte-Carlo standard error of a rate at its demand."""
        at = self.rate if np.isnan(self.demand) else self.demand
        return float(np.sqrt(at * (1 - at) / self.repetitions))

    @property
    def holds(self) -> bool | None:
        """Whether the demand is met but for `ERRORS` Monte-Carlo standard errors; None where there is none."""
        if np.isnan(self.demand):
            return None
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


def holds(low: Floats, high: Floats, true: Floats | float) -> Bools:
    """Whether intervals hold the truth, but for rounding."""
    return (low <= true + 1e-9) & (true - 1e-9 <= high)
