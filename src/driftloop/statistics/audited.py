"""Shares as people see them, from a labelled random sample and the readings of everything: no assumption on the errors.

The difference (prediction-powered) estimator: the mean reading of all seeds, plus the mean of label - reading over the
sample, each weighted by one over its chance of being drawn (Horvitz & Thompson 1952; Särndal, Swensson & Wretman 1992,
ch. 6; Angelopoulos et al. 2023, Prediction-powered inference, with known unequal probabilities). Right whatever the
instrument does; the better the readings, the narrower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftloop.statistics.moments import Moments, summed
from driftloop.statistics.panel import Floats, Ints


def inclusion_probabilities(strata: Ints, n: int) -> Floats:
    """The chance of each of N units [N] to be among about `n` drawn, alike within a stratum.

    A stratum of size N_h is drawn in proportion to √N_h (power allocation, Bankier 1988), so that rare readings are
    looked at too; no chance is above 1, and what that leaves over goes to the others.
    """
    size = np.bincount(strata)[strata]
    chance = np.zeros(strata.size)
    certain = np.zeros(strata.size, np.bool_)
    while not certain.all():
        free = ~certain
        measure = size[free] ** -0.5
        chance[free] = max(n - certain.sum(), 0) * measure / measure.sum()
        if not (chance[free] > 1).any():
            break
        certain |= chance > 1
        chance[certain] = 1.0
    return np.minimum(chance, 1.0)


def systematic_sample(probabilities: Floats, order: Ints, start: float) -> Ints:
    """Positions drawn with exactly these probabilities [N]: along `order`, where their running sum passes start + 0, 1, …

    Ordered by stratum it takes from each stratum its expected number, to within one (Madow 1949). `start` in [0, 1).
    """
    passed = np.cumsum(probabilities[order])
    drawn = np.ceil(passed - start - 1e-12) > np.ceil(np.append(0.0, passed[:-1]) - start - 1e-12)
    return np.sort(order[drawn])


@dataclass(frozen=True, slots=True)
class Audited:
    """An audited share per category [K]: `mean`, and what each seed adds to it, `influence` [n, K], mean 0.

    `step` is the part of the whole that one audited seed speaks for at most; `n_audited` seeds were labelled.
    """

    mean: Floats
    influence: Floats
    step: float
    n_audited: int

    def moments(self, units: Ints) -> Moments:
        """For `quantification.estimate_limits`; units (seeds, or cohorts) [n] count as drawn independently, the safe side."""
        fill = np.ones_like(self.mean)
        variance = covariance(self.influence, self.influence, units) if self.n_audited > 1 else np.nan * fill
        count = np.full(self.mean.shape, self.n_audited)
        return Moments(n=count, mean=self.mean, variance=variance, step=self.step * fill, dof=max(self.n_audited - 1, 1) * fill)


def covariance(early: Floats, later: Floats, units: Ints) -> Floats:
    """Of two means [K], from what each seed adds to either [n, K] (`Audited.influence`)."""
    size = int(units.max()) + 1
    sums = summed(early, units, size) * summed(later, units, size) if size > 1 else np.full((1, early.shape[1]), np.nan)
    return np.asarray(sums.sum(axis=0) / len(early) ** 2 * size / max(size - 1, 1))


def correlation_of(early: Audited, later: Audited, units: Ints) -> Floats:
    """Of two audited shares of the same seeds, with one unseen seed risen and one fallen (see `quantification.correlation`)."""
    unseen = 2 * np.maximum(early.step, later.step) ** 2
    own = [covariance(part.influence, part.influence, units) + unseen for part in (early, later)]
    return np.asarray(np.clip(covariance(early.influence, later.influence, units) / np.sqrt(own[0] * own[1]), -1.0, 1.0))


def audited_share(readings: Floats, labels: Floats, drawn: Floats, chances: Floats) -> Audited:
    """The share of each label among pictures that people can tell.

    `readings` [n, K] of all seeds: means over their pictures, summing to 1 or, where some or all were not read, to less;
    NaN for a seed without a picture, which is no part of it. `labels` [n, K] of the picture that was shown, one-hot, 0
    throughout where people could not tell, and `drawn` [n, K] its reading; both NaN for seeds that were not labelled.
    `chances` [n] of a seed to be labelled. NaN without a label.
    """
    shown, there = np.isfinite(labels[:, 0]), np.isfinite(readings[:, 0])
    if not shown.any():
        return Audited(np.full(readings.shape[1], np.nan), np.full(readings.shape, np.nan), 1.0, 0)
    weight = np.where(shown, 1 / np.where(shown, chances, 1.0), 0.0)
    read, wrong = np.where(there[:, None], readings, 0.0), np.where(shown[:, None], labels - drawn, 0.0)
    mean = read.sum(axis=0) / there.sum() + _weighted(wrong, weight)
    told = mean.sum()
    share = mean / told if told > 0 else np.full(mean.shape, np.nan)
    residual, error = (part - share * part.sum(axis=1, keepdims=True) for part in (read, wrong))
    part_of_all = len(readings) * there[:, None] / there.sum()
    part_of_sample = len(readings) * weight[:, None] / weight.sum()
    middle = residual.sum(axis=0) / there.sum()
    influence = part_of_all * (residual - middle) + part_of_sample * (error - _weighted(error, weight))
    return Audited(np.clip(share, 0.0, 1.0), influence / told, float(weight.max() / weight.sum()), int(shown.sum()))


def _weighted(values: Floats, weight: Floats) -> Floats:
    """Mean of values [n, m] with weights [n] that add up to about n (Hájek: divided by what they do add up to)."""
    return np.asarray(weight @ values / weight.sum())
