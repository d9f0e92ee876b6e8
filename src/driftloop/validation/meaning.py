"""Similarities over seeds, their floor, and the semantic drift rate; the rate on a quarter of the repetitions.

Cosines of seeds are drawn from stated distributions. The floor is of embeddings with a direction in common, without one, and
in clumps. Rates are those of a planted power law around which seeds have a level of their own and noise in every generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.decay import drift_rate, mean_cumulative_drift
from driftloop.statistics.panel import Floats, group
from driftloop.statistics.similarity import floor_similarity, mean_similarity, of_strangers
from driftloop.validation.outcome import Case, Outcome, covers, holds, rejects

SIZES = (30, 100, 300)
PART = 4
RESAMPLES = 400
WIDTH = 16
MANY = 400_000  # embeddings that tell the true floor
GENERATIONS = np.arange(2.0, 22.0, 2.0)
NEVER_LOST, LOST = 0.3, 0.5
SPREAD = 0.1
Drawn = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _lost(draws: np.random.Generator, shape: tuple[int, int], share: float) -> Floats:
    """This share of seeds loses all but .2, the others keep .9."""
    return np.where(draws.random(shape) < share, 0.2, 0.9) + draws.normal(0, 0.03, shape)


COSINES: dict[str, tuple[float, Drawn]] = {
    "alike": (0.8, lambda draws, shape: draws.normal(0.8, 0.08, shape)),
    "near 0": (0.0, lambda draws, shape: draws.normal(0, 0.2, shape)),
    "skew": (0.85, lambda draws, shape: 1 - draws.exponential(0.15, shape)),
    "half lost": (0.55, lambda draws, shape: _lost(draws, shape, 0.5)),
    "one in twenty lost": (0.865, lambda draws, shape: _lost(draws, shape, 0.05)),
    "one in a hundred lost": (0.893, lambda draws, shape: _lost(draws, shape, 0.01)),
}
SHAPES: dict[str, Drawn] = {
    "nothing in common": lambda draws, shape: draws.standard_normal(shape),
    "a direction in common": lambda draws, shape: draws.standard_normal(shape) + 4 * np.eye(shape[1])[0],
    "clumps": lambda draws, shape: draws.standard_normal(shape) + 5 * np.eye(shape[1])[draws.integers(0, 4, shape[0])],
    "some nearer": lambda draws, shape: (
        draws.standard_normal(shape) * draws.uniform(0.2, 2, (shape[0], 1)) + np.eye(shape[1])[0]
    ),
}
RATES = (0.0, 0.3, 1.0, 2.0)  # 0: nothing is lost


def cases(repetitions: int) -> Iterator[Case]:
    for n_seeds, name in product(SIZES, COSINES):
        what = f"{n_seeds} seeds; cosines, {name}"
        yield Case(name=what, check=partial(of_means, *COSINES[name], n_seeds, repetitions, rng.derive(0, "meaning", what)))
    for n_seeds, name in product(SIZES, SHAPES):
        what = f"{n_seeds} seeds; floor, {name}"
        yield Case(name=what, check=partial(of_floors, SHAPES[name], n_seeds, repetitions, rng.derive(0, "meaning", what)))
    for n_seeds, rate in product(SIZES, RATES):
        what = f"{n_seeds} seeds; rate {rate}"
        some = max(1, repetitions // PART)
        yield Case(name=what, check=partial(of_rates, rate, n_seeds, some, rng.derive(0, "meaning", what)))


def of_means(true: float, drawn: Drawn, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    cosines = drawn(rng.generator(seed), (n_seeds, repetitions))
    found = mean_similarity(cosines, group("made up", np.arange(n_seeds)))
    yield covers("similarity", n_seeds, holds(found.low, found.high, true), found.high - found.low)


def of_floors(drawn: Drawn, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    draws, members = rng.generator(seed), group("made up", np.arange(n_seeds))
    true = float((_units(drawn(draws, (MANY, WIDTH))).mean(axis=0) ** 2).sum())
    strangers = np.stack([_strangers(_units(drawn(draws, (n_seeds, WIDTH)))) for _ in range(repetitions)], axis=1)
    found = floor_similarity(strangers, members)
    yield covers("floor", n_seeds, holds(found.low, found.high, true), found.high - found.low)


def _units(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _strangers(vectors: Floats) -> Floats:
    return of_strangers(vectors, vectors, np.zeros(len(vectors), np.intp))


def of_rates(rate: float, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    draws, members = rng.generator(seed), group("made up", np.arange(n_seeds))
    law = NEVER_LOST + LOST * (GENERATIONS / GENERATIONS[0]) ** -rate
    games = [_game(law, n_seeds, draws) for _ in range(repetitions)]
    found = [drift_rate(game, GENERATIONS, members, resamples=RESAMPLES, seed=i) for i, game in enumerate(games)]
    told = np.array([one.status == "ok" for one in found])
    yield rejects("a rate is told", n_seeds, told, null=rate == 0)
    if rate and told.any():
        low, high = (np.array([getattr(one, side) for one in found])[told] for side in ("low", "high"))
        yield covers("rate, where told", n_seeds, holds(low, high, rate), high - low)
    means = [mean_cumulative_drift(game, members) for game in games]
    low, high = np.concatenate([one.low for one in means]), np.concatenate([one.high for one in means])
    yield covers("mean cumulative drift", n_seeds, holds(low, high, float(law.mean())), high - low)


def _game(law: Floats, n_seeds: int, draws: np.random.Generator) -> Floats:
    level = draws.normal(0, SPREAD, (n_seeds, 1))
    return law + level + draws.normal(0, SPREAD, (n_seeds, law.size))
