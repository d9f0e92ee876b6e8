import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from driftloop.statistics.intervals import newcombe, share_limits, shift_limits, shift_p_value, tango, tango_score, wilson
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import group

few = settings(max_examples=25, deadline=None, derandomize=True)


def column(*values):
    return np.array(values, dtype=float)[:, None]


def zeros_and_ones(successes, n):
    return column(*[1.0] * successes, *[0.0] * (n - successes))


def seeds(n, strata=None, cohorts=None):
    return group("all", np.arange(n), strata, cohorts)


@pytest.mark.parametrize(("successes", "n"), [(0, 30), (3, 30), (15, 30), (29, 30), (30, 30), (1, 2), (7, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_one_reading_a_seed_has_the_exact_interval(successes, n, level):
    low, high = share_limits(moments(zeros_and_ones(successes, n), seeds(n)), level)
    exact = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    assert low[0] == pytest.approx(exact.low, abs=1e-9)
    assert high[0] == pytest.approx(exact.high, abs=1e-9)


@few
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=40))
def test_share_interval_is_within_bounds_holds_the_share_and_has_width(values):
    low, high = share_limits(moments(column(*values), seeds(len(values))))
    assert 0 <= low[0] <= np.mean(values) + 1e-9
    assert np.mean(values) - 1e-9 <= high[0] <= 1
    assert high[0] - low[0] > 1e-3


@few
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=30))
def test_share_interval_mirrors(values):
    low, high = share_limits(moments(column(*values), seeds(len(values))))
    mirrored = share_limits(moments(1 - column(*values), seeds(len(values))))
    np.testing.assert_allclose([1 - high[0], 1 - low[0]], [mirrored[0][0], mirrored[1][0]], atol=1e-9)


def test_large_sample_interval_is_the_normal_one_of_seed_means():
    generator = np.random.default_rng(0)
    values = generator.binomial(5, generator.beta(2, 3, 20_000))[:, None] / 5
    low, high = share_limits(moments(values, seeds(20_000)))
    half = 1.96 * values.std() / np.sqrt(20_000)
    assert (high - low)[0] == pytest.approx(2 * half, rel=0.02)
    assert ((low + high) / 2)[0] == pytest.approx(values.mean(), abs=half / 20)


def test_replicates_that_agree_are_no_more_than_one():
    once = share_limits(moments(zeros_and_ones(4, 40), seeds(40)))
    low, high = share_limits(moments(np.repeat(zeros_and_ones(4, 40), 1, axis=1), seeds(40)))
    assert (low[0], high[0]) == (once[0][0], once[1][0])
    narrower = share_limits(moments(column(*[0.1] * 40), seeds(40)))
    assert narrower[1][0] - narrower[0][0] < high[0] - low[0]


def test_cohorts_widen_the_interval():
    values = zeros_and_ones(50, 100)
    alone = share_limits(moments(values, seeds(100)))
    together = share_limits(moments(values, seeds(100, cohorts=np.arange(100) // 10)))
    assert together[1][0] - together[0][0] > 2 * (alone[1][0] - alone[0][0])


def test_one_seed_or_one_cohort_has_no_interval():
    assert np.isnan(share_limits(moments(column(1.0), seeds(1)))).all()
    assert np.isnan(share_limits(moments(column(1.0, np.nan), seeds(2)))).all()
    assert np.isnan(share_limits(moments(zeros_and_ones(1, 4), seeds(4, cohorts=np.zeros(4, np.intp))))).all()
    parts = changes(column(1.0), seeds(1))
    assert np.isnan(shift_limits(*parts)).all()
    assert np.isnan(shift_p_value(*parts)).all()


def test_without_a_discordant_pair_the_shift_has_the_width_of_what_may_have_been_missed():
    low, high = shift_limits(*changes(column(*[0.0] * 30), seeds(30)))
    missed = stats.binomtest(0, 30).proportion_ci(method="exact").high
    assert (low[0], high[0]) == pytest.approx((-missed, missed), abs=1e-9)


@few
@given(st.lists(st.sampled_from([-1.0, -0.4, 0.0, 0.2, 1.0]), min_size=2, max_size=30))
def test_shift_interval_mirrors_and_agrees_with_its_p_value(differences):
    members = seeds(len(differences))
    parts, mirrored = changes(column(*differences), members), changes(-column(*differences), members)
    low, high = shift_limits(*parts)
    np.testing.assert_allclose((-shift_limits(*mirrored)[1], -shift_limits(*mirrored)[0]), (low, high), atol=1e-9)
    p = shift_p_value(*parts)[0]
    assert p == pytest.approx(shift_p_value(*mirrored)[0])
    for level in (0.5, 0.9, 0.99):
        low, high = shift_limits(*parts, level)
        assert ((low[0] > 0) or (high[0] < 0)) == (p < 1 - level) or p == pytest.approx(1 - level, abs=1e-6)


def test_standardised_interval_minds_a_concept_seen_once_or_never():
    strata = np.array([0] * 50 + [1] * 2)
    few = share_limits(moments(column(*[0.0] * 52), seeds(52, strata)))
    assert few[1][0] > 0.3  # two seeds of the second concept say little, and it weighs one half
    assert np.isnan(moments(column(*[0.0] * 50, np.nan, np.nan), seeds(52, strata)).mean[0])


def test_standardised_mean_and_variance_by_hand():
    generator = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2], [5, 10, 30])
    values = generator.random(45)
    found = moments(values[:, None], seeds(45, strata))
    parts = [values[strata == c] for c in range(3)]
    assert found.mean[0] == pytest.approx(np.mean([part.mean() for part in parts]))
    single = found.mean[0] * (1 - found.mean[0])  # a 0/1 draw at the mean of all, added to each concept
    by_hand = [(((part - part.mean()) ** 2).sum() + single) / part.size**2 for part in parts]
    assert found.variance[0] == pytest.approx(sum(by_hand) / 9)
    assert found.step[0] == pytest.approx(1 / 15)


@few
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 40))
def test_tango_solves_its_equation(b, c, rest):
    n = float(b + c + rest)
    low, high = (limit[0] for limit in tango(np.array([float(b)]), np.array([float(c)]), np.array([n])))
    for limit, z in ((low, stats.norm.isf(0.025)), (high, -stats.norm.isf(0.025))):
        if abs(limit) < 0.999:
            assert float(tango_score(b, c, n, limit)) == pytest.approx(z, abs=1e-5)


@few
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 40), st.floats(-0.5, 0.5))
def test_tango_restricted_likelihood_is_a_maximum(b, c, rest, difference):
    n = b + c + rest
    linear = (2 * n - b + c) * difference - b - c
    cell = (np.sqrt(linear**2 + 8 * n * c * difference * (1 - difference)) - linear) / (4 * n)

    def minus_log_likelihood(falls):
        return -(b * np.log(falls + difference) + c * np.log(falls) + rest * np.log(1 - 2 * falls - difference))

    lowest, highest = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(minus_log_likelihood, bounds=(lowest, highest), options={"xatol": 1e-10})
    assert cell == pytest.approx(found.x, abs=1e-4)


def test_airway_example():
    """Bentur et al. 2009 (1, 1, 7, 12), in Fagerland, Lydersen and Laake 2014, Stat. Med. 33:2850, to three decimals."""
    low, high = tango(np.array([1.0]), np.array([7.0]), np.array([21.0]))
    assert (round(low[0], 3), round(high[0], 3)) == (-0.517, -0.026)
    assert tuple(round(limit, 3) for limit in newcombe(1, 1, 7, 12)) == (-0.507, -0.026)


def test_wilson_is_scipy_s():
    low, high = wilson(np.array([3.0]), np.array([30.0]))
    other = stats.binomtest(3, 30).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((other.low, other.high))


@pytest.mark.parametrize(
    ("table", "score", "square_and_add"),
    [((1, 1, 7, 12), (-0.517, -0.026), (-0.507, -0.026)), ((59, 6, 16, 80), (-0.1240, -0.0054), (-0.1186, -0.0046))],
)
def test_published_intervals_of_paired_differences(table, score, square_and_add):
    """Bentur et al. 2009 and Cavo et al. 2012, as in Fagerland, Lydersen and Laake 2014 and 2017 (chapter 8)."""
    a, b, c, d = (np.array([float(cell)]) for cell in table)
    assert [limit[0] for limit in tango(b, c, a + b + c + d)] == [pytest.approx(limit, abs=5e-4) for limit in score]
    assert newcombe(*table) == (pytest.approx(square_and_add[0], abs=5e-4), pytest.approx(square_and_add[1], abs=5e-4))


@pytest.mark.parametrize(("table", "published"), [((36, 12, 2, 0), (0.0569, 0.3404)), ((54, 0, 0, 0), (-0.0664, 0.0664))])
def test_newcombe_s_own_examples(table, published):
    """Newcombe 1998, Stat. Med. 17:2635, table II, method 10."""
    assert newcombe(*table) == tuple(pytest.approx(limit, abs=5e-5) for limit in published)


@few
@given(st.integers(0, 12), st.integers(0, 12), st.integers(2, 60))
def test_where_there_is_enough_to_go_by_ours_is_about_tango_s_and_never_narrower_by_much(b, c, rest):
    n = b + c + rest
    differences = column(*[1.0] * b, *[-1.0] * c, *[0.0] * rest)
    ours = [limit[0] for limit in shift_limits(*changes(differences, seeds(n)))]
    score = [limit[0] for limit in tango(np.array([float(b)]), np.array([float(c)]), np.array([float(n)]))]
    assert ours[0] <= (b - c) / n <= ours[1]
    assert ours[1] - ours[0] >= 0.85 * (score[1] - score[0])


def test_published_single_proportions():
    """Newcombe 1998, Stat. Med. 17:857, table I: 81/263, 15/148, 0/20, 1/29 by Wilson's score and Clopper-Pearson."""
    successes, n = np.array([81.0, 15, 0, 1]), np.array([263.0, 148, 20, 29])
    low, high = wilson(successes, n)
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)
    exact = [share_limits(moments(zeros_and_ones(int(x), int(m)), seeds(int(m)))) for x, m in zip(successes, n, strict=True)]
    np.testing.assert_allclose([found[0][0] for found in exact], [0.2527, 0.0578, 0, 0.0009], atol=5e-5)
    np.testing.assert_allclose([found[1][0] for found in exact], [0.3676, 0.1617, 0.1684, 0.1776], atol=5e-5)


@few
@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, np.nan]), min_size=3, max_size=3), min_size=2, max_size=20))
def test_moments_of_many_columns_are_those_of_each_alone(rows):
    """The fast form against one column at a time, by hand."""
    values = np.array(rows)
    together = moments(values, seeds(len(values)))
    for k in range(3):
        own = values[np.isfinite(values[:, k]), k]
        assert together.n[k] == own.size
        if own.size:
            assert together.mean[k] == pytest.approx(own.mean())
        if own.size > 1:
            whole = np.isin(own, (0.0, 1.0)).all()
            by_hand = ((own - own.mean()) ** 2).sum() / (own.size**2 if whole else own.size * (own.size - 1))
            assert together.variance[k] == pytest.approx(by_hand)
            assert together.dof[k] == (np.inf if whole else pytest.approx(own.size - 1))
