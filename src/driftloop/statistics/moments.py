"""Means over seeds with their variance, for one group at a time, all columns at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from driftloop.statistics.panel import Bools, Floats, Group, Ints


@dataclass(frozen=True, slots=True)
class Moments:
    """What an interval for a mean over seeds needs; every field is [n_columns].

    `n` seeds counted; `mean`; `variance` of the mean, NaN with fewer than two units; `step`, the largest weight any
    unit carries (1/n for plain seeds); `dof` of the variance, infinite where the values are 0 or ±1 and weighted alike,
    for then it follows from their counts.
    """

    n: Ints
    mean: Floats
    variance: Floats
    step: Floats
    dof: Floats


def summed(values: Floats, codes: Ints, n_codes: int) -> Floats:
    """Column sums of `values` [n, m] within each code: [n_codes, m]."""
    if n_codes == 1:
        return np.asarray(values.sum(axis=0, keepdims=True))
    n = codes.size
    indicator = sparse.csr_matrix((np.ones(n), codes, np.arange(n + 1)), shape=(n, n_codes))
    return np.asarray(indicator.T @ values)


def seed_weights(present: Bools, group: Group) -> Floats:
    """Weight of each seed in the group's mean [n, m]: 1 / (strata × seeds present in the stratum), 0 where absent.

    NaN throughout a column in which some stratum has nobody: a mean of concepts weighted alike needs every concept.
    """
    sizes = summed(present.astype(np.float64), group.strata, group.n_strata)
    sizes[:, (sizes == 0).any(axis=0)] = np.nan
    return np.where(present, (1 / (group.n_strata * sizes))[group.strata], 0 * sizes.sum(axis=0))


def moments(values: Floats, group: Group) -> Moments:
    """Mean over the seeds of `group`, and its variance, of `values` [n, m] in [-1, 1], NaN where a seed has nothing.

    The variance is linearised: residuals from the stratum mean, summed within units, squared and summed. Where every
    value is 0 or ±1, seeds are weighted alike and are the units, it is Σ(x - mean)² / n², which makes the interval of a
    share exact; for fractions n (n - 1) stands below. Strata may be small, so each has one seed more, as far from its
    mean as a 0/1 draw at the mean of all would be, and the degrees of freedom are Satterthwaite's.
    """
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    sizes = summed(present.astype(np.float64), group.strata, group.n_strata)
    weight = seed_weights(present, group)
    mean = (weight * filled).sum(axis=0)
    plain = group.n_strata == 1 and not group.clustered
    whole = np.asarray(np.isin(np.abs(filled), (0.0, 1.0)).all(axis=0)) & plain
    residual = weight * _residuals(filled, present, sizes, whole, group)
    units, variance, step = _over_units(residual, weight, present, group)
    single = np.maximum((weight * np.abs(filled)).sum(axis=0) - mean**2, 0.0) if group.n_strata > 1 else 0 * mean
    added = single / (group.n_strata * np.maximum(sizes, 1)) ** 2
    by_stratum = summed(residual**2, group.strata, group.n_strata) + added
    return Moments(
        n=present.sum(axis=0),
        mean=np.round(mean, 12) + 0.0,  # weights add up to 1 but for rounding: no share above 1, no shift of -1e-18
        variance=np.where(units > 1, variance + added.sum(axis=0), np.nan),
        step=step,
        dof=np.where(whole, np.inf, np.minimum(_satterthwaite(by_stratum, sizes), np.maximum(units - 1, 1))),
    )


def _satterthwaite(variances: Floats, sizes: Floats) -> Floats:
    """Degrees of freedom of a sum of variances [n_strata, m] from samples of these sizes; at least 1."""
    one = len(sizes) == 1  # without the seed added to each of several strata
    parts = (variances**2 / np.maximum(sizes - one, 1)).sum(axis=0)
    whole = variances.sum(axis=0) ** 2
    return np.asarray(np.maximum(np.divide(whole, parts, out=sizes.sum(axis=0) - one, where=parts > 0), 1.0))


def changes(difference: Floats, group: Group) -> tuple[Moments, Moments, Moments]:
    """Moments of the rises max(d, 0), of the falls max(-d, 0) and of the differences d [n, ...] themselves, flat."""
    flat = difference.reshape(len(difference), -1)
    return moments(np.maximum(flat, 0.0), group), moments(np.maximum(-flat, 0.0), group), moments(flat, group)


def _residuals(filled: Floats, present: Bools, sizes: Floats, whole: Bools, group: Group) -> Floats:
    """Deviations from the stratum mean [n, m], stretched by √(n / (n - 1)) for fractions in one stratum; 0 if absent."""
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = summed(filled, group.strata, group.n_strata) / sizes
    stretch = np.where(whole | (group.n_strata > 1), 1.0, np.sqrt(sizes[0] / np.maximum(sizes[0] - 1, 1)))
    return np.where(present, (filled - centre[group.strata]) * stretch, 0.0)


def _over_units(residual: Floats, weight: Floats, present: Bools, group: Group) -> tuple[Ints, Floats, Floats]:
    """Units with someone present, variance of the mean, largest weight of a unit: each [m]."""
    if not group.clustered:
        return present.sum(axis=0), (residual**2).sum(axis=0), weight.max(axis=0)
    units = (summed(present.astype(np.float64), group.units, group.n_units) > 0).sum(axis=0)
    totals = summed(residual, group.units, group.n_units)
    variance = (totals**2).sum(axis=0) * units / np.maximum(units - 1, 1)
    return units, variance, summed(weight, group.units, group.n_units).max(axis=0)
