"""Intervals for shares and for paired shifts of shares.

One rule for every table of the analysis: a share has the beta interval of `share_limits`, a shift the squares-and-add
interval of `shift_limits` built from two of them. With one 0/1 reading per seed the first *is* the exact interval of
Clopper and Pearson (1934). Both are conservative by design where events are rare: there Wilson's interval can cover as
little as .84, and the bootstrap has width 0 without a discordant pair (scripts/bench/calibration.py). Away from that
corner both approach the normal interval, which is all a bootstrap of a mean over seeds can approach; so means are not
bootstrapped.

`wilson`, `tango` and `newcombe` are the textbook intervals, here to measure ours against.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from driftloop.statistics.moments import Moments
from driftloop.statistics.panel import Bools, Floats

Limits = tuple[Floats, Floats]
WHOLE_EVENTS = 5.0  # whole seeds mixed into the estimate of how much of a seed a typical event is, see _event_size
SMALLEST_P = 1e-12


def share_limits(share: Moments, level: float = 0.95) -> Limits:
    """Low and high limit of a mean of values in [0, 1] over independent seeds; NaN where there are fewer than two.

    Each limit is a quantile of the beta distribution that has the mean and variance of the data with one more event at
    that end of the scale, of the largest weight any unit has. So what might have been drawn and was not is allowed for,
    and the width is never 0. For 0/1 values weighted alike this is Clopper-Pearson; for weighted events near 0, the
    gamma interval of Fay and Feuer (1997, Stat. Med. 16:791) carried over to a bounded share; the effective sample size
    and its t correction are Korn and Graubard's (1998, Survey Methodology 24:193).
    """
    return _share_limits(share, (1 - level) / 2)


def _share_limits(share: Moments, tail: Floats | float) -> Limits:
    """`tail` is the probability left out on either side."""
    mean = share.mean
    variance = share.variance * _t_over_normal(np.asarray(tail), share.dof) ** 2
    step = share.step * _event_size(mean, share)
    return 1 - _upper(1 - mean, variance, step, tail), _upper(mean, variance, step, tail)


def _t_over_normal(tail: Floats, dof: Floats) -> Floats:
    """Ratio of the quantiles of Student's t and of the normal, no nearer to the median (0 / 0) than .49."""
    tail = np.minimum(tail, 0.49)
    finite = np.where(np.isfinite(dof), dof, 1.0)
    return np.where(np.isfinite(dof), special.stdtrit(finite, tail) / special.ndtri(tail), 1.0)


def _event_size(mean: Floats, share: Moments) -> Floats:
    """How much of a whole unit an unseen event is worth: 1 for 0/1 values, down to 1/replicates for fractions.

    The variance over units as a part of the largest it could be at this mean, with `WHOLE_EVENTS` whole events added to
    both: until many events have been seen the next may be a whole seed. Five of them, because with one the interval
    for 100 seeds of ten replicates, few of them wholly of a rare category, covered .90.
    """
    with np.errstate(invalid="ignore"):
        size = share.variance / share.step + WHOLE_EVENTS * share.step
        size = size / (mean * (1 - mean) + WHOLE_EVENTS * share.step)
    return np.clip(size, 0.0, 1.0)


def _upper(mean: Floats, variance: Floats, step: Floats, tail: Floats | float) -> Floats:
    """The 1 - tail quantile of the beta distribution matched to the data and one more event, of weight `step`, at 1."""
    new_mean = np.minimum((mean + step) / (1 + step), 1.0)
    new_variance = (variance + (step * (1 - mean)) ** 2 / (1 + step)) / (1 + step) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        size = new_mean * (1 - new_mean) / new_variance
        high = special.betainccinv(new_mean * size, (1 - new_mean) * size, tail)
    return np.where(mean >= 1, np.where(np.isfinite(variance), 1.0, np.nan), high)


def shift_limits(up: Moments, down: Moments, shift: Moments, level: float = 0.95) -> Limits:
    """Limits of a mean paired difference d in [-1, 1] from the moments of max(d, 0), max(-d, 0) and d.

    Squares-and-add (Newcombe 1998, Stat. Med. 17:2635, method 10; MOVER of Zou and Donner 2008) on the rises and falls
    rather than on the two shares, with `share_limits` in place of Wilson's. The seed is the pair, so dependence between
    rounds needs no further term; rises and falls are correlated, and that is estimated.
    """
    return _shift_limits(up, down, shift, (1 - level) / 2)


def _shift_limits(up: Moments, down: Moments, shift: Moments, tail: Floats | float) -> Limits:
    up_low, up_high = _share_limits(up, tail)
    down_low, down_high = _share_limits(down, tail)
    correlation = _correlation(up, down, shift)
    below = _add_squares(up.mean - up_low, down_high - down.mean, correlation)
    above = _add_squares(up_high - up.mean, down.mean - down_low, correlation)
    return np.maximum(shift.mean - below, -1.0), np.minimum(shift.mean + above, 1.0)


def _correlation(up: Moments, down: Moments, shift: Moments) -> Floats:
    """Of the two means; 0 where one of them has no variance to be correlated with."""
    scale = np.sqrt(up.variance * down.variance)
    covariance = (up.variance + down.variance - shift.variance) / 2
    return np.clip(np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0), -1.0, 1.0)


def _add_squares(a: Floats, b: Floats, correlation: Floats | float) -> Floats:
    return np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0.0))


def shift_p_value(up: Moments, down: Moments, shift: Moments, halvings: int = 40) -> Floats:
    """Two-sided p-value: the smallest p for which the interval of `shift_limits` at level 1 - p leaves out 0.

    Found by halving on the log scale, down to `SMALLEST_P`. 1 where nothing moved, NaN where there is no interval.
    """
    low, high = np.full(shift.mean.shape, np.log(SMALLEST_P)), np.zeros(shift.mean.shape)
    for _ in range(halvings):
        middle = (low + high) / 2
        out = _leaves_out_zero(up, down, shift, np.exp(middle))
        low, high = np.where(out, low, middle), np.where(out, middle, high)
    p = np.where(shift.mean == 0, 1.0, np.exp(high))
    return np.where(np.isfinite(shift.variance), p, np.nan)


def _leaves_out_zero(up: Moments, down: Moments, shift: Moments, p: Floats) -> Bools:
    low, high = _shift_limits(up, down, shift, p / 2)
    return np.asarray((low > 0) | (high < 0))


def wilson(successes: Floats, n: Floats, level: float = 0.95) -> Limits:
    """Score interval of a binomial share (Wilson 1927)."""
    z = -special.ndtri((1 - level) / 2)
    centre = (successes + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(successes * (n - successes) / n + z**2 / 4)
    return centre - half, centre + half


def newcombe(a: float, b: float, c: float, d: float, level: float = 0.95) -> tuple[float, float]:
    """Squares-and-add interval for p1 - p2 = (b - c) / n of a paired table (a, b, c, d) (Newcombe 1998, method 10)."""
    n = a + b + c + d
    p1, p2 = (a + b) / n, (a + c) / n
    low, high = wilson(np.array([a + b, a + c]), np.array([n, n]), level)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    excess = a * d - b * c
    phi = 0.0 if margins == 0 else (max(excess - n / 2, 0.0) if excess > 0 else excess) / float(np.sqrt(margins))
    below = _add_squares(p1 - low[0], high[1] - p2, phi)
    above = _add_squares(high[0] - p1, p2 - low[1], phi)
    return float(p1 - p2 - below), float(p1 - p2 + above)


def tango(b: Floats, c: Floats, n: Floats, level: float = 0.95, halvings: int = 60) -> Limits:
    """Score interval for (b - c) / n from b and c discordant pairs (Tango 1998, Stat. Med. 17:891, eq. 24-26)."""
    z = -special.ndtri((1 - level) / 2)
    middle = (b - c) / n
    low = _tango_root(b, c, n, z, (np.full_like(middle, -1.0), middle), halvings)
    return low, _tango_root(b, c, n, -z, (middle, np.full_like(middle, 1.0)), halvings)


def _tango_root(b: Floats, c: Floats, n: Floats, target: float, between: Limits, halvings: int) -> Floats:
    """Where the score, which falls as the difference rises, meets `target`."""
    low, high = between
    for _ in range(halvings):
        middle = (low + high) / 2
        above = tango_score(b, c, n, middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


def tango_score(b: Floats, c: Floats, n: Floats, difference: Floats) -> Floats:
    """Score statistic of a true difference, with the falls' cell at its restricted maximum likelihood."""
    linear = (2 * n - b + c) * difference - b - c
    root = np.sqrt(np.maximum(linear**2 + 8 * n * c * difference * (1 - difference), 0.0))
    cell = np.maximum((root - linear) / (4 * n), 0.0)
    variance = n * np.maximum(2 * cell + difference * (1 - difference), 1e-300)
    return np.asarray((b - c - n * difference) / np.sqrt(variance))
