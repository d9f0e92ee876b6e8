"""Distances between two compositions of one attribute: arrays [..., n_categories] that sum to 1 in, [...] out.

Every one is biased upward in small samples: with no drift at all, the mean total variation of two independent samples
of n seeds is about Σ √(p (1 - p) / (π n)), over five even groups .25 / .16 / .11 / .07 / .04 at 20 / 50 / 100 / 300 /
1,000 seeds. None is read without its null.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from driftloop.statistics.intervals import Limits, share_limits
from driftloop.statistics.moments import moments
from driftloop.statistics.panel import Floats, Group

Distance = Callable[[Floats, Floats], Floats]
RARE = 5.0  # seeds' worth of movement below which the bootstrap has seen too little to bound a distance


def total_variation(p: Floats, q: Floats) -> Floats:
    """Half the summed absolute difference: the least share of seeds that must have changed category."""
    return np.asarray(np.abs(p - q).sum(axis=-1) / 2)


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Jensen-Shannon divergence in bits (base 2), between 0 and 1 (Lin 1991). No metric; its root is one."""
    middle = (p + q) / 2
    return np.maximum((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0.0)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    """In bits; a category that p lacks adds nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p == 0, 0.0, p * np.log2(p / q))
    return np.asarray(terms.sum(axis=-1))


def jensen_shannon_root(p: Floats, q: Floats) -> Floats:
    """Root of the divergence in bits: a metric, between 0 and 1 (Endres and Schindelin 2003)."""
    return np.asarray(np.sqrt(jensen_shannon(p, q)))


def hellinger(p: Floats, q: Floats) -> Floats:
    """Root of half the summed squared difference of the roots; a metric, between 0 and 1."""
    return np.asarray(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=-1) / 2))


def wasserstein_groups(p: Floats, q: Floats) -> Floats:
    """Wasserstein-1 over ordered categories one apart: how many groups a seed has moved on average, at the least."""
    return np.asarray(np.abs(np.cumsum(p - q, axis=-1)).sum(axis=-1))


def wasserstein_years(p: Floats, q: Floats) -> Floats:
    """Wasserstein-1 over categories one year apart: by how many years a seed has aged or grown younger, at the least."""
    return wasserstein_groups(p, q)


DISTANCES: tuple[Distance, ...] = (total_variation, jensen_shannon, jensen_shannon_root, hellinger)
STEEP = (jensen_shannon_root, hellinger)
"""Those whose slope has no bound where a share is 0."""
ORDERED_DISTANCES: tuple[Distance, ...] = (wasserstein_groups,)


def null_distances(distance: Distance, baseline: Floats, later: Floats, swapped: Floats) -> Floats:
    """The distance after the rounds of each unit were swapped at random: [resamples, ...].

    `baseline` and `later` [..., K] are the paired compositions, `swapped` [resamples, ..., K] the mean difference after
    swapping (`resampling.swapped_sums`). A swap leaves the mean of the two compositions alone, so both follow.

    Swapping tests exchangeability, and equal margins is less. For pairs the two agree in the limit: the summed squares
    of the differences, and so the variance of a swapped mean, are the same after every swap, so each draw is
    studentised already (Janssen 1999; Konietschke and Pauly 2014, Stat. Comput. 24:283).
    """
    middle = (baseline + later) / 2
    return distance(np.clip(middle - swapped / 2, 0.0, 1.0), np.clip(middle + swapped / 2, 0.0, 1.0))


def distance_limits(
    distance: Distance, pairs: Floats, resampled: Floats, null: Floats, *, group: Group, level: float
) -> Limits:
    """Interval of a distance, [0, its largest value] at the widest.

    `pairs` [n, m, 2K] are the readings of each seed at the baseline and later, `resampled` [resamples, m, 2K] their
    bootstrapped means, `null` [resamples, m] as from `null_distances`. Jensen-Shannon, no metric, has its root's squared.

    A distance has a corner at 0, where the bootstrap is inconsistent (Andrews 2000): a percentile interval never holds
    0. Away from 0 the level-quantile of |resampled - observed| is right, but for what `_wider` mends. Near 0 the distance
    is itself noise of the size the null shows, and by the triangle inequality observed and true distance differ by no
    more. The larger of the two is the half-width here: right in both places, conservative between. Where less than
    `RARE` seeds' worth moved, the interval is widened to what that movement could amount to (`moved_limit`).

    Roots are steep at 0: of a category that a round has and hardly shows, the bootstrap knows nothing, and the observed
    Hellinger or Jensen-Shannon distance is too large (at 30 seeds of five replicates and a share of .05 that grows to .22, the
    interval without this covered .83, always missing below). So their lower limit also allows, added in squares, for the
    share that may have been there (`nearest`): conservative by design where categories are rare in one round.
    """
    if distance is jensen_shannon:
        low, high = distance_limits(jensen_shannon_root, pairs, resampled, np.sqrt(null), group=group, level=level)
        return low**2, high**2
    k = pairs.shape[-1] // 2
    shares = moments(pairs.reshape(len(pairs), -1), group)
    means = shares.mean.reshape(pairs.shape[1:])
    observed = distance(means[:, :k], means[:, k:])
    errors = np.abs(distance(resampled[..., :k], resampled[..., k:]) - observed)
    half, noise = (np.quantile(draws, level, axis=0, method="higher") for draws in (errors, null))
    half = np.maximum(half * _wider(group.n_units, level), noise)
    moved, moved_high = moved_limit(pairs[..., k:] - pairs[..., :k], group, level)
    high = np.where(moved < RARE, np.fmax(observed + half, coupled(distance, moved_high, k)), observed + half)
    if distance in STEEP:
        unseen = share_limits(shares, level)[1].reshape(means.shape)
        half = np.hypot(half, observed - distance(*nearest(means, unseen, np.nansum(pairs, axis=0))))
    return np.maximum(observed - half, 0.0), np.minimum(high, coupled(distance, np.ones_like(high), k))


def _wider(n: int, level: float) -> float:
    """A bootstrap is too narrow by √((n - 1) / n), and by the normal instead of Student's t; without this the interval of the
    total variation covered .92 at 30 seeds."""
    tail = (1 - level) / 2
    return float(special.stdtrit(max(n - 1, 1), tail) / special.ndtri(tail) * np.sqrt(n / max(n - 1, 1)))


def nearest(means: Floats, high: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """The two compositions [m, K] nearest each other that what was seen of rare categories leaves possible.

    `means` [m, 2K], their upper limits `high`, and `seen`, the seeds' worth behind them. A category of which less than `RARE`
    was seen in a round, and more in the other round, is raised to its limit or that other share; the rest gives way alike.
    """
    k = means.shape[-1] // 2
    early, late = means[..., :k], means[..., k:]
    upto = np.minimum(high, np.concatenate([late, early], axis=-1))
    return _raised(early, upto[..., :k], seen[..., :k]), _raised(late, upto[..., k:], seen[..., k:])


def _raised(share: Floats, upto: Floats, seen: Floats) -> Floats:
    rises = (seen < RARE) & (upto > share)
    added = np.where(rises, upto - share, 0.0).sum(axis=-1, keepdims=True)
    rest = np.where(rises, 0.0, share)
    gives = np.divide(rest, rest.sum(axis=-1, keepdims=True), out=np.zeros_like(rest), where=rest > 0)
    return np.asarray(np.maximum(np.where(rises, upto, share - added * gives), 0.0))


def moved_limit(differences: Floats, group: Group, level: float) -> Limits:
    """How much of its reading a seed moved: the sum over seeds [m], and the upper limit of the mean [m].

    `differences` [n, m, K] may be NaN. The margins cannot be further apart than their seeds moved (coupling).
    """
    moved = np.minimum(np.abs(differences).sum(axis=-1) / 2, 1.0)
    return np.nansum(moved, axis=0), share_limits(moments(moved, group), level)[1]


def coupled(distance: Distance, moved: Floats, n_categories: int) -> Floats:
    """The largest distance two compositions can have when `moved` of a seed's reading moved on average.

    Total variation is at most that; Jensen-Shannon in bits and squared Hellinger are at most the total variation.
    """
    if distance in (wasserstein_groups, wasserstein_years):
        return moved * (n_categories - 1)
    return moved if distance is total_variation else np.sqrt(moved)
