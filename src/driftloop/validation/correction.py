"""Corrected and audited shares in worlds whose instrument errs, and abstains, by group and by round.

All seeds have a human label. `adjusted` and `em` suppose that the instrument errs at the later round as at the baseline:
they are held to their level where it does, and shown without a demand where it does not; they are of the seeds that were
read. `audited` is of all seeds, and held to its level throughout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.audited import Audited, audited_share, correlation_of, inclusion_probabilities, systematic_sample
from driftloop.statistics.corrected import Calibration, corrected
from driftloop.statistics.panel import Floats, Ints
from driftloop.statistics.quantification import contrast_limits, estimate_limits, over_identification
from driftloop.validation.outcome import Case, Outcome, covers, holds, rejects

SIZES = (30, 100, 300)
RESAMPLES = 200
AUDITED = 0.5
"""The part of the seeds that is labelled by people."""
LEAST_FOR_FIT = 100
"""Seeds below which the metric does not make the over-identification test: with 30 it rejected .076 where nothing was wrong."""
FEW = 5
"""A repetition in which some label stands on fewer read seeds than that is refused by the metric, and left out here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """True compositions at the baseline and of what is drawn anew later, and the chance to keep the baseline's.

    `reads` and `reads_later` are P(read | true) [L][K]; a row's lack to 1 is abstention.
    """

    baseline: tuple[float, ...]
    later: tuple[float, ...]
    kept: float = 0.5
    reads: tuple[tuple[float, ...], ...]
    reads_later: tuple[tuple[float, ...], ...]

    @property
    def same(self) -> bool:
        """Whether what is read is read alike at both rounds."""
        early, late = (np.array(rows) / np.sum(rows, axis=1, keepdims=True) for rows in (self.reads, self.reads_later))
        return np.allclose(early, late)

    @property
    def truth(self) -> tuple[Floats, Floats]:
        """True shares at the baseline and later."""
        early, later = np.array(self.baseline), np.array(self.later)
        return early, self.kept * early + (1 - self.kept) * later

    def truth_of_read(self) -> dict[str, Floats]:
        """What the corrections aim at: the later share of the seeds read then, the shift of those read at both rounds
        (`adjusted`), and the difference between the shares of those read at each (`em`)."""
        early, _ = self.truth
        read, read_later = (np.sum(rows, axis=1) for rows in (self.reads, self.reads_later))
        joint = early[:, None] * (self.kept * np.eye(early.size) + (1 - self.kept) * np.array(self.later))
        both = joint * read[:, None] * read_later
        share, first = _shares(joint.sum(axis=0) * read_later), _shares(early * read)
        shift = _shares(both.sum(axis=0)) - _shares(both.sum(axis=1))
        return {"share": share, "adjusted shift": shift, "em shift": share - first}


def _shares(sizes: Floats) -> Floats:
    return np.asarray(sizes / sizes.sum())


GOOD = ((0.9, 0.1), (0.15, 0.85))
WORSE = ((0.7, 0.3), (0.05, 0.95))
ABSTAINS, ABSTAINS_LATER = ((0.85, 0.1), (0.12, 0.68)), ((0.5, 0.2), (0.05, 0.9))
ABSTAINS_MORE = ((0.85 * 0.7, 0.1 * 0.7), (0.12 * 1.15, 0.68 * 1.15))
THREE = ((0.85, 0.1, 0.05), (0.1, 0.8, 0.1), (0.02, 0.18, 0.8))
FOUR_OF_TWO = ((0.5, 0.35, 0.1, 0.05), (0.05, 0.1, 0.35, 0.5))
FOUR_LATER = ((0.3, 0.3, 0.3, 0.1), (0.05, 0.3, 0.3, 0.35))
EXACT = ((1.0, 0.0), (0.0, 1.0))
WORLDS = {
    "even, none": World(baseline=(0.5, 0.5), later=(0.5, 0.5), reads=GOOD, reads_later=GOOD),
    ".5 to .65": World(baseline=(0.5, 0.5), later=(0.8, 0.2), reads=GOOD, reads_later=GOOD),
    "rare, none": World(baseline=(0.08, 0.92), later=(0.08, 0.92), kept=0.8, reads=GOOD, reads_later=GOOD),
    "rare, exact": World(baseline=(0.08, 0.92), later=(0.02, 0.98), kept=0.8, reads=EXACT, reads_later=EXACT),
    "never moves, exact": World(baseline=(0.5, 0.5), later=(0.5, 0.5), kept=1.0, reads=EXACT, reads_later=EXACT),
    "three, moved": World(baseline=(0.3, 0.4, 0.3), later=(0.1, 0.2, 0.7), reads=THREE, reads_later=THREE),
    "four readings of two": World(baseline=(0.5, 0.5), later=(0.8, 0.2), reads=FOUR_OF_TWO, reads_later=FOUR_OF_TWO),
    "errs otherwise later": World(baseline=(0.5, 0.5), later=(0.8, 0.2), reads=GOOD, reads_later=WORSE),
    "four readings, errs otherwise": World(baseline=(0.5, 0.5), later=(0.5, 0.5), reads=FOUR_OF_TWO, reads_later=FOUR_LATER),
    "abstains by group and round": World(baseline=(0.3, 0.7), later=(0.6, 0.4), reads=ABSTAINS, reads_later=ABSTAINS_LATER),
    "abstains by group and round, errs alike": World(
        baseline=(0.3, 0.7), later=(0.6, 0.4), reads=ABSTAINS, reads_later=ABSTAINS_MORE
    ),
}


def cases(repetitions: int) -> Iterator[Case]:
    for (name, world), n in product(WORLDS.items(), SIZES):
        yield Case(name=f"{name}, n = {n}", check=partial(check, name, world, n, repetitions))


def check(name: str, world: World, n: int, repetitions: int) -> list[Outcome]:
    """Every method of one world; the first category."""
    found = list(corrections(name, world, n, repetitions))
    if len(world.reads) == len(world.reads[0]):
        found += audits(name, world, n, repetitions)
    return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """True categories [n] and readings [n] at both rounds, -1 where unread."""

    truth: tuple[Ints, Ints]
    read: tuple[Ints, Ints]


def draw(world: World, n: int, generator: np.random.Generator) -> Drawn:
    early = _categories(np.tile(world.baseline, (n, 1)), generator)
    anew = _categories(np.tile(world.later, (n, 1)), generator)
    later = np.where(generator.random(n) < world.kept, early, anew)
    read = tuple(_read(np.array(rows), true, generator) for rows, true in ((world.reads, early), (world.reads_later, later)))
    return Drawn((early, later), (read[0], read[1]))


def _categories(rows: Floats, generator: np.random.Generator) -> Ints:
    return np.asarray((generator.random((len(rows), 1)) >= np.cumsum(rows, axis=1)[:, :-1]).sum(axis=1), np.intp)


def _read(rows: Floats, true: Ints, generator: np.random.Generator) -> Ints:
    full = np.column_stack([rows, 1 - rows.sum(axis=1)])[true]
    said = _categories(full, generator)
    return np.where(said == rows.shape[1], -1, said)


def means_of(read: Sequence[Ints], k: int) -> Floats:
    """One-hot readings [n, rounds, K], NaN where unread."""
    return np.stack([np.where(codes[:, None] >= 0, np.eye(k + 1)[codes][:, :k], np.nan) for codes in read], axis=1)


# Corrections ---------------------------------------------------------------------------------------------------------


def corrections(name: str, world: World, n: int, repetitions: int) -> Iterator[Outcome]:
    """Methods adjusted and em: share and shift; and the over-identification test where it can be made."""
    n_labels, n_readings = len(world.reads), len(world.reads[0])
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    p_values = []
    for i in range(repetitions):
        seed = rng.derive(0, "validate correction", name, n, i)
        drawn = draw(world, n, rng.generator(seed))
        if np.bincount(drawn.truth[0][drawn.read[0] >= 0], minlength=n_labels).min() < FEW:
            continue
        known = _calibration(drawn, n_labels, n_readings, seed)
        for method, estimate in (("adjusted", known.adjusted), ("em", known.em)):
            values = corrected(known, estimate)
            for what in ("share", "shift"):
                found[method, what].append((values[f"{what}_low"][0, 1, 0], values[f"{what}_high"][0, 1, 0]))
        if n_readings > n_labels and n >= LEAST_FOR_FIT:
            p_values.append(_over_identified(known))
    true = world.truth_of_read()
    for (method, what), limits in found.items():
        if len(limits) >= repetitions / 2:
            low, high = np.array(limits).T
            aim = true[what if what == "share" else f"{method} {what}"]
            yield covers(f"{method} {what}", n, holds(low, high, float(aim[0])), high - low, demanded=world.same)
    if p_values:
        yield rejects("over-identification", n, np.array(p_values) <= 0.05, null=world.same)


def _calibration(drawn: Drawn, n_labels: int, n_readings: int, seed: int) -> Calibration:
    n = drawn.truth[0].size
    return Calibration(
        means=means_of(drawn.read, n_readings),
        labels=drawn.truth[0],
        n_labels=n_labels,
        concepts=np.zeros(n, np.intp),
        units=np.arange(n),
        baseline=0,
        resamples=RESAMPLES,
        seed=seed,
    )


def _over_identified(known: Calibration) -> float:
    point, draws, n = known.point, known.draws, float(known.counts.sum())
    readings, drawn = point.readings[0, 1], draws.readings[:, 0, 1]
    return over_identification(point.matrices[0], readings, draws.matrices[:, 0], drawn, n).p_value


# Audits --------------------------------------------------------------------------------------------------------------


def audits(name: str, world: World, n: int, repetitions: int) -> Iterator[Outcome]:
    """Both rounds audited by samples drawn as the stage `audit` draws them."""
    k, limits = len(world.reads), list[tuple[float, ...]]()
    for i in range(repetitions):
        generator = rng.generator(rng.derive(0, "validate audit", name, n, i))
        drawn = draw(world, n, generator)
        parts = [_audit(truth, read, k, generator) for truth, read in zip(drawn.truth, drawn.read, strict=True)]
        units = np.arange(n)
        first, then = (part.moments(units) for part in parts)
        low, high = estimate_limits(then)
        below, above = contrast_limits(first, then, correlation_of(parts[0], parts[1], units))
        limits.append((low[0], high[0], below[0], above[0]))
    low, high, below, above = np.array(limits).T
    early, later = world.truth
    yield covers("audited share", n, holds(low, high, later[0]), high - low)
    yield covers("audited shift", n, holds(below, above, later[0] - early[0]), above - below)


def _audit(truth: Ints, read: Ints, k: int, generator: np.random.Generator) -> Audited:
    chances = inclusion_probabilities(np.unique(read, return_inverse=True)[1], int(AUDITED * truth.size))
    order = np.lexsort((generator.random(truth.size), read))
    taken = systematic_sample(chances, order, generator.random())
    readings, one_hot = np.nan_to_num(means_of([read], k)[:, 0]), np.eye(k)
    labels, shown = np.full((truth.size, k), np.nan), np.full((truth.size, k), np.nan)
    labels[taken], shown[taken] = one_hot[truth[taken]], readings[taken]
    return audited_share(readings, labels, shown, chances)
