"""Later rounds beside the baseline, seed by seed: omnibus tests and distances with their nulls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftloop.core import rng
from driftloop.statistics.distances import Distance, distance_limits, null_distances
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import Floats, Group
from driftloop.statistics.resampling import bootstrap_means, swapped_sums, unit_differences
from driftloop.statistics.tests import TestResult, category_p_values, margins_test, swap_p_value


@dataclass(frozen=True, slots=True)
class Pairs:
    """Readings of the seeds of one group, on those read at both rounds (NaN where not), and what resampling made of them.

    `readings` [n, rounds, 2K] hold the baseline, then the later round; `difference` [n, rounds, K] is later - baseline;
    `units` [n_units, rounds, K] add up to its mean, and `swapped` [resamples, rounds, K] are their sums with the rounds
    of each unit swapped at random; `resampled` [resamples, rounds, 2K] are bootstrapped means of `readings`.
    """

    group: Group
    readings: Floats
    difference: Floats
    units: Floats
    swapped: Floats
    resampled: Floats


def make_pairs(baseline: Floats, later: Floats, group: Group, resamples: int, seed: int) -> Pairs:
    """Pairs of `baseline` [n, 1, K] and `later` [n, rounds, K], NaN where a seed is unread."""
    difference = later - baseline
    readings = np.concatenate([baseline + 0 * difference, later + 0 * difference], axis=2)
    units = unit_differences(difference.reshape(len(difference), -1), group)
    swapped = swapped_sums(units, resamples, rng.derive(seed, "swap"))
    resampled = bootstrap_means(readings, group, resamples, rng.derive(seed, "bootstrap"))
    shape = (-1, *difference.shape[1:])
    return Pairs(group, readings, difference, units.reshape(shape), swapped.reshape(shape), resampled)


def omnibus_tests(pairs: Pairs) -> list[TestResult]:
    """One test of equal margins per later round, see `tests.margins_test`."""
    n_rounds, n_categories = pairs.difference.shape[1:]
    up, down, shift = changes(pairs.difference, pairs.group)
    p_values = category_p_values(up, down, shift).reshape(n_rounds, n_categories)
    whole = np.asarray(np.isinf(shift.dof).reshape(n_rounds, n_categories).all(axis=1))
    return [margins_test(pairs.units[:, i], pairs.swapped[:, i], p_values[i], whole=bool(whole[i])) for i in range(n_rounds)]


@dataclass(frozen=True, slots=True)
class DistanceEstimate:
    """A distance per later round [rounds], its interval, and the band it would be in with rounds swapped at random.

    `null_low` to `null_high` is the central part of the null, as wide as the level of the interval.
    """

    value: Floats
    low: Floats
    high: Floats
    null_mean: Floats
    null_low: Floats
    null_high: Floats
    p_value: Floats


def distance_estimate(distance: Distance, pairs: Pairs, omnibus_p: Floats, level: float = 0.95) -> DistanceEstimate:
    """A distance of every later round from the baseline; all but the value is NaN where `omnibus_p` [rounds] is.

    The p-value is the share of swaps at least as far apart, never below that of the omnibus test, which holds where
    swapping does not (fractions). The interval goes down to 0 wherever the p-value is above 1 - level.
    """
    k = pairs.difference.shape[2]
    mean = moments(pairs.readings.reshape(len(pairs.readings), -1), pairs.group).mean.reshape(-1, 2 * k)
    value = distance(mean[:, :k], mean[:, k:])
    null = null_distances(distance, mean[:, :k], mean[:, k:], pairs.swapped)
    p_value = np.maximum(swap_p_value(value, null), omnibus_p)
    low, high = distance_limits(distance, pairs.readings, pairs.resampled, null, group=pairs.group, level=level)
    low = np.where(p_value > 1 - level, 0.0, low)
    null_low, null_high = np.quantile(null, [(1 - level) / 2, (1 + level) / 2], axis=0)
    known = np.where(np.isfinite(omnibus_p), 1.0, np.nan)
    return DistanceEstimate(
        value, low * known, high * known, null.mean(axis=0) * known, null_low * known, null_high * known, p_value
    )
