"""The parts of a shift add up to it on any table, are those of a plain count, and are unbiased where truth is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driftloop.statistics.decomposition import Step, contributions, steps
from driftloop.statistics.panel import concept_groups, group

SILENT, AGREES, CONTRADICTS = range(3)
tables = st.tuples(st.integers(2, 6), st.integers(1, 3), st.integers(2, 5)).flatmap(
    lambda shape: st.tuples(
        arrays(np.intp, shape, elements=st.integers(-1, 2)), arrays(np.intp, shape, elements=st.integers(0, 3))
    )
)


def naive(labels: Any, parts: Any, step: Step, part: int, category: int) -> list[float]:
    """The contributions of a part, seed by seed, written out."""
    found = []
    first = 0 if step.cumulative else step.round - 1
    for seed in range(len(labels)):
        chains = [k for k in range(labels.shape[1]) if (labels[seed, k, first : step.round + 1] >= 0).all()]
        moved = [
            sum(
                int(labels[seed, k, r] == category) - int(labels[seed, k, r - 1] == category)
                for r in range(first + 1, step.round + 1)
                if parts[seed, k, r - 1] == part
            )
            for k in chains
        ]
        found.append(float(np.mean(moved)) if chains else np.nan)
    return found


@given(tables)
def test_parts_are_those_of_a_plain_count_and_add_up(table: Any) -> None:
    labels, parts = table
    for step in steps(labels, parts, 3, 4):
        first = 0 if step.cumulative else step.round - 1
        read = (labels[:, :, first : step.round + 1] >= 0).all(axis=2)
        assert (step.counted == read).all()
        for part in range(4):
            for category in range(3):
                np.testing.assert_allclose(
                    step.values[:, part, category], naive(labels, parts, step, part, category), atol=1e-12
                )
        change = [[labels[s, :, step.round] == c for c in range(3)] for s in range(len(labels))]
        before = [[labels[s, :, first] == c for c in range(3)] for s in range(len(labels))]
        for s in np.flatnonzero(read.any(axis=1)):
            shift = (np.array(change[s]).astype(int) - np.array(before[s]))[:, read[s]].mean(axis=1)
            np.testing.assert_allclose(step.values[s].sum(axis=0), shift, atol=1e-12)
            assert step.shares[s].sum() == pytest.approx(1)
        assert not (np.abs(step.values) > step.bound + 1e-12).any()


@given(tables)
def test_means_over_any_group_add_up_and_lie_within_their_limits(table: Any) -> None:
    labels, parts = table
    for step in steps(labels, parts, 3, 4):
        for some in concept_groups(["a", "b"] * 3, np.arange(6) // 2):
            inside = some.members[some.members < len(labels)]
            if inside.size < some.members.size:
                continue
            found = contributions(step, some)
            np.testing.assert_allclose(found.value.sum(axis=0), found.shift, atol=1e-11)
            known = np.isfinite(found.low)
            assert (found.low <= found.value)[known].all()
            assert (found.value <= found.high)[known].all()
            assert (found.high > found.low)[known].all()


def test_steps_telescope_where_everything_is_read() -> None:
    draws = np.random.default_rng(1)
    labels, parts = draws.integers(0, 3, (40, 2, 6)), draws.integers(0, 4, (40, 2, 6))
    found = [contributions(step, group("all", np.arange(40))) for step in steps(labels, parts, 3, 4)]
    singles, cumulative = found[::2], found[1::2]
    for later, whole in enumerate(cumulative, 1):
        np.testing.assert_allclose(whole.value, sum(step.value for step in singles[:later]), atol=1e-11)
        raw = [(labels[:, :, later] == c).mean() - (labels[:, :, 0] == c).mean() for c in range(3)]
        np.testing.assert_allclose(whole.shift, raw, atol=1e-11)


def test_chains_and_seeds_with_a_round_unread_are_left_out() -> None:
    labels = np.array([[[0, 1, 0], [0, -1, 1]], [[0, 0, 1], [1, 1, 1]], [[0, 1, -1], [1, 1, -1]]])
    parts = np.zeros_like(labels)
    _, _, step, cumulative = steps(labels, parts, 2, 1)
    assert step.counted.tolist() == cumulative.counted.tolist() == [[True, False], [True, True], [False, False]]
    assert np.isnan(step.values[2]).all()
    assert contributions(step, group("all", np.arange(3))).n_seeds == 2
    assert contributions(step, group("all", np.arange(3))).value[0].tolist() == [0.25, -0.25]


def test_one_seed_has_a_value_and_no_interval() -> None:
    step = next(steps(np.array([[[0, 1]]]), np.array([[[0, 0]]]), 2, 1))
    found = contributions(step, group("all", np.arange(1)))
    assert found.value.tolist() == [[-1.0, 1.0]]
    assert np.isnan(found.low).all()


OMITS, CONFUSES, SHARE, PRIOR = 0.3, 0.2, 0.5, 0.9


def world(draws: np.random.Generator, n: int, rounds: int) -> tuple[Any, Any]:
    """Two categories; a caption is silent at OMITS, else wrong at CONFUSES; silence draws category 1 at PRIOR."""
    state = (draws.random((n, 1)) < SHARE).astype(np.intp)
    labels, parts = [state], []
    for _ in range(rounds):
        silent, wrong = draws.random((n, 1)) < OMITS, draws.random((n, 1)) < CONFUSES
        parts.append(np.select([silent, wrong], [SILENT, CONTRADICTS], AGREES))
        state = np.where(silent, draws.random((n, 1)) < PRIOR, np.where(wrong, 1 - state, state)).astype(np.intp)
        labels.append(state)
    return np.stack(labels, axis=2), np.stack([*parts, parts[-1]], axis=2)


def truth(rounds: int) -> Any:
    """[rounds, 3 parts]: contributions to category 1, in closed form."""
    p, found = SHARE, []
    for _ in range(rounds):
        silent = OMITS * (PRIOR - p)
        wrong = (1 - OMITS) * CONFUSES * (1 - 2 * p)
        found.append((silent, 0.0, wrong))
        p += silent + wrong
    return np.array(found)


@pytest.mark.parametrize(("n", "repetitions"), [(30, 200), (150, 100)])
def test_unbiased_and_covering_in_a_world_that_omits_and_confuses(n: int, repetitions: int) -> None:
    rounds, draws, members = 3, np.random.default_rng(7), group("all", np.arange(n))
    single, total = truth(rounds), np.cumsum(truth(rounds), axis=0)
    values, covered = [], []
    for _ in range(repetitions):
        found = [contributions(step, members) for step in steps(*world(draws, n, rounds), 2, 3)]
        known = [total[i // 2] if i % 2 else single[i // 2] for i in range(2 * rounds)]
        values.append([each.value[:, 1] - true for each, true in zip(found, known, strict=True)])
        covered.append([(each.low[:, 1] <= t) & (t <= each.high[:, 1]) for each, t in zip(found, known, strict=True)])
    error = np.std(values, axis=0) / np.sqrt(repetitions)
    assert (np.abs(np.mean(values, axis=0)) <= 4.5 * error + 1e-12).all()
    least = 0.95 if n >= 100 else 0.93
    assert (np.mean(covered, axis=0) >= least - 3.5 * np.sqrt(least * (1 - least) / repetitions)).all()
