"""How many seeds a study needs to see a shift, and how often it would with those it has.

A category's shift is told by the seeds that change: `discordance` is the share of seeds read differently at the two
rounds, `shift` the difference between those that enter the category and those that leave it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from driftloop.core import rng
from driftloop.statistics.moments import changes
from driftloop.statistics.panel import Floats, group
from driftloop.statistics.tests import category_rejections, mcnemar

STEADY = 25  # further seeds over which the power, which saws, must stay where it was asked to be
MOST_SEEDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A shift of one category as one replicate of a seed would show it, and what replicates of a seed have in common.

    `share` is that of the category at the baseline, whose reading all replicates of a seed share; `agreement` the share
    of seeds whose replicates then all come out alike. Neither matters with one replicate.
    """

    shift: float
    discordance: float
    replicates: int = 1
    share: float = 0.5
    agreement: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < abs(self.shift) <= self.discordance <= 1:
            raise ValueError(f"0 < |shift| <= discordance <= 1, got shift {self.shift} and discordance {self.discordance}")
        if self.replicates < 1 or not 0 <= self.agreement <= 1:
            raise ValueError(f"replicates >= 1 and agreement in [0, 1], got {self.replicates} and {self.agreement}")
        if self.replicates > 1 and not (self.entering <= 1 - self.share and self.leaving <= self.share):
            raise ValueError(f"at a share of {self.share} no {self.entering:g} of seeds enter and {self.leaving:g} leave")

    @property
    def entering(self) -> float:
        return (self.discordance + self.shift) / 2

    @property
    def leaving(self) -> float:
        return (self.discordance - self.shift) / 2

    @property
    def variance(self) -> float:
        """Of the mean difference of one seed: between seeds of unlike baseline, and within, less with more replicates."""
        whole = self.discordance - self.shift**2
        if self.replicates == 1:
            return whole
        between = _ratio(self.entering**2, 1 - self.share) + _ratio(self.leaving**2, self.share) - self.shift**2
        return between + (whole - between) * (self.agreement + (1 - self.agreement) / self.replicates)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def power(
    *,
    seeds: int,
    shift: float,
    discordance: float,
    level: float = 0.05,
    replicates: int = 1,
    share: float = 0.5,
    agreement: float = 0.0,
    repetitions: int = 4000,
) -> float:
    """Chance of a two-sided p-value of at most `level` in the tables, with this many seeds read at both rounds.

    With one replicate that of mid-p McNemar, exact: summed over every table there could be. With more it is simulated
    (the same numbers each time), with the p-value of the tables; two Monte-Carlo standard errors are at most
    1 / √repetitions.
    """
    effect = Effect(shift=shift, discordance=discordance, replicates=replicates, share=share, agreement=agreement)
    if seeds < 2:
        raise ValueError(f"power needs at least two seeds, got {seeds}")
    return _exact(effect, seeds, level) if replicates == 1 else _simulated(effect, seeds, level, repetitions)


def seeds_needed(
    *,
    shift: float,
    discordance: float,
    wanted: float = 0.8,
    level: float = 0.05,
    replicates: int = 1,
    share: float = 0.5,
    agreement: float = 0.0,
    exact: bool = True,
    repetitions: int = 4000,
) -> int:
    """The fewest seeds, read at both rounds, with a power of at least `wanted`.

    `exact` asks `power`, and that more seeds keep it; otherwise the large-sample formula
    n = (z_(level/2) √(V + shift²) + z_(1 - wanted) √V)² / shift², V the variance of a seed's mean difference, which with
    one replicate is Connor's (1987, Biometrics 43:207): too few seeds where few are discordant.
    """
    if not level < wanted < 1:
        raise ValueError(f"wanted power must be above level ({level}) and below 1, got {wanted}")
    effect = Effect(shift=shift, discordance=discordance, replicates=replicates, share=share, agreement=agreement)
    guess = _asymptotic(effect, wanted, level)
    if not exact:
        return guess
    if replicates == 1:
        return _fewest(lambda seeds: _exact(effect, seeds, level) >= wanted, guess, STEADY)
    return _fewest(lambda seeds: _simulated(effect, seeds, level, repetitions) >= wanted, guess, 0)


def _asymptotic(effect: Effect, wanted: float, level: float) -> int:
    under_none, under_shift = np.sqrt([effect.variance + effect.shift**2, effect.variance])
    root = (-special.ndtri(level / 2) * under_none + special.ndtri(wanted) * under_shift) / abs(effect.shift)
    return max(2, int(np.ceil(root**2 - 1e-9)))


def _exact(effect: Effect, seeds: int, level: float) -> float:
    """Over the number of discordant seeds, and given that, over how many of them enter the category."""
    chances, discordant = _likely(seeds, effect.discordance)
    entering = effect.entering / effect.discordance
    worst = _worst_rejected(discordant, level)
    rejected = stats.binom.cdf(worst, discordant, entering) + stats.binom.sf(discordant - worst - 1, discordant, entering)
    return float((chances * rejected).sum())


def _likely(seeds: int, discordance: float) -> tuple[Floats, Floats]:
    """Numbers of discordant seeds that leave out less than 10⁻¹² at either end, and their chances."""
    low, high = stats.binom.ppf([1e-12, 1 - 1e-12], seeds, discordance)
    discordant = np.arange(max(low, 0.0), high + 1)
    return stats.binom.pmf(discordant, seeds, discordance), discordant


def _worst_rejected(discordant: Floats, level: float) -> Floats:
    """The largest smaller count that mid-p McNemar rejects, by halving; -1 where it rejects none."""
    low, high = np.full_like(discordant, -1.0), np.ceil(discordant / 2)
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        rejects = (middle >= 0) & (mcnemar(middle, discordant - middle) <= level)
        low, high = np.where(rejects, middle, low), np.where(rejects, high, np.maximum(middle, low + 1))
    return low


def _simulated(effect: Effect, seeds: int, level: float, repetitions: int) -> float:
    """How often the tables' p-value is that small, over drawn seed means."""
    draws = rng.generator(rng.derive(0, "power", seeds, effect.replicates))
    at_first = draws.random((seeds, repetitions)) < effect.share
    stays = 1 - _ratio(effect.leaving, effect.share)
    chance = np.where(at_first, stays, _ratio(effect.entering, 1 - effect.share))
    alike = draws.random(at_first.shape) < effect.agreement
    each = draws.binomial(effect.replicates, chance) / effect.replicates
    later = np.where(alike, draws.random(at_first.shape) < chance, each)
    return float(category_rejections(*changes(later - at_first, group("made up", np.arange(seeds))), level).mean())


def _fewest(enough: Callable[[int], bool], guess: int, steady: int) -> int:
    """The fewest seeds that are enough and stay so for `steady` more, looked for around a guess."""
    low, high = _bracket(enough, guess)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    while short := [seeds for seeds in range(high, high + steady + 1) if not enough(seeds)]:
        high = short[-1] + 1
    return high


def _bracket(enough: Callable[[int], bool], guess: int) -> tuple[int, int]:
    low, high = max(1, int(guess * 0.9)), guess
    while low > 1 and enough(low):
        low = int(low * 0.8)
    while not enough(high):
        if high > MOST_SEEDS:
            raise ValueError(f"more than {MOST_SEEDS} seeds would be needed")
        low, high = high, int(high * 1.2) + 1
    return low, high
