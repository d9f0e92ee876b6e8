"""Shares of the labels from shares of the readings, if the instrument errs as it did on the labelled seeds.

That P(reading | label) stays what it was ("prior shift") is the assumption of all of this. It is wrong where the errors on
generated pictures are others, and nothing here can tell for certain; see `over_identification` for a hint, and `audited`
for estimates that do without.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special, stats

from driftloop.core import rng
from driftloop.statistics.intervals import Limits, share_limits
from driftloop.statistics.moments import Moments
from driftloop.statistics.panel import Floats, Ints
from driftloop.statistics.resampling import unit_counts
from driftloop.statistics.tests import TestResult, quadratic_form

CELLS = 2**22  # numbers held at once
SMALLEST = 1e-6  # a probability no instrument can know to be smaller
BLOCK = 64  # bootstrap draws of one generator
FAR = 1.0  # how far outside 0..1 a draw of a badly conditioned estimate may count


def adjusted_count(matrix: Floats, shares: Floats) -> Floats:
    """The composition p [L] on the simplex that makes |Σ_l p_l P(k | l) - q_k|² least; `matrix` [L, K], `shares` q [K].

    Adjusted classify-and-count (Forman 2008; as constrained least squares, Bunse 2022). Exact: with D = P' - q 1' and
    p = z / Σz, minimising |D z|² + (Σz - 1)² over z ≥ 0 is minimising |P'p - q|² over the simplex.
    """
    if not np.isfinite(matrix).all() or not np.isfinite(shares).all():
        return np.full(len(matrix), np.nan)
    distance = np.vstack([matrix.T - shares[:, None], np.ones(len(matrix))])
    found, _ = optimize.nnls(distance, np.append(np.zeros(shares.size), 1.0))
    return np.asarray(found / found.sum())


def inverted(matrix: Floats, shares: Floats) -> Floats:
    """As `adjusted_count` with the sum of 1 kept but not the sign: linear in the shares, so its spread is not cut off.

    `matrix` [..., L, K] and `shares` [..., R, K] give [..., R, L]. Singular matrices give NaN.
    """
    labels = matrix.shape[-2]
    system = np.zeros((*matrix.shape[:-2], labels + 1, labels + 1))
    system[..., :labels, :labels] = matrix @ np.swapaxes(matrix, -1, -2)
    system[..., labels, :labels] = system[..., :labels, labels] = 1.0
    right = np.concatenate([shares @ np.swapaxes(matrix, -1, -2), np.ones((*shares.shape[:-1], 1))], axis=-1)
    known = np.isfinite(system).all(axis=(-1, -2), keepdims=True)
    system = np.where(known, system, np.eye(labels + 1))
    sizes = np.abs(np.linalg.eigvalsh(system))  # symmetric, so these are its singular values
    usable = known & (sizes.max(axis=-1) < 1e10 * sizes.min(axis=-1))[..., None, None]
    system = np.where(usable, system, np.eye(labels + 1))
    solved = np.swapaxes(np.linalg.solve(system, np.swapaxes(right, -1, -2)), -1, -2)[..., :labels]
    return np.asarray(np.where(usable, solved, np.nan))


def leverage(matrix: Floats) -> Floats:
    """How far the estimate of each label [..., L] moves, times the number of seeds, when one seed is read otherwise."""
    moved = inverted(matrix, np.broadcast_to(np.eye(matrix.shape[-1]), (*matrix.shape[:-2], *[matrix.shape[-1]] * 2)))
    return np.asarray(moved.max(axis=-2) - moved.min(axis=-2))


def em(likelihood: Floats, weights: Floats, start: Floats | None = None, steps: int = 1000, within: float = 1e-9) -> Floats:
    """The composition of largest likelihood, by expectation-maximisation (Saerens, Latinne & Decaestecker 2002, eq. 2.4).

    `likelihood` [..., n, L] is p(reading i | label l) up to a factor that is i's own: posterior over calibration share.
    `weights` [..., n] of the readings. Gives [..., L]; NaN where no reading has weight.

    Each of `steps` is three of theirs, with an extrapolation between (`_climbed`), until none of them moves a share by
    `within`; every composition stops on its own, whatever else is asked for with it.
    """
    labels = likelihood.shape[-1]
    shape = np.broadcast_shapes(likelihood.shape[:-2], weights.shape[:-1])
    chance = np.broadcast_to(likelihood, (*shape, *likelihood.shape[-2:])).reshape(-1, *likelihood.shape[-2:])
    weight = np.broadcast_to(weights, (*shape, weights.shape[-1])).reshape(-1, weights.shape[-1])
    going = np.flatnonzero(weight.sum(axis=1) > 0)
    found = np.full((len(weight), labels), np.nan)
    found[going] = np.full(labels, 1 / labels) if start is None else start
    chance, weight = chance[going], weight[going] / weight[going].sum(axis=1, keepdims=True)
    for _ in range(steps):
        before = found[going]
        found[going], moved = _climbed(chance, weight, before)
        on = moved >= within
        if not on.all():
            going, chance, weight = going[on], chance[on], weight[on]
        if not going.size:
            break
    return found.reshape(*shape, labels)


def _climbed(likelihood: Floats, weights: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Two steps of EM from `share` [m, L], a leap along them, and a step from there; and how far the first two moved [m].

    Varadhan & Roland (2008, Scand. J. Stat. 35:335), scheme S3. Where the leap leaves the simplex or lowers the likelihood
    the second step stands instead, so the likelihood never falls.
    """
    first, _ = _step(likelihood, weights, share)
    second, _ = _step(likelihood, weights, first)
    once, bend = first - share, second - 2 * first + share
    curved = (bend**2).sum(axis=1, keepdims=True)
    far = np.sqrt((once**2).sum(axis=1, keepdims=True) / np.where(curved > 0, curved, 1.0))
    leap = share + 2 * far * once + far**2 * bend
    inside = (leap.min(axis=1) >= 0) & (curved[:, 0] > 0)
    leap = np.where(inside[:, None], leap, second)
    third, there = _step(likelihood, weights, leap)
    _, here = _step(likelihood, weights, second)
    found = np.where((there >= here)[:, None], third, second)
    return found, np.maximum(np.abs(once), np.abs(second - first)).max(axis=1)


def _step(likelihood: Floats, weights: Floats, share: Floats) -> tuple[Floats, Floats]:
    """One step of EM from `share` [m, L], and the log-likelihood there [m]; `weights` [m, n] sum to 1."""
    mixed = np.maximum((likelihood @ share[:, :, None])[:, :, 0], 1e-300)
    renewed = share * ((weights / mixed)[:, None, :] @ likelihood)[:, 0, :]
    return renewed, (weights * np.log(mixed)).sum(axis=1)


def em_count(matrix: Floats, shares: Floats) -> Floats:
    """`em` for an instrument that gives no probabilities: a reading is then all there is. [..., L, K], [..., K] → [..., L]."""
    return em(np.swapaxes(matrix, -1, -2), shares)


def recalibrate(probabilities: Floats, labels: Ints, weights: Floats | None = None, start: Floats | None = None) -> Floats:
    """Temperature and biases [1 + L] that make probabilities [n, L] those of the labels [n].

    Bias-corrected temperature scaling (Alexandari, Kundaje & Shrikumar 2020): softmax(t log p + b) by largest likelihood,
    with a penalty worth one seed that holds t near 1 and b near 0 where the data do not say.
    """
    scores, count = np.log(np.clip(probabilities, SMALLEST, 1.0)), probabilities.shape[1]
    weight, truth = np.ones(labels.size) if weights is None else weights, np.eye(count)[labels]
    first = np.append(1.0, np.zeros(count))

    def loss(point: Floats) -> tuple[float, Floats]:
        logits = point[0] * scores + point[1:]
        fitted = special.softmax(logits, axis=1)
        error = weight[:, None] * (fitted - truth)
        away = point - first
        value = -(weight * special.log_softmax(logits, axis=1)[np.arange(labels.size), labels]).sum() + away @ away / 2
        return float(value), np.append((error * scores).sum(), error.sum(axis=0)) + away

    found = optimize.minimize(loss, first if start is None else start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x)


def calibrated_likelihood(probabilities: Floats, point: Floats, shares: Floats) -> Floats:
    """p(reading | label) up to a factor [n, L]: recalibrated posterior over the labels' shares [L] at calibration."""
    logits = point[0] * np.log(np.clip(probabilities, SMALLEST, 1.0)) + point[1:]
    posterior = special.softmax(logits, axis=1)
    return np.asarray(np.divide(posterior, shares, out=np.zeros(posterior.shape), where=shares > 0))


def resampled_weights(units: Ints, draws: range, seed: int) -> Floats:
    """How often each seed is drawn [draws, n] when whole units (seeds, or cohorts), `units` [n], are drawn.

    Every draw has a number and is the same whatever others are asked for with it: `BLOCK` of them share a generator.
    """
    blocks = range(draws.start // BLOCK, -(-draws.stop // BLOCK))
    generators = (rng.generator(rng.derive(seed, block)) for block in blocks)
    counts = np.concatenate([unit_counts(generator, BLOCK, int(units.max()) + 1) for generator in generators])
    first = draws.start - blocks.start * BLOCK
    return counts[first : first + len(draws), units]


def resampled_sums(values: Floats, codes: Ints, units: Ints, resamples: int, seed: int) -> Floats:
    """Sums of `values` [n, m] within each code [n] in bootstrap samples of whole units: [resamples, n_codes, m]."""
    n_codes = int(codes.max()) + 1
    sums = np.empty((resamples, n_codes, values.shape[1]))
    step = max(1, CELLS // codes.size)
    for start in range(0, resamples, step):
        draws = range(start, min(start + step, resamples))
        weights = resampled_weights(units, draws, seed)
        for code in range(n_codes):
            mine = codes == code
            sums[draws, code] = weights[:, mine] @ values[mine]
    return sums


def estimated(mean: Floats, draws: Floats, step: Floats, n: Floats) -> Moments:
    """What an interval needs of estimates [m] known by bootstrap draws [resamples, m]; `step` is what one seed can move."""
    kept = np.clip(draws, -FAR, 1 + FAR)
    enough = (np.isfinite(kept).mean(axis=0) > 0.5) & np.isfinite(mean) & (n > 1)
    variance = np.where(enough, np.nanvar(np.where(enough, kept, 0.0), axis=0), np.nan)
    return Moments(n=n.astype(np.intp), mean=mean, variance=variance, step=step, dof=np.maximum(n - 1.0, 1.0))


def correlation(early: Floats, later: Floats, step: Floats) -> Floats:
    """Of two estimates [m] over their draws [resamples, m], as it would be with one unseen seed risen and one fallen.

    Without those two, a category that nobody entered or left would have a shift of width 0 (see `intervals`).
    """
    first, second = (np.clip(draws, -FAR, 1 + FAR) for draws in (early, later))
    both = np.isfinite(first) & np.isfinite(second)
    first, second = np.where(both, first, np.nan), np.where(both, second, np.nan)
    known = both.any(axis=0)
    a, b = (np.where(known, part, 0.0) - np.nanmean(np.where(known, part, 0.0), axis=0) for part in (first, second))
    unseen = 2 * step**2
    scale = np.sqrt((np.nanmean(a**2, axis=0) + unseen) * (np.nanmean(b**2, axis=0) + unseen))
    return np.asarray(np.clip(np.nanmean(a * b, axis=0) / np.maximum(scale, 1e-300), -1.0, 1.0))


def estimate_limits(estimate: Moments, level: float = 0.95) -> Limits:
    """Limits of an estimated share, within 0..1: the wider, at either end, of `share_limits` and of Student's t.

    The first is right where what was seen is what is estimated. Where it is mostly the noise of an inverted confusion
    matrix, a beta distribution is too narrow towards the nearer end of the scale: at a share of .08 read with .15 false
    alarms it covered .91.
    """
    low, high = share_limits(estimate, level)
    half = special.stdtrit(estimate.dof, (1 + level) / 2) * np.sqrt(estimate.variance)
    return np.maximum(np.minimum(low, estimate.mean - half), 0.0), np.minimum(np.maximum(high, estimate.mean + half), 1.0)


def contrast_limits(early: Moments, later: Moments, rho: Floats, level: float = 0.95) -> Limits:
    """Limits of later - early from the limits of each and their correlation (MOVER, Zou & Donner 2008)."""
    (early_low, early_high), (low, high) = estimate_limits(early, level), estimate_limits(later, level)
    shift = later.mean - early.mean
    below = _joined(later.mean - low, early_high - early.mean, rho)
    above = _joined(high - later.mean, early.mean - early_low, rho)
    return np.maximum(shift - below, -1.0), np.minimum(shift + above, 1.0)


def _joined(a: Floats, b: Floats, rho: Floats) -> Floats:
    return np.sqrt(np.maximum(a**2 + b**2 - 2 * rho * a * b, 0.0))


def over_identification(matrix: Floats, shares: Floats, matrices: Floats, drawn: Floats, n: float) -> TestResult:
    """Can any composition of the labels give these readings? For more readings K than labels L.

    The least quadratic form of q - P'p over compositions p (their sign left free), weighted by the covariance of the
    draws of q - P'p, with rank - (L - 1) degrees of freedom (Hansen 1982); against F rather than chi-square, because the
    covariance is that of `n` seeds. `matrix` [L, K], `shares` [K];
    `matrices` [resamples, L, K] and `drawn` [resamples, K] are their bootstrap draws. A small p-value: the instrument
    errs otherwise than at calibration. A large one does not show that it errs alike.
    """
    labels = len(matrix)
    start = inverted(matrix, shares[None])[0]
    if not np.isfinite(start).all():
        return TestResult("over_identification", np.nan, np.nan, np.nan)
    spread = drawn - np.einsum("blk,l->bk", matrices, start)
    spread = spread[np.isfinite(spread).all(axis=1)]
    covariance = np.cov(spread, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-6 * values.max()
    whiten = (vectors[:, kept] / np.sqrt(values[kept])).T
    free = np.linalg.qr(np.column_stack([np.ones(labels), np.eye(labels)[:, 1:]]))[0][:, 1:]
    residual = whiten @ (shares - matrix.T @ start)
    step, *_ = np.linalg.lstsq(whiten @ matrix.T @ free, residual)
    statistic, _ = quadratic_form(residual - whiten @ matrix.T @ free @ step, np.eye(int(kept.sum())))
    dof = max(int(kept.sum()) - (labels - 1), 0)
    rest = max(n - dof, 1)
    p_value = float(stats.f.sf(statistic * rest / (max(n - 1, 1) * dof), dof, rest)) if dof else 1.0
    return TestResult("over_identification", float(statistic), dof, p_value)
