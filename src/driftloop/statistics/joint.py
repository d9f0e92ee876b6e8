"""Is a hypothesised closed form right in all rounds at once? A test of residuals over seeds, and its power.

A residual is what a seed's chains were read as, minus what the hypothesis expects of them given the seed's own concept
and starting label; its mean over seeds is zero if the hypothesis is right. Rounds of a seed depend on each other in any
way; seeds do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, stats

from driftloop.statistics.panel import Bools, Floats, Ints

TOLERANCE = 1e-8
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class JointTest:
    """Hotelling's T² over `n` seeds and `columns` linearly independent columns; NaN where it cannot tell."""

    statistic: float
    columns: int
    n: int
    p_value: float


def hotelling(residuals: Floats, tolerance: float = TOLERANCE) -> JointTest:
    """One-sample T² of residuals [n_seeds, m] against a mean of zero (Hotelling 1931; Anderson 2003, §5.2).

    (n - p) / (p (n - 1)) T² is referred to F(p, n - p): exact for normal residuals, a limit for shares. Columns that are
    linear combinations of others, or that do not vary over seeds, cannot be weighed and are left out, see
    `independent`. With n <= p, or nothing that varies, the p-value is NaN.
    """
    if not np.isfinite(residuals).all():
        raise ValueError("residuals must be finite: an unread picture counts as no category, and the hypothesis as much")
    kept = residuals[:, independent(residuals, tolerance)]
    n, p = kept.shape
    if p == 0 or n <= p:
        return JointTest(NAN, p, n, NAN)
    mean = kept.mean(axis=0)
    statistic = n * float(mean @ np.linalg.solve(np.atleast_2d(np.cov(kept, rowvar=False)), mean))
    return JointTest(statistic, p, n, float(stats.f.sf(statistic * (n - p) / (p * (n - 1)), p, n - p)))


def independent(residuals: Floats, tolerance: float = TOLERANCE) -> Bools:
    """Which columns [m] to keep: those that a pivoted QR of the centred columns finds linearly independent.

    A column is left out when what the columns chosen before it leave unexplained is at most `tolerance` of the longest
    column's length (lengths as root sums of squares).
    """
    centred = residuals - residuals.mean(axis=0)
    triangle, order = linalg.qr(centred, mode="r", pivoting=True)
    left = np.abs(np.diag(triangle))
    chosen = np.zeros(residuals.shape[1], np.bool_)
    chosen[order[: left.size][left > tolerance * max(left.max(initial=0.0), tolerance)]] = True
    return chosen


def kept_label(residuals: Floats, start: Ints) -> Floats:
    """Residuals [n, rounds, K] of the category that each seed started with, [n, rounds]; `start` [n] holds its number.

    How often the starting label is still read is what omission moves, whatever the concept. Shares themselves may hide
    it: where concepts pull apart, errors of the hypothesis cancel in their mean over seeds.
    """
    return np.asarray(np.take_along_axis(residuals, start[:, None, None], axis=2)[:, :, 0])


def hotelling_power(mean: Floats, covariance: Floats, n: int, level: float = 0.05) -> float:
    """P(p-value <= level) over n seeds whose residuals have this mean [p] and covariance [p, p], from the noncentral F.

    The noncentrality is n μ' Σ⁻¹ μ (Anderson 2003, §5.4). NaN where the test cannot tell. Taken as 1 - cdf: scipy's
    survival function of the noncentral F is wrong (negative) where the noncentrality is exactly 0.
    """
    p = mean.size
    if n <= p:
        return NAN
    noncentrality = n * float(mean @ np.linalg.solve(covariance, mean))
    return 1 - float(stats.ncf.cdf(stats.f.isf(level, p, n - p), p, n - p, noncentrality))
