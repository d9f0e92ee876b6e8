"""Random samples with known chances, and shares that need no trust in the instrument."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.statistics.audited import (
    audited_share,
    correlation_of,
    covariance,
    inclusion_probabilities,
    systematic_sample,
)
from driftloop.validation.correction import WORLDS, audits


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.integers(1, 100))
def test_chances_add_up_to_the_number_asked_for(strata, n):
    strata = np.unique(strata, return_inverse=True)[1]
    chances = inclusion_probabilities(strata, n)
    assert (chances > 0).all()
    assert (chances <= 1).all()
    assert chances.sum() == pytest.approx(min(n, strata.size))
    for stratum in set(strata):
        assert np.ptp(chances[strata == stratum]) == pytest.approx(0)


def test_a_rare_reading_is_looked_at_more_than_its_share():
    strata = np.repeat([0, 1], [900, 100])
    chances = inclusion_probabilities(strata, 100)
    assert chances[strata == 1].sum() == pytest.approx(25)
    assert inclusion_probabilities(np.repeat([0, 1], [900, 2]), 100)[-1] == pytest.approx(1.0)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=40), st.floats(0, 0.999))
def test_the_sample_has_the_size_that_the_chances_add_up_to(chances, start):
    chances = np.array(chances)
    taken = systematic_sample(chances, np.arange(chances.size), start)
    assert abs(taken.size - chances.sum()) < 1 + 1e-9
    assert len(set(taken)) == taken.size


def test_everybody_is_drawn_with_the_chance_given():
    generator = np.random.default_rng(0)
    strata = np.repeat([0, 1, 2], [60, 25, 3])
    chances = inclusion_probabilities(strata, 30)
    hits, per_stratum = np.zeros(88), []
    for _ in range(4000):
        order = np.lexsort((generator.random(88), strata))
        taken = systematic_sample(chances, order, generator.random())
        hits[taken] += 1
        per_stratum.append(np.bincount(strata[taken], minlength=3))
    np.testing.assert_allclose(hits / 4000, chances, atol=4 * 0.5 / np.sqrt(4000))
    expected = np.bincount(strata, chances)
    assert (np.abs(np.array(per_stratum) - expected) < 1).all()


def labelled(truth, read, taken, k):
    """The arguments of `audited_share` from codes [n] and the positions that were labelled."""
    readings = np.where(read[:, None] >= 0, np.eye(k + 1)[read][:, :k], 0.0)
    labels, shown = np.full((truth.size, k), np.nan), np.full((truth.size, k), np.nan)
    labels[taken] = np.eye(k + 1)[truth[taken]][:, :k]
    shown[taken] = readings[taken]
    return readings, labels, shown


def test_everybody_labelled_is_the_label_share_whatever_was_read():
    generator = np.random.default_rng(0)
    truth, read = generator.integers(3, size=100), generator.integers(-1, 3, size=100)
    found = audited_share(*labelled(truth, read, np.arange(100), 3), np.ones(100))
    np.testing.assert_allclose(found.mean, np.bincount(truth, minlength=3) / 100)
    moments = found.moments(np.arange(100))
    share = found.mean
    np.testing.assert_allclose(moments.variance, share * (1 - share) / 99)
    assert moments.step[0] == pytest.approx(1 / 100)


def test_it_is_the_difference_estimator():
    """Mean reading plus weighted mean of label less reading, as written down by hand."""
    generator = np.random.default_rng(1)
    truth, read = generator.integers(2, size=50), generator.integers(2, size=50)
    taken, chances = np.arange(0, 50, 3), generator.uniform(0.2, 1, 50)
    found = audited_share(*labelled(truth, read, taken, 2), chances)
    weights = 1 / chances[taken]
    difference = sum(w * (int(truth[i] == 0) - int(read[i] == 0)) for w, i in zip(weights, taken, strict=True)) / weights.sum()
    assert found.mean[0] == pytest.approx((read == 0).mean() + difference)
    assert found.mean.sum() == pytest.approx(1)
    assert found.step == pytest.approx(weights.max() / weights.sum())
    np.testing.assert_allclose(found.influence.mean(axis=0), 0, atol=1e-12)


def test_pictures_nobody_can_tell_are_no_part_of_the_share():
    truth, read = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 0, 1, 0, 1, -1])  # 2: cannot tell
    found = audited_share(*labelled(truth, read, np.arange(6), 2), np.ones(6))
    np.testing.assert_allclose(found.mean, [2 / 3, 1 / 3])


def test_seeds_without_a_picture_are_no_part_of_it():
    readings, labels, shown = labelled(np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1]), np.array([0, 1, 2]), 2)
    readings[3] = np.nan
    found = audited_share(readings, labels, shown, np.ones(4))
    np.testing.assert_allclose(found.mean, [2 / 3, 1 / 3])
    assert (found.influence[3] == 0).all()


def test_without_a_label_there_is_no_estimate():
    found = audited_share(*labelled(np.array([0, 1]), np.array([0, 1]), np.array([], np.intp), 2), np.ones(2))
    assert np.isnan(found.mean).all()
    assert found.n_audited == 0
    assert np.isnan(found.moments(np.arange(2)).variance).all()


def test_it_is_unbiased_where_the_readings_are_not():
    """The mean over many samples of one fixed world, whose instrument calls a third of the first category the second."""
    generator = np.random.default_rng(2)
    truth = generator.choice(2, 300, p=[0.4, 0.6])
    read = np.where((truth == 0) & (generator.random(300) < 0.35), 1, truth)
    chances = inclusion_probabilities(read, 60)
    means, variances = [], []
    for _ in range(800):
        taken = systematic_sample(chances, np.lexsort((generator.random(300), read)), generator.random())
        found = audited_share(*labelled(truth, read, taken, 2), chances)
        means.append(found.mean[0])
        variances.append(found.moments(np.arange(300)).variance[0])
    assert np.mean(means) == pytest.approx((truth == 0).mean(), abs=4 * np.std(means) / np.sqrt(800) + 0.002)
    assert abs((read == 0).mean() - (truth == 0).mean()) > 0.1
    assert np.mean(variances) >= np.var(means)  # which also knows of the seeds there might have been


def test_good_readings_make_it_narrower():
    generator = np.random.default_rng(3)
    truth = generator.choice(2, 1000, p=[0.4, 0.6])
    read = np.where(generator.random(1000) < 0.05, 1 - truth, truth)
    blind = generator.integers(2, size=1000)
    taken, chances = np.arange(0, 1000, 10), np.full(1000, 0.1)
    sharp, dull = (
        audited_share(*labelled(truth, codes, taken, 2), chances).moments(np.arange(1000)) for codes in (read, blind)
    )
    assert sharp.variance[0] < 0.5 * dull.variance[0]


def test_covariance_is_over_units():
    generator = np.random.default_rng(4)
    a, b = generator.normal(size=(2, 30, 2))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    np.testing.assert_allclose(covariance(a, b, np.arange(30)), [np.cov(a[:, k], b[:, k])[0, 1] / 30 for k in range(2)])
    doubled = covariance(np.repeat(a, 2, axis=0), np.repeat(a, 2, axis=0), np.repeat(np.arange(30), 2))
    np.testing.assert_allclose(doubled, covariance(a, a, np.arange(30)))
    assert np.isnan(covariance(a, b, np.zeros(30, np.intp))).all()


def test_labels_of_the_same_seeds_are_correlated_and_never_wholly():
    truth, read = np.tile([0, 1], 50), np.tile([0, 1], 50)
    found = audited_share(*labelled(truth, read, np.arange(100), 2), np.ones(100))
    rho = correlation_of(found, found, np.arange(100))
    assert (rho > 0.9).all()
    assert (rho < 1).all()


@pytest.mark.parametrize("name", ["errs otherwise later", "abstains by group and round", "rare, none"])
def test_intervals_hold_the_truth_whatever_the_instrument_does(name):
    assert [outcome for outcome in audits(name, WORLDS[name], 100, 200) if not outcome.holds] == []
