import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.statistics.panel import group
from driftloop.statistics.trend import trend

ROUNDS = np.arange(6.0)


def seeds(n, strata=None, cohorts=None):
    return group("all", np.arange(n), strata, cohorts)


def courses(n=60, rounds=6, categories=3, unread=0.0, seed=0):
    """Readings [n, rounds, categories] of seeds that keep to their first category more often than not."""
    draws = np.random.default_rng(seed)
    first = draws.integers(0, categories, (n, 1))
    later = np.where(draws.random((n, rounds)) < 0.6, first, draws.integers(0, categories, (n, rounds)))
    means = np.eye(categories)[later]
    means[draws.random((n, rounds)) < unread] = np.nan
    return means


def naive_slope(values, rounds):
    """Of one category [n, rounds]: the within estimator, seed by seed."""
    above, below = 0.0, 0.0
    for row in values:
        read = np.isfinite(row)
        if read.sum() >= 2:
            x = rounds[read] - rounds[read].mean()
            above, below = above + x @ row[read], below + x @ x
    return above / below


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.6]))
def test_slope_is_the_naive_one(seed, unread):
    means = courses(unread=unread, seed=seed)
    found = trend(means, ROUNDS, seeds(60))
    assert found.slope == pytest.approx([naive_slope(means[:, :, k], ROUNDS) for k in range(3)], abs=1e-9)
    assert found.n[0] == (np.isfinite(means[:, :, 0]).sum(axis=1) >= 2).sum()
    assert found.slope.sum() == pytest.approx(0, abs=1e-9)


def test_slope_and_interval_are_those_of_estimating_equations():
    """Independent oracle: statsmodels' GEE, working independence, robust errors, on seeds all read at every round."""
    means = courses(n=400)
    found = trend(means, ROUNDS, seeds(400))
    for k in range(3):
        exog = sm.add_constant(np.tile(ROUNDS, 400))
        fitted = sm.GEE(means[:, :, k].ravel(), exog, groups=np.repeat(np.arange(400), 6)).fit()
        assert found.slope[k] == pytest.approx(fitted.params[1], abs=1e-9)
        assert found.high[k] - found.low[k] == pytest.approx(2 * 1.96 * fitted.bse[1], rel=0.06)
        assert found.p_value[k] == pytest.approx(fitted.pvalues[1], abs=0.06)  # ours allows for what was not drawn


def test_a_straight_line_is_found_whoever_is_lost_on_the_way():
    """Seeds of high share drop out: shares fall, slopes within seeds do not."""
    draws = np.random.default_rng(1)
    level = draws.uniform(0, 0.5, 300)
    values = level[:, None] + 0.1 * ROUNDS[None] * 1.0
    values[level > 0.25, 3:] = np.nan
    found = trend(values[:, :, None], ROUNDS, seeds(300))
    assert found.slope[0] == pytest.approx(0.1)
    assert np.polyfit(ROUNDS, np.nanmean(values, axis=0), 1)[0] < 0.08
    assert found.p_value[0] < 1e-6


def test_what_did_not_move_has_a_width_and_one_seed_has_none():
    still = np.zeros((30, 6, 1))
    found = trend(still, ROUNDS, seeds(30))
    assert (found.slope[0], found.p_value[0]) == (0, 1)
    assert found.low[0] < 0 < found.high[0]
    alone = trend(courses(n=1), ROUNDS, seeds(1))
    assert np.isfinite(alone.slope).all()
    assert np.isnan([alone.low, alone.high, alone.p_value]).all()
    once = courses(n=20)
    once[:, 1:] = np.nan
    assert np.isnan(trend(once, ROUNDS, seeds(20)).slope).all()


def test_two_rounds_are_the_shift():
    from driftloop.statistics.intervals import shift_limits
    from driftloop.statistics.moments import changes

    means = courses(n=40, rounds=2)
    found = trend(means, np.array([0.0, 1.0]), seeds(40))
    difference = means[:, 1] - means[:, 0]
    assert found.slope == pytest.approx(difference.mean(axis=0))
    np.testing.assert_allclose((found.low, found.high), shift_limits(*changes(difference, seeds(40))), atol=1e-9)


def test_concepts_alike_and_cohorts():
    means = courses(n=60)
    strata = np.repeat([0, 1], [50, 10])
    alike = trend(means, ROUNDS, seeds(60, strata))
    parts = [trend(means[strata == c], ROUNDS, seeds((strata == c).sum())).slope for c in (0, 1)]
    assert alike.slope == pytest.approx(np.mean(parts, axis=0))
    grouped = trend(means, ROUNDS, seeds(60, None, np.arange(60) // 20))
    alone = trend(means, ROUNDS, seeds(60))
    assert grouped.slope == pytest.approx(alone.slope)
    assert not np.allclose(grouped.low, alone.low)


def test_mirrored_rounds_mirror_the_trend():
    means = courses(n=40, unread=0.2)
    forward, backward = trend(means, ROUNDS, seeds(40)), trend(means[:, ::-1], ROUNDS, seeds(40))
    np.testing.assert_allclose(forward.slope, -backward.slope, atol=1e-9)
    np.testing.assert_allclose(forward.p_value, backward.p_value, atol=1e-6)


@pytest.mark.parametrize("n", [30, 100])
def test_without_a_trend_it_rejects_at_its_level(n):
    """Replicates share round 0 and rounds hang together, yet no category moves on average; each column is a repetition."""
    draws = np.random.default_rng(3)
    first = draws.random((n, 1, 500)) < 0.2
    chain, values = np.repeat(first, 4, axis=1), [first[:, 0].astype(float)]
    for _ in range(5):
        chain = np.where(draws.random(chain.shape) < 0.6, chain, draws.random(chain.shape) < 0.2)
        values.append(chain.mean(axis=1))
    found = trend(np.stack(values, axis=1), ROUNDS, seeds(n))
    allowed = 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 500)
    assert (found.p_value <= 0.05).mean() <= allowed
    assert ((found.low <= 0) & (found.high >= 0)).mean() >= 1 - allowed
