"""The worlds in which corrections are validated: what the methods aim at is what very many seeds show."""

import numpy as np
import pytest

from driftloop.validation.correction import WORLDS, draw


@pytest.mark.parametrize("name", WORLDS)
def test_what_corrections_aim_at_is_what_very_many_seeds_show(name):
    world = WORLDS[name]
    drawn = draw(world, 200_000, np.random.default_rng(3))
    (early, later), (read, read_later) = ([part == 0 for part in drawn.truth], [part >= 0 for part in drawn.read])
    both, true = read & read_later, world.truth_of_read()
    assert true["share"][0] == pytest.approx(later[read_later].mean(), abs=0.006)
    assert true["adjusted shift"][0] == pytest.approx(later[both].mean() - early[both].mean(), abs=0.006)
    assert true["em shift"][0] == pytest.approx(later[read_later].mean() - early[read].mean(), abs=0.006)


def test_abstention_alone_is_no_other_way_of_erring():
    assert WORLDS["abstains by group and round, errs alike"].same
    assert not WORLDS["abstains by group and round"].same
    assert not WORLDS["errs otherwise later"].same
