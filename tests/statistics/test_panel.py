import numpy as np
import pytest

from driftloop.statistics.panel import concept_groups, group, seed_means, tally


def test_seeds_weigh_alike_whatever_their_replicates():
    seed, round_, category = np.array([0, 0, 0, 1, 1, 2]), np.zeros(6, np.intp), np.array([0, 0, 1, 1, -1, -1])
    counts = tally(seed, round_, category, (3, 2, 2))
    np.testing.assert_array_equal(counts[:, 0], [[2, 1], [0, 1], [0, 0]])
    means = seed_means(counts)
    np.testing.assert_allclose(means[:2, 0], [[2 / 3, 1 / 3], [0, 1]])
    assert np.isnan(means[2]).all()
    assert np.isnan(means[:, 1]).all()


def test_groups():
    cohorts = np.array([7, 7, 3, 3])
    everyone, alike, anger, joy = concept_groups(["joy", "anger", "joy", "joy"], cohorts)
    assert [g.name for g in (everyone, alike, anger, joy)] == ["all", "all_standardised", "anger", "joy"]
    assert (everyone.n_strata, alike.n_strata) == (1, 2)
    np.testing.assert_array_equal(joy.members, [0, 2, 3])
    np.testing.assert_array_equal(joy.units, [1, 0, 0])
    assert joy.clustered
    assert not anger.clustered


def test_an_empty_group_is_refused():
    with pytest.raises(ValueError, match="no member"):
        group("nobody", np.empty(0, np.intp))
