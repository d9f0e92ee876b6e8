"""Shares and shifts corrected for an instrument's errors, in groups of seeds, with limits that know of the calibration.

Groups are all seeds, all with concepts weighted alike, and each concept, in this order. Everything comes from the same
bootstrap over seeds: a draw has its own confusion matrix, its own readings at every round, and so its own shares. Limits are
those of `quantification.estimate_limits`; its draws are not cut off at 0 and 1, which is on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from driftloop.statistics.confusion import confusion_counts, pooled_rates, pooling_strength, rates
from driftloop.statistics.moments import Moments
from driftloop.statistics.panel import Floats, Ints
from driftloop.statistics.quantification import (
    CELLS,
    adjusted_count,
    calibrated_likelihood,
    contrast_limits,
    correlation,
    em,
    em_count,
    estimate_limits,
    estimated,
    inverted,
    leverage,
    recalibrate,
    resampled_sums,
    resampled_weights,
)

EM_DRAWS = 200  # a standard deviation from so many draws is known to 5 %
EM_WITHIN, EM_STEPS = 1e-6, 300


@dataclass(frozen=True, slots=True)
class Items:
    """Readings with probabilities [items, L] of seeds (positions) at rounds (positions), each weighing 1 / replicates read."""

    seed: Ints
    round: Ints
    probabilities: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Shares:
    """What one sample of seeds says, of all and of each concept, with any leading axes.

    `matrices` [..., 1 + C, L, K] are the confusion; `readings` [..., 1 + C, R, K] are the means at each round, and `late`
    and `early` those, at that round and at the baseline, of the seeds read at both.
    """

    matrices: Floats
    readings: Floats
    late: Floats
    early: Floats


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one method: shares [G, R, L] and their draws [B, G, R, L], and the two ends of its shifts with theirs."""

    shares: Floats
    draws: Floats
    late: Floats
    early: Floats
    late_draws: Floats
    early_draws: Floats


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One attribute as one instrument read it, and the human labels of the seeds.

    `means` [n, R, K] are mean readings over replicates, NaN where unread; `labels` [n] number `n_labels` labels, -1 where
    there is none; `concepts` [n] and `units` [n] are numbered without gaps; `baseline` is the position of the round whose
    pictures were labelled. `items` where the instrument gives probabilities of the labels' own categories.
    """

    means: Floats
    labels: Ints
    n_labels: int
    concepts: Ints
    units: Ints
    baseline: int
    resamples: int
    seed: int
    items: Items | None = None

    @property
    def first(self) -> Floats:
        """Readings of the labelled pictures [n, K]."""
        return self.means[:, self.baseline]

    @property
    def n_concepts(self) -> int:
        return int(self.concepts.max()) + 1

    @cached_property
    def counts(self) -> Floats:
        """Labelled seeds per concept, label and reading [C, L, K]."""
        of_concept = [np.where(self.concepts == c, self.labels, -1) for c in range(self.n_concepts)]
        return np.stack([confusion_counts(self.first, labels, self.n_labels) for labels in of_concept])

    @cached_property
    def strength(self) -> float:
        return pooling_strength(self.counts)

    @cached_property
    def point(self) -> Shares:
        return self._shares(self.per_concept(self._features))

    @cached_property
    def draws(self) -> Shares:
        return self._shares(resampled_sums(self._features, self.concepts, self.units, self.resamples, self.seed))

    @cached_property
    def reach(self) -> Floats:
        """`leverage` of all and of each concept [1 + C, L]."""
        return leverage(self.point.matrices)

    @cached_property
    def adjusted(self) -> Estimate:
        """The confusion matrix inverted, each concept's with its own (see `confusion.pooled_rates`)."""
        return adjusted_estimate(self)

    @cached_property
    def em(self) -> Estimate:
        """Saerens on recalibrated probabilities, else on the readings. Its shift is the difference of its shares."""
        return em_estimate(self)

    @cached_property
    def read(self) -> tuple[Floats, Floats]:
        """Seeds per concept that were read at each round, and at both it and the baseline: [C, R] each."""
        read = np.isfinite(self.means[:, :, 0])
        both = read & read[:, [self.baseline]]
        return self.per_concept(read.astype(np.float64)), self.per_concept(both.astype(np.float64))

    def per_concept(self, values: Floats) -> Floats:
        """Sums of values [n, ...] within each concept [C, ...]."""
        return np.stack([values[self.concepts == c].sum(axis=0) for c in range(self.n_concepts)])

    @property
    def _features(self) -> Floats:
        """What of each seed is summed [n, L·K + R·(3K + 2)]: see `_shares`."""
        read = np.isfinite(self.means[:, :, :1])
        both = read & read[:, [self.baseline]]
        means, first = np.nan_to_num(self.means), np.nan_to_num(self.first)[:, None]
        label = np.eye(self.n_labels + 1)[self.labels][:, :-1]
        parts = [label[:, :, None] * first, means, read, means * both, first * both, both]
        return np.concatenate([part.reshape(len(means), -1) for part in parts], axis=1)

    def _shares(self, sums: Floats) -> Shares:
        """From sums of `_features` per concept [..., C, features]."""
        n_rounds, n_readings = self.means.shape[1:]
        shapes = [(self.n_labels, n_readings), *((n_rounds, width) for width in (n_readings, 1, n_readings, n_readings, 1))]
        split = np.split(sums, np.cumsum([a * b for a, b in shapes])[:-1], axis=-1)
        parts = [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(split, shapes, strict=True)]
        counts, means, read, late, early, both = parts
        everyone = rates(counts.sum(axis=-3), rates(self.counts.sum(axis=0)))
        matrices = _with_all(pooled_rates(counts, self.strength), everyone)
        return Shares(matrices, *(_ratio(top, below) for top, below in ((means, read), (late, both), (early, both))))


def _with_all(parts: Floats, everyone: Floats) -> Floats:
    return np.concatenate([everyone[..., None, :, :], parts], axis=-3)


def _ratio(top: Floats, below: Floats) -> Floats:
    """Means over all and per concept, from sums per concept [..., C, R, K] and counts [..., C, R, 1]."""
    top, below = (_with_all(part, part.sum(axis=-3)) for part in (top, below))
    return np.asarray(np.divide(top, below, out=np.full(top.shape, np.nan), where=below > 0))


def _standardised(values: Floats, axis: int) -> Floats:
    """Of all and each concept along `axis`: all, the mean of the concepts, each concept."""
    everyone, concepts = np.split(values, [1], axis=axis)
    return np.concatenate([everyone, concepts.mean(axis=axis, keepdims=True), concepts], axis=axis)


def adjusted_estimate(known: Calibration) -> Estimate:
    point, draws = known.point, known.draws

    def solved(shares: Floats) -> Floats:
        found = [[adjusted_count(matrix, row) for row in rows] for matrix, rows in zip(point.matrices, shares, strict=True)]
        return _standardised(np.array(found), 0)

    shares = inverted(draws.matrices, np.concatenate([draws.readings, draws.late, draws.early], axis=2))
    drawn, late, early = np.split(_standardised(shares, 1), 3, axis=2)
    return Estimate(solved(point.readings), drawn, solved(point.late), solved(point.early), late, early)


def em_estimate(known: Calibration) -> Estimate:
    shares, draws = _em_readings(known) if known.items is None else _em_probabilities(known, known.items)
    early, early_draws = 0 * shares + shares[:, [known.baseline]], 0 * draws + draws[:, :, [known.baseline]]
    return Estimate(shares, draws, shares, early, draws, early_draws)


def _em_readings(known: Calibration) -> tuple[Floats, Floats]:
    point, draws, some = known.point, known.draws, slice(min(known.resamples, EM_DRAWS))
    shares = em_count(point.matrices[:, None], point.readings)
    drawn = em_count(draws.matrices[some, :, None], draws.readings[some])
    return _standardised(shares, 0), _standardised(drawn, 1)


def _em_probabilities(known: Calibration, items: Items) -> tuple[Floats, Floats]:
    """Recalibrated on the labelled seeds, all concepts together, anew in every draw."""
    draws = resampled_weights(known.units, range(_em_draws(known)), known.seed)
    weights = np.vstack([np.ones(known.labels.size), draws])
    size = max(1, CELLS // items.probabilities.size)
    parts = [_em_groups(known, items, weights[start : start + size]) for start in range(0, len(weights), size)]
    every = _standardised(np.concatenate(parts), 1)
    return every[0], every[1:]


def _em_draws(known: Calibration) -> int:
    return min(known.resamples, EM_DRAWS)


def _labelled(known: Calibration, items: Items) -> Ints:
    """One reading of the baseline per labelled seed: replicates share its picture."""
    there = np.flatnonzero((items.round == known.baseline) & (known.labels[items.seed] >= 0))
    return np.asarray(there[np.unique(items.seed[there], return_index=True)[1]], np.intp)


def _likelihoods(known: Calibration, items: Items, weights: Floats) -> Floats:
    """Of all items, as each draw with weights [B, n] of the seeds calibrates them: [B, items, L]."""
    labelled = _labelled(known, items)
    seeds, probabilities = items.seed[labelled], items.probabilities[labelled]
    truth = known.labels[seeds]
    start, found = recalibrate(probabilities, truth), []
    for weight in weights:
        shares = np.bincount(truth, weight[seeds], minlength=known.n_labels)
        point = recalibrate(probabilities, truth, weight[seeds], start)
        found.append(calibrated_likelihood(items.probabilities, point, shares / shares.sum()))
    return np.stack(found)


def _em_groups(known: Calibration, items: Items, weights: Floats) -> Floats:
    """Of each draw: all and each concept, at each round [B, 1 + C, R, L]."""
    likelihood, weight = _likelihoods(known, items, weights), weights[:, items.seed] * items.weight
    concept = known.concepts[items.seed]
    groups = [np.ones(concept.size, np.bool_), *(concept == c for c in range(known.n_concepts))]
    n_rounds = known.means.shape[1]
    found = np.full((len(weights), len(groups), n_rounds, known.n_labels), np.nan)
    for g, r in product(range(len(groups)), range(n_rounds)):
        part = groups[g] & (items.round == r)
        if part.any():
            found[:, g, r] = em(likelihood[:, part], weight[:, part], steps=EM_STEPS, within=EM_WITHIN)
    return found


# Limits --------------------------------------------------------------------------------------------------------------


def corrected(known: Calibration, estimate: Estimate, level: float = 0.95) -> dict[str, Floats]:
    """share, share_low, share_high, shift, shift_low and shift_high, each [G, R, L]; a shift at the baseline has no limits."""
    read, both = known.read
    share = _moments(known, estimate.shares, estimate.draws, read)
    first = _moments(known, estimate.early, estimate.early_draws, both)
    then = _moments(known, estimate.late, estimate.late_draws, both)
    rho = correlation(_flat(estimate.early_draws), _flat(estimate.late_draws), then.step)
    limits = (*estimate_limits(share, level), *contrast_limits(first, then, rho, level))
    low, high, shift_low, shift_high = (limit.reshape(estimate.shares.shape) for limit in limits)
    baseline = (np.arange(known.means.shape[1]) == known.baseline)[None, :, None]
    return {
        "share": estimate.shares,
        "share_low": low,
        "share_high": high,
        "shift": estimate.late - estimate.early,
        "shift_low": np.where(baseline, np.nan, shift_low),
        "shift_high": np.where(baseline, np.nan, shift_high),
    }


def of_groups(number: Floats) -> Floats:
    """Seeds of each group [G, R] from those of each concept [C, R]."""
    everyone = number.sum(axis=0)
    return np.stack([everyone, everyone, *number])


def _moments(known: Calibration, point: Floats, draws: Floats, number: Floats) -> Moments:
    """Of estimates [G, R, L] with draws [B, G, R, L] from so many seeds per concept [C, R]; flat."""
    size = of_groups(number)
    everyone, *concepts = known.reach[:, None] / np.maximum(np.delete(size, 1, axis=0), 1)[:, :, None]
    alike = np.max(concepts, axis=0) / len(concepts)  # a seed of the smallest concept speaks for most
    step = np.stack([everyone, alike, *concepts])
    wide = np.broadcast_to(size[:, :, None], point.shape)
    return estimated(point.ravel(), _flat(draws), step.ravel(), wide.ravel())


def _flat(draws: Floats) -> Floats:
    return draws.reshape(len(draws), -1)
