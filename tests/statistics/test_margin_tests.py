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


def test_fleiss_s_diagnoses():
    """Fleiss, Levin and Paik 2003 (two diagnosticians, 100 patients): Stuart's chi-square is 14.00 on 2 degrees."""
    found = stuart_maxwell([[35, 5, 0], [15, 20, 5], [10, 5, 5]])
    assert (found.statistic, found.dof, found.p_value) == (pytest.approx(14.0), 2, pytest.approx(0.000912, abs=1e-6))


def test_peterson_s_pathogens():
    """Peterson et al. 2007 in Fagerland, Lydersen and Laake 2017, chapter 9: Stuart 26.250, Bhapkar 27.304, 3 degrees."""
    table = [[596, 18, 6, 5], [0, 2, 0, 0], [0, 0, 42, 0], [11, 0, 0, 0]]
    ours = stuart_maxwell(table), bhapkar(table)
    assert [found.statistic for found in ours] == [pytest.approx(26.250, abs=5e-4), pytest.approx(27.304, abs=5e-4)]
    assert [found.p_value for found in ours] == [pytest.approx(0.000008, abs=5e-7), pytest.approx(0.000005, abs=5e-7)]
    assert {found.dof for found in ours} == {3}
    theirs = SquareTable(np.array(table)).homogeneity(method="bhapkar")
    assert theirs.statistic < 25  # it has added .5 to every cell, for there are zeros


@pytest.mark.parametrize(
    ("rises", "falls", "mid", "published"),
    [(6, 16, True, 0.034690), (6, 16, False, 0.052479), (1, 7, True, 0.039063), (1, 7, False, 0.070313)],
)
def test_mcnemar_s_published_p_values(rises, falls, mid, published):
    """Cavo et al. 2012 and Bentur et al. 2009, in Fagerland, Lydersen and Laake 2013 and 2017, chapter 8."""
    assert float(mcnemar(rises, falls, mid=mid)) == pytest.approx(published, abs=1e-6)


def test_prime_minister_s_approval():
    """Agresti, Categorical Data Analysis, two surveys of 1,600: (86 - 150)² / (86 + 150) = 17.36."""
    assert stuart_maxwell([[794, 150], [86, 570]]).statistic == pytest.approx(17.36, abs=0.005)


tables = st.integers(2, 5).flatmap(lambda k: arrays(np.int64, (k, k), elements=st.integers(0, 9)))


@few
@given(tables.filter(lambda table: (table.sum(axis=0) != table.sum(axis=1)).any()))
def test_quadratic_form_is_the_definition_on_what_moved(table):
    """Stuart 1955 by hand: any category whose margins are linear in the others is left out, then d' V⁻¹ d."""
    margins = (table.sum(axis=1) - table.sum(axis=0)).astype(float)
    covariance = np.diag(table.sum(axis=1) + table.sum(axis=0)) - table - table.T
    assert stuart_maxwell(table).statistic == pytest.approx(margins @ np.linalg.pinv(covariance, hermitian=True) @ margins)
    assert stuart_maxwell(table).dof == np.linalg.matrix_rank(covariance, hermitian=True)


@few
@given(tables)
def test_bhapkar_is_the_wald_test_of_the_margins(table):
    """By hand: differences of one-hot rows, their mean against their covariance, as Bhapkar 1966 writes it."""
    pairs = one_hot_pairs(table)
    if len(pairs) < 2:
        return
    mean, spread = pairs.mean(axis=0), np.atleast_2d(np.cov(pairs, rowvar=False, bias=True))
    q = stuart_maxwell(table).statistic
    if q < len(pairs) - 1e-6:
        wald = len(pairs) * mean @ np.linalg.pinv(spread, rcond=1e-9, hermitian=True) @ mean
        assert bhapkar(table).statistic == pytest.approx(wald, rel=1e-6, abs=1e-9)
