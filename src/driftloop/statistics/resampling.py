"""The bootstrap over seeds and the swap of rounds within seeds, as matrix products, drawn in chunks to bound memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driftloop.core import rng
from driftloop.statistics.moments import seed_weights, summed
from driftloop.statistics.panel import Floats, Group

CHUNK_CELLS = 2**22  # draws x units held at once: 32 MiB of weights


def _chunks(resamples: int, units: int) -> Iterator[int]:
    size = max(1, CHUNK_CELLS // max(units, 1))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _counts(generator: np.random.Generator, draws: int, n: int) -> Floats:
    """How often each of n units is drawn in n draws with replacement [draws, n]."""
    picked = generator.integers(0, n, size=(draws, n))
    picked += n * np.arange(draws)[:, None]
    return np.bincount(picked.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def bootstrap_means(values: Floats, group: Group, resamples: int, seed: int) -> Floats:
    """Means of the group in `resamples` bootstrap samples of its units [resamples, m, k].

    `values` [n, m, k] are NaN in a whole row k or not at all. All columns share the draws, so rounds stay joined as they are in
    a seed. Seeds are drawn within strata; cohorts, which may reach across strata, over the whole group.
    """
    n, m, k = values.shape
    order = np.argsort(group.strata, kind="stable")
    bounds = np.searchsorted(group.strata[order], np.arange(group.n_strata + 1))
    present = np.isfinite(values[order, :, 0]).astype(np.float64)
    filled = np.nan_to_num(values[order]).reshape(n, m * k)
    generator = rng.generator(seed)
    means = np.empty((resamples, m, k))
    start = 0
    for draws in _chunks(resamples, n):
        shared = _counts(generator, draws, group.n_units)[:, group.units[order]] if group.clustered else None
        total = np.zeros((draws, m, k))
        for a, b in zip(bounds[:-1], bounds[1:], strict=True):
            weights = _counts(generator, draws, b - a) if shared is None else shared[:, a:b]
            with np.errstate(invalid="ignore", divide="ignore"):
                total += (weights @ filled[a:b]).reshape(draws, m, k) / (weights @ present[a:b])[:, :, None]
        means[start : start + draws] = total / group.n_strata
        start += draws
    return means


def unit_differences(differences: Floats, group: Group) -> Floats:
    """Each unit's share in the group's mean difference [n_units, m]: these add up to the mean. `differences` [n, m] may be NaN."""
    present = np.isfinite(differences)
    weighted = seed_weights(present, group) * np.where(present, differences, 0.0)
    return summed(weighted, group.units, group.n_units) if group.clustered else weighted


def flipped_sums(unit_values: Floats, resamples: int, seed: int) -> Floats:
    """Sums over units after a fair coin has swapped the two rounds of each unit [resamples, m]; `unit_values` [n_units, m]."""
    n_units, m = unit_values.shape
    generator = rng.generator(seed)
    sums = np.empty((resamples, m))
    start = 0
    for draws in _chunks(resamples, n_units):
        bits = np.unpackbits(np.frombuffer(generator.bytes(draws * -(-n_units // 8)), np.uint8)).reshape(draws, -1)
        sums[start : start + draws] = (bits[:, :n_units] * 2.0 - 1.0) @ unit_values
        start += draws
    return sums
