import numpy as np
import pytest

from driftloop.statistics import resampling
from driftloop.statistics.panel import group
from driftloop.statistics.resampling import bootstrap_means, swapped_sums, unit_differences


def readings(n=40, seed=0):
    """[n, 2, 3] with some seeds unread at the second round."""
    values = np.random.default_rng(seed).dirichlet([1, 1, 1], (n, 2))
    values[::7, 1] = np.nan
    return values


def test_bootstrap_is_centred_and_spread_as_the_mean():
    values = readings()
    drawn = bootstrap_means(values, group("all", np.arange(40)), 4000, 1)
    np.testing.assert_allclose(drawn.mean(axis=0), np.nanmean(values, axis=0), atol=0.005)
    expected = np.nanstd(values, axis=0) / np.sqrt(np.isfinite(values).sum(axis=0))
    np.testing.assert_allclose(drawn.std(axis=0), expected, rtol=0.08)


def test_bootstrap_draws_whole_seeds():
    """A seed's columns stay together: what is equal in every seed is equal in every draw."""
    values = readings()
    values[:, 1] = values[:, 0]
    drawn = bootstrap_means(values, group("all", np.arange(40)), 50, 1)
    np.testing.assert_allclose(drawn[:, 0], drawn[:, 1])


def test_bootstrap_keeps_strata_and_moves_cohorts_as_one():
    strata = np.repeat([0, 1], [30, 10])
    values = np.repeat(strata[:, None, None], 2, axis=2).astype(float)
    assert (bootstrap_means(values, group("all", np.arange(40), strata), 50, 1) == 0.5).all()
    cohorts = np.arange(40) // 20
    drawn = bootstrap_means((cohorts[:, None, None] == 0) * 1.0, group("all", np.arange(40), None, cohorts), 200, 1)
    assert set(np.unique(drawn)) == {0.0, 0.5, 1.0}


def test_results_depend_on_the_seed_alone(monkeypatch):
    values, members = readings(), group("all", np.arange(40))
    units = unit_differences(values[:, 1] - values[:, 0], members)
    first = bootstrap_means(values, members, 64, 5), swapped_sums(units, 64, 5)
    monkeypatch.setattr(resampling, "CHUNK_CELLS", 40 * 64)
    again = bootstrap_means(values, members, 64, 5), swapped_sums(units, 64, 5)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (bootstrap_means(values, members, 64, 6) != first[0]).any()


def test_units_add_up_to_the_mean_difference():
    difference = readings()[:, 1] - readings()[:, 0]
    strata, cohorts = np.arange(40) % 3, np.arange(40) // 4
    plain = unit_differences(difference, group("all", np.arange(40), None, cohorts))
    assert plain.shape == (10, 3)
    np.testing.assert_allclose(plain.sum(axis=0), np.nanmean(difference, axis=0))
    weighted = unit_differences(difference, group("all", np.arange(40), strata))
    by_concept = [np.nanmean(difference[strata == c], axis=0) for c in range(3)]
    np.testing.assert_allclose(weighted.sum(axis=0), np.mean(by_concept, axis=0))


def test_swaps_are_all_the_sign_patterns():
    sums = swapped_sums(np.array([[1.0], [2.0], [4.0]]), 4000, 3)[:, 0]
    values, counts = np.unique(sums, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-7, 8, 2))
    assert counts == pytest.approx(np.full(8, 500), abs=90)
