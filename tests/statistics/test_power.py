import numpy as np
import pytest
from scipy import stats

from driftloop.statistics.moments import changes
from driftloop.statistics.panel import group
from driftloop.statistics.power import Effect, power, seeds_needed
from driftloop.statistics.tests import category_p_values, category_rejections, mcnemar


def test_ten_points_at_thirty_percent_discordance():
    """The measurement page's number; Connor 1987 and every textbook: ((1.96 √.3 + .8416 √.29) / .1)² = 233.1."""
    assert seeds_needed(shift=0.1, discordance=0.3, exact=False) == 234
    assert seeds_needed(shift=-0.1, discordance=0.3, exact=False) == 234


@pytest.mark.parametrize(("entering", "leaving", "wanted", "published"), [(0.2, 0.1, 0.8, 234), (0.45, 0.05, 0.8, 23)])
def test_the_formula_is_connor_s(entering, leaving, wanted, published):
    found = seeds_needed(shift=entering - leaving, discordance=entering + leaving, wanted=wanted, exact=False)
    assert found == published


def naive_power(seeds, entering, leaving, level=0.05, *, mid=True):
    """Every (rises, falls) there could be, one by one."""
    total = 0.0
    for rises in range(seeds + 1):
        falls = np.arange(seeds - rises + 1)
        counts = np.stack([np.full_like(falls, rises), falls, seeds - rises - falls], axis=1)
        chances = stats.multinomial.pmf(counts, seeds, [entering, leaving, 1 - entering - leaving])
        total += chances[mcnemar(rises, falls, mid=mid) <= level].sum()
    return total


@pytest.mark.parametrize(("seeds", "shift", "discordance"), [(12, 0.3, 0.5), (40, -0.2, 0.3), (60, 0.05, 0.05)])
def test_exact_power_is_the_sum_over_all_tables(seeds, shift, discordance):
    effect = Effect(shift=shift, discordance=discordance)
    by_hand = naive_power(seeds, effect.entering, effect.leaving)
    assert power(seeds=seeds, shift=shift, discordance=discordance) == pytest.approx(by_hand, abs=1e-9)


def test_seeds_needed_are_just_enough_and_more_are_no_fewer():
    needed = seeds_needed(shift=0.1, discordance=0.3)
    assert 225 <= needed <= 240
    assert all(power(seeds=seeds, shift=0.1, discordance=0.3) >= 0.8 for seeds in range(needed, needed + 20))
    assert any(power(seeds=seeds, shift=0.1, discordance=0.3) < 0.8 for seeds in range(needed - 5, needed))


def test_the_test_that_is_not_mid_p_has_less_power():
    """Why the measurement page says that the exact test needs more than 234."""
    assert naive_power(234, 0.2, 0.1, mid=False) < 0.8 < power(seeds=234, shift=0.1, discordance=0.3)


def test_replicates_help_until_seeds_alone_differ():
    needed = [seeds_needed(shift=0.1, discordance=0.3, replicates=k, exact=False) for k in (1, 2, 10, 1000)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] > 40  # seeds of unlike baseline move unlike
    alike = seeds_needed(shift=0.1, discordance=0.3, replicates=10, agreement=1.0, exact=False)
    assert alike == needed[0]


def test_variance_is_that_of_drawn_seeds():
    effect = Effect(shift=0.1, discordance=0.3, replicates=5, share=0.4, agreement=0.3)
    draws = np.random.default_rng(0)
    n = 400_000
    first = draws.random(n) < 0.4
    chance = np.where(first, 1 - effect.leaving / 0.4, effect.entering / 0.6)
    each = draws.random((5, n)) < chance
    later = np.where(draws.random(n) < 0.3, each[0], each.mean(axis=0))
    assert (later - first).mean() == pytest.approx(0.1, abs=0.004)
    assert (later - first).var() == pytest.approx(effect.variance, rel=0.02)


def test_simulated_power_with_replicates():
    """One replicate too, by way of drawing: the simulation agrees with the sum over all tables."""
    from driftloop.statistics.power import _simulated

    drawn = _simulated(Effect(shift=0.1, discordance=0.3), 234, 0.05, 4000)
    assert drawn == pytest.approx(power(seeds=234, shift=0.1, discordance=0.3), abs=0.02)
    four = power(seeds=120, shift=0.1, discordance=0.3, replicates=4)
    assert four == power(seeds=120, shift=0.1, discordance=0.3, replicates=4)
    assert four > power(seeds=120, shift=0.1, discordance=0.3) + 0.2


def test_seeds_needed_with_replicates_are_enough():
    settings = {"shift": 0.2, "discordance": 0.3, "replicates": 3, "repetitions": 1000}
    needed = seeds_needed(**settings)
    assert power(seeds=needed, **settings) >= 0.8
    assert abs(needed - seeds_needed(**settings, exact=False)) < 15


def test_rejections_are_those_of_the_p_values():
    draws = np.random.default_rng(1)
    members = group("all", np.arange(40))
    for differences in (draws.choice([-1.0, 0, 1], (40, 60), p=[0.1, 0.6, 0.3]), draws.normal(0.08, 0.2, (40, 60)).clip(-1, 1)):
        parts = changes(differences, members)
        for level in (0.05, 0.2):
            p_values = category_p_values(*parts)
            near = np.abs(p_values - level) < 1e-6
            np.testing.assert_array_equal(category_rejections(*parts, level)[~near], (p_values <= level)[~near])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shift": 0.3, "discordance": 0.2}, "discordance"),
        ({"shift": 0.0, "discordance": 0.2}, "shift"),
        ({"shift": 0.1, "discordance": 0.3, "replicates": 0}, "replicates"),
        ({"shift": 0.1, "discordance": 0.3, "replicates": 2, "share": 0.95}, "share of 0.95"),
        ({"shift": 0.1, "discordance": 0.3, "wanted": 0.01}, "wanted"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        seeds_needed(**wrong)


def test_both_are_at_hand_in_a_notebook():
    import driftloop

    assert driftloop.seeds_needed(shift=0.1, discordance=0.3, exact=False) == 234
    assert driftloop.power(seeds=234, shift=0.1, discordance=0.3) > 0.8


def test_one_seed_has_no_power():
    with pytest.raises(ValueError, match="two seeds"):
        power(seeds=1, shift=0.1, discordance=0.3)
