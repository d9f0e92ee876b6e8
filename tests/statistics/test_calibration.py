"""Intervals hold the truth, and tests reject without drift, as often as they say.

The full grid is scripts/validate_statistics; here are the worlds in which the usual methods fail.
"""

import numpy as np
import pytest

from driftloop.statistics.calibration import World, check_means, check_pairs, draw, truth
from driftloop.statistics.distances import DISTANCES, ORDERED_DISTANCES
from driftloop.statistics.panel import group
from driftloop.statistics.resampling import swapped_sums, unit_differences
from driftloop.statistics.tests import quadratic_form, swap_p_value

EVEN, RARE, SKEW = (0.5, 0.5), (0.05, 0.95), (0.6, 0.3, 0.07, 0.02, 0.01)
MOVED = (0.72, 0.21, 0.049, 0.014, 0.007)
WORLDS = [
    World(baseline=EVEN, later=EVEN),
    World(baseline=EVEN, later=(0.7, 0.3), kept=0.5),
    World(baseline=RARE, later=RARE, kept=0.9),
    World(baseline=(0.0, 1.0), later=(0.01, 0.99)),
    World(baseline=(0.98, 0.02), later=(0.95, 0.05), unread=0.2),
    World(baseline=RARE, later=RARE, replicates=5),
    World(baseline=RARE, later=RARE, replicates=10, uniform=0.3, kept=0.9, unread=0.2),
    World(baseline=EVEN, later=(0.7, 0.3), replicates=3, uniform=0.3, unread=0.2),
]


def least(n_seeds, repetitions):
    """The demand of the measurement page, less two and a half Monte-Carlo standard errors."""
    demanded = 0.95 if n_seeds >= 100 else 0.93
    return demanded - 2.5 * np.sqrt(demanded * (1 - demanded) / repetitions)


def check(world, n_seeds, repetitions, *, standardised):
    share, shift = check_means(world, n_seeds, repetitions, 11, standardised=standardised)
    assert share.covered >= least(n_seeds, repetitions), share
    assert shift.covered >= least(n_seeds, repetitions), shift
    assert np.isfinite([share.width, shift.width]).all()
    assert np.isnan(shift.rejected) or shift.rejected <= 1 - least(100, repetitions), shift


@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("n_seeds", [30, 100])
def test_shares_and_shifts(world, n_seeds):
    check(world, n_seeds, 500, standardised=False)


@pytest.mark.parametrize("world", WORLDS[:3] + WORLDS[5:6], ids=str)
def test_concepts_weighted_alike(world):
    mixed = World(**{name: getattr(world, name) for name in world.__slots__} | {"concepts": (0.6, 0.26, 0.1, 0.04)})
    check(mixed, 100, 500, standardised=True)


def check_apart(replicates, later, n_seeds, repetitions):
    world = World(baseline=SKEW, later=later, replicates=replicates, kept=0.3)
    omnibus, found = check_pairs(world, (*DISTANCES, *ORDERED_DISTANCES), n_seeds, repetitions, 5, resamples=200)
    assert min(record.covered for record in found) >= least(n_seeds, repetitions), found
    if later == SKEW:
        assert max(omnibus, *(record.rejected for record in found)) <= 1 - least(100, repetitions), found


@pytest.mark.parametrize("replicates", [1, 5])
@pytest.mark.parametrize("later", [SKEW, MOVED], ids=["no drift", "drift"])
def test_distances_and_omnibus_tests(replicates, later):
    check_apart(replicates, later, 100, 60)


def test_swapping_rounds_rejects_a_true_null_where_replicates_share_their_first_picture():
    """Why fractions are not tested by swapping (about .2 of rejections at a level of .05)."""
    world = World(baseline=SKEW, later=SKEW, replicates=5)
    early, late = draw(world, np.zeros(100, np.intp), 150, np.random.default_rng(3))
    members = group("all", np.arange(100))
    p_values = []
    for i in range(150):
        units = unit_differences(late[:, i] - early[:, i], members)
        second = units.T @ units
        swapped = quadratic_form(swapped_sums(units, 200, i), second)[0]
        p_values.append(float(swap_p_value(quadratic_form(units.sum(axis=0), second)[0], swapped)))
    assert np.mean(np.array(p_values) <= 0.05) > 0.1


def test_truth_in_closed_form_is_what_many_draws_give():
    world = World(baseline=EVEN, later=(0.8, 0.2), kept=0.25, replicates=2, concepts=(0.7, 0.3))
    concept = world.concept_of(100_000)
    early, late = (part[:, 0] for part in draw(world, concept, 1, np.random.default_rng(0)))
    share, shift = truth(world, standardised=False)
    np.testing.assert_allclose(late.mean(axis=0), share, atol=0.01)
    np.testing.assert_allclose((late - early).mean(axis=0), shift, atol=0.01)
    alike = np.mean([late[concept == c].mean(axis=0) for c in range(2)], axis=0)
    np.testing.assert_allclose(alike, truth(world, standardised=True)[0], atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("n_seeds", [30, 100, 300])
def test_shares_and_shifts_2000_times(world, n_seeds):
    check(world, n_seeds, 2000, standardised=False)


@pytest.mark.slow
@pytest.mark.parametrize("replicates", [1, 5])
@pytest.mark.parametrize("later", [SKEW, MOVED], ids=["no drift", "drift"])
@pytest.mark.parametrize("n_seeds", [30, 100, 300])
def test_distances_and_omnibus_tests_500_times(replicates, later, n_seeds):
    check_apart(replicates, later, n_seeds, 500)
