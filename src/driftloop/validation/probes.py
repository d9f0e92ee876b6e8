"""Effects of probes, as bare readings of worlds whose truth is in closed form.

A seed is of one of several kinds, which a model answers differently; both versions of it are drawn with the same number, or
with another one in a share of draws. The instrument abstains by version. Only some captions name what is removed, so the
number of seeds compared is itself drawn, from `n_seeds` probed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes
from driftloop.statistics.panel import Bools, Floats, group
from driftloop.statistics.tests import category_rejections
from driftloop.validation.outcome import Case, Outcome, covers, holds, rejects

SIZES = (30, 100, 300)
KINDS = (0.5, 0.3, 0.2)
Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`first` and `second`: the chances of each category under either version, a row for each of KINDS. `unread` of each.

    `named` is the share of captions that have both versions, `other` that of draws in which the versions do not share
    their number.
    """

    first: Rows
    second: Rows
    unread: tuple[float, float] = (0.0, 0.0)
    named: float = 1.0
    other: float = 0.0
    replicates: int = 1

    def truth(self) -> Floats:
        """Effect on each category, [K]: a seed counts alike however many of its replicates are read, and no kind of seed is
        read more often than another."""
        return np.asarray(np.array(KINDS) @ (np.array(self.first) - np.array(self.second)))

    def draw(self, n_seeds: int, repetitions: int, draws: np.random.Generator) -> Floats:
        """Difference of mean readings [n_seeds, repetitions, K], NaN where a seed is not compared."""
        shape = (n_seeds, repetitions, self.replicates)
        kind = draws.choice(len(KINDS), shape[:2], p=KINDS)[..., None]
        number = draws.random(shape)
        another = np.where(draws.random(shape) < self.other, draws.random(shape), number)
        one, two = (_category(rows, kind, place) for rows, place in ((self.first, number), (self.second, another)))
        sides = [
            _means(read, draws.random(shape) < unread, len(self.first[0]))
            for read, unread in zip((one, two), self.unread, strict=True)
        ]
        difference = sides[0] - sides[1]
        difference[draws.random(shape[:2]) >= self.named] = np.nan
        return np.asarray(difference)


def _category(rows: Rows, kind: np.ndarray, number: Floats) -> np.ndarray:
    """The category of each draw, by the chances of its seed's kind."""
    bounds = np.cumsum(np.array(rows), axis=1)[:, :-1]
    return np.asarray((number[..., None] >= bounds[kind]).sum(axis=-1))


def _means(categories: np.ndarray, unread: Bools, k: int) -> Floats:
    """Mean reading over the replicates that were read [n_seeds, repetitions, K]; NaN where none was."""
    shown = (categories[..., None] == np.arange(k)) & ~unread[..., None]
    counts = shown.sum(axis=2)
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0))


def alike(*row: float) -> Rows:
    """The same for every kind of seed."""
    return (row,) * len(KINDS)


def of_two(*chances: float) -> Rows:
    """P(first of two categories) of each kind."""
    return tuple((chance, 1 - chance) for chance in chances)


FIVE = ((0.45, 0.3, 0.15, 0.05, 0.05), (0.05, 0.05, 0.1, 0.2, 0.6), (0.02, 0.08, 0.3, 0.55, 0.05))
WORLDS = {
    "named, all of it": World(first=of_two(1, 1, 1), second=of_two(0, 0, 0)),
    "to the prior": World(first=of_two(0.5, 0.9, 0.1), second=of_two(1, 1, 1)),
    "to the prior, a third names it": World(first=of_two(0.5, 0.9, 0.1), second=of_two(0, 0, 0), named=0.34),
    "nothing, same draw": World(first=of_two(0.5, 0.9, 0.1), second=of_two(0.5, 0.9, 0.1)),
    "nothing, half of the draws differ": World(first=of_two(0.5, 0.9, 0.1), second=of_two(0.5, 0.9, 0.1), other=0.5),
    "nothing, rare": World(first=of_two(0.02, 0.02, 0.02), second=of_two(0.02, 0.02, 0.02), other=1.0),
    "rare": World(first=of_two(0.05, 0.02, 0.0), second=of_two(0.01, 0.02, 0.0), other=0.3),
    "kinds move against each other": World(first=of_two(0.8, 0.2, 0.5), second=of_two(0.6, 0.5, 0.55), other=0.2),
    "five ages": World(first=FIVE, second=alike(0.2, 0.2, 0.2, 0.2, 0.2), other=0.2),
    "five ages, nothing": World(first=FIVE, second=FIVE, other=0.5),
}
UNREAD = {"all read": (0.0, 0.0), "unread by version": (0.05, 0.25)}


def cases(repetitions: int) -> Iterator[Case]:
    """Every world, read wholly and not, with one replicate and four, at every size."""
    for n_seeds, name, unread, replicates in product(SIZES, WORLDS, UNREAD, (1, 4)):
        world = replace(WORLDS[name], unread=UNREAD[unread], replicates=replicates)
        what = f"{n_seeds} seeds; {name}; {unread}; {replicates} replicate{'s' if replicates > 1 else ''}"
        yield Case(name=what, check=partial(outcomes, world, n_seeds, repetitions, rng.derive(0, "probes", what)))


def outcomes(world: World, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    """Of two categories the first, for the other mirrors it; of more, each. The demand is that of the seeds compared."""
    difference, truth = world.draw(n_seeds, repetitions, rng.generator(seed)), world.truth()
    members, compared = group("all", np.arange(n_seeds)), round(n_seeds * world.named)
    for k in range(1 if truth.size == 2 else truth.size):
        of = "" if truth.size == 2 else f" {k + 1}"
        parts = changes(difference[..., k], members)
        low, high = shift_limits(*parts)
        there = np.isfinite(low)
        yield covers(f"effect{of}", compared, holds(low, high, float(truth[k]))[there], (high - low)[there])
        yield rejects(f"test{of}", compared, category_rejections(*parts)[there], null=abs(truth[k]) < 1e-12)
