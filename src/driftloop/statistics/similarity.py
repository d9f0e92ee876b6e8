"""How alike embeddings are, over seeds: means, the floor of pairs that have nothing to do with each other, the ceiling.

A cosine says nothing by itself: those of pictures of different people may lie at .6. Embeddings are unit vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import Floats, Group, Ints

MISSED = 0.5  # of a cosine: what a seed that was not drawn might have been off, half the way from orthogonal to the same


@dataclass(frozen=True, slots=True)
class Similarity:
    """Means over seeds [m] of cosines, or of their changes, with interval; `n` seeds."""

    n: Ints
    mean: Floats
    low: Floats
    high: Floats


def mean_similarity(values: Floats, group: Group, level: float = 0.95) -> Similarity:
    """Mean of `values` [n, m] in [-1, 1], NaN where a seed has none; the interval is that of `mean_change`."""
    mean = moments(values, group).mean
    found = mean_change(values - mean, group, level)
    low, high = np.maximum(mean + found.low, -1.0), np.minimum(mean + found.high, 1.0)
    return Similarity(found.n, mean, low, high)


def mean_change(values: Floats, group: Group, level: float = 0.95) -> Similarity:
    """Mean of changes of a cosine [n, m], NaN where a seed has none.

    The interval of a shift of shares (`intervals.shift_limits`) in units of the largest change seen, at least `MISSED`; NaN
    with one seed, never of width 0. Means are not bootstrapped (see `intervals`): where few seeds lose all their meaning, a
    sample often has none of them.
    """
    with np.errstate(invalid="ignore"):
        unit = np.maximum(np.abs(np.nan_to_num(values)).max(axis=0), MISSED)
    parts = changes(values / unit, group)
    low, high = shift_limits(*parts, level)
    return Similarity(parts[2].n, parts[2].mean * unit, low * unit, high * unit)


def likeness(first: Floats, second: Floats) -> Floats:
    """Mean cosine of `first` [n, replicates, d] with `second` of the same seed and replicate: [n], NaN where there is none."""
    return mean_over((first * second).sum(axis=-1))


def of_twins(first: Floats, second: Floats) -> Floats:
    """Mean cosine of `first` of one replicate with `second` of another of the same seed: [n], NaN with fewer than two."""
    there = np.isfinite(first[..., 0]) & np.isfinite(second[..., 0])
    one, other = (np.where(there[..., None], side, 0.0) for side in (first, second))
    pairs = there.sum(axis=1) * (there.sum(axis=1) - 1.0)
    own = (one * other).sum(axis=(1, 2))
    total = (one.sum(axis=1) * other.sum(axis=1)).sum(axis=1) - own
    return np.asarray(np.divide(total, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def mean_over(values: Floats) -> Floats:
    """Mean over the second axis of what is there; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=1).astype(np.float64)
    count[count == 0] = np.nan
    return np.asarray(np.where(there, values, 0.0).sum(axis=1) / count)


def of_strangers(first: Floats, second: Floats, codes: Ints) -> Floats:
    """How alike each seed is to the other seeds of its code: [n], NaN where it is alone.

    `first` and `second` [n, d] are means over the replicates of a seed, NaN where it has none. Mean cosine of its `first`
    with their `second` and of its `second` with their `first`, over all of them and not a sample: sums are enough.
    """
    there = np.isfinite(first[:, 0]) & np.isfinite(second[:, 0])
    one, other = (np.where(there[:, None], side, 0.0) for side in (first, second))
    of_code = np.zeros((2, int(codes.max(initial=-1)) + 1, first.shape[1]))
    np.add.at(of_code[0], codes, one)
    np.add.at(of_code[1], codes, other)
    others = np.bincount(codes, weights=there)[codes] - 1.0
    both = (one * (of_code[1][codes] - other) + other * (of_code[0][codes] - one)).sum(axis=1) / 2
    return np.asarray(np.divide(both, others, out=np.full(len(codes), np.nan), where=there & (others > 0)))


def floor_similarity(strangers: Floats, group: Group, level: float = 0.95) -> Similarity:
    """Mean over random pairs from `of_strangers` [n, m].

    Every pair is counted from either end, so the standard error is twice that of a mean, by the jackknife over seeds
    (Arvesen 1969, Ann. Math. Stat. 40:2076) with the limits of Student's t; NaN with fewer than three seeds. Where pairs of
    one concept are pooled over concepts it is a little too wide.
    """
    found = moments(strangers, group)
    with np.errstate(invalid="ignore", divide="ignore"):
        without_one = (found.n - 1) / (found.n - 2.0)
        half = 2 * without_one * np.sqrt(found.variance) * special.stdtrit(found.dof, (1 + level) / 2)
    half = np.where(found.n > 2, half, np.nan)
    return Similarity(found.n, found.mean, np.maximum(found.mean - half, -1.0), np.minimum(found.mean + half, 1.0))
