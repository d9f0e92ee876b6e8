"""Attractor and half-life behind their gate, and the gate itself: chains of known make-up, and chains that only look like them.

A chain keeps its category or, with a planted chance, draws it anew. The attractor is then what is drawn, the half-life
ln ½ / ln(1 - chance). Coverage is that of what the gate lets through, the only intervals anybody sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.dynamics import GATE_LEVEL, SHOWN, Chains, Dynamics, dynamics, halved
from driftloop.statistics.panel import Floats, Ints
from driftloop.validation.outcome import Case, Outcome, coverage, holds, rejects

SIZES = (30, 100, 300)
AGES = (0.10, 0.20, 0.30, 0.25, 0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Seeds of one kind: the chance to draw anew at each step, and from what."""

    anew: float
    drawn: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """As many seeds of each kind, one after the other; the first round is drawn from `start`. A category is read as the
    next one with chance `misread`, and not at all with chance `unread`."""

    kinds: tuple[Kind, ...]
    start: tuple[float, ...]
    steps: int = 8
    replicates: int = 1
    misread: float = 0.0
    unread: float = 0.0

    def draw(self, n_seeds: int, draws: np.random.Generator) -> Ints:
        """Readings [n_seeds, replicates, steps + 1]."""
        kind = np.arange(n_seeds) % len(self.kinds)
        anew = np.array([one.anew for one in self.kinds])[kind][:, None]
        tables = np.array([one.drawn for one in self.kinds])[kind][:, None]
        first = _picked(np.array(self.start)[None, None], draws.random((n_seeds, 1)))
        states = [np.repeat(first, self.replicates, axis=1)]
        for _ in range(self.steps):
            coins, chances = draws.random((2, n_seeds, self.replicates))
            states.append(np.where(coins < anew, _picked(tables, chances), states[-1]))
        return self.read(np.stack(states, axis=2), draws)

    def read(self, states: Ints, draws: np.random.Generator) -> Ints:
        wrong, silent = draws.random((2, *states.shape))
        read = np.where(wrong < self.misread, (states + 1) % len(self.start), states)
        return np.where(silent < self.unread, -1, read)


def _picked(shares: Floats, chances: Floats) -> Ints:
    """Categories by their cumulated shares [..., K]."""
    return np.asarray((chances[..., None] > np.cumsum(shares, axis=-1)[..., :-1]).sum(axis=-1), dtype=np.intp)


TRUE = {
    "two, .3 from .8": World(kinds=(Kind(anew=0.3, drawn=(0.8, 0.2)),), start=(0.5, 0.5)),
    "two, .1 from .9": World(kinds=(Kind(anew=0.1, drawn=(0.9, 0.1)),), start=(0.5, 0.5)),
    "two, .6 from .5, 4 replicates, unread .1": World(
        kinds=(Kind(anew=0.6, drawn=(0.5, 0.5)),), start=(0.2, 0.8), steps=6, replicates=4, unread=0.1
    ),
    "five, .3 from .05 to .6": World(kinds=(Kind(anew=0.3, drawn=(0.05, 0.05, 0.10, 0.20, 0.60)),), start=AGES),
    "two, .3 from .8, 4 steps": World(kinds=(Kind(anew=0.3, drawn=(0.8, 0.2)),), start=(0.5, 0.5), steps=4),
}
FALSE = {
    "two speeds, .4 from .9 and .1 from .5, 16 steps": World(
        kinds=(Kind(anew=0.4, drawn=(0.1, 0.9)), Kind(anew=0.1, drawn=(0.5, 0.5))), start=(0.9, 0.1), steps=16
    ),
    "misread .1": World(kinds=(Kind(anew=0.3, drawn=(0.2, 0.8)),), start=(0.8, 0.2), misread=0.1),
    "misread .05": World(kinds=(Kind(anew=0.3, drawn=(0.2, 0.8)),), start=(0.8, 0.2), misread=0.05),
    "one speed, from .9 and from .1": World(
        kinds=(Kind(anew=0.3, drawn=(0.9, 0.1)), Kind(anew=0.3, drawn=(0.1, 0.9))), start=(0.5, 0.5)
    ),
}
TESTS = ("order", "late", "homogeneous")


def cases(repetitions: int) -> Iterator[Case]:
    for n_seeds, name in product(SIZES, TRUE):
        what = f"{n_seeds} seeds; {name}"
        yield Case(name=what, check=partial(of_chains, TRUE[name], n_seeds, repetitions, rng.derive(0, "dynamics", what)))
    for n_seeds, name in product(SIZES, FALSE):
        what = f"{n_seeds} seeds; not a chain: {name}"
        yield Case(name=what, check=partial(of_others, FALSE[name], n_seeds, repetitions, rng.derive(0, "dynamics", what)))


def found(world: World, n_seeds: int, repetitions: int, seed: int) -> list[Dynamics]:
    draws, size = rng.generator(seed), len(world.start)
    alone, each = np.zeros(n_seeds, np.intp), np.arange(n_seeds)
    drawn = (world.draw(n_seeds, draws) for _ in range(repetitions))
    chains = (Chains(states=states, blocks=alone, units=each, features=np.eye(size)) for states in drawn)
    return [dynamics(one, np.eye(size)) for one in chains]


def of_chains(world: World, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    everything = found(world, n_seeds, repetitions, seed)
    yield from _tests(everything, n_seeds, null=True)
    [kind] = world.kinds
    shown = [one for one in everything if one.status == SHOWN]
    low, high = (np.array([getattr(one.attractor, limit) for one in shown]) for limit in ("low", "high"))
    held = holds(low, high, np.array(kind.drawn))
    worst = int(held.mean(axis=0).argmin())
    width = float((high - low).mean())
    yield coverage("attractor, worst category", n_seeds, len(shown), float(held[:, worst].mean()), width)
    low, high = (np.array([getattr(one.half_life, limit) for one in shown]) for limit in ("low", "high"))
    held, finite = holds(low, high, float(halved(np.array(kind.anew)))), np.isfinite(high)
    width = float((high - low)[finite].mean()) if finite.any() else float("nan")
    yield coverage("half-life", n_seeds, len(shown), float(held.mean()), width)


def of_others(world: World, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    yield from _tests(found(world, n_seeds, repetitions, seed), n_seeds, null=False)


def _tests(everything: Sequence[Dynamics], n_seeds: int, *, null: bool) -> Iterator[Outcome]:
    """Each test, and how often the gate refuses; of that nothing is demanded, for three tests at .05 refuse more."""
    for name in TESTS:
        p_values = np.array([getattr(one, f"p_{name}") for one in everything])
        yield rejects(f"test of {name}", n_seeds, p_values <= GATE_LEVEL, null=null)
    yield rejects("gate refuses", n_seeds, np.array([one.status != SHOWN for one in everything]), null=False)
