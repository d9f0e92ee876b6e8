import numpy as np
import pytest
from scipy import stats

from driftloop.statistics.panel import group
from driftloop.statistics.trend import trend
from driftloop.statistics.years import year_change, year_mean, year_trend


def seeds(n, strata=None):
    return group("all", np.arange(n), strata)


def least(n, repetitions):
    demanded = 0.95 if n >= 100 else 0.93
    return demanded - 2.5 * np.sqrt(demanded * (1 - demanded) / repetitions)


WORLDS = {
    "normal": (lambda draws, shape: draws.normal(2, 12, shape), 2.0),
    "skew": (lambda draws, shape: draws.exponential(10, shape), 10.0),
    "rare": (lambda draws, shape: (draws.random(shape) < 0.05) * 40.0, 2.0),
    "rare with noise": (lambda draws, shape: (draws.random(shape) < 0.05) * 40.0 + draws.normal(0, 2, shape), 2.0),
    "hardly any": (lambda draws, shape: (draws.random(shape) < 0.01) * 40.0, 0.4),
}


@pytest.mark.parametrize("n", [30, 100])
@pytest.mark.parametrize("world", WORLDS)
def test_intervals_hold_the_mean_where_student_s_do_not(world, n):
    drawn, true = WORLDS[world]
    changes = drawn(np.random.default_rng(5), (n, 600))
    found = year_change(changes, seeds(n))
    assert ((found.low <= true) & (true <= found.high)).mean() >= least(n, 600)
    level = year_mean(changes + 30, seeds(n))
    assert ((level.low <= true + 30) & (true + 30 <= level.high)).mean() >= least(n, 600)
    if world.startswith("rare") and n == 30:
        half = stats.t.isf(0.025, n - 1) * changes.std(axis=0, ddof=1) / np.sqrt(n)
        assert (np.abs(changes.mean(axis=0) - true) <= half).mean() < least(n, 600)


@pytest.mark.parametrize("n", [30, 300])
def test_it_costs_little_where_student_s_would_do(n):
    changes = np.random.default_rng(6).normal(0, 12, (n, 400))
    found = year_change(changes, seeds(n))
    student = 2 * stats.t.isf(0.025, n - 1) * changes.std(axis=0, ddof=1) / np.sqrt(n)
    assert (found.high - found.low).mean() < (1.2 if n == 30 else 1.05) * student.mean()
    assert (found.p_value <= 0.05).mean() <= 0.07


def test_a_mean_of_one_seed_has_no_interval():
    found = year_mean(np.array([[30.0]]), seeds(1))
    assert found.mean[0] == pytest.approx(30)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(year_mean(np.array([[np.nan], [np.nan]]), seeds(2)).mean).all()


def test_trend_is_the_slope_in_years():
    draws = np.random.default_rng(7)
    rounds = np.arange(6.0)
    years = draws.uniform(20, 50, (80, 1)) + 1.5 * rounds + draws.normal(0, 4, (80, 6))
    found, scaled = year_trend(years[:, :, None], rounds, seeds(80)), trend(years[:, :, None] / 100, rounds, seeds(80))
    assert found.slope == pytest.approx(scaled.slope * 100)
    slopes = np.polyfit(rounds, years.T, 1)[0]
    student = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert found.low[0] <= student.low < student.high <= found.high[0]
    assert found.high[0] - found.low[0] < 1.7 * (student.high - student.low)
