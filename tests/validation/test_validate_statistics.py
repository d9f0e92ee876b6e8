"""The command behind scripts/validate_statistics: worlds whose truth is right, outcomes that can fail, a table that resumes."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftloop.validation import readings, trends
from driftloop.validation.__main__ import DEFAULT, Table, fill, main, section, summary
from driftloop.validation.outcome import Case, Outcome, covers, rejects
from driftloop.validation.readings import DRIFTS, INSTRUMENTS, REPLICATES, World

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("replicates", REPLICATES)
@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize("drift", [".5 to .6", "rare, none", "five, moved"])
def test_the_truth_in_closed_form_is_what_very_many_seeds_show(drift, instrument, replicates):
    world = World(drift=DRIFTS[drift], instrument=INSTRUMENTS[instrument], replicates=REPLICATES[replicates])
    early, late = (part[:, 0] for part in world.draw(100_000, 1, np.random.default_rng(1)))
    share, shift = world.truth()
    np.testing.assert_allclose(np.nanmean(late, axis=0), share, atol=0.007)
    np.testing.assert_allclose(np.nanmean(late - early, axis=0), shift, atol=0.008)


def test_a_steady_instrument_leaves_no_shift_where_nothing_moves_and_a_changing_one_makes_one():
    alone = REPLICATES["1 replicate"]
    steady, changing = (
        World(drift=DRIFTS["even, none"], instrument=INSTRUMENTS[name], replicates=alone).truth()[1]
        for name in ("steady errors", "changing errors")
    )
    np.testing.assert_allclose(steady, 0, atol=1e-12)
    assert np.abs(changing).max() > 0.02


@pytest.mark.parametrize("unread", [0.0, 0.3])
def test_the_true_slope_is_what_very_many_seeds_show(unread):
    from driftloop.statistics.panel import group
    from driftloop.statistics.trend import trend

    course = trends.Course(start=0.1, anew=0.6, kept=0.7, replicates=2, unread=unread)
    found = trend(course.draw(60_000, 1, np.random.default_rng(2)), trends.ROUNDS, group("all", np.arange(60_000)))
    assert found.slope[0] == pytest.approx(course.slope(), abs=0.002)


def test_wrong_truths_are_found_out(monkeypatch):
    """The check can fail: the same intervals against a truth three points off."""
    world = World(drift=DRIFTS["even, none"], instrument=INSTRUMENTS["faultless"], replicates=REPLICATES["1 replicate"])
    true = World.truth
    assert all(found.holds is not False for found in readings.outcomes(world, 300, 400, 1))
    monkeypatch.setattr(World, "truth", lambda self: tuple(part + 0.03 for part in true(self)))
    share, shift, _ = readings.outcomes(world, 300, 400, 1)
    assert share.holds is False
    assert shift.holds is False


def test_demands_are_one_sided_and_known_by_size():
    held = np.arange(2000) < 1920
    assert covers("share", 100, held, np.ones(2000)).holds
    assert covers("share", 100, np.ones(2000, bool), np.ones(2000)).holds
    assert covers("share", 100, np.arange(2000) < 1840, np.ones(2000)).holds is False
    assert covers("share", 30, np.arange(2000) < 1840, np.ones(2000)).holds
    assert covers("share", 16, ~held, np.ones(2000)).holds is None
    assert rejects("test", 100, np.arange(2000) < 40, null=True).holds
    assert rejects("test", 100, np.arange(2000) < 140, null=True).holds is False
    assert rejects("test", 100, np.arange(2000) < 140, null=False).holds is None


def made_up(rates, calls):
    def one(name, rate):
        calls.append(name)
        return [Outcome(quantity="share", kind="covers", n_seeds=100, repetitions=100, rate=rate, demand=0.95, width=0.1)]

    return lambda repetitions: (Case(name=name, check=lambda n=name, r=rate: one(n, r)) for name, rate in rates.items())


def table_in(folder, sections=("made_up",), **settings):
    table = Table(folder / "validate_statistics.csv", settings.pop("repetitions", 100), **settings)
    table.drop_stale(sections, everything=False)
    return table


def test_what_is_done_is_not_done_again_unless_the_code_or_the_repetitions_changed(tmp_path):
    calls = []
    fill(table_in(tmp_path), "made_up", made_up({"a": 0.96}, calls))
    fill(table_in(tmp_path), "made_up", made_up({"a": 0.96, "b": 0.2}, calls))
    assert calls == ["a", "b"]
    fill(table_in(tmp_path, sections=["other"], code="other"), "other", made_up({"c": 0.9}, calls))
    assert len(table_in(tmp_path, sections=["other"], code="other").rows()) == 3
    fill(table_in(tmp_path, repetitions=50), "made_up", made_up({"a": 0.96}, calls))
    assert calls == ["a", "b", "c", "a"]
    said = "\n".join(summary(table_in(tmp_path, repetitions=50).rows()))
    assert "MISSED" not in said.split("== made_up")[1].split("==")[0]


def test_the_summary_names_what_is_missed(tmp_path):
    table = table_in(tmp_path)
    fill(table, "made_up", made_up({"good": 0.96, "bad": 0.2}, []))
    said = "\n".join(summary(table.rows()))
    assert "demands met: 1 of 2" in said
    assert "MISSED bad: share 0.200" in said
    assert "least coverage 0.200 (bad)" in said


def test_an_unknown_section_is_told_what_there_is():
    with pytest.raises(SystemExit, match=r"readings.*trends"):
        section("nothing")


@pytest.mark.parametrize("name", ["readings", "concepts", "trends", "distances", "loop"])
def test_settings_have_names_of_their_own(name):
    names = [case.name for case in section(name)(100)]
    assert len(set(names)) == len(names) > 5


def test_every_kind_of_setting_gives_the_same_twice():
    """A few settings of each cheap section, at few repetitions: they run, and are seeded by their name alone."""
    for name in ("readings", "concepts", "trends"):
        for case, again in list(zip(section(name)(20), section(name)(20), strict=True))[::40]:
            assert [repr(one) for one in case.check()] == [repr(one) for one in again.check()]


@pytest.mark.slow
def test_the_command_runs_whole_and_writes_what_it_says(tmp_path, capsys):
    main(["--quick", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "validate_statistics_quick.csv")
    assert set(rows["section"]) == set(DEFAULT)
    assert (tmp_path / "validate_statistics_quick.txt").read_text() == said
    assert (rows["holds"].dropna().astype(str) == "True").mean() > 0.97
    assert said.startswith("command: scripts/validate_statistics --quick\n")


def test_the_script_is_the_command():
    said = subprocess.run([ROOT / "scripts/validate_statistics", "--help"], capture_output=True, text=True, check=True)
    assert "--sections" in said.stdout
