"""Krippendorff's alpha against published worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.statistics.agreement import alpha_limits, krippendorff_alpha

N = -1
PUBLISHED = {  # Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, sections A to C: annotators × items
    "two observers, binary": ([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], 0.095),
    "two observers, nominal": (
        [[0, 0, 1, 1, 3, 2, 2, 2, 4, 3, 3, 0], [1, 0, 1, 1, 1, 2, 2, 2, 4, 3, 3, 3]],
        0.692,
    ),
    "four observers, missing": (
        [
            [0, 1, 2, 2, 1, 0, 3, 0, 1, N, N, N],
            [0, 1, 2, 2, 1, 1, 3, 0, 1, 4, N, 2],
            [N, 2, 2, 2, 1, 2, 3, 1, 1, 4, 0, N],
            [0, 1, 2, 2, 1, 3, 3, 0, 1, 4, 0, N],
        ],
        0.743,
    ),
}


@pytest.mark.parametrize(("labels", "alpha"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_examples(labels, alpha):
    assert krippendorff_alpha(np.array(labels).T, 5) == pytest.approx(alpha, abs=5e-4)


def naive_alpha(labels):
    """1 - D_o / D_e by going through all pairs of labels."""
    units = [[x for x in row if x >= 0] for row in labels]
    units = [unit for unit in units if len(unit) > 1]
    values = [x for unit in units for x in unit]
    n = len(values)
    within = sum(sum(a != b for a in unit for b in unit) / (len(unit) - 1) for unit in units)
    between = sum(a != b for a in values for b in values) / (n - 1) if n > 1 else 0
    return 1 - within / between if between else float("nan")


@given(st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=1, max_size=12))
def test_alpha_is_its_definition(rows):
    found, naive = krippendorff_alpha(np.array(rows), 4), naive_alpha(rows)
    assert found == pytest.approx(naive, nan_ok=True)


def annotated(n, error, seed):
    generator = np.random.default_rng(seed)
    truth = generator.integers(2, size=n)
    return np.where(generator.random((n, 2)) < error, 1 - truth[:, None], truth[:, None])


def test_the_interval_holds_the_alpha_of_many_items():
    true = krippendorff_alpha(annotated(200_000, 0.1, 99), 2)
    limits = [alpha_limits(annotated(80, 0.1, seed), 2, 400, seed) for seed in range(150)]
    held = np.mean([low <= true <= high for low, high in limits])
    assert held >= 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / 150)


def test_agreement_throughout_is_no_certainty():
    low, high = alpha_limits(annotated(60, 0.0, 0), 2, 200, 0)
    assert high == 1
    assert 0.9 < low < 1


def test_one_annotator_has_no_alpha():
    alone = np.array([[0, N], [1, N], [N, 1]])
    assert np.isnan(krippendorff_alpha(alone, 2))
    assert np.isnan(alpha_limits(alone, 2, 100, 0)).all()
    same = np.zeros((10, 2), np.intp)
    assert np.isnan(krippendorff_alpha(same, 2))
    assert np.isnan(alpha_limits(same, 2, 100, 0)[1])
