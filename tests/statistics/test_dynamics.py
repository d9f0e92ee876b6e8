"""Chains: fast forms against naive definitions, truths by construction, and impostors that the gate must stop."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from driftloop.core.rng import generator
from driftloop.statistics.dynamics import (
    MIN_STEPS,
    NOT_IDENTIFIABLE,
    SHOWN,
    TOO_FEW_ROUNDS,
    TOO_FEW_SEEDS,
    Chains,
    attractor,
    counted_steps,
    dynamics,
    fit,
    gate,
    half_life,
    halved,
    homogeneity_test,
    late_test,
    order_test,
    pull,
    retention,
    slowest_half_life,
    transition_limits,
)
from driftloop.validation.dynamics import FALSE, TRUE, Kind, World


def chains(states: Any, n_states: int = 2, blocks: Any = None, units: Any = None) -> Chains:
    states = np.asarray(states, np.intp)
    states = states[:, None] if states.ndim == 2 else states
    alone, each = np.zeros(len(states), np.intp), np.arange(len(states))
    blocks, units = (alone if blocks is None else blocks), (each if units is None else units)
    return Chains(states=states, blocks=blocks, units=units, features=np.eye(n_states))


def drawn(
    n: int = 60, n_states: int = 3, steps: int = 6, replicates: int = 2, unread: float = 0.0, seed: int = 0, anew: float = 0.4
) -> Chains:
    shares = tuple((np.arange(n_states) + 1.0) / np.arange(1, n_states + 1).sum())
    start = (1 / n_states,) * n_states
    world = World(kinds=(Kind(anew=anew, drawn=shares),), start=start, steps=steps, replicates=replicates, unread=unread)
    return chains(world.draw(n, generator(seed)), n_states)


def walked(states: Any) -> Iterator[tuple[int, int, int]]:
    """Pairs of neighbouring rounds that were both read, one by one."""
    for seed, replicate, round_ in np.ndindex(*np.subtract(states.shape, (0, 0, 1))):
        before, after = states[seed, replicate, round_ : round_ + 2]
        if before >= 0 and after >= 0:
            yield seed, before, after


worlds = given(st.integers(0, 10_000), st.sampled_from([2, 3, 5]), st.sampled_from([0.0, 0.3]))


@settings(max_examples=25, deadline=None, derandomize=True)
@worlds
def test_matrix_and_its_parts_are_the_naive_ones(seed: int, n_states: int, unread: float) -> None:
    given_ = drawn(n=25, n_states=n_states, unread=unread, seed=seed)
    counts = np.zeros((25, n_states, n_states))
    for one, before, after in walked(given_.states):
        counts[one, before, after] += 1
    np.testing.assert_array_equal(counted_steps(given_), counts)
    fitted, total = fit(given_), counts.sum(axis=0)
    left = total.sum(axis=1) > 0
    np.testing.assert_allclose(fitted.matrices[0][left], (total / np.maximum(total.sum(axis=1, keepdims=True), 1))[left])
    np.testing.assert_allclose(fitted.matrices.sum(axis=2), 1)
    np.testing.assert_allclose(fitted.influence.sum(axis=0), 0, atol=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@worlds
def test_stationary_distribution_is_what_very_many_steps_lead_to(seed: int, n_states: int, unread: float) -> None:
    given_ = drawn(n=40, n_states=n_states, unread=unread, seed=seed)
    fitted = fit(given_)
    [far] = np.linalg.matrix_power(fitted.matrices, 4000)
    np.testing.assert_allclose(pull(given_, fitted).stationary[0], far[0], atol=1e-9)


def with_weights(given_: Chains, weights: Any) -> Chains:
    """Estimates where seeds count this often."""
    return chains(np.repeat(given_.states, weights, axis=0), given_.n_states, np.repeat(given_.blocks, weights))


@pytest.mark.parametrize("alike", [False, True])
def test_what_a_seed_adds_is_what_its_weight_moves(alike: bool) -> None:
    """Independent oracle: the infinitesimal jackknife by counting one seed once more among very many copies of all."""
    plain = drawn(n=24, n_states=3, unread=0.1, seed=3)
    given_ = chains(plain.states, 3, blocks=np.arange(24) % 2)

    def estimate(each: Chains) -> Any:
        fitted = fit(each)
        pulled = pull(each, fitted)
        found = attractor(each, fitted, pulled, np.eye(3), alike=alike).value
        return np.array([*found, retention(each, fitted, pulled, alike=alike).value])

    copies = np.full(24, 400)
    centre = estimate(with_weights(given_, copies))
    fitted = fit(given_)
    pulled = pull(given_, fitted)
    for seed in (0, 7, 15):
        more = copies + (np.arange(24) == seed) * 4
        moved = (estimate(with_weights(given_, more)) - centre) * 100
        kept = retention(given_, fitted, pulled, alike=alike).influence[seed]
        assert moved[3] == pytest.approx(kept, abs=2e-4)
        own = pulled.influence[seed] / 2 + (0 if alike else (pulled.stationary[seed % 2] - centre[:3]) / 24)
        assert moved[:3] == pytest.approx(own, abs=2e-4)


def test_two_states_have_the_eigenvalue_and_attractor_of_the_textbook() -> None:
    given_ = drawn(n=80, n_states=2, seed=4)
    fitted = fit(given_)
    pulled, [(to_0, to_1), (back, _)] = pull(given_, fitted), fitted.matrices[0]
    assert to_0 == pytest.approx(1 - to_1)
    assert attractor(given_, fitted, pulled, np.eye(2)).value == pytest.approx([back / (back + to_1), to_1 / (back + to_1)])
    kept = retention(given_, fitted, pulled)
    assert kept.value == pytest.approx(1 - to_1 - back)
    rounds = np.log(0.5) / np.log(1 - to_1 - back)
    assert half_life(given_, fitted, kept).value[0] == pytest.approx(rounds)
    assert slowest_half_life(fitted) == pytest.approx(rounds)


@pytest.mark.parametrize("n_states", [2, 3, 5])
def test_retention_of_a_loop_that_keeps_or_draws_is_the_chance_to_keep(n_states: int) -> None:
    very_many = drawn(n=30_000, n_states=n_states, replicates=1, anew=0.3)
    fitted = fit(very_many)
    pulled = pull(very_many, fitted)
    assert retention(very_many, fitted, pulled).value == pytest.approx(0.7, abs=0.01)
    shares = (np.arange(n_states) + 1) / (np.arange(n_states) + 1).sum()
    assert attractor(very_many, fitted, pulled, np.eye(n_states)).value == pytest.approx(shares, abs=0.01)


def test_concepts_that_are_kept_have_chains_of_their_own() -> None:
    parts = [World(kinds=(Kind(anew=0.3, drawn=(p, 1 - p)),), start=(0.5, 0.5)).draw(150, generator(i))
             for i, p in enumerate((0.9, 0.2))]  # fmt: skip
    blocks = np.repeat([0, 1], 150)
    both = chains(np.concatenate([parts[0], parts[1][:100]]), 2, blocks[:250])
    alone = [dynamics(chains(part), np.eye(2)).attractor.value[0] for part in (parts[0], parts[1][:100])]
    assert dynamics(both, np.eye(2)).attractor.value[0] == pytest.approx(0.6 * alone[0] + 0.4 * alone[1])
    assert dynamics(both, np.eye(2), alike=True).attractor.value[0] == pytest.approx(np.mean(alone))
    mixed = dynamics(chains(both.states), np.eye(2))
    assert mixed.half_life.value > dynamics(both, np.eye(2)).half_life.value + 0.5


# Tests


def naive_order(given_: Chains) -> Any:
    """By strata (block, state, round): the agreement of past and next state against all ways to deal, in closed form."""
    agreement, covariance = np.zeros(2), np.zeros((2, 2))
    last = given_.states.shape[2] - 1
    for block, state, round_ in product(range(given_.n_blocks), range(given_.n_states), range(1, last)):
        past, future = [], []
        for block_of, replicates in zip(given_.blocks, given_.states, strict=True):
            for chain in replicates:
                if block_of == block and chain[round_] == state and min(chain[round_ - 1], chain[round_ + 1]) >= 0:
                    before = [one for one in chain[:round_] if one >= 0]
                    past.append([given_.features[chain[round_ - 1]], given_.features[before].mean(axis=0)])
                    future.append(given_.features[chain[round_ + 1]])
        if len(past) > 1:
            p, f = np.array(past) - np.mean(past, axis=0), np.array(future) - np.mean(future, axis=0)
            agreement += np.einsum("ncm,nm->c", p, f)
            covariance += np.einsum("nci,ij,ndj->cd", p, f.T @ f / (len(p) - 1), p)
    return stats.f.sf(agreement @ np.linalg.solve(covariance, agreement) / 2, 2, len(given_.states) - 2)


@settings(max_examples=15, deadline=None, derandomize=True)
@worlds
def test_order_test_is_the_naive_one(seed: int, n_states: int, unread: float) -> None:
    given_ = drawn(n=40, n_states=n_states, unread=unread, seed=seed)
    assert order_test(given_) == pytest.approx(naive_order(given_), rel=1e-6)


def test_order_test_agrees_with_chains_dealt_out_anew() -> None:
    """Independent oracle: the permutation distribution itself, futures exchanged among chains in one state at one round."""
    states = World(kinds=(Kind(anew=0.5, drawn=(0.6, 0.4)),), start=(0.5, 0.5), steps=2).draw(200, generator(5))
    states[::12, 0, 2] = states[::12, 0, 0]
    draws, middle = generator(6), states[:, 0, 1]
    observed = order_test(chains(states))
    p_values = []
    for _ in range(400):
        dealt = states.copy()
        for state in (0, 1):
            here = np.flatnonzero(middle == state)
            dealt[here, 0, 2] = states[draws.permutation(here), 0, 2]
        p_values.append(order_test(chains(dealt)))
    beyond, tied = np.mean(np.array(p_values) < observed * (1 - 1e-9)), np.mean(np.isclose(p_values, observed, rtol=1e-9))
    assert observed == pytest.approx(beyond + tied / 2, abs=0.06)


def late_gap(given_: Chains) -> Any:
    """Read minus predicted, summed over late rounds: naive."""
    middle = given_.steps // 2
    [early] = fit(given_.until(middle)).matrices
    gap = 0.0
    for chain in given_.states.reshape(-1, given_.steps + 1):
        for round_ in range(middle + 1, given_.steps + 1):
            if min(chain[middle], chain[round_]) >= 0:
                gap += np.eye(given_.n_states)[chain[round_]] - np.linalg.matrix_power(early, round_ - middle)[chain[middle]]
    return gap


def test_late_test_is_the_gap_with_the_spread_of_a_jackknife() -> None:
    given_ = drawn(n=150, n_states=3, unread=0.1, seed=8)
    gap = late_gap(given_)[:2]
    without = np.array([late_gap(chains(np.delete(given_.states, seed, axis=0), 3))[:2] for seed in range(150)])
    spread = (without - without.mean(axis=0)).T @ (without - without.mean(axis=0)) * 149 / 150
    statistic = gap @ np.linalg.solve(spread, gap)
    assert late_test(given_) == pytest.approx(stats.f.sf(statistic * 148 / (2 * 149), 2, 148), abs=0.03)


def test_homogeneity_finds_a_matrix_that_changes_and_not_one_that_stays() -> None:
    slow, fast = (World(kinds=(Kind(anew=q, drawn=(0.5, 0.5)),), start=(0.9, 0.1), steps=8) for q in (0.05, 0.9))
    early, late = slow.draw(300, generator(1)), fast.draw(300, generator(2))
    still = [homogeneity_test(chains(slow.draw(100, generator(i)))) <= 0.05 for i in range(200)]
    assert np.mean(still) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert homogeneity_test(chains(np.concatenate([early[:, :, :5], late[:, :, 5:]], axis=2))) < 1e-4


def test_memory_of_the_round_before_is_found() -> None:
    draws, states = generator(9), [generator(8).integers(0, 2, 400), generator(7).integers(0, 2, 400)]
    for _ in range(5):
        states.append(np.where(draws.random(400) < 0.4, states[-2], draws.integers(0, 2, 400)))
    assert order_test(chains(np.stack(states, axis=1))) < 1e-6


def test_the_pooled_two_speeds_predict_what_never_comes() -> None:
    """Seeds of two kinds read as one chain: after 8 of 16 steps it predicts 74.2 % where the truth is 66.3 %."""
    world = next(iter(FALSE.values()))
    share = np.array([world.start[1]] * 2)
    flow, halfway = np.zeros((2, 2)), 0.0
    for step in range(1, 17):
        gains = np.array([(1 - share) * kind.anew * kind.drawn[1] for kind, share in zip(world.kinds, share, strict=True)])
        losses = np.array([share * kind.anew * kind.drawn[0] for kind, share in zip(world.kinds, share, strict=True)])
        if step <= 8:
            flow += [[(1 - share).sum(), gains.sum()], [share.sum(), losses.sum()]]
        share = share + gains - losses
        halfway = share.mean() if step == 8 else halfway
    up, down = flow[:, 1] / flow[:, 0]
    pulled = up / (up + down)
    predicted = pulled + (1 - up - down) ** 8 * (halfway - pulled)
    assert round(100 * predicted, 1) == 74.2
    assert round(100 * share.mean(), 1) == 66.3


def refused(world: World, n: int, repetitions: int = 60) -> Any:
    found = [
        dynamics(chains(world.draw(n, generator(i)), len(world.start)), np.eye(len(world.start))) for i in range(repetitions)
    ]
    return np.mean([one.status != SHOWN for one in found])


@pytest.mark.parametrize("name", [name for name in FALSE if "one speed" not in name])
def test_the_gate_refuses_what_only_looks_like_a_chain(name: str) -> None:
    assert refused(FALSE[name], 300, 30) >= 0.9


def test_the_gate_lets_most_true_chains_through() -> None:
    assert refused(TRUE["two, .3 from .8"], 100) <= 0.25


def test_gate_lets_nothing_through_that_it_cannot_test() -> None:
    assert gate(0.5, 0.5, 0.5) == SHOWN
    assert gate(0.01, 0.5, 0.5) == "not first order"
    assert gate(np.nan, 0.01, 0.5) == "late rounds not predicted"
    assert gate(0.5, 0.5, 0.01) == "not the same in all rounds"
    assert gate(np.nan, 0.5, 0.5) == TOO_FEW_SEEDS


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUE)
def test_truth_is_covered_and_true_chains_are_seldom_refused(name: str) -> None:
    world, repetitions = TRUE[name], 300
    found = [
        dynamics(chains(world.draw(100, generator(i)), len(world.start)), np.eye(len(world.start))) for i in range(repetitions)
    ]
    shown = [one for one in found if one.status == SHOWN]
    assert len(shown) >= 0.75 * repetitions
    [kind] = world.kinds
    for estimate, true in (("attractor", np.array(kind.drawn)), ("half_life", halved(np.array([kind.anew])))):
        held = np.mean([(getattr(one, estimate).low <= true) & (true <= getattr(one, estimate).high) for one in shown], axis=0)
        assert (held >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / len(shown))).all()


# Edges


def status(states: Any, n_states: int = 2) -> str:
    return dynamics(chains(states, n_states), np.eye(n_states)).status


def test_what_cannot_be_told_says_so() -> None:
    many = drawn(n=30, n_states=2, replicates=1).states
    assert status(many[:, :, :1]) == TOO_FEW_ROUNDS
    assert status(many[:, :, :MIN_STEPS]) == TOO_FEW_ROUNDS
    assert status(many[:, :, : MIN_STEPS + 1]) not in (TOO_FEW_ROUNDS, TOO_FEW_SEEDS)
    assert status(many[:1]) == TOO_FEW_SEEDS
    assert status(np.full((30, 1, 7), -1)) == TOO_FEW_SEEDS
    assert status(np.repeat(many[:, :, :1], 7, axis=2)) == NOT_IDENTIFIABLE
    assert status(np.zeros((30, 1, 7))) == NOT_IDENTIFIABLE
    assert dynamics(many_chains := chains(many), np.eye(2), min_seeds=31).status == TOO_FEW_SEEDS
    assert np.isfinite(dynamics(many_chains, np.eye(2), min_seeds=31).attractor.value).all()


def test_rounds_that_nobody_read_leave_nothing_to_test() -> None:
    read = drawn(n=40, n_states=2, replicates=1, steps=8).states
    for silent in ([2, 5], [4], [0, 1, 2, 3], [2, 4, 6]):
        states = read.copy()
        states[:, :, silent] = -1
        assert status(states) in (SHOWN, TOO_FEW_SEEDS)
    no_middle = read.copy()
    no_middle[:, :, 4] = -1
    assert np.isnan(late_test(chains(no_middle)))


def test_two_closed_classes_pull_nowhere_and_an_absorbing_state_pulls_all() -> None:
    draws = generator(3)
    apart = np.concatenate([draws.integers(0, 2, (30, 7)), draws.integers(2, 4, (30, 7))])
    assert status(apart, 4) == NOT_IDENTIFIABLE
    falling = np.sort(draws.integers(0, 2, (60, 7)), axis=1)
    falling[:, -1] = 1
    found = dynamics(chains(falling), np.eye(2))
    assert found.attractor.value == pytest.approx([0, 1])
    assert found.attractor.low[1] < 1
    assert np.isnan(found.half_life.value)


def test_a_category_nobody_was_read_as_has_a_share_of_0_and_a_width() -> None:
    plain = drawn(n=60, n_states=2, replicates=1, seed=2)
    found = dynamics(chains(plain.states, 3), np.eye(3))
    assert found.attractor.value[2] == pytest.approx(0, abs=1e-12)
    assert found.attractor.low[2] == 0 < found.attractor.high[2] < 0.2
    alone = dynamics(plain, np.eye(2))
    assert found.attractor.value[:2] == pytest.approx(alone.attractor.value)
    assert found.half_life.value == pytest.approx(alone.half_life.value)
    assert found.p_order == pytest.approx(alone.p_order)


def test_seeds_without_a_step_change_nothing_and_copies_of_a_unit_are_one() -> None:
    plain = drawn(n=60, n_states=2, seed=2)
    silent = np.concatenate([plain.states, np.full((9, *plain.states.shape[1:]), -1)])
    np.testing.assert_allclose(dynamics(chains(silent), np.eye(2)).attractor, dynamics(plain, np.eye(2)).attractor)
    twice = np.repeat(plain.states, 2, axis=0)
    coupled = dynamics(chains(twice, units=np.arange(120) // 2), np.eye(2)).attractor
    free = dynamics(chains(twice), np.eye(2)).attractor
    assert coupled.high[0] - coupled.low[0] > 1.2 * (free.high[0] - free.low[0])
    assert dynamics(plain, np.eye(2)).attractor.value == pytest.approx(coupled.value)


def test_renamed_states_rename_the_results() -> None:
    plain = drawn(n=60, n_states=3, seed=5)
    found, other = dynamics(plain, np.eye(3)), dynamics(chains((plain.states + 1) % 3, 3), np.eye(3))
    np.testing.assert_allclose(np.roll(found.attractor.value, 1), other.attractor.value)
    assert (found.p_order, found.p_late) == pytest.approx((other.p_order, other.p_late))


def test_matrix_has_limits_around_it_and_none_where_nobody_left() -> None:
    found = transition_limits(given_ := drawn(n=60, n_states=2, seed=1), fit(given_))
    assert ((found.low < found.value) & (found.value < found.high)).all()
    never = chains(np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]]))
    assert np.isnan(transition_limits(never, fit(never)).value[1]).all()


def test_half_life_of_shares_drawn_anew() -> None:
    assert halved(np.array([0.5, 0.3])) == pytest.approx([1, np.log(0.5) / np.log(0.7)])
    assert halved(np.array([0.0, 1.0, 1.3])).tolist() == [np.inf, 0, 0]
