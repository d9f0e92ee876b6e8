"""How fast meaning is lost over the generations of a game of telephone (Mollah et al. 2025, arXiv 2509.04438).

A generation is one step: a picture described or a caption drawn. Mean cumulative drift (MCD) is the mean over generations
of the mean cosine with what the game began with: a similarity, so that a higher one is *less* drift. The semantic drift
rate (SDR) "summarizes semantic decay rate"; the paper's second version leaves it out. Here it is the exponent of a power
law through those means,

    S(g) = alpha g^-beta + gamma.

The authors' code once computed under that name the mean change from one generation to the next; here that is `mean_step`.
Where the exponent cannot be known, with fewer than four generations, without a fall, or where the
interval reaches the bounds of the fit, the answer is "not identifiable".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftloop.statistics.panel import Floats, Group
from driftloop.statistics.resampling import bootstrap_means
from driftloop.statistics.similarity import Similarity, mean_change, mean_similarity

RATES = np.geomspace(0.05, 5.0, 185)  # the bounds of the exponent; 2.5 % apart, refined by a parabola
LOWEST = -1.0  # of gamma; no cosine is lower
LEAST = 4  # generations: the law has three constants
NOT_IDENTIFIABLE = "not identifiable"
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Rate:
    """An exponent with its interval, or why there is none: `status` is ok or begins with "not identifiable"."""

    value: float
    low: float
    high: float
    status: str


def mean_cumulative_drift(values: Floats, group: Group, level: float = 0.95) -> Similarity:
    """Of `values` [n, generations], cosines with the beginning; seeds that lack a generation are left out."""
    return mean_similarity(values.mean(axis=1, keepdims=True), group, level)


def mean_step(values: Floats, generations: Floats, group: Group, level: float = 0.95) -> Similarity:
    """Mean change of the cosine a generation, from the first to the last of `values` [n, generations]."""
    whole = np.where(np.isfinite(values).all(axis=1), values[:, -1] - values[:, 0], np.nan)[:, None]
    found = mean_change(whole, group, level)
    span = max(generations[-1] - generations[0], 1.0)
    return Similarity(found.n, found.mean / span, found.low / span, found.high / span)


def drift_rate(values: Floats, generations: Floats, group: Group, *, resamples: int, seed: int, level: float = 0.95) -> Rate:
    """The exponent through the means of `values` [n, generations], with the bootstrap's percentiles over whole seeds.

    It is rising in how early the loss is, not in how large; gamma, the level that is never lost, is free.
    """
    whole = np.where(np.isfinite(values).all(axis=1, keepdims=True), values, np.nan)
    if generations.size < LEAST:
        return Rate(NAN, NAN, NAN, f"{NOT_IDENTIFIABLE}: {generations.size} generations, {LEAST} are needed")
    fall = mean_step(whole, generations, group, level)
    if not fall.high[0] < 0:
        return Rate(NAN, NAN, NAN, f"{NOT_IDENTIFIABLE}: no fall from the first generation to the last")
    drawn = bootstrap_means(whole[:, :, None], group, resamples, seed)[:, :, 0]
    means = mean_similarity(whole, group, level).mean
    value = float(power_rates(means[None], generations)[0])
    low, high = np.quantile(power_rates(drawn, generations), [(1 - level) / 2, (1 + level) / 2])
    if low <= RATES[0] or high >= RATES[-1]:
        return Rate(NAN, NAN, NAN, f"{NOT_IDENTIFIABLE}: the interval reaches the bounds {RATES[0]:g} and {RATES[-1]:g}")
    return Rate(value, float(low), float(high), "ok")


def power_rates(means: Floats, generations: Floats) -> Floats:
    """Exponents [b] of the least-squares power laws through `means` [b, generations], with alpha >= 0 and gamma >= -1.

    For a given exponent the law is a straight line, so the best is found by trying exponents.
    """
    errors = np.stack([_error(means, (generations / generations[0]) ** -rate) for rate in RATES], axis=1)
    best = np.clip(errors.argmin(axis=1), 1, RATES.size - 2)
    rows = np.arange(len(means))
    before, at, after = (errors[rows, best + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.divide((before - after) / 2, bend, out=np.zeros_like(bend), where=bend > 0)
    step = np.log(RATES[1] / RATES[0])
    return np.asarray(np.clip(RATES[best] * np.exp(np.clip(shift, -1.0, 1.0) * step), RATES[0], RATES[-1]))


def _error(means: Floats, law: Floats) -> Floats:
    """Sum of squares [b] that alpha × `law` [generations] + gamma leaves, at the best alpha and gamma within bounds."""
    middle = means.mean(axis=1, keepdims=True)
    away = law - law.mean()
    alpha = np.maximum((means - middle) @ away / (away @ away), 0.0)[:, None]
    gamma = middle - alpha * law.mean()
    bound = np.maximum((means - LOWEST) @ law / (law @ law), 0.0)[:, None]
    low = gamma < LOWEST
    fitted = np.where(low, bound, alpha) * law + np.where(low, LOWEST, gamma)
    return np.asarray(((means - fitted) ** 2).sum(axis=1))
