"""The straight-line trend of a reading over rounds: its slope within seeds, with seeds as what is independent.

The slope is the within (fixed-effects) estimator Σ (x - x̄ᵢ) y / Σ (x - x̄ᵢ)², x̄ᵢ over the rounds that seed i was read
at: seeds lost on the way do not bend it, as they bend the shares. Read at the same rounds, it is the slope of a linear
model by generalised estimating equations under working independence, and the interval a small-sample form of their
robust one (Liang and Zeger 1986, Biometrika 73:13; clustered residuals: Arellano 1987, Oxf. Bull. Econ. Stat. 49:431).

Rounds are not permuted within seeds: that tests whether rounds are exchangeable, which they are not even without a
trend, since replicates share the picture of round 0 and later rounds hang together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftloop.statistics.intervals import shift_limits, shift_p_value
from driftloop.statistics.moments import changes, summed
from driftloop.statistics.panel import Bools, Floats, Group, Ints


@dataclass(frozen=True, slots=True)
class Trend:
    """Per category [K]: change of the share per round with interval and p-value, over `n` seeds read at two rounds."""

    n: Ints
    slope: Floats
    low: Floats
    high: Floats
    p_value: Floats


def trend(means: Floats, rounds: Floats, group: Group, level: float = 0.95) -> Trend:
    """Slope over `rounds` [R] of `means` [n, R, K] in [0, 1], NaN where a seed is unread.

    What a seed adds is bounded by the steepest course it could have taken, so the interval is that of a shift
    (`intervals.shift_limits`), with its width where nothing moved and its cover of rare changes. How many rounds each
    seed was read at is taken as given. A level jump at the first round has a slope too: a trend is not a straight line.
    """
    added, steepest = seed_slopes(means, rounds, group)
    up, down, change = changes(added / steepest, group)
    low, high = shift_limits(up, down, change, level)
    p_value = shift_p_value(up, down, change)
    return Trend(change.n, change.mean * steepest, low * steepest, high * steepest, p_value)


def seed_slopes(means: Floats, rounds: Floats, group: Group) -> tuple[Floats, float]:
    """What each seed adds to the slope [n, K], and the most that any could add; NaN with fewer than two rounds.

    Their mean over the group is the slope: each is Σ (x - x̄ᵢ) y over the mean Σ (x - x̄ᵢ)² of the seed's stratum.
    """
    read = np.isfinite(means)
    count = read.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (read * rounds[:, None]).sum(axis=1) / count
    away = np.where(read, rounds[:, None] - centre[:, None], 0.0)
    enough = count >= 2
    along = np.where(enough, (away * np.nan_to_num(means)).sum(axis=1), np.nan)
    spread = (away**2).sum(axis=1) * enough
    of_stratum = _stratum_means(spread, enough, group)
    steepest = np.abs(away).sum(axis=1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        most = np.where(enough, steepest / of_stratum, 0.0)
        return along / of_stratum, float(most.max(initial=0.0)) or 1.0


def _stratum_means(values: Floats, counted: Bools, group: Group) -> Floats:
    """The mean of `values` [n, K] over the counted seeds of each seed's stratum [n, K]."""
    total = summed(values, group.strata, group.n_strata)
    number = summed(np.asarray(counted, np.float64), group.strata, group.n_strata)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total / number)[group.strata])
