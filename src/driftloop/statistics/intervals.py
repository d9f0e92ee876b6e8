"""Intervals for shares and for paired shifts of shares.

One rule for every table of the analysis: a share has the beta interval of `share_limits`, a shift the squares-and-add interval
of `shift_limits` built from two of them. With one 0/1 reading per seed the first *is* the exact interval of Clopper and Pearson
(1934). Both are conservative by design where events are rare: score intervals (Wilson, Tango) cover about .84 there, and the
bootstrap has width 0 without a discordant pair. Away from that corner both approach the normal interval, which is all a
bootstrap of a mean over seeds could approach, so means are not bootstrapped.

`wilson`, `tango` and `newcombe` are the textbook intervals, kept to measure ours against.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from driftloop.statistics.moments import Moments
from driftloop.statistics.panel import Bools, Floats

Limits = tuple[Floats, Floats]


def share_limits(share: Moments, level: float = 0.95) -> Limits:
    """Interval [low, high] for a mean of values in [0, 1] over independent seeds; NaN where fewer than two seeds are there.

    Each limit is a quantile of the beta distribution whose mean and variance are those of the data with one more unit put at
    that end of the scale with the largest weight any unit has. So a unit that might have been drawn and was not is allowed for:
    the width is never 0. For 0/1 values weighted alike this is Clopper-Pearson; for weighted events near 0 it is the gamma
    interval of Fay and Feuer (1997, Stat. Med. 16:791) carried over to a bounded share; the effective sample size and its
    t correction are Korn and Graubard's (1998, Survey Methodology 24:193).
    """
    tail = (1 - level) / 2
    variance = share.variance * (stats.t.isf(tail, share.dof) / stats.norm.isf(tail)) ** 2
    step = share.step * _event_size(share)
    return 1 - _upper(1 - share.mean, variance, step, tail), _upper(share.mean, variance, step, tail)


def _event_size(share: Moments) -> Floats:
    """How much of a whole unit a typical unseen event is worth: 1 for 0/1 values, down to 1/replicates for fractions.

    The variance over units as a part of the largest it could be at this mean, with one whole event added to both.
    """
    with np.errstate(invalid="ignore"):
        size = (share.variance / share.step + share.step) / (share.mean * (1 - share.mean) + share.step)
    return np.minimum(size, 1.0)


def _upper(mean: Floats, variance: Floats, step: Floats, tail: Floats | float) -> Floats:
    """The 1 - tail quantile of the beta distribution matched to the data and one more unit at 1."""
    new_mean = np.minimum((mean + step) / (1 + step), 1.0)
    new_variance = (variance + (step * (1 - mean)) ** 2 / (1 + step)) / (1 + step) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        size = new_mean * (1 - new_mean) / new_variance
        high = stats.beta.isf(tail, new_mean * size, (1 - new_mean) * size)
    return np.where(mean >= 1, np.where(np.isfinite(variance), 1.0, np.nan), high)


def shift_limits(up: Moments, down: Moments, shift: Moments, level: float = 0.95) -> Limits:
    """Interval for a mean paired difference d in [-1, 1] from the moments of max(d, 0), max(-d, 0) and d.

    Squares-and-add (Newcombe 1998, Stat. Med. 17:2635, method 10; MOVER of Zou and Donner 2008) on the rises and the falls
    rather than on the two shares, with `share_limits` in place of Wilson's. The seed is the pair, so dependence between rounds
    needs no further term; rises and falls are correlated and that is estimated.
    """
    up_low, up_high = share_limits(up, level)
    down_low, down_high = share_limits(down, level)
    correlation = _correlation(up, down, shift)
    below = _add_squares(up.mean - up_low, down_high - down.mean, correlation)
    above = _add_squares(up_high - up.mean, down.mean - down_low, correlation)
    return np.maximum(shift.mean - below, -1.0), np.minimum(shift.mean + above, 1.0)


def _correlation(up: Moments, down: Moments, shift: Moments) -> Floats:
    """Of the two means; 0 where one of them has no variance to be correlated with."""
    scale = np.sqrt(up.variance * down.variance)
    covariance = (up.variance + down.variance - shift.variance) / 2
    return np.clip(np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0), -1.0, 1.0)


def _add_squares(a: Floats, b: Floats, correlation: Floats) -> Floats:
    return np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0.0))


def shift_p_value(up: Moments, down: Moments, shift: Moments, steps: int = 60) -> Floats:
    """Two-sided p-value: 1 - the highest level at which the interval of `shift_limits` still leaves out 0.

    Found by halving on the log of the p-value; never below 1e-12. 1 where nothing moved, NaN where there is no interval.
    """
    low, high = np.full(shift.mean.shape, np.log(1e-12)), np.zeros(shift.mean.shape)
    for _ in range(steps):
        middle = (low + high) / 2
        out = _leaves_out_zero(up, down, shift, np.exp(middle))
        low, high = np.where(out, low, middle), np.where(out, middle, high)
    p = np.where(shift.mean == 0, 1.0, np.exp(high))
    return np.where(np.isfinite(shift.variance), p, np.nan)


def _leaves_out_zero(up: Moments, down: Moments, shift: Moments, p: Floats) -> Bools:
    low, high = shift_limits(up, down, shift, 1 - p)  # type: ignore[arg-type]
    return (low > 0) | (high < 0)


def wilson(successes: Floats, n: Floats, level: float = 0.95) -> Limits:
    """Score interval of a binomial share (Wilson 1927)."""
    z = stats.norm.isf((1 - level) / 2)
    centre = (successes + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(successes * (n - successes) / n + z**2 / 4)
    return centre - half, centre + half


def newcombe(a: float, b: float, c: float, d: float, level: float = 0.95) -> tuple[float, float]:
    """Squares-and-add interval for p1 - p2 = (b - c) / n of the paired table (a, b, c, d) (Newcombe 1998, method 10)."""
    n = a + b + c + d
    p1, p2 = (a + b) / n, (a + c) / n
    low, high = wilson(np.array([a + b, a + c]), np.array([n, n]), level)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    excess = a * d - b * c
    phi = 0.0 if margins == 0 else (max(excess - n / 2, 0.0) if excess > 0 else excess) / np.sqrt(margins)
    below = _add_squares(p1 - low[0], high[1] - p2, phi)
    above = _add_squares(high[0] - p1, p2 - low[1], phi)
    return float(p1 - p2 - below), float(p1 - p2 + above)


def tango(b: Floats, c: Floats, n: Floats, level: float = 0.95, steps: int = 60) -> Limits:
    """Score interval for (b - c) / n with b and c discordant pairs (Tango 1998, Stat. Med. 17:891, eq. 24-26), by halving."""
    z = stats.norm.isf((1 - level) / 2)
    low = _tango_root(b, c, n, z, np.full(np.shape(b), -1.0), (b - c) / n, steps)
    high = _tango_root(b, c, n, -z, (b - c) / n, np.full(np.shape(b), 1.0), steps)
    return low, high


def _tango_root(b: Floats, c: Floats, n: Floats, target: float, low: Floats, high: Floats, steps: int) -> Floats:
    """Where the score, which falls with the difference, meets `target`."""
    for _ in range(steps):
        middle = (low + high) / 2
        above = tango_score(b, c, n, middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


def tango_score(b: Floats, c: Floats, n: Floats, difference: Floats) -> Floats:
    """Score statistic for a true difference, with the smaller cell at its restricted maximum likelihood."""
    linear = (2 * n - b + c) * difference - b - c
    root = np.sqrt(np.maximum(linear**2 + 8 * n * c * difference * (1 - difference), 0.0))
    cell = np.maximum((root - linear) / (4 * n), 0.0)
    variance = n * np.maximum(2 * cell + difference * (1 - difference), 1e-300)
    return (b - c - n * difference) / np.sqrt(variance)
