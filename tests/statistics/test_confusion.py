"""How often an instrument errs: counts, pooling over concepts, and what says that it can be inverted at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftloop.statistics.confusion import (
    STRENGTHS,
    condition_number,
    confusion_counts,
    pooled_rates,
    pooling_strength,
    pooling_test,
    rates,
    youden,
)


def one_hot(codes, k):
    """Readings [n, K], NaN where the code is -1."""
    return np.where(np.array(codes)[:, None] >= 0, np.eye(k + 1)[codes][:, :k], np.nan)


def test_counts_are_of_seeds_that_were_labelled_and_read():
    labels, read = [0, 0, 1, -1, 1, 2], [0, 1, 1, 0, -1, 3]
    naive = np.zeros((3, 4))
    for label, reading in zip(labels, read, strict=True):
        if label >= 0 and reading >= 0:
            naive[label, reading] += 1
    found = confusion_counts(one_hot(read, 4), np.array(labels), 3)
    np.testing.assert_array_equal(found, naive)
    np.testing.assert_allclose(rates(found)[0], [0.5, 0.5, 0, 0])


def test_a_label_without_a_seed_has_no_rates_or_those_given_for_it():
    counts = np.array([[2.0, 2.0], [0.0, 0.0]])
    assert np.isnan(rates(counts)[1]).all()
    np.testing.assert_array_equal(rates(counts, np.array([[1.0, 0.0], [0.3, 0.7]])), [[0.5, 0.5], [0.3, 0.7]])


@given(st.lists(st.integers(0, 20), min_size=12, max_size=12), st.sampled_from(STRENGTHS))
def test_pooled_rates_lie_between_the_concept_and_all(numbers, strength):
    counts = np.array(numbers, float).reshape(2, 2, 3)
    pooled, own, everyone = pooled_rates(counts, strength), rates(counts), rates(counts.sum(axis=0))
    np.testing.assert_allclose(pooled.sum(axis=-1), 1)
    for c in range(2):
        for label in range(2):
            if np.isfinite(own[c, label]).all():
                low, high = np.minimum(own[c, label], everyone[label]), np.maximum(own[c, label], everyone[label])
                assert (low - 1e-12 <= pooled[c, label]).all()
                assert (pooled[c, label] <= high + 1e-12).all()
            elif np.isfinite(everyone[label]).all():
                np.testing.assert_allclose(pooled[c, label], everyone[label])


def drawn_counts(strength, concepts=8, seeds=80, seed=0):
    """Counts of concepts whose rates are Dirichlet about (.8, .2) and (.3, .7), with so many seeds' worth of likeness."""
    generator = np.random.default_rng(seed)
    means = np.array([[0.8, 0.2], [0.3, 0.7]])
    rows = [[generator.dirichlet(strength * row) if strength else row for row in means] for _ in range(concepts)]
    return np.array([[generator.multinomial(seeds, row) for row in rows_of] for rows_of in rows], float)


def test_the_strength_of_pooling_is_what_the_concepts_have_in_common():
    found = {s: np.median([pooling_strength(drawn_counts(s, seed=i)) for i in range(20)]) for s in (3.0, 30.0)}
    assert found[3.0] == pytest.approx(3, rel=0.5)
    assert found[30.0] == pytest.approx(30, rel=0.6)
    assert np.median([pooling_strength(drawn_counts(None, seed=i)) for i in range(20)]) > 200  # alike in all


def test_the_strength_is_the_largest_likelihood_of_the_library():
    counts = drawn_counts(10.0)
    mean = rates(counts.sum(axis=0))

    def likelihood(strength):
        return sum(
            stats.dirichlet_multinomial.logpmf(counts[c, label].astype(int), strength * mean[label], 80)
            for c in range(len(counts))
            for label in range(2)
        )

    assert pooling_strength(counts) == STRENGTHS[np.argmax([likelihood(s) for s in STRENGTHS])]


def errs(generator, label, group, differ):
    """A reading that errs at .1, or at .1 and .35 in the two groups."""
    wrong = generator.random(label.size) < np.where(group == 1, 0.35 if differ else 0.1, 0.1)
    return np.where(wrong, 1 - label, label)


def pooling_p(differ, seed, weights=None, n=300):
    generator = np.random.default_rng(seed)
    label, group = generator.integers(2, size=n), generator.integers(2, size=n)
    read = errs(generator, label, group, differ)
    return pooling_test(read, label, group, 199, seed, weights).p_value


def test_the_test_of_pooling_holds_its_level_and_finds_a_difference():
    assert np.mean([pooling_p(False, seed) <= 0.05 for seed in range(120)]) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 120)
    assert np.mean([pooling_p(True, seed) <= 0.05 for seed in range(20)]) > 0.9


def test_the_statistic_of_pooling_is_the_sum_of_the_libraries_chi_squares():
    generator = np.random.default_rng(3)
    label, group = generator.integers(2, size=400), generator.integers(3, size=400)
    read = errs(generator, label, group, differ=True)
    tables = [
        np.array([[((read == k) & (group == g) & (label == i)).sum() for g in range(3)] for k in range(2)]) for i in range(2)
    ]
    oracle = [stats.chi2_contingency(table, correction=False) for table in tables]
    found = pooling_test(read, label, group, 2000, 0)
    assert found.statistic == pytest.approx(sum(one.statistic for one in oracle))
    assert found.dof == sum(one.dof for one in oracle)
    limit = stats.chi2.sf(found.statistic, found.dof)
    assert found.p_value == pytest.approx(limit, abs=0.02)
    assert pooling_test(read, label, group, 99, 0, np.full(400, 3.0)).statistic == pytest.approx(found.statistic)


def test_youden_is_sensitivity_and_specificity_less_one():
    matrix = np.array([[0.9, 0.1], [0.25, 0.75]])
    np.testing.assert_allclose(youden(matrix, np.array([0.3, 0.7])), 0.9 + 0.75 - 1)
    np.testing.assert_allclose(youden(np.eye(3), np.ones(3) / 3), 1)
    blind = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    np.testing.assert_allclose(youden(blind, np.ones(3) / 3), [0.5, 0.5, 1])


def test_the_condition_number_is_infinite_where_labels_cannot_be_told():
    assert condition_number(np.eye(3)) == pytest.approx(1)
    assert condition_number(np.array([[0.6, 0.4], [0.4, 0.6]])) == pytest.approx(np.linalg.cond([[0.6, 0.4], [0.4, 0.6]]))
    assert condition_number(np.array([[0.5, 0.5], [0.5, 0.5]])) == np.inf
    assert condition_number(np.ones((3, 2)) / 2) == np.inf
