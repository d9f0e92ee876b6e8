"""Means of ages in years, their shifts and trends, with intervals, over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftloop.statistics.intervals import shift_limits, shift_p_value
from driftloop.statistics.moments import Moments, changes, moments
from driftloop.statistics.panel import Floats, Group, Ints
from driftloop.statistics.trend import Trend, seed_slopes

GENERATION, LIFETIME = 25.0, 100.0  # years; see `year_change`


@dataclass(frozen=True, slots=True)
class YearEstimate:
    """Means over seeds [m], in years, with interval and two-sided p-value of a mean of 0."""

    n: Ints
    mean: Floats
    low: Floats
    high: Floats
    p_value: Floats


def year_change(values: Floats, group: Group, level: float = 0.95, missed: float = GENERATION) -> YearEstimate:
    """Mean of changes [n, m] in years, NaN where a seed has none.

    The interval of a shift of shares (`intervals.shift_limits`) with the largest change seen, at least `missed` years,
    as its unit: what a seed that was not drawn might have added; four times `missed` where nobody changed. Student's t,
    on whose width it closes in, covers .78 where 5 % of 30 seeds change by 40 years, and has no width where nobody does
    (`scripts/validate_statistics --sections trends`).
    """
    seen = np.abs(np.nan_to_num(values)).max(axis=0)
    unit = np.where(seen > 0, np.maximum(seen, missed), missed * LIFETIME / GENERATION)
    parts = changes(values / unit, group)
    low, high = shift_limits(*parts, level)
    shift = parts[2]
    return YearEstimate(shift.n, shift.mean * unit, low * unit, high * unit, shift_p_value(*parts))


def year_mean(values: Floats, group: Group, level: float = 0.95) -> YearEstimate:
    """Mean of ages [n, m] in years; the interval is that of their deviations from it, and there is no p-value."""
    middle: Moments = moments(values / LIFETIME, group)
    mean = middle.mean * LIFETIME
    around = year_change(values - mean, group, level)
    return YearEstimate(around.n, mean + around.mean, mean + around.low, mean + around.high, np.full_like(mean, np.nan))


def year_trend(years: Floats, rounds: Floats, group: Group, level: float = 0.95) -> Trend:
    """As `trend.trend`, of mean ages [n, R, m] in years: years per round."""
    added, steepest = seed_slopes(years, rounds, group)
    found = year_change(added, group, level, GENERATION * steepest)
    return Trend(found.n, found.mean, found.low, found.high, found.p_value)
