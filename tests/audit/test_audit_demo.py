"""The demonstration: an instrument that errs more on generated pictures, and what each method makes of it."""

import subprocess
from pathlib import Path

import pytest
import yaml

import playing
from driftloop.cli import CONF
from driftloop.phantom.annotator import main
from driftloop.runs import Run

pytestmark = pytest.mark.slow


def commands():
    """The commands in the demonstration's own comment."""
    text = (Path(CONF) / "experiment/demo_errs_on_generated.yaml").read_text()
    assert yaml.safe_load(text)["rounds"] == 3
    return [line.split(". ", 1)[1].split("   #")[0] for line in text.splitlines() if line.startswith(("# 1.", "# 2.", "# 3."))]


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    play, label, analyse = commands()
    folder = tmp_path_factory.mktemp("demo")
    _driftloop(play, folder)
    [run] = (folder / "results").glob("phantom_*")
    assert label.startswith(f"scripts/phantom_audit results/{run.name.rsplit('_', 1)[0]}_<hash8> ")
    main([str(run), *label.split()[2:]])
    _driftloop(analyse, folder)
    return Run(run)


def _driftloop(command, folder):
    words = command.replace("'", "").split()
    subprocess.run([playing.COMMAND, *words[1:]], cwd=folder, check=True, env=playing.environment(), capture_output=True)


def estimate(run, method):
    """Of perceived women at the last round."""
    drift = run.table("drift").query("concept == 'all' and attribute == 'gender' and category == 'female' and round == 3")
    return drift[drift["method"] == method].iloc[0]


def test_raw_and_corrected_drift_mislead_and_the_audit_finds_the_truth(demonstration):
    planted = demonstration.table("planted").query("concept == 'all' and attribute == 'gender' and category == 'female'")
    shares = planted.set_index("round")["share"]
    truth, shift = shares[3], shares[3] - shares[0]
    assert shift > 0.03
    for method in ("raw", "adjusted", "em"):
        found = estimate(demonstration, method)
        assert found["share_high"] < truth, method
        assert found["shift_high"] < 0, method  # the wrong way, and sure of it
    audited = estimate(demonstration, "audited")
    assert audited["share_low"] <= truth <= audited["share_high"]
    assert audited["shift_low"] <= shift <= audited["shift_high"]


def test_nothing_that_is_computed_from_readings_warns(demonstration):
    """An instrument as sure of generated pictures as of seeds gives itself away to people alone."""
    told = demonstration.table("instrument").query("concept == 'all'")
    assert not told["note"].str.startswith("warning").any()
    told = told.query("attribute == 'gender'").set_index("quantity")
    assert told.loc["over_identification", "note"].str.startswith("not testable").all()
    assert told.loc["em_minus_adjusted", "value"].abs().max() < 0.001
    assert told.loc["condition_number", "value"] < 2


def test_the_audit_says_that_the_instrument_errs_otherwise(demonstration):
    told = demonstration.table("audit").query("attribute == 'gender'").set_index("quantity")
    assert told.loc["equal_confusion", "note"].startswith("warning")
    assert told.loc["alpha", "low"] > 0.8
    fine = demonstration.table("audit").query("attribute == 'age' and quantity == 'equal_confusion'").iloc[0]
    assert not fine["note"].startswith("warning")
