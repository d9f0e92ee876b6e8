"""The confusion of an instrument: how often it reads category k where the label says l, P(read k | label l).

Matrices are [..., L, K], labels × readings, and may be rectangular: an instrument of nine age groups is calibrated
against labels of five. A row sums to 1. Unit of independence is the seed, which has one picture at the baseline.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from driftloop.core import rng
from driftloop.statistics.panel import Floats, Ints
from driftloop.statistics.tests import TestResult, swap_p_value

STRENGTHS = np.geomspace(0.5, 5000.0, 41)
"""Strengths of pooling that are tried, in seeds; the last counts as "alike in all groups"."""


def confusion_counts(readings: Floats, labels: Ints, n_labels: int) -> Floats:
    """Seeds per label and reading [L, K] of readings [n, K], NaN where unread, and labels [n], -1 where there is none."""
    used = (labels >= 0) & np.isfinite(readings[:, 0])
    return np.asarray(np.eye(n_labels)[labels[used]].T @ readings[used])


def rates(counts: Floats, fallback: Floats | None = None) -> Floats:
    """Rows of `counts` [..., L, K] divided by their sum; a row without a seed is that of `fallback`, or NaN."""
    sizes = counts.sum(axis=-1, keepdims=True)
    other = np.full(counts.shape[-2:], np.nan) if fallback is None else fallback
    return np.asarray(np.where(sizes > 0, counts / np.where(sizes > 0, sizes, 1.0), other))


def pooling_strength(counts: Floats) -> float:
    """How many seeds the rates of all groups are worth to each group: empirical Bayes on counts [C, L, K].

    Within label l the counts of group c are Dirichlet-multinomial with mean m_l, the rates of all groups together, and
    strength s, the same for all labels; s is the one of `STRENGTHS` of the largest marginal likelihood (Minka 2000,
    Estimating a Dirichlet distribution, eq. 53-54; on a grid, and with the mean plugged in, where Minka iterates both).
    """
    prior = STRENGTHS[:, None, None, None] * rates(counts.sum(axis=0))
    with np.errstate(invalid="ignore"):
        cells = np.where(prior > 0, special.gammaln(counts + prior) - special.gammaln(prior), 0.0).sum(axis=-1)
    total = counts.sum(axis=-1)
    strength = STRENGTHS[:, None, None]
    likelihood = special.gammaln(strength) - special.gammaln(strength + total) + cells
    return float(STRENGTHS[np.argmax(likelihood.sum(axis=(1, 2)))])


def pooled_rates(counts: Floats, strength: float) -> Floats:
    """Rates of each group [..., C, L, K], drawn towards those of all groups as if those were `strength` seeds more."""
    everyone = rates(counts.sum(axis=-3, keepdims=True))
    everyone = np.where(np.isfinite(everyone), everyone, 1 / counts.shape[-1])
    return np.asarray((counts + strength * everyone) / (counts.sum(axis=-1, keepdims=True) + strength))


def pooling_test(
    readings: Ints, labels: Ints, groups: Ints, draws: int, seed: int, weights: Floats | None = None
) -> TestResult:
    """Does the instrument err alike in all groups? Codes [n] of what was read, of the label, and of the group.

    The chi-square of reading × group is summed over labels; its null comes from shuffling the groups within each label.
    `weights` [n] make shares of seeds that were drawn with unequal probabilities, and stay with their reading.
    """
    n_labels, n_readings, n_groups = (int(codes.max(initial=0)) + 1 for codes in (labels, readings, groups))
    order = np.argsort(labels, kind="stable")
    cell, group = (labels * n_readings + readings)[order], groups[order]
    weight = np.ones(labels.size) if weights is None else weights[order] / weights.mean()
    shape = (n_labels, n_readings, n_groups)
    observed = _chi_square(cell, group, weight, shape)
    generator = rng.generator(seed)
    tied = labels[order].astype(np.float64)
    shuffled = [_chi_square(cell, group[np.argsort(tied + generator.random(tied.size))], weight, shape) for _ in range(draws)]
    dof = _degrees(cell, group, shape)
    return TestResult("chi_square_shuffled", observed, dof, float(swap_p_value(np.array(observed), np.array(shuffled))))


def _chi_square(cell: Ints, group: Ints, weight: Floats, shape: tuple[int, int, int]) -> float:
    table = np.bincount(cell * shape[2] + group, weight, minlength=int(np.prod(shape))).reshape(shape)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=2, keepdims=True)
    expected = expected / np.maximum(table.sum(axis=(1, 2), keepdims=True), 1e-300)
    return float(np.divide((table - expected) ** 2, expected, out=np.zeros(shape), where=expected > 0).sum())


def _degrees(cell: Ints, group: Ints, shape: tuple[int, int, int]) -> float:
    """(readings - 1) × (groups - 1) of those that occur, summed over labels."""
    table = np.bincount(cell * shape[2] + group, minlength=int(np.prod(shape))).reshape(shape)
    seen = [np.maximum((table.sum(axis=axis) > 0).sum(axis=1) - 1, 0) for axis in (2, 1)]
    return float((seen[0] * seen[1]).sum())


def youden(matrix: Floats, shares: Floats) -> Floats:
    """Youden's J of each label [L]: how far its row of `matrix` [L, K] is from that of the other labels together.

    The largest difference of hit rate and false alarm rate over all splits of the readings, which is their total
    variation distance; with two categories the familiar sensitivity + specificity - 1, less its sign. `shares` [L]
    weigh the other labels. 0: the reading says nothing of this label.
    """
    weights = np.maximum(shares, 1e-12) * (1 - np.eye(shares.size))
    others = weights @ matrix / weights.sum(axis=1, keepdims=True)
    return np.asarray(np.abs(matrix - others).sum(axis=1) / 2)


def condition_number(matrix: Floats) -> float:
    """Largest over smallest singular value of [L, K]: how much an error of the readings can be enlarged; inf if L > K."""
    values = np.linalg.svd(matrix, compute_uv=False)
    if matrix.shape[0] > matrix.shape[1] or values[-1] <= 1e-12 * values[0]:
        return float("inf")
    return float(values[0] / values[-1])
