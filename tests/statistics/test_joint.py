"""The joint test against statsmodels' one-sample Hotelling test, and its power against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multivariate import test_mvmean as mvmean

from driftloop.core.rng import generator
from driftloop.statistics.joint import hotelling, hotelling_power, independent, kept_label

COVARIANCE = np.array([[1.0, 0.6, 0.2], [0.6, 2.0, -0.3], [0.2, -0.3, 0.5]])


def drawn(n: int, mean: float = 0.0, seed: int = 1) -> np.ndarray:
    return generator(seed).multivariate_normal(np.full(3, mean), COVARIANCE, n)


@pytest.mark.parametrize("n", [5, 40, 400])
@pytest.mark.parametrize("mean", [0.0, 0.2])
def test_it_is_the_one_sample_test_of_statsmodels(n: int, mean: float) -> None:
    residuals = drawn(n, mean)
    theirs, ours = mvmean(residuals, np.zeros(3)), hotelling(residuals)
    assert ours.statistic == pytest.approx(theirs.t2)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert (ours.columns, ours.n) == (3, n)


def test_one_column_is_students_t() -> None:
    residuals = drawn(30, 0.3)[:, :1]
    assert hotelling(residuals).p_value == pytest.approx(stats.ttest_1samp(residuals[:, 0], 0).pvalue)


def test_columns_that_follow_from_others_or_do_not_vary_cost_nothing() -> None:
    residuals = drawn(50, 0.2)
    more = np.column_stack([residuals, residuals @ [1.0, -2.0, 0.5], np.full(50, 0.1), np.zeros(50)])
    assert independent(more).sum() == 3
    assert hotelling(more).p_value == pytest.approx(hotelling(residuals).p_value)


def test_shares_of_all_categories_lose_one_column() -> None:
    labels = generator(2).integers(0, 4, 60)
    assert hotelling(np.eye(4)[labels] - 0.25).columns == 3


@pytest.mark.parametrize(("n", "columns"), [(3, 3), (2, 2)])
def test_too_few_seeds_cannot_tell(n: int, columns: int) -> None:
    """Of n seeds at most n - 1 columns are independent; with n <= p there is no F."""
    wide = np.column_stack([drawn(n), drawn(n, seed=3)])
    found = hotelling(wide)
    assert found.columns < n
    assert np.isnan(hotelling(drawn(n)[:1]).p_value)
    assert np.isnan(hotelling_power(np.ones(columns), np.eye(columns), columns))


def test_nothing_that_varies_cannot_tell() -> None:
    assert np.isnan(hotelling(np.zeros((20, 4))).p_value)


def test_missing_residuals_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        hotelling(np.array([[0.1], [np.nan], [0.2]]))


def test_kept_label_is_the_category_that_the_seed_started_with() -> None:
    residuals = np.arange(12.0).reshape(2, 2, 3)
    assert kept_label(residuals, np.array([0, 2])).tolist() == [[0, 3], [8, 11]]


def test_power_is_the_level_where_the_hypothesis_is_right() -> None:
    assert hotelling_power(np.zeros(3), COVARIANCE, 30) == pytest.approx(0.05)


@pytest.mark.parametrize("mean", [0.0, 0.15, 0.3])
def test_power_is_the_share_of_simulated_rejections(mean: float) -> None:
    repetitions = 600
    rejected = np.mean([hotelling(drawn(40, mean, seed)).p_value <= 0.05 for seed in range(repetitions)])
    power = hotelling_power(np.full(3, mean), COVARIANCE, 40)
    assert rejected == pytest.approx(power, abs=3.5 * np.sqrt(power * (1 - power) / repetitions))
