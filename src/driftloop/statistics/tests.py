"""Tests of equal margins in paired categorical readings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from driftloop.statistics.intervals import shift_limits, shift_p_value
from driftloop.statistics.moments import Moments
from driftloop.statistics.panel import Bools, Floats

CHI_SQUARE_FROM = 200  # discordant pairs from which the chi-square limit is used; swaps cannot go below 1/(swaps + 1)
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class TestResult:
    """A named test with its statistic, degrees of freedom and p-value; NaN for what the test does not have."""

    __test__ = False  # not a class of tests, whatever pytest thinks

    name: str
    statistic: float
    dof: float
    p_value: float


def mcnemar(rises: ArrayLike, falls: ArrayLike, *, mid: bool = True) -> Floats:
    """Two-sided p-value of McNemar's conditional test from the discordant counts; 1 where there are none.

    `mid` takes off the probability of the table seen once over the two sides (Fagerland, Lydersen and Laake 2013, BMC
    Med. Res. Methodol. 13:91: its size stayed within the level throughout); without it the test is exact, conservative.
    """
    b, c = np.asarray(rises), np.asarray(falls)
    fewer, total = np.minimum(b, c), b + c
    p = 2 * stats.binom.cdf(fewer, total, 0.5) - (stats.binom.pmf(fewer, total, 0.5) if mid else 0.0)
    return np.where(total == 0, 1.0, np.minimum(p, 1.0))


def category_p_values(up: Moments, down: Moments, shift: Moments) -> Floats:
    """Two-sided p-value of each shift: mid-p McNemar where every seed moved wholly or not at all, else `shift_p_value`.

    Swapping the rounds of a seed is no substitute for the latter: replicates share the picture of round 0, so a fraction
    later is set against a 0 or 1 at the baseline, differences are skew, and swapping rejected a true null in up to 27 %
    of trials (scripts/bench/calibration.py).
    """
    whole, p_values = _whole_p_values(up, down, shift)
    return np.where(whole, p_values, shift_p_value(up, down, shift))


def category_rejections(up: Moments, down: Moments, shift: Moments, level: float = 0.05) -> Bools:
    """Where `category_p_values` are at most `level`, at the cost of one interval and not of forty."""
    whole, p_values = _whole_p_values(up, down, shift)
    low, high = shift_limits(up, down, shift, 1 - level)
    return np.where(whole, p_values <= level, (low > 0) | (high < 0))


def _whole_p_values(up: Moments, down: Moments, shift: Moments) -> tuple[Bools, Floats]:
    """Where every seed moved wholly or not at all, and McNemar's p-value there."""
    whole = np.isinf(shift.dof) & (shift.n > 1)
    rises, falls = (np.rint(np.nan_to_num(part.mean * part.n)) for part in (up, down))
    return whole, mcnemar(rises, falls)


def quadratic_form(sums: Floats, second: Floats) -> tuple[Floats, int]:
    """s' M⁻ s for sums s [..., K] and their summed squares M [K, K], with the rank of M.

    The generalised inverse leaves out every direction in which nothing moved, so categories empty in both rounds, and
    such as nobody entered or left, cost no degree of freedom.
    """
    values, vectors = np.linalg.eigh(second)
    kept = values > 1e-9 * max(values.max(initial=0.0), 1e-300)
    scaled = sums @ (vectors[:, kept] / np.sqrt(values[kept]))
    return np.asarray((scaled**2).sum(axis=-1)), int(kept.sum())


def stuart_maxwell(table: ArrayLike) -> TestResult:
    """Stuart (1955) and Maxwell (1970): equal margins of a square table of pairs [K, K], chi-square in the limit."""
    statistic, dof, _ = _from_table(table)
    return TestResult("stuart_maxwell", statistic, dof, chi_square_p(statistic, dof))


def bhapkar(table: ArrayLike) -> TestResult:
    """Bhapkar (1966): Stuart-Maxwell's Q with the variance not taken under the null, Q / (1 - Q / n); more liberal."""
    q, dof, n = _from_table(table)
    statistic = q / (1 - q / n) if q < n else float("inf")
    return TestResult("bhapkar", statistic, dof, chi_square_p(statistic, dof))


def _from_table(table: ArrayLike) -> tuple[float, int, float]:
    """Stuart-Maxwell statistic, degrees of freedom, pairs."""
    counts = np.asarray(table, dtype=np.float64)
    leaving, arriving = counts.sum(axis=1), counts.sum(axis=0)
    statistic, dof = quadratic_form(leaving - arriving, np.diag(leaving + arriving) - counts - counts.T)
    return float(statistic), dof, float(counts.sum())


def chi_square_p(statistic: float, dof: int) -> float:
    """1 with no degree of freedom: nothing moved."""
    return float(stats.chi2.sf(statistic, dof)) if dof else 1.0


def swap_p_value(observed: Floats, swapped: Floats) -> Floats:
    """Share of swapped statistics [resamples, ...] that reach the observed one [...], which counts as one of them.

    A tie reaches, and what differs by one part in 10⁹ is a tie.
    """
    reached = (swapped >= observed - 1e-9 * np.maximum(np.abs(observed), 1e-9)).sum(axis=0)
    return np.asarray((1 + reached) / (1 + swapped.shape[0]))


def margins_test(units: Floats, swapped: Floats, category_p: Floats, *, whole: bool) -> TestResult:
    """Are the margins of two rounds equal? Which test answers depends on the data alone, by this rule.

    `units` [n_units, K] add up to the mean difference, `swapped` [resamples, K] are their sums with rounds swapped at
    random, `category_p` [K] is the p-value of each category, NaN with fewer than two pairs. `whole`: every seed moved
    wholly or not at all, and seeds count alike and are the units.
    - Whole, at most two categories moved: McNemar, mid-p.
    - Whole, more moved: Stuart-Maxwell's statistic, against swaps below `CHI_SQUARE_FROM` discordant pairs.
    - Fractions, cohorts or weighted concepts: Bonferroni over the categories that moved; `statistic` is the smallest
      p-value. Swapping will not do there, see `category_p_values`.
    """
    moved = int((np.abs(units).sum(axis=0) > 0).sum())
    smallest = float(category_p.min())
    if not whole:
        return TestResult("bonferroni", smallest, NAN, float(np.minimum(smallest * (moved if moved > 2 else 1), 1.0)))
    if moved <= 2:
        return TestResult("mcnemar_midp", NAN, NAN, smallest)
    second = units.T @ units
    statistic, dof = quadratic_form(units.sum(axis=0), second)
    if (np.abs(units).sum(axis=1) > 0).sum() >= CHI_SQUARE_FROM:
        return TestResult("stuart_maxwell", float(statistic), dof, chi_square_p(float(statistic), dof))
    p_value = swap_p_value(statistic, quadratic_form(swapped, second)[0])
    return TestResult("stuart_maxwell_swaps", float(statistic), dof, float(p_value))
