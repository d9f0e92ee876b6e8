"""The power law of the Telephone Game: planted exponents come back, and what cannot be known is said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from driftloop.statistics.decay import LEAST, NOT_IDENTIFIABLE, drift_rate, mean_cumulative_drift, mean_step, power_rates
from driftloop.statistics.panel import group

GENERATIONS = np.arange(2.0, 22.0, 2.0)


def law(rate, alpha=0.5, gamma=0.3, generations=GENERATIONS):
    return alpha * (generations / generations[0]) ** -rate + gamma


def played(rate, n=300, spread=0.05, **constants):
    """Cosines of n seeds: each its own level and noise around the law."""
    draws = np.random.default_rng(7)
    return law(rate, **constants) + spread * draws.standard_normal((n, 1)) + spread * draws.standard_normal((n, 10))


def rate_of(values, generations=GENERATIONS):
    everyone = group("all", np.arange(len(values)))
    return drift_rate(values, generations, everyone, resamples=400, seed=5)


@pytest.mark.parametrize("rate", [0.2, 0.7, 1.5, 4.0])
def test_a_planted_exponent_comes_back_whatever_is_never_lost(rate):
    laws = np.stack([law(rate), law(rate, 0.9, 0.05), law(rate, 0.1, 0.8)])
    np.testing.assert_allclose(power_rates(laws, GENERATIONS), rate, rtol=2e-3)


def test_it_is_the_least_squares_fit_of_another_optimiser():
    means = played(0.8, n=20).mean(axis=0)
    bounds = ([0, 0.05, -1], [np.inf, 5, 1])
    (_, rate, _), _ = curve_fit(
        lambda g, alpha, rate, gamma: alpha * g**-rate + gamma, GENERATIONS, means, p0=[0.5, 1, 0.2], bounds=bounds
    )
    assert power_rates(means[None], GENERATIONS)[0] == pytest.approx(rate, rel=5e-3)


def test_gamma_stays_above_minus_one():
    """A straight fall is best fitted by a level far below any cosine: bounded, the exponent is larger."""
    line = np.linspace(0.9, -0.9, 10)
    bounds = ([0, 0.05, -1], [np.inf, 5, 1])
    (_, rate, _), _ = curve_fit(lambda g, a, b, c: a * g**-b + c, GENERATIONS, line, p0=[2, 0.5, -0.9], bounds=bounds)
    assert power_rates(line[None], GENERATIONS)[0] == pytest.approx(rate, rel=5e-3)


def test_a_planted_rate_lies_within_its_interval():
    found = rate_of(played(0.8))
    assert found.status == "ok"
    assert found.low < 0.8 < found.high
    assert found.high - found.low < 0.5
    assert rate_of(played(0.8)) == found


@pytest.mark.parametrize(
    ("values", "generations", "why"),
    [
        (played(0.8)[:, : LEAST - 1], GENERATIONS[: LEAST - 1], "3 generations, 4 are needed"),
        (played(0.8, alpha=0.0), GENERATIONS, "no fall"),
        (played(0.8, n=10, alpha=-0.3), GENERATIONS, "no fall"),
        (played(0.8, n=12, alpha=0.15, spread=0.1), GENERATIONS, "bounds|no fall"),
    ],
)
def test_what_cannot_be_known_is_said(values, generations, why):
    found = rate_of(values, generations)
    assert found.status.startswith(NOT_IDENTIFIABLE)
    assert any(part in found.status for part in why.split("|"))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_mean_cumulative_drift_is_a_mean_cosine_and_the_step_its_mean_change():
    values = played(0.8, spread=0.0)
    values[5, 3] = np.nan
    everyone = group("all", np.arange(300))
    mean, step = mean_cumulative_drift(values, everyone), mean_step(values, GENERATIONS, everyone)
    assert (mean.n[0], step.n[0]) == (299, 299)
    assert mean.mean[0] == pytest.approx(law(0.8).mean())
    assert step.mean[0] == pytest.approx(np.diff(law(0.8)).mean() / 2)
    assert step.low[0] < step.mean[0] < step.high[0] < 0
