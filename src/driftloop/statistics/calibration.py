"""Made-up worlds of known truth, and how often intervals and tests are right in them: the check behind every "95 %"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from driftloop.core import rng
from driftloop.statistics.distances import Distance
from driftloop.statistics.intervals import share_limits, shift_limits
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.pairs import distance_estimate, make_pairs, omnibus_tests
from driftloop.statistics.panel import Floats, Group, Ints, group
from driftloop.statistics.tests import category_p_values

TRUTH_SEEDS = 200_000  # seeds from which a truth without closed form is taken: standard error about .001


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How readings at the baseline and at one later round come about.

    `baseline` and `later` are the compositions. A seed has one picture at the baseline, which its replicates share;
    each replicate later reads the same as then with chance `kept` and is drawn anew otherwise. `uniform` is the share
    of seeds whose replicates all come out alike. `unread` is the chance that a reading of the first category is not
    ok at the baseline; it is half that in the other categories, and everything is twice that later: abstention that
    depends on group and round. `concepts` are shares of the seeds; in concept j compositions are rolled by j places.
    """

    baseline: tuple[float, ...]
    later: tuple[float, ...]
    replicates: int = 1
    kept: float = 0.0
    uniform: float = 0.0
    unread: float = 0.0
    concepts: tuple[float, ...] = (1.0,)

    def concept_of(self, n_seeds: int) -> Ints:
        """The concept of each seed, in fixed numbers."""
        edges = np.cumsum(self.concepts) * n_seeds
        return np.minimum(np.searchsorted(edges, np.arange(n_seeds), side="right"), len(self.concepts) - 1)


def draw(world: World, concept: Ints, repetitions: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Mean readings of seeds at the baseline and later: two arrays [n_seeds, repetitions, K], NaN where unread."""
    shape = (concept.size, repetitions, world.replicates)
    first = _drawn(world.baseline, concept, (*shape[:2], 1), generator)
    anew = _drawn(world.later, concept, shape, generator)
    same = generator.random((*shape[:2], 1)) < world.uniform
    anew = np.where(same, anew[:, :, :1], anew)
    keeps = np.where(same, generator.random((*shape[:2], 1)), generator.random(shape)) < world.kept
    second = np.where(keeps, first, anew)
    k = len(world.baseline)
    return _mean_read(first, k, world.unread, generator), _mean_read(second, k, 2 * world.unread, generator)


def _drawn(composition: tuple[float, ...], concept: Ints, shape: tuple[int, ...], generator: np.random.Generator) -> Ints:
    """Categories drawn from the composition, rolled by the number of the concept."""
    edges = np.cumsum(composition)[:-1]
    drawn = np.searchsorted(edges, generator.random(shape), side="right")
    return (drawn + concept[:, None, None]) % len(composition)


def _mean_read(category: Ints, k: int, unread: float, generator: np.random.Generator) -> Floats:
    """Mean one-hot over the replicates that were read."""
    ok = generator.random(category.shape) >= np.where(category == 0, unread, unread / 2)
    counts = np.stack([((category == c) & ok).sum(axis=2) for c in range(k)], axis=2)
    means = np.full(counts.shape, np.nan)
    total = counts.sum(axis=2, keepdims=True)
    np.divide(counts, total, out=means, where=total > 0)
    return means


@cache
def truth(world: World, standardised: bool) -> tuple[Floats, Floats]:
    """Expected share later, and expected shift on the seeds read at both: two arrays [K]."""
    if world.unread:
        return _simulated_truth(world, standardised)
    k = len(world.concepts)
    shares = np.full(k, 1 / k) if standardised else np.array(world.concepts)
    rolled = [np.roll([world.baseline, world.later], j, axis=1) for j in range(k)]
    first, anew = np.einsum("j,jrk->rk", shares, np.array(rolled))
    return world.kept * first + (1 - world.kept) * anew, (1 - world.kept) * (anew - first)


def _simulated_truth(world: World, standardised: bool) -> tuple[Floats, Floats]:
    concept = world.concept_of(TRUTH_SEEDS)
    early, late = (part[:, 0] for part in draw(world, concept, 1, rng.generator(rng.derive(0, "truth"))))
    parts = [concept == c for c in range(len(world.concepts))] if standardised else [concept >= 0]
    share = np.mean([np.nanmean(late[part], axis=0) for part in parts], axis=0)
    return share, np.mean([np.nanmean((late - early)[part], axis=0) for part in parts], axis=0)


@dataclass(frozen=True, slots=True)
class Record:
    """Of one estimate in one world: how often the interval held the truth, its mean width, how often p <= 1 - level.

    Draws without an interval (a concept in which nobody was read) are left out.
    """

    covered: float
    width: float
    rejected: float


def check_means(
    world: World, n_seeds: int, repetitions: int, seed: int, *, standardised: bool = False, level: float = 0.95
) -> tuple[Record, Record]:
    """Share at the later round, and shift: of the first category, over `repetitions` draws of the world.

    Rejections are counted where nothing drifts, and are NaN elsewhere.
    """
    concept = world.concept_of(n_seeds)
    early, late = (part[:, :, 0] for part in draw(world, concept, repetitions, rng.generator(seed)))
    members = _members(concept, standardised)
    true_share, true_shift = (part[0] for part in truth(world, standardised))
    up, down, shift = changes(late - early, members)
    untested = np.full(repetitions, np.nan)
    p_values = category_p_values(up, down, shift) if true_shift == 0 else untested
    return (
        _record(share_limits(moments(late, members), level), true_share, untested, level),
        _record(shift_limits(up, down, shift, level), true_shift, p_values, level),
    )


def _members(concept: Ints, standardised: bool) -> Group:
    return group("made up", np.arange(concept.size), concept if standardised else None)


def _record(limits: tuple[Floats, Floats], true: float, p_values: Floats, level: float) -> Record:
    low, high = limits
    there = np.isfinite(low)
    held = ((low <= true + 1e-9) & (true - 1e-9 <= high))[there]
    rejected = float((p_values <= 1 - level).mean()) if np.isfinite(p_values).any() else float("nan")
    return Record(float(held.mean()), float((high - low)[there].mean()), rejected)


def check_pairs(
    world: World, distances: Sequence[Distance], n_seeds: int, repetitions: int, seed: int, *, resamples: int = 400
) -> tuple[float, list[Record]]:
    """How often the omnibus test rejects at .05, and a record per distance, over draws of a world without abstention."""
    concept = world.concept_of(n_seeds)
    members = _members(concept, standardised=False)
    early, late = draw(world, concept, repetitions, rng.generator(seed))
    later, shift = truth(world, standardised=False)
    draws = [
        _distances_once(early[:, [i]], late[:, [i]], members, distances, resamples, rng.derive(seed, i))
        for i in range(repetitions)
    ]
    omnibus = np.array([p_value for p_value, _ in draws])
    found = np.array([limits for _, limits in draws])
    records = [
        _record((found[:, j, 0], found[:, j, 1]), float(distance(later - shift, later)), found[:, j, 2], 0.95)
        for j, distance in enumerate(distances)
    ]
    return float((omnibus <= 0.05).mean()), records


def _distances_once(
    early: Floats, late: Floats, members: Group, distances: Sequence[Distance], resamples: int, seed: int
) -> tuple[float, Floats]:
    """The p-value of the omnibus test, and low, high and p-value of each distance [distances, 3], of one draw [n, 1, K]."""
    pairs = make_pairs(early, late, members, resamples, seed)
    omnibus = np.array([omnibus_tests(pairs)[0].p_value])
    estimates = [distance_estimate(distance, pairs, omnibus) for distance in distances]
    return float(omnibus[0]), np.array([[found.low[0], found.high[0], found.p_value[0]] for found in estimates])
