"""Fast forms against their definitions: the paired null and the bootstrap of distances, and the omnibus tests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driftloop.statistics.distances import hellinger, null_distances, total_variation
from driftloop.statistics.pairs import distance_estimate, make_pairs, omnibus_tests
from driftloop.statistics.panel import group, seed_means, tally
from driftloop.statistics.tests import stuart_maxwell

few = settings(max_examples=15, deadline=None, derandomize=True)
codes = arrays(np.int64, (25, 3), elements=st.integers(0, 3))


@few
@given(codes)
def test_later_rounds_do_not_need_each_other(read):
    """Several later rounds at once give what each gives by itself."""
    means = np.eye(4)[read]
    members = group("all", np.arange(25))
    both = make_pairs(means[:, :1], means[:, 1:], members, 60, 3)
    for place, found in enumerate(omnibus_tests(both)):
        alone = make_pairs(means[:, :1], means[:, [1 + place]], members, 60, 3)
        assert omnibus_tests(alone)[0].p_value == pytest.approx(found.p_value)
        together = distance_estimate(total_variation, both, np.zeros(2))
        single = distance_estimate(total_variation, alone, np.zeros(1))
        assert single.value[0] == pytest.approx(together.value[place])
        assert single.null_mean[0] == pytest.approx(together.null_mean[place])


@few
@given(codes)
def test_omnibus_statistic_is_that_of_the_square_table(read):
    first, last = read[:, 0], read[:, 2]
    table = np.zeros((4, 4), int)
    np.add.at(table, (first, last), 1)
    pairs = make_pairs(np.eye(4)[first][:, None], np.eye(4)[last][:, None], group("all", np.arange(25)), 50, 1)
    found = omnibus_tests(pairs)[0]
    if found.name.startswith("stuart_maxwell"):
        assert found.statistic == pytest.approx(stuart_maxwell(table).statistic)
        assert found.dof == stuart_maxwell(table).dof


@few
@given(codes)
def test_swapped_distances_are_those_of_swapped_rounds(read):
    """A swap of signs of the differences against really exchanging the two rounds of a seed."""
    early, late = np.eye(4)[read[:, 0]], np.eye(4)[read[:, 1]]
    swap = np.random.default_rng(int(read.sum())).random(25) < 0.5
    signs = np.where(swap, -1.0, 1.0)
    fast = null_distances(hellinger, early.mean(axis=0), late.mean(axis=0), (signs @ (late - early) / 25)[None])
    first, second = np.where(swap[:, None], late, early), np.where(swap[:, None], early, late)
    assert fast[0] == pytest.approx(float(hellinger(first.mean(axis=0), second.mean(axis=0))), abs=1e-7)


@few
@given(
    arrays(np.int64, 40, elements=st.integers(0, 4)),
    arrays(np.int64, 40, elements=st.integers(0, 1)),
    arrays(np.int64, 40, elements=st.integers(-1, 2)),
)
def test_tally_and_seed_means_are_the_loop(seed, round_, category):
    counts = np.zeros((5, 2, 3), int)
    for s, r, c in zip(seed, round_, category, strict=True):
        if c >= 0:
            counts[s, r, c] += 1
    np.testing.assert_array_equal(tally(seed, round_, category, (5, 2, 3)), counts)
    means = seed_means(counts)
    for s in range(5):
        for r in range(2):
            total = counts[s, r].sum()
            assert np.isnan(means[s, r]).all() if total == 0 else means[s, r] == pytest.approx(counts[s, r] / total)
