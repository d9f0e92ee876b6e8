"""How often the truth lies within the intervals, and how often the joint test rejects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from driftloop.phantom.truth import ClosedForm
from driftloop.phantom.world import CATEGORIES
from driftloop.statistics.intervals import Limits, share_limits, shift_limits
from driftloop.statistics.joint import hotelling, hotelling_power, kept_label
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import Bools, Floats, Ints, concept_groups, seed_means
from driftloop.validation.loops import Played
from driftloop.validation.setting import (
    ATTRIBUTES,
    CONCEPTS,
    START,
    Planted,
    Setting,
    compositions,
    departure,
    expected,
    kept_covariance,
    planted,
)


@dataclass(frozen=True)
class Covered:
    """Of one attribute: did each interval hold the truth, (repetitions, groups, rounds + 1, categories), and its width.

    Groups are those of `compositions`. The shift at round 0 is 0 by definition and counts as held, of width NaN.
    """

    share: Bools
    shift: Bools
    share_width: Floats
    shift_width: Floats


def tallies(played: Sequence[Played], attribute: str) -> Ints:
    """Readings per category, (seeds, repetitions, rounds + 1, categories)."""
    column = ATTRIBUTES.index(attribute)
    codes = np.stack([repetition.readings[:, :, :, column] for repetition in played], axis=1)
    return np.stack([(codes == k).sum(axis=2) for k in range(len(CATEGORIES[attribute]))], axis=3)


def coverage(setting: Setting, played: Sequence[Played], attribute: str) -> Covered:
    """The intervals of the analysis, on every repetition, against the planted composition's closed form.

    Seeds are in the order of the data set, concepts in turn.
    """
    counts = tallies(played, attribute)
    n, repetitions, moments_, k = counts.shape
    truth = planted(setting, moments_ - 1, played[0].readings.shape[1])[attribute]
    means = seed_means(counts.reshape(n, repetitions * moments_, k)).reshape(counts.shape)
    concepts = [CONCEPTS[number % len(CONCEPTS)] for number in range(n)]
    groups = {group.name: group for group in concept_groups(concepts)}
    found = [_covered(means[groups[name].members], truth, i) for i, name in enumerate(compositions())]
    return Covered(*(np.stack(parts, axis=1) for parts in zip(*found, strict=True)))


def _covered(means: Floats, truth: Planted, place: int) -> tuple[Bools, Bools, Floats, Floats]:
    """Of one group: means (seeds, repetitions, rounds + 1, categories)."""
    [group, *_] = concept_groups(["all"] * len(means))
    share = share_limits(moments(means.reshape(len(means), -1), group))
    shift = shift_limits(*changes(means - means[:, :, :1], group))
    (share_in, share_width), (shift_in, shift_width) = (
        _held(limits, true[place], means.shape[1:]) for limits, true in ((share, truth.share), (shift, truth.shift))
    )
    shift_width[:, 0] = np.nan
    return share_in, shift_in, share_width, shift_width


def _held(limits: Limits, true: Floats, shape: tuple[int, ...]) -> tuple[Bools, Floats]:
    low, high = (limit.reshape(shape) for limit in limits)
    return (low <= true + 1e-12) & (true - 1e-12 <= high), high - low


# The joint test


def residuals(form: ClosedForm, played: Played, attribute: str) -> Floats:
    """Read shares of each seed over its replicates minus what `form` expects, (seeds, rounds, categories), rounds 1..

    Abstention is an outcome of its own: it is in no category, and the expectation allows for it.
    """
    rounds = played.readings.shape[2] - 1
    return residuals_from(expected(form, rounds)[attribute], played, attribute)


def residuals_from(chances: Floats, played: Played, attribute: str) -> Floats:
    """As `residuals`, from the expectations of all starts (420, rounds + 1, categories)."""
    found = tallies([played], attribute)[:, 0] / played.readings.shape[1]
    return np.asarray((found - chances[played.starts])[:, 1:])


def joint_p_values(setting: Setting, played: Sequence[Played], attribute: str, omission: float, *, kept: bool = True) -> Floats:
    """p-values of the joint test of a hypothesised omission, one a repetition.

    `kept`: on "still read with the starting label" per round; otherwise on all rounds × categories.
    """
    rounds = played[0].readings.shape[2] - 1
    chances = expected(setting.form(omission), rounds)[attribute]
    return np.array([hotelling(_columns(chances, repetition, attribute, kept)).p_value for repetition in played])


def pooled_p_value(setting: Setting, played: Sequence[Played], attribute: str, *, kept: bool = False) -> float:
    """The joint test of the planted omission on the seeds of all repetitions at once: closed form against models."""
    rounds = played[0].readings.shape[2] - 1
    chances = expected(setting.form(), rounds)[attribute]
    return hotelling(np.concatenate([_columns(chances, repetition, attribute, kept) for repetition in played])).p_value


def _columns(chances: Floats, played: Played, attribute: str, kept: bool) -> Floats:
    found = residuals_from(chances, played, attribute)
    return kept_label(found, START[attribute][played.starts]) if kept else found.reshape(len(found), -1)


def joint_power(setting: Setting, attribute: str, omission: float, n: int, replicates: int, rounds: int) -> float:
    """Power of the joint test (kept label) of a hypothesised omission, from the noncentral F and exact moments."""
    mean, within, between = _moments_under(setting, attribute, omission, rounds)
    return hotelling_power(mean, within / replicates + between, n)


def _moments_under(setting: Setting, attribute: str, omission: float, rounds: int) -> tuple[Floats, Floats, Floats]:
    """Mean of the residuals over seeds, covariance within a seed's chain, and between seeds."""
    weights = compositions()["all"]
    off = departure(setting, omission, attribute, rounds)
    mean = weights @ off
    within = np.einsum("s,sij->ij", weights, kept_covariance(setting, attribute, rounds))
    return mean, within, np.einsum("s,si,sj->ij", weights, off - mean, off - mean)


def fewest_replicates(setting: Setting, attribute: str, omission: float, n: int, rounds: int, power: float = 0.9) -> int:
    """The fewest replicates of n seeds at which the joint test has the power asked; 0 where 100 are not enough."""
    mean, within, between = _moments_under(setting, attribute, omission, rounds)
    enough = (r for r in range(1, 101) if hotelling_power(mean, within / r + between, n) >= power)
    return next(enough, 0)


def monte_carlo_error(rate: float, repetitions: int) -> float:
    """Two standard errors of a share of repetitions."""
    return 2 * float(np.sqrt(rate * (1 - rate) / repetitions))
