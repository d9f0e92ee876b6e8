"""Limits take a prefix in hash order, so that raising one only adds seeds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.core.limits import placed, take
from driftloop.core.records import Seed

SEEDS = st.lists(st.tuples(st.text("abcd", min_size=1, max_size=4), st.sampled_from("xyz")), unique_by=lambda s: s[0]).map(
    lambda pairs: [Seed(seed_id, "d", "kind", concept) for seed_id, concept in pairs]
)
LIMITS = st.none() | st.integers(1, 40)


def at_most(limit: int | None) -> float:
    return float("inf") if limit is None else limit


@given(seeds=SEEDS, few=LIMITS, many=LIMITS, few_each=LIMITS, many_each=LIMITS)
def test_raising_limits_only_adds(
    seeds: list[Seed], few: int | None, many: int | None, few_each: int | None, many_each: int | None
) -> None:
    few, many = sorted((few, many), key=at_most)
    few_each, many_each = sorted((few_each, many_each), key=at_most)
    small, large = take(seeds, few, few_each), take(seeds, many, many_each)
    kept = {seed.seed_id for seed in small}
    assert [seed for seed in large if seed.seed_id in kept] == small
    assert len(small) <= at_most(few)
    assert all(sum(seed.concept == concept for seed in small) <= at_most(few_each) for concept in "xyz")


@given(seeds=SEEDS, limit=LIMITS, other=st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(seeds: list[Seed], limit: int | None, other: object) -> None:
    shuffled = list(seeds)
    other.shuffle(shuffled)  # type: ignore[attr-defined]
    assert take(seeds, limit, None) == take(shuffled, limit, None)


@given(seeds=SEEDS)
def test_no_limit_is_all_in_hash_order(seeds: list[Seed]) -> None:
    everything = take(seeds, None, None)
    assert sorted(seed.seed_id for seed in everything) == sorted(seed.seed_id for seed in seeds)
    assert take(seeds, 3, None) == everything[:3]


def test_the_prefix_is_not_the_first_files() -> None:
    seeds = [Seed(f"raf-train-{n:05d}", "raf_db", "emotion", "fear") for n in range(1000)]
    taken = sorted(int(seed.seed_id[-5:]) for seed in take(seeds, 100, None))
    assert 350 < sum(taken) / 100 < 650


def test_the_hash_order_is_frozen() -> None:
    """Changing it would make a raised limit drop seeds that are already played."""
    seeds = [Seed(name, "d", "kind", "c") for name in "abcdef"]
    assert "".join(seed.seed_id for seed in take(seeds, None, None)) == "fdcbea"


@pytest.mark.parametrize("limit", [0, -1])
def test_zero_and_negative_limits_are_errors(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        take([], limit, None)
    with pytest.raises(ValueError, match="limit_per_concept must be at least 1"):
        take([], None, limit)


@given(seeds=SEEDS, limits=st.lists(st.tuples(LIMITS, LIMITS), min_size=1, max_size=4))
def test_what_earlier_limits_took_in_does_not_change_what_the_present_ones_take(
    seeds: list[Seed], limits: list[tuple[int | None, int | None]]
) -> None:
    """A run's seeds are all that any limits so far took; from these the present limits take what they take of the whole set."""
    whole = placed(seeds)
    taken_in = {seed.seed_id: seed for limit, each in limits for seed in take(whole, limit, each)}
    for limit, each in limits:
        assert take(taken_in.values(), limit, each) == take(whole, limit, each)


def test_the_first_of_all_are_the_first_of_the_data_set_not_of_the_run() -> None:
    """Ten seeds of one concept come before the others in hash order; few of them are in the run."""
    names = [seed.seed_id for seed in take([Seed(f"s{n}", "d", "kind", "c") for n in range(20)], None, None)]
    whole = placed(Seed(name, "d", "kind", "first" if n < 10 else "later") for n, name in enumerate(names))
    run = take(whole, None, 3)
    assert [seed.seed_id for seed in run] == [*names[:3], *names[10:13]]
    assert [seed.seed_id for seed in take(run, 10, 3)] == names[:3]


def test_places_are_positions_in_hash_order() -> None:
    whole = placed(Seed(name, "d", "kind", "c") for name in "abcdef")
    assert [(seed.seed_id, seed.place) for seed in whole] == list(zip("fdcbea", range(6), strict=True))
