"""Shares from readings through a confusion matrix: against QuaPy, the naive definitions, and worlds of known truth."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import optimize

from driftloop.statistics.corrected import Calibration, Items, corrected
from driftloop.statistics.panel import group
from driftloop.statistics.quantification import (
    adjusted_count,
    calibrated_likelihood,
    em,
    em_count,
    inverted,
    leverage,
    over_identification,
    recalibrate,
    resampled_sums,
    resampled_weights,
)
from driftloop.statistics.resampling import bootstrap_means
from driftloop.validation.correction import WORLDS, check, draw, means_of

GOOD = np.array([[0.9, 0.1], [0.15, 0.85]])
THREE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.25, 0.7]])
WIDE = np.array([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]])

RAW = arrays.arrays(np.float64, (3, 5), elements=st.floats(0.01, 1))


@pytest.fixture(scope="module")
def quapy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the oracle's own dependencies
        return pytest.importorskip("quapy.method.aggregative")


# The adjusted count --------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(RAW, arrays.arrays(np.float64, 5, elements=st.floats(0.01, 1)))
def test_the_adjusted_count_is_on_the_simplex_and_nothing_there_is_nearer(raw, q):
    matrix, q = raw / raw.sum(axis=1, keepdims=True), q / q.sum()
    found = adjusted_count(matrix, q)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    away = ((matrix.T @ found - q) ** 2).sum()
    others = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    assert away <= ((others @ matrix - q) ** 2).sum(axis=1).min() + 1e-12
    slow = optimize.minimize(
        lambda p: ((matrix.T @ p - q) ** 2).sum(),
        np.ones(3) / 3,
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
    )
    assert away <= slow.fun + 1e-9


@given(arrays.arrays(np.float64, 2, elements=st.floats(0, 1)), st.sampled_from([GOOD, WIDE]))
def test_what_was_mixed_is_found_again(p, matrix):
    p = np.array([0.5, 0.5]) if p.sum() == 0 else p / p.sum()
    np.testing.assert_allclose(adjusted_count(matrix, p @ matrix), p, atol=1e-9)
    np.testing.assert_allclose(inverted(matrix, (p @ matrix)[None])[0], p, atol=1e-9)


@pytest.mark.slow
def test_the_adjusted_count_is_quapys(quapy):
    generator = np.random.default_rng(1)
    for _ in range(20):
        q = generator.dirichlet(np.ones(3))
        theirs = quapy.ACC.solve_adjustment(THREE.T, q, "inversion", "minimize")
        ours = adjusted_count(THREE, q)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)  # theirs stops earlier
        assert np.linalg.norm(ours @ THREE - q) <= np.linalg.norm(theirs @ THREE - q) + 1e-9


def test_unknown_readings_have_no_adjusted_count():
    assert np.isnan(adjusted_count(GOOD, np.array([np.nan, 0.5]))).all()
    assert np.isnan(adjusted_count(np.full((2, 2), np.nan), np.array([0.5, 0.5]))).all()


def test_a_singular_matrix_cannot_be_inverted_and_costs_the_others_nothing():
    matrices = np.stack([GOOD, np.full((2, 2), 0.5)])
    found = inverted(matrices, np.tile([0.6, 0.4], (2, 1, 1)))
    np.testing.assert_allclose(found[0, 0] @ GOOD, [0.6, 0.4])
    assert np.isnan(found[1]).all()


def test_leverage_of_many_is_that_of_each():
    matrices = np.stack([GOOD, np.full((2, 2), 0.5), GOOD[::-1]])
    np.testing.assert_array_equal(leverage(matrices), [leverage(matrix) for matrix in matrices])


def test_leverage_is_what_one_seed_can_move():
    n, q = 50, np.array([0.4, 0.6])
    moved = q + np.array([1, -1]) / n
    apart = adjusted_count(GOOD, moved) - adjusted_count(GOOD, q)
    np.testing.assert_allclose(np.abs(apart), leverage(GOOD) / n)


# Expectation-maximisation --------------------------------------------------------------------------------------------


def posteriors(p, n, generator):
    """Labels and exact posteriors, for a training share of (.5, .3, .2), of normal readings about -1, 0 and 1.5."""
    truth = generator.choice(3, n, p=p)
    x = generator.normal(np.array([-1.0, 0.0, 1.5])[truth], 0.8)
    density = np.exp(-((x[:, None] - np.array([-1.0, 0.0, 1.5])) ** 2) / (2 * 0.64))
    joint = density * np.array([0.5, 0.3, 0.2])
    return truth, joint / joint.sum(axis=1, keepdims=True)


@pytest.mark.slow
def test_em_is_quapys(quapy):
    prior = np.array([0.5, 0.3, 0.2])
    for seed in range(3):
        _, given = posteriors([0.2, 0.2, 0.6], 500, np.random.default_rng(seed))
        theirs, _ = quapy.EMQ.EM(prior.copy(), given, epsilon=1e-8)
        ours = em(given / prior, np.ones(500), within=1e-10)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_em_finds_the_composition_of_exact_posteriors():
    truth, given = posteriors([0.1, 0.2, 0.7], 20000, np.random.default_rng(0))
    np.testing.assert_allclose(em(given / [0.5, 0.3, 0.2], np.ones(truth.size)), [0.1, 0.2, 0.7], atol=0.02)


def test_em_climbs_and_stays_on_the_simplex():
    _, given = posteriors([0.3, 0.3, 0.4], 200, np.random.default_rng(2))
    likelihood = given / [0.5, 0.3, 0.2]
    steps = [em(likelihood, np.ones(200), steps=k) for k in (1, 2, 5, 50, 500)]
    logs = [np.log(likelihood @ p).sum() for p in steps]
    assert np.all(np.diff(logs) >= -1e-9)
    assert all(p.sum() == pytest.approx(1) and (p >= 0).all() for p in steps)


def em_as_written(likelihood, weights, steps):
    """Saerens et al. (2002), eq. 2.4, and nothing else."""
    share = np.full(likelihood.shape[-1], 1 / likelihood.shape[-1])
    for _ in range(steps):
        posterior = likelihood * share
        posterior /= posterior.sum(axis=1, keepdims=True)
        share = weights @ posterior / weights.sum()
    return share


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 5]), st.sampled_from([2, 6, 40]), st.sampled_from([0.2, 1.0, 5.0]))
def test_leaps_end_where_the_plain_algorithm_ends(seed, labels, n, even):
    """At least as high, and no farther from it than its own slow end leaves open."""
    generator = np.random.default_rng(seed)
    likelihood, weights = generator.dirichlet(np.full(labels, even), n) + 1e-6, generator.random(n) + 0.1
    plain, found = em_as_written(likelihood, weights, 5000), em(likelihood, weights)
    height = [(weights * np.log(likelihood @ share)).sum() for share in (plain, found)]
    assert height[1] >= height[0] - 1e-7
    assert found.sum() == pytest.approx(1)
    if n > labels:
        np.testing.assert_allclose(found, plain, atol=5e-3)


def test_a_composition_does_not_depend_on_what_is_asked_for_with_it():
    generator = np.random.default_rng(5)
    likelihood, weights = generator.dirichlet(np.ones(3), (4, 2, 20)), generator.random((4, 2, 20))
    weights[1, 0] = 0
    together = em(likelihood, weights)
    assert np.isnan(together[1, 0]).all()
    for i, j in ((0, 0), (0, 1), (3, 1)):
        np.testing.assert_array_equal(together[i, j], em(likelihood[i, j], weights[i, j]))


def test_em_of_readings_alone_is_the_adjusted_count_where_that_is_inside():
    q = np.array([0.3, 0.7]) @ GOOD
    np.testing.assert_allclose(em_count(GOOD, q), [0.3, 0.7], atol=1e-6)
    outside = np.array([0.02, 0.98])  # fewer than the false alarms alone
    np.testing.assert_allclose(em_count(GOOD, outside), [0, 1], atol=1e-3)
    np.testing.assert_allclose(adjusted_count(GOOD, outside), [0, 1], atol=1e-9)
    assert np.isnan(em_count(GOOD, np.full(2, np.nan))).all()


def test_recalibration_undoes_what_was_done_to_the_probabilities():
    truth, given = posteriors([0.5, 0.3, 0.2], 5000, np.random.default_rng(4))
    shifted = given**2.5 * [1.0, 3.0, 0.5]
    spoilt = shifted / shifted.sum(axis=1, keepdims=True)
    point = recalibrate(spoilt, truth)
    assert point[0] == pytest.approx(1 / 2.5, rel=0.1)
    shares = np.bincount(truth) / truth.size
    again = calibrated_likelihood(spoilt, point, shares) * shares
    np.testing.assert_allclose(again, given, atol=0.06)


def test_recalibration_stays_where_it_is_without_data():
    np.testing.assert_allclose(recalibrate(np.empty((0, 3)), np.empty(0, np.intp)), [1, 0, 0, 0], atol=1e-6)


# The bootstrap -------------------------------------------------------------------------------------------------------


def test_a_draw_is_the_same_whatever_is_drawn_with_it():
    units = np.array([0, 0, 1, 2, 3, 3])
    many = resampled_weights(units, range(200), 5)
    np.testing.assert_array_equal(many[60:70], resampled_weights(units, range(60, 70), 5))
    np.testing.assert_array_equal(many[:130], resampled_weights(units, range(130), 5))
    assert len(np.unique(many, axis=0)) > 25  # of 35 that there are
    np.testing.assert_array_equal(many[:, 0], many[:, 1])
    np.testing.assert_array_equal(many[:, [0, 2, 3, 4]].sum(axis=1), 4)


def test_sums_are_those_of_the_weights(monkeypatch):
    values, codes = np.random.default_rng(0).normal(size=(7, 3)), np.array([0, 1, 0, 1, 2, 2, 2])
    weights = resampled_weights(np.arange(7), range(20), 1)
    naive = np.array([[sum(w[i] * values[i] for i in range(7) if codes[i] == c) for c in range(3)] for w in weights])
    np.testing.assert_allclose(resampled_sums(values, codes, np.arange(7), 20, 1), naive)
    monkeypatch.setattr("driftloop.statistics.quantification.CELLS", 14)
    np.testing.assert_allclose(resampled_sums(values, codes, np.arange(7), 20, 1), naive)


def test_spread_is_that_of_the_bootstrap_of_the_raw_shares():
    """With an instrument that never errs, a corrected share is the raw one, and so is its spread over draws."""
    generator = np.random.default_rng(0)
    read = generator.integers(2, size=(200, 2))
    known = calibration(read, read[:, 0], 2, resamples=1000)
    raw = bootstrap_means(means_of([read[:, 1]], 2), group("all", np.arange(200)), 1000, 3)
    assert known.adjusted.draws[:, 0, 1, 0].std() == pytest.approx(raw[:, 0, 0].std(), rel=0.1)
    np.testing.assert_allclose(known.adjusted.shares[0, 1], [(read[:, 1] == 0).mean(), (read[:, 1] == 1).mean()], atol=1e-9)


# Corrected shares and shifts -----------------------------------------------------------------------------------------


def calibration(read, labels, n_readings, **more):
    """Of readings [n, rounds] and labels [n]; -1 is unread, or unlabelled."""
    n = len(labels)
    given = {"concepts": np.zeros(n, np.intp), "resamples": 200, "seed": 0, "units": np.arange(n)} | more
    return Calibration(
        means=means_of(list(read.T), n_readings), labels=labels, n_labels=int(labels.max()) + 1, baseline=0, **given
    )


def world(n, name=".5 to .65", seed=0):
    drawn = draw(WORLDS[name], n, np.random.default_rng(seed))
    return np.stack(drawn.read, axis=1), drawn.truth


def test_at_the_round_of_the_labels_the_adjusted_share_is_the_label_share():
    """So adjusted drift is labels then against a corrected instrument later; the reason why raw stays the headline."""
    read, (early, _) = world(300)
    read[:20, 0] = -1
    known = calibration(read, early, 2)
    share = (early[20:] == 0).mean()
    assert known.adjusted.shares[0, 0, 0] == pytest.approx(share)
    assert (read[20:, 0] == 0).mean() != pytest.approx(share, abs=0.005)
    limits = corrected(known, known.adjusted)
    assert limits["share_low"][0, 0, 0] < share < limits["share_high"][0, 0, 0]
    assert limits["shift"][0, 0, 0] == 0
    assert np.isnan(limits["shift_low"][:, 0]).all()


def test_the_truth_of_a_large_world_is_found_by_both_methods():
    read, (early, later) = world(20000)
    known = calibration(read, early, 2, resamples=100)
    for estimate in (known.adjusted, known.em):
        values = corrected(known, estimate)
        assert values["share"][0, 1, 0] == pytest.approx((later == 0).mean(), abs=0.015)
        assert values["shift"][0, 1, 0] == pytest.approx((later == 0).mean() - (early == 0).mean(), abs=0.015)
    raw = (read[:, 1] == 0).mean() - (read[:, 0] == 0).mean()
    assert abs(raw - values["shift"][0, 1, 0]) > 0.03


def test_an_instrument_of_nine_is_read_through_the_labels_of_five():
    """A rectangular confusion: nine age groups, calibrated against five."""
    generator = np.random.default_rng(0)
    rows = generator.dirichlet(np.ones(9) * 0.3, 5)
    later, truth = [0.1, 0.1, 0.5, 0.2, 0.1], generator.integers(5, size=8000)
    anew = generator.choice(5, 8000, p=later)
    read = np.array(
        [[generator.choice(9, p=rows[a]), generator.choice(9, p=rows[b])] for a, b in zip(truth, anew, strict=True)]
    )
    known = calibration(read, truth, 9, resamples=100)
    np.testing.assert_allclose(known.adjusted.shares[0, 1], later, atol=0.04)
    np.testing.assert_allclose(known.em.shares[0, 1], later, atol=0.04)


def test_groups_are_all_standardised_and_each_concept():
    read, (early, _) = world(400)
    concepts = (np.arange(400) % 4 == 0).astype(np.intp)
    known = calibration(read, early, 2, concepts=concepts)
    shares = known.adjusted.shares
    assert shares.shape == (4, 2, 2)
    np.testing.assert_allclose(shares[1], shares[2:].mean(axis=0))
    for c in range(2):
        counts = confusion = known.counts[c]
        confusion = (counts + known.strength * known.point.matrices[0]) / (counts.sum(axis=1, keepdims=True) + known.strength)
        np.testing.assert_allclose(known.point.matrices[1 + c], confusion)
        mean = np.eye(2)[read[concepts == c, 1]].mean(axis=0)
        np.testing.assert_allclose(shares[2 + c, 1], adjusted_count(confusion, mean))


def test_a_shift_is_of_the_seeds_read_at_both_rounds():
    read, (early, _) = world(300)
    read[:50, 1] = -1
    known = calibration(read, early, 2)
    pairs = calibration(read[50:], early[50:], 2)
    late, first = np.eye(2)[read[50:, 1]].mean(axis=0), np.eye(2)[read[50:, 0]].mean(axis=0)
    matrix = known.point.matrices[0]
    shift = corrected(known, known.adjusted)["shift"][0, 1]
    np.testing.assert_allclose(shift, adjusted_count(matrix, late) - adjusted_count(matrix, first))
    assert not np.allclose(matrix, pairs.point.matrices[0])  # all labelled seeds calibrate


def test_nothing_that_never_moved_has_a_width_of_nothing():
    read, (early, _) = world(100, "never moves, exact")
    known = calibration(read, early, 2)
    values = corrected(known, known.adjusted)
    assert values["shift"][0, 1, 0] == 0
    assert values["shift_high"][0, 1, 0] - values["shift_low"][0, 1, 0] > 0.05


def test_em_on_probabilities_uses_them():
    """An unsure reading is worth less: with probabilities, half of all readings being blind costs nothing but width."""
    generator = np.random.default_rng(1)
    n = 1500
    truth = np.stack([generator.choice(2, n, p=[0.5, 0.5]), generator.choice(2, n, p=[0.8, 0.2])], axis=1)
    score = generator.normal(np.where(truth == 0, 1.0, -1.0), 1.0)
    first = 1 / (1 + np.exp(-2 * score))
    probabilities = np.stack([first, 1 - first], axis=2)
    read = (probabilities[:, :, 1] > 0.5).astype(np.intp)
    seeds, rounds = np.repeat(np.arange(n), 2), np.tile([0, 1], n)
    items = Items(seeds, rounds, probabilities.reshape(-1, 2) ** 2, np.ones(2 * n))
    items.probabilities[:] /= items.probabilities.sum(axis=1, keepdims=True)  # twice as sure as it should be
    known = calibration(read, truth[:, 0], 2, items=items, resamples=50)
    soft = known.em
    hard = calibration(read, truth[:, 0], 2, resamples=50).em
    assert soft.shares[0, 1, 0] == pytest.approx(0.8, abs=0.05)
    assert soft.draws[:, 0, 1, 0].std() < 0.95 * hard.draws[:, 0, 1, 0].std()


# The over-identification test ----------------------------------------------------------------------------------------


def over_identified(name, seed, n=200):
    read, (early, _) = world(n, name, seed)
    known = calibration(read, early, 4)
    point, draws = known.point, known.draws
    return over_identification(point.matrices[0], point.readings[0, 1], draws.matrices[:, 0], draws.readings[:, 0, 1], n)


def test_over_identification_has_a_degree_of_freedom_per_reading_too_many():
    assert over_identified("four readings of two", 0).dof == 2


def test_over_identification_finds_an_instrument_that_errs_otherwise():
    wrong = [over_identified("four readings, errs otherwise", seed, n=500).p_value for seed in range(15)]
    right = [over_identified("four readings of two", seed).p_value for seed in range(60)]
    assert np.mean(np.array(wrong) < 0.05) > 0.8
    assert np.mean(np.array(right) < 0.05) < 0.16


def test_what_cannot_be_inverted_is_not_tested():
    blind = np.full((2, 4), 0.25)
    test = over_identification(blind, blind[0], np.tile(blind, (9, 1, 1)), np.tile(blind[0], (9, 1)), 100)
    assert np.isnan(test.p_value)


# Coverage ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_limits_hold_the_truth_as_often_as_they_say(name):
    outcomes = check(name, WORLDS[name], 100, 200)
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.holds is False] == []
