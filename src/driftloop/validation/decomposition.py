"""A shift taken apart by captions: parts unbiased, their intervals hold, and they add up, in worlds of known truth.

Captions are silent, unclear or name the wrong category by the true category of the person; silent and unclear ones draw from
a prior, and what is named is not always followed. The instrument errs and abstains by group and round. The replicates of a
seed share its picture at the baseline, and how that was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.core.batches import batches
from driftloop.statistics.decomposition import Step, contributions, steps
from driftloop.statistics.panel import Bools, Floats, Ints, group
from driftloop.validation.outcome import Case, Outcome, coverage, covers, farthest, holds
from driftloop.validation.readings import INSTRUMENTS, Instrument

SIZES = (30, 100, 300)
ROUNDS = 3
PARTS = ("silent", "agrees", "contradicts", "unclear")
SILENT, AGREES, CONTRADICTS, UNCLEAR = range(len(PARTS))
AT_ONCE = 60_000  # seeds held at once
READERS = ("faultless", "changing errors")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`baseline` and `prior` are compositions [K]; `silent` and `misnamed` are chances by whether the true category is even or
    odd, the second among captions that name one, which is then the next; `followed` is the chance that a name is drawn."""

    baseline: tuple[float, ...]
    prior: tuple[float, ...]
    silent: tuple[float, float] = (0.3, 0.3)
    unclear: float = 0.05
    misnamed: tuple[float, float] = (0.1, 0.1)
    followed: float = 1.0
    instrument: Instrument = INSTRUMENTS["faultless"]
    replicates: int = 1

    @property
    def k(self) -> int:
        return len(self.baseline)

    def reads(self, round_: int) -> Floats:
        """P(read as | true category), [K, K], rows less than 1 by what is unread."""
        return self.instrument.reads(self.k, later=round_ > 0)

    @property
    def captions(self) -> Floats:
        """P(caption | true category), [K, 2 + K]: silent, unclear, or the category named."""
        silent, wrong = (np.resize(rates, self.k)[:, None] for rates in (self.silent, self.misnamed))
        unclear = (1 - silent) * self.unclear
        named = (1 - wrong) * np.eye(self.k) + wrong * np.roll(np.eye(self.k), 1, axis=1)
        return np.hstack([silent, unclear, (1 - silent - unclear) * named])

    @property
    def draws(self) -> Floats:
        """P(true category in the next picture | caption), [2 + K, K]."""
        prior = np.tile(self.prior, (2 + self.k, 1))
        named = np.vstack([np.zeros((2, self.k)), np.eye(self.k)])
        follows = np.array([0.0, 0.0, *[self.followed] * self.k])[:, None]
        return np.asarray(follows * named + (1 - follows) * prior)

    def truth(self, first: int, last: int) -> Floats:
        """Contributions [parts, K] of the steps from round `first` to `last` over all seeds there could be.

        A seed counts if any of its replicates was read at every round between, and its mean is over those; given the picture
        of round 0 and its reading they are independent. Summed over every path, forwards and backwards.
        """
        first_read = self.reads(0)
        told = np.column_stack([first_read, 1 - first_read.sum(axis=1)])
        values, total = np.zeros((len(PARTS), self.k)), 0.0
        for true, said in product(range(self.k), range(self.k + (first > 0))):
            seen = np.zeros((self.k, self.k))
            seen[true] = np.eye(self.k + 1)[said, :-1]
            counted, moved = self._chain(true, seen, first, last)
            weight = self.baseline[true] * told[true, said] * (1 - (1 - counted) ** self.replicates)
            if counted > 0:
                values, total = values + weight * moved / counted, total + weight
        return np.asarray(values / total)

    def _chain(self, true: int, seen: Floats, first: int, last: int) -> tuple[float, Floats]:
        """Of a chain that starts as `true`, its first picture read as `seen` [K, K] says: the chance that it is counted, and
        the expectation [parts, K] of what it adds if it is, else 0."""
        reads = [seen, *(self.reads(r) for r in range(1, last + 1))]
        known = [part.sum(axis=1) if r >= first else np.ones(self.k) for r, part in enumerate(reads)]
        onwards = self.captions @ self.draws
        before, after = [np.eye(self.k)[true]], [known[last]]
        for r in range(last):
            before.append((before[-1] * known[r]) @ onwards)
            after.append(known[last - 1 - r] * (onwards @ after[-1]))
        after.reverse()
        moved = np.zeros((len(PARTS), self.k))
        for r in range(first, last):
            rest = after[r + 1] / np.where(known[r + 1] > 0, known[r + 1], 1.0)
            moved += self._moved(before[r], reads[r], reads[r + 1], rest)
        return float((before[last] * known[last]).sum()), moved

    def _moved(self, before: Floats, read: Floats, then: Floats, rest: Floats) -> Floats:
        """One step: after it less before it, by part. `rest` [K] is the chance of being counted from there on."""
        paths = (before, read, self.captions, relations(self.k), self.draws, then, rest)
        after = np.einsum("s,sy,sm,ymc,mz,zk,z->ck", *paths, optimize=True)
        return np.asarray(after - np.einsum("s,sk,sm,kmc,mz,zy,z->ck", *paths, optimize=True))

    def draw(self, n_seeds: int, draws: np.random.Generator) -> tuple[Ints, Ints]:
        """What was read, -1 where nothing was, and the parts of the captions: [n_seeds, replicates, ROUNDS + 1] each."""
        shape = (n_seeds, self.replicates)
        true = np.repeat(_chosen(np.array([self.baseline]), np.zeros((n_seeds, 1), np.intp), draws), self.replicates, axis=1)
        relation, labels, parts = relations(self.k).argmax(axis=2), np.empty((*shape, ROUNDS + 1), np.intp), []
        for r in range(ROUNDS + 1):
            reads = self.reads(r)
            chances = np.column_stack([reads, 1 - reads.sum(axis=1)])
            labels[:, :, r] = _chosen(chances, true if r else true[:, :1], draws)
            captions = _chosen(self.captions, true, draws)
            parts.append(relation[np.minimum(labels[:, :, r], self.k - 1), captions])
            true = _chosen(self.draws, captions, draws)
        return np.where(labels == self.k, -1, labels), np.stack(parts, axis=2)


def relations(k: int) -> Floats:
    """One-hot part of each reading and caption [K, 2 + K, parts]."""
    part = np.full((k, 2 + k), CONTRADICTS)
    part[:, 0], part[:, 1] = SILENT, UNCLEAR
    part[np.arange(k), 2 + np.arange(k)] = AGREES
    return np.asarray(np.eye(len(PARTS))[part])


def _chosen(rows: Floats, given: Ints, draws: np.random.Generator) -> Ints:
    """A column of `rows` [m, columns] for each of `given` (rows)."""
    edges = np.cumsum(rows, axis=1)[:, :-1] - 1e-12  # no column of chance 0 for want of a last digit
    return np.asarray((draws.random(given.shape)[..., None] >= edges[given]).sum(axis=-1), np.intp)


WORLDS = {
    "even, none": World(baseline=(0.5, 0.5), prior=(0.5, 0.5)),
    "omits": World(baseline=(0.5, 0.5), prior=(0.9, 0.1), silent=(0.2, 0.5)),
    "misnames": World(baseline=(0.4, 0.6), prior=(0.4, 0.6), misnamed=(0.02, 0.3)),
    "not followed": World(baseline=(0.3, 0.7), prior=(0.8, 0.2), misnamed=(0.0, 0.0), followed=0.8),
    "rare, none": World(baseline=(0.05, 0.95), prior=(0.05, 0.95), silent=(0.6, 0.6), unclear=0.0, misnamed=(0.0, 0.0)),
    "rare, to .02": World(baseline=(0.08, 0.92), prior=(0.01, 0.99), misnamed=(0.2, 0.0)),
    "0 to 1, silent": World(baseline=(0.0, 1.0), prior=(1.0, 0.0), silent=(1.0, 1.0)),
    "0 to 1, misnamed": World(
        baseline=(0.0, 1.0), prior=(1.0, 0.0), silent=(0.0, 0.0), unclear=0.0, misnamed=(0.0, 1.0)
    ),
    "three, moved": World(baseline=(0.6, 0.37, 0.03), prior=(0.1, 0.3, 0.6)),
}  # fmt: skip


def cases(repetitions: int) -> Iterator[Case]:
    """Every world, an instrument without faults and one whose errors and abstention depend on group and round, 1 and 4
    replicates, at every size."""
    for n_seeds, name, reader, replicates in product(SIZES, WORLDS, READERS, (1, 4)):
        world = replace(WORLDS[name], instrument=INSTRUMENTS[reader], replicates=replicates)
        what = f"{n_seeds} seeds; {name}; {reader}; {replicates} replicates"
        yield Case(name=what, check=partial(outcomes, world, n_seeds, repetitions, rng.derive(0, "decomposition", what)))


@dataclass(frozen=True, slots=True)
class Found:
    """Of one span in every repetition: `value`, `low`, `high` [repetitions, parts, K], and whether the parts add up."""

    value: Floats
    low: Floats
    high: Floats
    adds_up: Bools


def outcomes(world: World, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    """The last step, and all of them: of two categories the first, of more the first and the last."""
    draws = rng.generator(seed)
    some = [len(part) for part in batches(range(repetitions), max(1, AT_ONCE // (n_seeds * world.replicates)))]
    drawn = [once(world, n_seeds, size, draws) for size in some]
    for span, first in (("last step", ROUNDS - 1), ("all steps", 0)):
        yield from _span(span, world.truth(first, ROUNDS), _joined([each[span] for each in drawn]), n_seeds)


def _joined(parts: list[Found]) -> Found:
    return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in Found.__slots__))


def _span(span: str, true: Floats, found: Found, n_seeds: int) -> Iterator[Outcome]:
    k, there = true.shape[1], np.isfinite(found.low[:, 0, 0])
    for part, category in product(range(len(PARTS)), (0,) if k == 2 else (0, k - 1)):
        low, high = found.low[there, part, category], found.high[there, part, category]
        name = f"{PARTS[part]}, {span}{'' if k == 2 else f' {category + 1}'}"
        yield covers(name, n_seeds, holds(low, high, float(true[part, category])), high - low)
    yield farthest(f"bias, {span}", n_seeds, (found.value[there] - true).reshape(int(there.sum()), -1))
    adds_up = coverage(f"adds up, {span}", n_seeds, len(found.adds_up), float(found.adds_up.mean()), np.nan)
    yield replace(adds_up, demand=1.0)


def once(world: World, n_seeds: int, repetitions: int, draws: np.random.Generator) -> dict[str, Found]:
    """By span."""
    labels, parts = world.draw(n_seeds * repetitions, draws)
    *_, last, whole = steps(labels, parts, world.k, len(PARTS))
    return {
        "last step": _found(last, labels[:, :, ROUNDS - 1 :], world.k, repetitions),
        "all steps": _found(whole, labels, world.k, repetitions),
    }


def _found(step: Step, labels: Ints, k: int, repetitions: int) -> Found:
    """Repetitions become columns, for seeds are what a group is made of."""
    n_seeds, shape = len(labels) // repetitions, (repetitions, len(PARTS), k)
    values, shares = (_columns(part, repetitions) for part in (step.values, step.shares))
    found = contributions(replace(step, values=values, shares=shares), group("all", np.arange(n_seeds)))
    value, low, high = (part.reshape(shape) for part in (found.value, found.low, found.high))
    shift = shifts(labels, k).reshape(repetitions, n_seeds, k)
    with np.errstate(invalid="ignore"):
        plain = np.nansum(shift, axis=1) / np.isfinite(shift[:, :, :1]).sum(axis=1)
    return Found(value, low, high, np.isclose(value.sum(axis=1), plain, rtol=0, atol=1e-9, equal_nan=True).all(axis=1))


def _columns(values: Floats, repetitions: int) -> Floats:
    """[repetitions × n, parts, ...] as [n, repetitions × parts, ...]."""
    apart = np.moveaxis(values.reshape(repetitions, -1, *values.shape[1:]), 0, 1)
    return apart.reshape(apart.shape[0], -1, *values.shape[2:])


def shifts(labels: Ints, k: int) -> Floats:
    """Mean change of each seed [n, K] from the first to the last of `labels` [n, replicates, rounds], over the replicates that
    were read throughout; NaN where there is none."""
    counted, one_hot = (labels >= 0).all(axis=2), np.eye(k + 1)[:, :k]
    moved = one_hot[labels[:, :, -1]] - one_hot[labels[:, :, 0]]
    total = counted.sum(axis=1)[:, None]
    summed = np.einsum("nrk,nr->nk", moved, counted)
    return np.asarray(np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0))
