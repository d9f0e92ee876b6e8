"""The demonstrations show what their first line says, in numbers; `demo_errs_on_generated` has its test beside the audit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import driftloop
from playing import COMMAND, composed, environment, played


def told(run: Any, table: str, **where: Any) -> Any:
    """The rows of perceived women over all seeds, by round."""
    rows = run.table(table).query("concept == 'all' and attribute == 'gender' and category == 'female'")
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.set_index("round")


def card(model: str) -> Any:
    return json.loads((Path(driftloop.__file__).parent / "phantom/models" / model / "card.json").read_text())


@pytest.mark.slow
def test_a_world_without_drift_drifts_the_published_way_and_not_ours(tmp_path: Path) -> None:
    run = played(composed("experiment=demo_published_way", f"results_dir={tmp_path}"))
    planted = told(run, "planted")["share"]
    assert planted.to_list() == [planted[0]] * 4
    ways, drift = told(run, "published_way"), told(run, "drift", method="raw")
    for number in (1, 3):
        row = ways.loc[number]
        assert row["human_share"] == pytest.approx(planted[0])
        assert row["published_way"] == pytest.approx(row["change_of_annotator"] + row["shift"])
        assert -0.12 < row["published_way"] < row["published_way_high"] < -0.04
        assert row["change_of_annotator_high"] < -0.05
        assert row["shift_low"] < 0 < row["shift_high"]
        assert row["shift"] == pytest.approx(drift.loc[number, "shift"])
    missed = 1 - card("gender_errs_on_women")["on held-out renders"]["recall female"]
    assert ways.loc[1, "change_of_annotator_low"] < -missed * planted[0] < ways.loc[1, "change_of_annotator_high"]
    assert "change of annotator" in run.store.folder.joinpath("report/index.html").read_text()


@pytest.mark.slow
def test_resolution_alone_fakes_a_drift_that_both_checks_give_away(tmp_path: Path) -> None:
    """Both arms by one sweep: the loop draws the same people smaller; the control arm has no captions, so no loop."""
    words = [COMMAND, "-m", "experiment=demo_resolution,demo_resolution_roundtrip"]
    subprocess.run(words, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    runs = {run.config["generator"]: run for run in driftloop.load_runs(tmp_path / "results")}
    assert set(runs) == {"exact_small", "phantom_roundtrip"}
    planted = told(runs["exact_small"], "planted")["share"]
    assert planted.to_list() == [planted[0]] * 3
    for run in runs.values():
        assert run.image(run.rounds.query("round == 0")["image"].iloc[0]).size == (64, 64)
        fooled = told(run, "drift", classifier="phantom_gender_errs_on_generated")
        for number in (1, 2):
            assert fooled.loc[number, "shift_high"] < 0
            assert -0.15 < fooled.loc[number, "shift"] < -0.03
            for calm in ("phantom_gender_matched", "phantom_cnn"):
                row = told(run, "drift", classifier=calm).loc[number]
                assert row["shift_low"] < 0 < row["shift_high"]
    arms = [told(run, "drift", classifier="phantom_gender_errs_on_generated").loc[2] for run in runs.values()]
    low, high = max(arm["shift_low"] for arm in arms), min(arm["shift_high"] for arm in arms)
    assert low < high  # the two arms agree
    small = runs["exact_small"]
    assert small.image(small.rounds.query("round == 1")["image"].iloc[0]).size == (32, 32)
    [page] = (tmp_path / "results/comparisons").glob("*/index.html")
    assert "phantom_roundtrip" in page.read_text()
