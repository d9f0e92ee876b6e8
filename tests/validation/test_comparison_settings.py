"""The section `comparison` of the validation: its truth is right, and the check can fail."""

from __future__ import annotations

import numpy as np
import pytest

from driftloop.validation import comparison
from driftloop.validation.__main__ import DEFAULT, section
from driftloop.validation.comparison import ARMS, REPLICATES, Arms, arms_of
from driftloop.validation.readings import INSTRUMENTS


def a_setting(name: str, instrument: str = "changing errors", replicates: str = "4 against 1") -> Arms:
    return arms_of(*ARMS[name], INSTRUMENTS[instrument], REPLICATES[replicates])


@pytest.mark.parametrize("replicates", REPLICATES)
@pytest.mark.parametrize("name", [".9 against .3", "five, moved", "rare, alike"])
def test_the_truth_in_closed_form_is_what_very_many_seeds_show(name: str, replicates: str) -> None:
    arms = a_setting(name, replicates=replicates)
    drawn = [part[:, 0] for part in arms.draw(60_000, 1, np.random.default_rng(1))]
    for found, true in zip(drawn, arms.truth(), strict=True):
        np.testing.assert_allclose(np.nanmean(found, axis=0), true, atol=0.01)


def test_arms_that_draw_alike_differ_by_nothing_whatever_the_instrument_does() -> None:
    for part in a_setting("both move, alike").truth():
        np.testing.assert_allclose(part, 0, atol=1e-12)


def test_a_wrong_truth_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    arms, true = a_setting(".6 against .5", "faultless", "1 replicate"), Arms.truth
    assert all(found.holds is not False for found in comparison.of_readings(arms, 300, 400, 1))
    monkeypatch.setattr(Arms, "truth", lambda self: tuple(part + 0.06 for part in true(self)))
    covered = [found for found in comparison.of_readings(arms, 300, 400, 1) if found.kind == "covers"]
    assert [found.holds for found in covered] == [False, False]


def test_every_kind_of_setting_has_a_name_of_its_own_and_gives_the_same_twice() -> None:
    assert "comparison" in DEFAULT
    once, again = (list(section("comparison")(20)) for _ in range(2))
    assert len({case.name for case in once}) == len(once)
    for case, same in list(zip(once, again, strict=True))[::40]:
        assert [repr(one) for one in case.check()] == [repr(one) for one in same.check()]
