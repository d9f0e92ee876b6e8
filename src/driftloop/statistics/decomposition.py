"""A shift taken apart by what stood between the two readings of each of its steps: an identity, not a model.

With Y_r the one-hot reading of a chain at round r and c the part that its caption of round r - 1 belongs to,
E[Y_r - Y_(r-1)] = Σ_c E[1(c) (Y_r - Y_(r-1))] = Σ_c P(c) E[Y_r - Y_(r-1) | c]; over rounds the steps telescope.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import Bools, Floats, Group, Ints


@dataclass(frozen=True, slots=True)
class Step:
    """What each part contributed by seed: `values` [n_seeds, n_parts, n_categories] and `shares` [n_seeds, n_parts] of its
    captions, NaN for seeds without a counted chain; `counted` [n_seeds, n_replicates] chains.

    No value is beyond ± `bound`: one chain changes by at most 1 a step, and up and down take turns.
    """

    round: int
    cumulative: bool
    values: Floats
    shares: Floats
    counted: Bools
    bound: int


@dataclass(frozen=True, slots=True)
class Contributions:
    """Over the seeds of a group, `value`, `low`, `high` [n_parts, n_categories], `share` [n_parts], `shift` [n_categories]:
    the sum of the parts."""

    n_seeds: int
    value: Floats
    low: Floats
    high: Floats
    share: Floats
    shift: Floats


def steps(labels: Ints, parts: Ints, n_categories: int, n_parts: int) -> Iterator[Step]:
    """For each round after the first, its step and the steps up to it.

    `labels` and `parts` [n_seeds, n_replicates, n_rounds]; -1 is a round not read. A step counts the chains read at both of
    its rounds; the steps up to a round count those read at every round so far, so that both are identities.
    """
    complete = labels[:, :, 0] >= 0
    so_far = np.zeros((*complete.shape, n_parts, n_categories))
    said = np.zeros((*complete.shape, n_parts))
    for later in range(1, labels.shape[2]):
        before, after = labels[:, :, later - 1], labels[:, :, later]
        part = _one_hot(parts[:, :, later - 1], n_parts)
        moved = part[..., None] * (_one_hot(after, n_categories) - _one_hot(before, n_categories))[:, :, None, :]
        both = (before >= 0) & (after >= 0)
        complete, so_far, said = complete & both, so_far + moved, said + part
        yield Step(later, False, _seed_means(moved, both), _seed_means(part, both), both, 1)
        yield Step(later, True, _seed_means(so_far, complete), _seed_means(said / later, complete), complete, (later + 1) // 2)


def contributions(step: Step, group: Group, level: float = 0.95) -> Contributions:
    """Means over the seeds of a group with limits that let whole seeds vary (`intervals.shift_limits`, parts as they are).

    The parts of one category are correlated: their limits do not add up, their values do.
    """
    values, shares = step.values[group.members], step.shares[group.members]
    up, down, found = changes(values / step.bound, group)
    low, high = (limit.reshape(values.shape[1:]) * step.bound for limit in shift_limits(up, down, found, level))
    value = found.mean.reshape(values.shape[1:]) * step.bound
    return Contributions(int(found.n[0]), value, low, high, moments(shares, group).mean, value.sum(axis=0))


def _one_hot(codes: Ints, size: int) -> Floats:
    """[..., size], nothing but zeros for -1."""
    return np.asarray(codes[..., None] == np.arange(size), dtype=np.float64)


def _seed_means(values: Floats, counted: Bools) -> Floats:
    """Means over the counted chains of each seed; NaN where there is none."""
    n = counted.sum(axis=1).astype(np.float64)
    n[n == 0] = np.nan
    wide = counted.reshape(*counted.shape, *[1] * (values.ndim - 2))
    return np.asarray(np.where(wide, values, 0.0).sum(axis=1) / n.reshape(-1, *[1] * (values.ndim - 2)))
