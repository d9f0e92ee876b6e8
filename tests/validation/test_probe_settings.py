"""The section `probes` of the validation: its truth is right, and the check can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from driftloop.validation import probes
from driftloop.validation.__main__ import DEFAULT, section
from driftloop.validation.probes import UNREAD, WORLDS, World


@pytest.mark.parametrize("replicates", [1, 4])
@pytest.mark.parametrize("unread", UNREAD)
@pytest.mark.parametrize("name", WORLDS)
def test_the_truth_in_closed_form_is_what_very_many_seeds_show(name: str, unread: str, replicates: int) -> None:
    world = replace(WORLDS[name], unread=UNREAD[unread], replicates=replicates)
    drawn = world.draw(60_000, 1, np.random.default_rng(1))[:, 0]
    np.testing.assert_allclose(np.nanmean(drawn, axis=0), world.truth(), atol=0.012)


def test_versions_that_share_their_number_differ_no_more_than_they_must() -> None:
    alone = World(first=WORLDS["rare"].first, second=WORLDS["rare"].second)
    apart = World(first=alone.first, second=alone.second, other=1.0)
    one, other = (np.abs(world.draw(20_000, 1, np.random.default_rng(2))).mean() for world in (alone, apart))
    assert one == pytest.approx(0.5 * 0.04, abs=0.003)  # half of the seeds, by four points
    assert other > one + 0.01


def test_a_share_of_captions_lacks_a_version() -> None:
    drawn = WORLDS["to the prior, a third names it"].draw(20_000, 1, np.random.default_rng(3))
    assert np.isfinite(drawn[..., 0]).mean() == pytest.approx(0.34, abs=0.02)


def test_wrong_truths_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world, true = WORLDS["kinds move against each other"], World.truth
    assert all(found.holds is not False for found in probes.outcomes(world, 300, 300, 1))
    monkeypatch.setattr(World, "truth", lambda self: true(self) + 0.05)
    effect, _ = probes.outcomes(world, 300, 300, 1)
    assert effect.holds is False


def test_it_is_a_section_of_the_command_with_settings_of_their_own_names() -> None:
    assert "probes" in DEFAULT
    names = [case.name for case in section("probes")(20)]
    assert len(set(names)) == len(names) == 120
