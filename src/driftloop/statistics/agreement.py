"""Do several people who label the same pictures agree?"""

from __future__ import annotations

import numpy as np

from driftloop.core import rng
from driftloop.statistics.panel import Floats, Ints


def coincidences(labels: Ints, n_categories: int) -> Floats:
    """What each item [n, annotators] (-1: not labelled) adds to the coincidence matrix: [n, K, K].

    Every ordered pair of labels of an item counts 1 / (labels of the item - 1); an item labelled once adds nothing.
    """
    counts = np.stack([(labels == category).sum(axis=1) for category in range(n_categories)], axis=1).astype(np.float64)
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(n_categories) * counts[:, None, :]
    others = counts.sum(axis=1) - 1
    return np.asarray(pairs / np.where(others > 0, others, np.inf)[:, None, None])


def alpha_of(matrix: Floats) -> Floats:
    """Krippendorff's alpha of coincidence matrices [..., K, K]: 1 - observed over expected disagreement, nominal.

    NaN where only one category was ever used: then nothing could have been disagreed about.
    """
    margins = matrix.sum(axis=-1)
    total = margins.sum(axis=-1)
    observed = total - np.trace(matrix, axis1=-2, axis2=-1)
    expected = total**2 - (margins**2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1 - (total - 1) * observed / expected
    return np.asarray(np.where(expected > 1e-12, found, np.nan))


def krippendorff_alpha(labels: Ints, n_categories: int) -> float:
    """Nominal alpha of labels [items, annotators], -1 where an annotator gave none (Krippendorff 2011, section D)."""
    return float(alpha_of(coincidences(labels, n_categories).sum(axis=0)))


def alpha_limits(labels: Ints, n_categories: int, resamples: int, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval over items drawn anew; NaN with fewer than two items that were labelled twice.

    Where nobody ever disagreed all draws say 1, which is no certainty: then the lower limit is that of one disagreement
    more, on the item where it would weigh most.
    """
    parts = coincidences(labels, n_categories)
    items = np.flatnonzero(parts.sum(axis=(1, 2)) > 0)
    if items.size < 2:
        return float("nan"), float("nan")
    picked = rng.generator(seed).integers(0, items.size, size=(resamples, items.size))
    weights = np.stack([np.bincount(row, minlength=items.size) for row in picked]).astype(np.float64)
    draws = alpha_of(np.einsum("bi,ikl->bkl", weights, parts[items]))
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2]) if np.isfinite(draws).any() else (np.nan, np.nan)
    return float(min(low, _with_one_disagreement(parts[items].sum(axis=0)))), float(high)


def _with_one_disagreement(matrix: Floats) -> float:
    """Alpha with one more item on which two annotators differ, between the two rarest categories that were used."""
    used = np.argsort(np.where(matrix.sum(axis=1) > 0, matrix.sum(axis=1), np.inf))[:2]
    more = matrix.copy()
    more[used[0], used[1]] += 1
    more[used[1], used[0]] += 1
    return float(alpha_of(more))
