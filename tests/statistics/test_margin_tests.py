import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.contingency_tables import SquareTable
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from driftloop.statistics.moments import changes
from driftloop.statistics.panel import group
from driftloop.statistics.resampling import swapped_sums, unit_differences
from driftloop.statistics.tests import bhapkar, category_p_values, margins_test, mcnemar, stuart_maxwell, swap_p_value

few = settings(max_examples=25, deadline=None, derandomize=True)

counts = st.integers(0, 40)


@few
@given(counts, counts)
def test_mcnemar_exact_is_statsmodels_and_binomtest(b, c):
    exact = float(mcnemar(b, c, mid=False))
    assert exact == pytest.approx(statsmodels_mcnemar([[5, b], [c, 5]], exact=True).pvalue, abs=1e-9)
    assert exact == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1.0, abs=1e-9)


@few
@given(counts, counts)
def test_mid_p_counts_the_table_seen_half(b, c):
    total = b + c
    if total == 0:
        assert float(mcnemar(b, c)) == 1.0
        return
    chances = stats.binom.pmf(np.arange(total + 1), total, 0.5)
    distance = np.abs(2 * np.arange(total + 1) - total)
    more, same = chances[distance > abs(b - c)].sum(), chances[distance == abs(b - c)].sum()
    assert float(mcnemar(b, c)) == pytest.approx(more + same / 2 if b != c else 1.0, abs=1e-9)


@few
@given(arrays(np.int64, (4, 4), elements=st.integers(1, 30)))
def test_tables_without_zeros_are_statsmodels(table):
    square = SquareTable(table, shift_zeros=False)
    for ours, method in ((stuart_maxwell(table), "stuart_maxwell"), (bhapkar(table), "bhapkar")):
        theirs = square.homogeneity(method=method)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-6, abs=1e-9)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-6)
        assert ours.dof == 3


def test_stuart_s_eyesight_table():
    """Unaided vision of 7,477 women, right against left eye (Stuart 1955): chi-square 11.96 on 3 degrees of freedom."""
    table = [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]
    found = stuart_maxwell(table)
    assert found.statistic == pytest.approx(11.96, abs=0.01)
    assert found.dof == 3
    assert found.p_value == pytest.approx(0.0075, abs=1e-4)
    assert bhapkar(table).statistic == pytest.approx(11.98, abs=0.01)


def test_empty_categories_cost_nothing_where_statsmodels_counts_them():
    table = np.array([[20, 10, 4], [3, 15, 5], [1, 2, 10]])
    empty = np.zeros((5, 5), dtype=int)
    empty[:3, :3] = table
    for ours in (stuart_maxwell, bhapkar):
        assert ours(empty).p_value == pytest.approx(ours(table).p_value)
        assert ours(empty).dof == 2
    default = SquareTable(empty).homogeneity(method="bhapkar")
    assert default.df == 4
    assert default.pvalue > 1.8 * bhapkar(empty).p_value


def test_two_categories_are_mcnemar_s_chi_square():
    found = stuart_maxwell([[30, 12], [4, 50]])
    assert found.statistic == pytest.approx((12 - 4) ** 2 / 16)
    assert found.dof == 1


def one_hot_pairs(table):
    """Differences [n, K] of the pairs of a square table."""
    table = np.asarray(table)
    k = len(table)
    rows = [np.eye(k)[j] - np.eye(k)[i] for i in range(k) for j in range(k) for _ in range(table[i, j])]
    return np.array(rows)


def answer(differences, resamples=999, **group_arguments):
    members = group("all", np.arange(len(differences)), **group_arguments)
    units = unit_differences(differences, members)
    parts = changes(differences, members)
    whole = bool(np.isinf(parts[2].dof).all())
    return margins_test(units, swapped_sums(units, resamples, 1), category_p_values(*parts), whole=whole)


def test_rule_two_categories():
    found = answer(one_hot_pairs([[30, 12], [4, 50]]))
    assert (found.name, found.p_value) == ("mcnemar_midp", pytest.approx(float(mcnemar(12, 4))))


def test_rule_few_pairs_of_more_categories():
    table = [[20, 10, 4], [3, 15, 5], [1, 2, 10]]
    found = answer(one_hot_pairs(table), resamples=9999)
    assert (found.name, found.dof) == ("stuart_maxwell_swaps", 2)
    assert found.statistic == pytest.approx(stuart_maxwell(table).statistic)
    assert found.p_value == pytest.approx(stuart_maxwell(table).p_value, abs=0.02)


def test_rule_many_pairs_of_more_categories():
    table = np.array([[20, 100, 40], [130, 15, 50], [30, 20, 10]])
    found = answer(one_hot_pairs(table), resamples=10)
    assert found.name == "stuart_maxwell"
    assert found.p_value == pytest.approx(stuart_maxwell(table).p_value)


def test_rule_fractions_cohorts_and_concepts():
    table = [[20, 10, 4], [3, 15, 5], [1, 2, 10]]
    differences = one_hot_pairs(table)
    n = len(differences)
    assert answer(differences * 0.4).name == "bonferroni"
    assert answer(differences, cohorts=np.arange(n) // 2).name == "bonferroni"
    assert answer(differences, strata=np.arange(n) % 2).name == "bonferroni"


def test_bonferroni_counts_the_categories_that_moved():
    differences = np.zeros((20, 4))
    differences[:8, 0], differences[:8, 1] = 0.5, -0.5
    two = answer(differences)
    assert two.p_value == two.statistic  # two mirrored categories are one comparison
    differences[8, 0], differences[8, 2] = 0.5, -0.5
    three = answer(differences)
    assert three.p_value == pytest.approx(3 * three.statistic)


def test_nothing_moved_and_too_few():
    assert answer(np.zeros((10, 3))).p_value == 1.0
    assert np.isnan(answer(np.array([[1.0, -1.0, 0.0]])).p_value)
    assert np.isnan(answer(np.full((4, 3), np.nan)).p_value)


def test_swap_p_value_counts_the_observed_one():
    swapped = np.array([[0.0], [1.0], [2.0]])
    assert swap_p_value(np.array([2.0]), swapped)[0] == 0.5
    assert swap_p_value(np.array([3.0]), swapped)[0] == 0.25
