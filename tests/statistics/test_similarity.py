"""Likeness over seeds, its floor and its ceiling: planted cosines come out, and sums over pairs are the pairs' own sums."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from driftloop.statistics.panel import concept_groups, group
from driftloop.statistics.similarity import (
    floor_similarity,
    likeness,
    mean_change,
    mean_over,
    mean_similarity,
    of_strangers,
    of_twins,
)


def units(*shape, seed=0):
    drawn = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def at_cosine(of, cosine):
    """Unit vectors at a stated cosine with others."""
    away = units(*of.shape, seed=1)
    away -= (away * of).sum(-1, keepdims=True) * of
    return cosine * of + np.sqrt(1 - cosine**2) * away / np.linalg.norm(away, axis=-1, keepdims=True)


def test_planted_cosines_come_out_and_lie_within():
    first = units(60, 3, 16)
    for planted in (-0.4, 0.0, 0.7, 0.99):
        alike = likeness(first, at_cosine(first, planted))
        found = mean_similarity(alike[:, None], group("all", np.arange(60)))
        assert found.mean[0] == pytest.approx(planted)
        assert found.low[0] < planted < found.high[0]
        assert found.n[0] == 60


def test_replicates_that_are_missing_are_left_out_and_seeds_without_any_too():
    first = units(4, 2, 8)
    second = at_cosine(first, np.array([[0.5], [0.7]]))
    second[0, 1], second[1] = np.nan, np.nan
    np.testing.assert_allclose(likeness(first, second), [0.5, np.nan, 0.6, 0.6], atol=1e-12)
    found = mean_similarity(likeness(first, second)[:, None], group("all", np.arange(4)))
    assert (found.n[0], found.mean[0]) == (3, pytest.approx((0.5 + 0.6 + 0.6) / 3))


def test_the_same_twice_is_one_with_a_width_and_one_seed_has_no_interval():
    many, one = (mean_similarity(np.ones((n, 1)), group("all", np.arange(n))) for n in (30, 1))
    assert (many.mean[0], many.high[0]) == (1.0, 1.0)
    assert 0.9 < many.low[0] < 1.0
    assert one.mean[0] == 1.0
    assert np.isnan([one.low[0], one.high[0]]).all()
    still = mean_change(np.zeros((30, 1)), group("all", np.arange(30)))
    assert still.low[0] < 0 < still.high[0]


@pytest.mark.parametrize("concepts", [["a"] * 7, list("aabbbbc")])
def test_strangers_are_all_pairs_of_one_code_and_never_oneself(concepts):
    first, second = units(7, 5), units(7, 5, seed=1)
    second[3] = np.nan
    codes = np.unique(concepts, return_inverse=True)[1]
    naive = []
    for i in range(7):
        pairs = [(i, j) for j in range(7) if j != i and concepts[i] == concepts[j] and 3 not in (i, j)]
        dots = [(first[a] @ second[b] + second[a] @ first[b]) / 2 for a, b in pairs]
        naive.append(np.mean(dots) if dots else np.nan)
    np.testing.assert_allclose(of_strangers(first, second, codes), naive)


def test_twins_are_all_pairs_of_replicates():
    first, second = units(3, 4, 5), units(3, 4, 5, seed=1)
    first[1, 2:], second[2, :3] = np.nan, np.nan
    found = of_twins(first, second)
    for seed, replicates in ((0, range(4)), (1, range(2))):
        dots = [first[seed, a] @ second[seed, b] for a, b in product(replicates, replicates) if a != b]
        assert found[seed] == pytest.approx(np.mean(dots))
    assert np.isnan(found[2])


def test_shuffled_seeds_are_at_the_floor():
    """Embeddings that share a direction, as those of people do: the floor is far from 0."""
    draws = np.random.default_rng(3)
    common = np.eye(24)[0] * 1.2
    first = common + draws.standard_normal((400, 1, 24)) / np.sqrt(24)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    everyone = group("all", np.arange(400))
    strangers = of_strangers(first[:, 0], first[:, 0], np.zeros(400, np.intp))
    floor = floor_similarity(strangers[:, None], everyone)
    assert floor.mean[0] > 0.5
    shuffled = mean_similarity(likeness(first, first[draws.permutation(400)])[:, None], everyone)
    assert shuffled.low[0] < floor.mean[0] < shuffled.high[0]
    kept = mean_similarity(likeness(first, first)[:, None], everyone)
    assert kept.low[0] > floor.high[0]


def test_the_floors_interval_covers_the_cosine_of_strangers():
    """500 samples of 80 seeds with a common direction; the truth by a very large sample."""
    draws = np.random.default_rng(4)

    def sample(n):
        drawn = np.eye(6)[0] + draws.standard_normal((n, 6)) * draws.uniform(0.2, 1.5, (n, 1))
        return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)

    def limits():
        one = sample(80)
        return floor_similarity(of_strangers(one, one, np.zeros(80, np.intp))[:, None], group("all", np.arange(80)))

    truth = (sample(400_000).mean(axis=0) ** 2).sum()
    held = [found.low[0] <= truth <= found.high[0] for found in (limits() for _ in range(500))]
    assert 0.93 <= np.mean(held) <= 0.985


def test_pooled_concepts_weigh_by_seeds_or_alike():
    concepts = ["a"] * 6 + ["b"] * 2
    strangers = np.array([0.2] * 6 + [0.8] * 2)[:, None]
    everyone, alike, *_ = concept_groups(concepts)
    assert floor_similarity(strangers, everyone).mean[0] == pytest.approx(0.35)
    assert floor_similarity(strangers, alike).mean[0] == pytest.approx(0.5)
    pair = floor_similarity(strangers[:2], group("pair", np.arange(2)))
    assert np.isnan([pair.low[0], pair.high[0]]).all()  # one pair tells nothing of how pairs differ


def test_means_over_replicates_skip_what_is_missing():
    values = np.array([[0.2, np.nan], [np.nan, np.nan], [0.1, 0.3]])
    np.testing.assert_allclose(mean_over(values), [0.2, np.nan, 0.2])
