import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial.distance import jensenshannon

from driftloop.statistics.calibration import World, check_pairs
from driftloop.statistics.distances import (
    DISTANCES,
    ORDERED_DISTANCES,
    coupled,
    hellinger,
    jensen_shannon,
    jensen_shannon_root,
    moved_limit,
    nearest,
    total_variation,
    wasserstein_groups,
)
from driftloop.statistics.pairs import distance_estimate, make_pairs
from driftloop.statistics.panel import group

few = settings(max_examples=25, deadline=None, derandomize=True)

ALL = (*DISTANCES, *ORDERED_DISTANCES)
weights = arrays(np.float64, 5, elements=st.integers(0, 10).map(float)).filter(lambda w: w.sum() > 0)
compositions = weights.map(lambda w: w / w.sum())


@few
@given(compositions, compositions)
def test_against_scipy_and_the_definitions(p, q):
    assert float(jensen_shannon_root(p, q)) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    assert float(jensen_shannon(p, q)) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    assert float(total_variation(p, q)) == pytest.approx(sum(max(a - b, 0) for a, b in zip(p, q, strict=True)))
    assert float(hellinger(p, q)) ** 2 == pytest.approx(1 - np.sqrt(p * q).sum(), abs=1e-9)
    levels = np.arange(5)
    assert float(wasserstein_groups(p, q)) == pytest.approx(stats.wasserstein_distance(levels, levels, p, q), abs=1e-9)


@pytest.mark.parametrize("distance", ALL)
@few
@given(compositions, compositions)
def test_zero_from_itself_and_symmetric(distance, p, q):
    assert float(distance(p, p)) == pytest.approx(0.0, abs=1e-7)
    assert float(distance(p, q)) == pytest.approx(float(distance(q, p)), abs=1e-9)


@pytest.mark.parametrize("distance", ALL)
def test_nan_stays_nan(distance):
    assert np.isnan(distance(np.full(3, np.nan), np.full(3, np.nan)))


@pytest.mark.parametrize("distance", ALL)
@few
@given(arrays(np.int64, (4, 4), elements=st.integers(0, 5)).filter(lambda table: table.sum() > 0))
def test_margins_are_no_further_apart_than_their_seeds_moved(distance, table):
    joint = table / table.sum()
    moved = 1 - np.trace(joint)
    assert float(distance(joint.sum(axis=0), joint.sum(axis=1))) <= float(coupled(distance, np.array(moved), 4)) + 1e-9


@pytest.mark.parametrize(
    ("composition", "published"),
    [
        ((0.2, 0.2, 0.2, 0.2, 0.2), (0.25, 0.16, 0.11, 0.065, 0.036)),
        # the measurement page's .22 / .14 / .10 / .06 / .03 are those of groups about as uneven as these
        ((0.08, 0.1, 0.48, 0.25, 0.09), (0.22, 0.14, 0.10, 0.058, 0.032)),
    ],
)
def test_bias_without_drift(composition, published):
    """Mean total variation of two independent samples of one composition, and its normal approximation."""
    generator = np.random.default_rng(0)
    for n, expected in zip((20, 50, 100, 300, 1000), published, strict=True):
        p, q = generator.multinomial(n, composition, size=(2, 4000)) / n
        assert total_variation(p, q).mean() == pytest.approx(expected, abs=0.005)
        approximate = np.sqrt(np.array(composition) * (1 - np.array(composition)) / (np.pi * n)).sum()
        assert total_variation(p, q).mean() == pytest.approx(approximate, rel=0.05)


def estimate(early, late, distance=total_variation, resamples=2000):
    k = early.shape[1]
    pairs = make_pairs(early[:, None], late[:, None], group("all", np.arange(len(early))), resamples, 1)
    assert pairs.readings.shape == (len(early), 1, 2 * k)
    return distance_estimate(distance, pairs, np.array([0.0]))


def test_null_is_what_swapping_the_rounds_of_each_seed_gives():
    generator = np.random.default_rng(2)
    early, late = np.eye(4)[generator.integers(0, 4, (2, 40))]
    found = estimate(early, late)
    naive = []
    for _ in range(2000):
        swap = generator.random(40) < 0.5
        first, second = np.where(swap[:, None], late, early), np.where(swap[:, None], early, late)
        naive.append(np.abs(first.mean(axis=0) - second.mean(axis=0)).sum() / 2)
    assert found.null_mean[0] == pytest.approx(np.mean(naive), abs=0.005)
    assert found.null_low[0] == pytest.approx(np.quantile(naive, 0.025), abs=0.026)
    assert found.null_high[0] == pytest.approx(np.quantile(naive, 0.975), abs=0.026)


@pytest.mark.parametrize("distance", ALL)
def test_interval_holds_the_distance_and_zero_when_nothing_is_shown(distance):
    generator = np.random.default_rng(3)
    early, late = np.eye(5)[generator.integers(0, 5, (2, 60))]
    none = estimate(early, late, distance)
    assert none.low[0] == 0
    assert none.low[0] <= none.value[0] <= none.high[0]
    one = estimate(np.eye(5)[np.zeros(60, int)], np.eye(5)[np.where(np.arange(60) < 50, 4, 0)], distance)
    assert one.p_value[0] < 0.01
    assert 0 < one.low[0] < one.value[0] < one.high[0] <= float(coupled(distance, np.array(1.0), 5))


@pytest.mark.parametrize("distance", ALL)
def test_no_movement_seen_is_not_no_movement(distance):
    same = np.eye(3)[np.arange(30) % 3]
    found = estimate(same, same, distance)
    assert (found.value[0], found.low[0]) == (0, 0)
    assert found.high[0] == pytest.approx(
        float(coupled(distance, np.array(1 - 0.025 ** (1 / 30)), 3)) ** (2 if distance is jensen_shannon else 1)
    )


def test_moved_limit_counts_seeds():
    moved, high = moved_limit(np.array([[[1.0, -1.0]], [[0.0, 0.0]], [[np.nan, np.nan]]]), group("all", np.arange(3)), 0.95)
    assert moved[0] == 1.0
    assert 0.5 < high[0] <= 1


def test_the_nearest_compositions_raise_what_is_rare_in_one_round_and_common_in_the_other():
    means = np.array([[0.0, 0.9, 0.1, 0.4, 0.55, 0.05]])
    high = np.array([[0.1, 1.0, 0.3, 0.6, 0.7, 0.2]])
    early, late = nearest(means, high, 30 * means)
    np.testing.assert_allclose(early, [[0.1, 0.9 * 0.9, 0.9 * 0.1]])  # raised to its limit; of the third there is no more later
    np.testing.assert_allclose(late, [[0.4 * 0.9 / 0.95, 0.55 * 0.9 / 0.95, 0.1]])  # raised to the other's, below its limit
    common = nearest(means, high, 300 * np.ones_like(means))
    np.testing.assert_array_equal(np.concatenate(common, axis=1), means)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_nearest_compositions_are_compositions_and_nearer(seed):
    draws = np.random.default_rng(seed)
    means = draws.dirichlet(np.full(4, 0.3), 2).reshape(1, 8)
    early, late = nearest(means, np.minimum(means + draws.random(8) / 4, 1.0), 30 * means)
    for part in (early, late):
        assert part.min() >= 0
        assert part.sum() == pytest.approx(1)
    for distance in (hellinger, jensen_shannon_root):
        assert distance(early, late)[0] <= distance(means[:, :4], means[:, 4:])[0] + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(("baseline", "moved"), [((0.05, 0.95), 0.3), ((0.02, 0.98), 0.3), ((0.05, 0.95), 0.6)])
def test_roots_cover_where_a_category_is_rare_in_one_round(baseline, moved):
    """Without the allowance for what was not seen: .83, .84 and .89."""
    later = tuple(np.array(baseline) * (1 - moved) + moved * np.eye(2)[0])
    world = World(baseline=baseline, later=later, replicates=5, kept=0.4)
    _, found = check_pairs(world, (hellinger, jensen_shannon_root, total_variation), 30, 300, 7)
    assert min(record.covered for record in found) >= 0.93 - 2.5 * np.sqrt(0.93 * 0.07 / 300)
