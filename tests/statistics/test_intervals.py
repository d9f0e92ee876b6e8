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
