"""The worlds in which decompositions are validated: their truth is right; a wrong one, and parts that do not add up, show."""

from dataclasses import replace

import numpy as np
import pytest

from driftloop.validation import decomposition
from driftloop.validation.__main__ import section
from driftloop.validation.decomposition import PARTS, READERS, ROUNDS, WORLDS, World, once, outcomes
from driftloop.validation.outcome import farthest
from driftloop.validation.readings import INSTRUMENTS


def world(name, reader="changing errors", replicates=3):
    return replace(WORLDS[name], instrument=INSTRUMENTS[reader], replicates=replicates)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", WORLDS)
def test_the_truth_in_closed_form_is_what_very_many_seeds_show(name, reader):
    asked = world(name, reader)
    found = once(asked, 30_000, 1, np.random.default_rng(1))
    for span, first in (("last step", ROUNDS - 1), ("all steps", 0)):
        np.testing.assert_allclose(found[span].value[0], asked.truth(first, ROUNDS), atol=0.008)
        assert found[span].adds_up.all()


def test_known_worlds_have_the_truth_one_would_write_down():
    """Everybody silent and drawn from the prior; everybody misnamed and drawn so; nobody moves."""
    silent = WORLDS["0 to 1, silent"].truth(0, 1)
    np.testing.assert_allclose(silent[PARTS.index("silent")], [1, -1])
    np.testing.assert_allclose(np.delete(silent, PARTS.index("silent"), axis=0), 0)
    wrong = WORLDS["0 to 1, misnamed"].truth(0, ROUNDS)
    np.testing.assert_allclose(wrong[PARTS.index("contradicts")], [1, -1])
    for first in (0, ROUNDS - 1):
        np.testing.assert_allclose(WORLDS["even, none"].truth(first, ROUNDS), 0, atol=1e-12)
    assert np.abs(world("even, none").truth(0, ROUNDS)).max() > 0.02  # a changing instrument is no drift, and looks like one


def test_wrong_truths_and_lost_parts_are_found_out(monkeypatch):
    honest = {one.quantity: one for one in outcomes(world("omits"), 100, 400, 1)}
    assert all(one.holds for one in honest.values())
    true = World.truth
    monkeypatch.setattr(World, "truth", lambda self, first, last: true(self, first, last) + 0.02)
    wrong = {one.quantity: one for one in outcomes(world("omits"), 100, 400, 1)}
    assert wrong["bias, all steps"].holds is False
    shift = decomposition.shifts
    monkeypatch.setattr(decomposition, "shifts", lambda labels, k: shift(labels, k) + 1e-6)
    lost = {one.quantity: one for one in outcomes(world("omits"), 100, 40, 1)}
    assert lost["adds up, all steps"].rate == 0
    assert lost["adds up, all steps"].holds is False


def test_the_farthest_mean_is_measured_in_its_own_errors():
    errors = np.random.default_rng(0).normal(size=(2000, 30)) * np.geomspace(0.01, 100, 30)
    assert farthest("bias", 100, errors).holds
    errors[:, 3] += 6 * errors[:, 3].std() / np.sqrt(2000)
    found = farthest("bias", 100, errors)
    assert found.holds is False
    assert np.isnan(found.error)
    assert farthest("bias", 100, np.zeros((10, 2))).holds
    assert farthest("bias", 100, np.full((10, 2), 0.1)).holds is False


@pytest.mark.parametrize("name", ["decomposition", "correction"])
def test_settings_have_names_of_their_own_and_give_the_same_twice(name):
    names = [case.name for case in section(name)(2)]
    assert len(set(names)) == len(names) > 5
    for case, again in list(zip(section(name)(4), section(name)(4), strict=True))[::25]:
        assert [repr(one) for one in case.check()] == [repr(one) for one in again.check()]
