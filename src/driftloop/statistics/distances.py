"""Distances between two compositions of one attribute: arrays [..., n_categories] that sum to 1, in, distances [...] out.

Every one is biased upward in small samples: with no drift at all the mean total variation of two independent samples over five
groups is .22 / .14 / .10 / .06 / .03 at 20 / 50 / 100 / 300 / 1,000 seeds. So none is read without its null (`null_distances`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from driftloop.statistics.intervals import share_limits
from driftloop.statistics.moments import moments
from driftloop.statistics.panel import Floats, Group

Distance = Callable[[Floats, Floats], Floats]


def total_variation(p: Floats, q: Floats) -> Floats:
    """Half the summed absolute difference; the least share of seeds that must have changed category."""
    return np.asarray(np.abs(p - q).sum(axis=-1) / 2)


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Jensen-Shannon divergence in bits (base 2), between 0 and 1 (Lin 1991). Not a metric; its root is."""
    middle = (p + q) / 2
    return np.maximum((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0.0)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    """In bits; a category that p lacks adds nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / q), 0.0)
    return np.asarray(np.where(np.isnan(p).any(axis=-1), np.nan, terms.sum(axis=-1)))


def jensen_shannon_root(p: Floats, q: Floats) -> Floats:
    """Root of the divergence in bits: a metric, between 0 and 1 (Endres and Schindelin 2003)."""
    return np.sqrt(jensen_shannon(p, q))


def hellinger(p: Floats, q: Floats) -> Floats:
    """Between 0 and 1."""
    return np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=-1) / 2)


def wasserstein_groups(p: Floats, q: Floats) -> Floats:
    """Wasserstein-1 over ordered categories, one apart each: how many groups a seed has moved on average, at the least."""
    return np.asarray(np.abs(np.cumsum(p - q, axis=-1)).sum(axis=-1))


DISTANCES: tuple[Distance, ...] = (total_variation, jensen_shannon, jensen_shannon_root, hellinger)
ORDERED_DISTANCES: tuple[Distance, ...] = (wasserstein_groups,)


def null_distances(distance: Distance, baseline: Floats, later: Floats, flipped: Floats) -> Floats:
    """The distance after the rounds of each unit were swapped at random [resamples, ...].

    `baseline`, `later` [..., K] are the paired compositions and `flipped` [resamples, ..., K] the mean difference after
    swapping (`resampling.flipped_sums`); a swap leaves their mean as it is, so both compositions follow.

    Swapping tests exchangeability, and equal margins is less. For pairs the two agree in the limit: the summed squares of
    the differences, and with them the variance of every swapped mean, are the same before and after swapping, so each draw
    is studentised already (Janssen 1999; Konietschke and Pauly 2014, Stat. Comput. 24:283).
    """
    middle = (baseline + later) / 2
    return distance(np.clip(middle - flipped / 2, 0.0, 1.0), np.clip(middle + flipped / 2, 0.0, 1.0))


def moved_limit(differences: Floats, group: Group, level: float = 0.95) -> tuple[Floats, Floats]:
    """How much of its reading a seed has moved on average: the sum over seeds [m] and the upper limit of the mean [m].

    `differences` [n, m, K] may be NaN. No distance between the margins can exceed what its seeds moved (coupling), so this
    limit stands in for a bootstrap that has seen almost nothing move.
    """
    moved = np.abs(differences).sum(axis=-1) / 2
    return np.nansum(moved, axis=0), share_limits(moments(np.minimum(moved, 1.0), group), level)[1]


def coupled(distance: Distance, moved: Floats, n_categories: int) -> Floats:
    """The largest distance that compositions of `n_categories` can have when at most `moved` of the seeds have moved.

    Total variation is at most that, and Jensen-Shannon in bits and squared Hellinger are at most the total variation.
    """
    if distance is wasserstein_groups:
        return moved * (n_categories - 1)
    return moved if distance in (total_variation, jensen_shannon) else np.sqrt(moved)


def distance_limits(
    observed: Floats, bootstrapped: Floats, null: Floats, ceiling: Floats, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Interval for a metric distance: observed -+ the larger of two half-widths, [0, ceiling] at the widest.

    A distance has a corner at 0, where the bootstrap is inconsistent (Andrews 2000): its percentile interval never holds 0.
    Away from 0 the level-quantile of |bootstrapped - observed| is right; near 0 the distance is itself noise, of the size
    the null shows, and by the triangle inequality observed and true distance differ by no more than that. Taking the larger
    covers both and is conservative in between.
    """
    spread = np.quantile(np.abs(bootstrapped - observed), level, axis=0)
    half = np.maximum(spread, np.quantile(null, level, axis=0, method="higher"))
    return np.maximum(observed - half, 0.0), np.minimum(observed + half, ceiling)
