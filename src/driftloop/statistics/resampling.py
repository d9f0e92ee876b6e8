"""The bootstrap over seeds and the swap of rounds within seeds, as matrix products, drawn in chunks to bound memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from driftloop.core import rng
from driftloop.statistics.moments import seed_weights, summed
from driftloop.statistics.panel import Floats, Group, Ints

CHUNK_CELLS = 2**22  # draws × units held at once: 32 MiB of weights


def _chunks(resamples: int, units: int) -> Iterator[slice]:
    size = max(1, CHUNK_CELLS // units)
    for start in range(0, resamples, size):
        yield slice(start, min(start + size, resamples))


def unit_counts(generator: np.random.Generator, draws: int, n: int) -> Floats:
    """How often each of n units is drawn in n draws with replacement [draws, n]."""
    picked = generator.integers(0, n, size=(draws, n))
    picked += n * np.arange(draws)[:, None]
    return np.bincount(picked.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def bootstrap_means(values: Floats, group: Group, resamples: int, seed: int) -> Floats:
    """Means of the group in `resamples` bootstrap samples of its units: [resamples, m, k].

    `values` [n, m, k] are NaN along all of k or nowhere. All columns share the draws, so rounds stay joined as they are
    in a seed. Seeds are drawn within strata; cohorts, which may reach across strata, over the whole group.
    """
    order = np.argsort(group.strata, kind="stable")
    bounds = np.searchsorted(group.strata[order], np.arange(group.n_strata + 1))
    blocks = [order[a:b] for a, b in pairwise(bounds)]
    n, m, k = values.shape
    present = np.isfinite(values[:, :, 0]).astype(np.float64)
    filled = np.nan_to_num(values).reshape(n, m * k)
    parts = [(filled[block], present[block]) for block in blocks]
    generator = rng.generator(seed)
    means = np.zeros((resamples, m, k))
    for chunk in _chunks(resamples, n):
        weights = _block_weights(generator, chunk.stop - chunk.start, blocks, group)
        for weight, (total, count) in zip(weights, parts, strict=True):
            with np.errstate(invalid="ignore", divide="ignore"):
                means[chunk] += (weight @ total).reshape(-1, m, k) / (weight @ count)[:, :, None]
    return means / group.n_strata


def _block_weights(generator: np.random.Generator, draws: int, blocks: list[Ints], group: Group) -> Iterator[Floats]:
    """How often each seed of each stratum is drawn [draws, seeds of the stratum]."""
    drawn = unit_counts(generator, draws, group.n_units) if group.clustered else None
    for block in blocks:
        yield unit_counts(generator, draws, block.size) if drawn is None else drawn[:, group.units[block]]


def unit_differences(differences: Floats, group: Group) -> Floats:
    """What each unit adds to the group's mean difference: [n_units, m]. `differences` [n, m] are NaN where unpaired."""
    present = np.isfinite(differences)
    weighted = seed_weights(present, group) * np.where(present, differences, 0.0)
    return summed(weighted, group.units, group.n_units) if group.clustered else weighted


def swapped_sums(unit_values: Floats, resamples: int, seed: int) -> Floats:
    """Sums over units after a fair coin has swapped the two rounds of each unit: [resamples, m].

    `unit_values` [n_units, m] are differences between the rounds, so a swap changes the sign of a row.
    """
    n_units, m = unit_values.shape
    generator = rng.generator(seed)
    sums = np.empty((resamples, m))
    for chunk in _chunks(resamples, n_units):
        draws = chunk.stop - chunk.start
        coins = np.frombuffer(generator.bytes(draws * -(-n_units // 8)), np.uint8)
        bits = np.unpackbits(coins).reshape(draws, -1)[:, :n_units]
        sums[chunk] = (bits * 2.0 - 1.0) @ unit_values
    return sums
