"""Tests of equal margins in paired categorical readings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from driftloop.statistics.panel import Floats

CHI_SQUARE_FROM = 200  # discordant pairs from which the chi-square limit is used, and p-values no longer end at 1/(swaps + 1)


@dataclass(frozen=True, slots=True)
class TestResult:
    """A named test with its statistic, degrees of freedom and p-value; NaN for what the test does not have."""

    __test__ = False  # not a test class of pytest

    name: str
    statistic: float
    dof: float
    p_value: float


def mcnemar(rises: ArrayLike, falls: ArrayLike, *, mid: bool = True) -> Floats:
    """Two-sided p-value of McNemar's conditional test from the discordant counts; 1 where there are none.

    `mid` takes off half of the probability of the table seen on either side (Fagerland, Lydersen and Laake 2013, BMC Med. Res.
    Methodol. 13:91, who found its size within the level throughout); without it the test is exact and conservative.
    """
    b, c = np.asarray(rises), np.asarray(falls)
    fewer, total = np.minimum(b, c), b + c
    p = 2 * stats.binom.cdf(fewer, total, 0.5) - (stats.binom.pmf(fewer, total, 0.5) if mid else 0.0)
    return np.where(total == 0, 1.0, np.minimum(p, 1.0))


def quadratic_form(sums: Floats, second: Floats) -> tuple[Floats, int]:
    """s' M^- s for sums [..., K] and the summed squares M [K, K], with the rank of M.

    The generalised inverse leaves out every direction in which nothing moved, so categories empty in both rounds, and such as
    nobody entered or left, cost no degree of freedom.
    """
    values, vectors = np.linalg.eigh(second)
    kept = values > 1e-9 * max(values.max(initial=0.0), 1e-300)
    scaled = sums @ (vectors[:, kept] / np.sqrt(values[kept]))
    return (scaled**2).sum(axis=-1), int(kept.sum())


def stuart_maxwell(table: ArrayLike) -> TestResult:
    """Stuart (1955) and Maxwell (1970): equal margins of a square table [K, K] of pairs, chi-square in the limit."""
    statistic, dof, _ = _square_table(table)
    return TestResult("stuart_maxwell", statistic, dof, _chi_square(statistic, dof))


def bhapkar(table: ArrayLike) -> TestResult:
    """Bhapkar (1966): as Stuart-Maxwell with the variance not under the null, W = Q / (1 - Q / n); larger, more liberal."""
    q, dof, n = _square_table(table)
    statistic = q / (1 - q / n) if q < n else np.inf
    return TestResult("bhapkar", statistic, dof, _chi_square(statistic, dof))


def _square_table(table: ArrayLike) -> tuple[float, int, float]:
    """Stuart-Maxwell statistic, degrees of freedom, pairs."""
    counts = np.asarray(table, dtype=np.float64)
    margins = counts.sum(axis=1) - counts.sum(axis=0)
    second = np.diag(counts.sum(axis=1) + counts.sum(axis=0)) - counts - counts.T
    statistic, dof = quadratic_form(margins, second)
    return float(statistic), dof, float(counts.sum())


def _chi_square(statistic: float, dof: int) -> float:
    return float(stats.chi2.sf(statistic, dof)) if dof else 1.0


def flip_p_value(observed: Floats, flipped: Floats) -> Floats:
    """Share of flipped statistics [resamples, ...] at least as large as the observed one [...], which counts as one of them.

    Ties are ties up to rounding (one part in 10^9).
    """
    reached = (flipped >= observed - 1e-9 * np.maximum(np.abs(observed), 1e-9)).sum(axis=0)
    return np.asarray((1 + reached) / (1 + flipped.shape[0]))


def margins_test(units: Floats, flipped: Floats, category_p: Floats, *, whole: bool, enough: bool) -> TestResult:
    """Are the margins of two rounds equal? The test by what the data are, as stated here.

    `units` [n_units, K] add up to the mean difference, `flipped` [resamples, K] are their sums with rounds swapped at random,
    `category_p` [K] the p-value of each category. `whole`: every seed moved wholly or not at all and counts alike.
    - whole, two categories moved: McNemar, mid-p.
    - whole, more: the Stuart-Maxwell statistic; against swaps below `CHI_SQUARE_FROM` discordant pairs, chi-square above.
    - fractions, cohorts or strata: the smallest category p-value times the categories that moved (Bonferroni); `statistic` is
      the smallest p-value. Swapping over-rejects where replicates share their first picture.
    NaN where fewer than two units are there.
    """
    discordant = np.abs(units).sum(axis=1) > 0
    moved = int((np.abs(units).sum(axis=0) > 0).sum())
    nan = float("nan")
    if not whole:
        smallest = float(category_p.min()) if enough else nan
        return TestResult("bonferroni", smallest, nan, min(smallest * (1 if moved <= 2 else moved), 1.0) if enough else nan)
    if moved <= 2:
        return TestResult("mcnemar_midp", nan, nan, float(category_p.min()) if enough else nan)
    statistic, dof = quadratic_form(units.sum(axis=0), units.T @ units)
    if discordant.sum() >= CHI_SQUARE_FROM:
        return TestResult("stuart_maxwell", float(statistic), dof, _chi_square(float(statistic), dof))
    swapped, _ = quadratic_form(flipped, units.T @ units)
    return TestResult("stuart_maxwell_swaps", float(statistic), dof, float(flip_p_value(statistic, swapped)))
