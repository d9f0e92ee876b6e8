"""Runs of the exact world against each other, through the files that a sweep leaves: tables, page, command."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

import driftloop
from driftloop.core.errors import ConfigError
from driftloop.report.comparison import ArmShown, Comparison, comparison_page, varying
from driftloop.runs import Run, load_runs
from driftloop.stages.compare import compare_all
from driftloop.statistics.multiplicity import holm
from playing import TOY, composed, played

pytestmark = pytest.mark.slow

EXTENT = ("experiment=phantom_exact", "dataset.limit=60", "rounds=1", "analysis.resamples=100")
METRICS = "[mention,decomposition]"
ARMS = (
    {"captioner.omission": "0.1", "metric": METRICS},
    {"captioner.omission": "0.9", "metric": METRICS},
    {"captioner.omission": "0.1", "arm": "aa"},
)


def exact_run(folder: Path, settings: Mapping[str, str], *words: str) -> Run:
    chosen = [f"{name}={value}" for name, value in settings.items()]
    return played(composed(*EXTENT, *chosen, "stages=[play,measure,analyse]", f"results_dir={folder}", *words))


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Captions that leave little out, captions that leave nearly all out, and a twin of the first."""
    folder = tmp_path_factory.mktemp("sweep") / "results"
    return [exact_run(folder, settings) for settings in ARMS]


@pytest.fixture(scope="module")
def page(arms: list[Run]) -> Path:
    """The comparison of all three; the first and the second have a report."""
    for run in arms[:2]:
        (run.store.folder / "report").mkdir()
        (run.store.folder / "report/index.html").write_text("a report")
    return compare_all(arms[0].store.folder.parent, "phantom_exact", resamples=100)


@pytest.fixture(scope="module")
def apart(arms: list[Run]) -> pd.DataFrame:
    """Captions that leave nearly all out minus such that leave little out."""
    return driftloop.compare(arms[1], arms[0])


@pytest.fixture
def results(arms: list[Run], tmp_path: Path) -> Path:
    return Path(shutil.copytree(arms[0].store.folder.parent, tmp_path / "results"))


def arms_of(page: Path) -> list[str]:
    return pd.read_csv(page.parent / "runs.csv")["run"].tolist()


def planted(run: Run) -> pd.Series[Any]:
    table = run.table("planted").query("concept == 'all'")
    return table.set_index(["round", "attribute", "category"])["share"]


def test_what_was_planted_lies_in_the_intervals(arms: list[Run], apart: pd.DataFrame) -> None:
    little, much, _ = arms
    table = apart.query("quantity == 'share' and concept == 'all' and round > 0")
    key = ["round", "attribute", "category"]
    truth = (planted(much) - planted(little)).reindex(pd.MultiIndex.from_frame(table[key])).to_numpy()
    assert np.isfinite(truth).all()
    assert np.abs(truth).max() > 0.05
    inside = (table["low"].to_numpy() <= truth) & (truth <= table["high"].to_numpy())
    assert inside.mean() > 0.9
    assert (table["n_seeds"] == 60).all()


def test_twins_do_not_differ_and_what_one_of_them_lacks_is_named(arms: list[Run]) -> None:
    with pytest.warns(UserWarning, match="analysed without it") as warned:
        table = driftloop.compare(arms[2], arms[0])
    assert (table["value"] == 0).all()
    assert (table["p_value"].dropna() == 1).all()
    told = [str(warning.message) for warning in warned]
    lacking = f"is not compared: {arms[2].run_id} was analysed without it"
    assert told == [f"metric decomposition {lacking}", f"metric mention {lacking}"]


def test_captions_name_as_much_less_often_as_was_planted(apart: pd.DataFrame) -> None:
    named = apart.query("metric == 'mention' and quantity == 'named' and concept == 'all'")
    assert set(zip(named["attribute"], named["round"], strict=True)) == {(a, r) for a in ("gender", "age") for r in (0, 1)}
    assert ((named["low"] <= -0.8) & (named["high"] >= -0.8)).all()
    assert (named["p_adjusted"] < 1e-6).all()
    assert named["family"].isna().all()


def test_the_differences_of_the_parts_add_up_to_that_of_the_shifts(apart: pd.DataFrame) -> None:
    key = ["concept", "attribute", "category", "round"]
    parts = apart[apart["metric"] == "decomposition"]
    assert set(parts["quantity"]) == {f"through_{part}" for part in ("silent", "agrees", "contradicts", "unclear")}
    shifts = apart[(apart["quantity"] == "shift") & (apart["round"] > 0)].set_index(key)["value"]
    assert parts.groupby(key)["value"].sum().to_dict() == pytest.approx(shifts.to_dict(), abs=1e-9)
    silent = parts[parts["quantity"] == "through_silent"].set_index(key)["value"]
    assert silent.to_dict() == pytest.approx(shifts.to_dict(), abs=1e-9)  # an exact captioner only omits


def test_every_run_is_set_against_the_first_and_adjusted_together(arms: list[Run], page: Path) -> None:
    assert page == arms[0].store.folder.parent / "comparisons/phantom_exact/index.html"
    table = pd.read_parquet(page.parent / "differences.parquet")
    assert set(table["reference"]) == {arms[0].run_id}
    assert list(dict.fromkeys(table["run"])) == [arms[1].run_id, arms[2].run_id]
    family = table[table["family"] == "confirmatory"].drop_duplicates(["run", "attribute"])
    assert len(family) == 4  # gender and age of two arms
    both = family.set_index(["run", "attribute"])["test_p_adjusted"]
    assert both.to_dict() == pytest.approx(holm(family.set_index(["run", "attribute"])["test_p_value"].to_dict()))
    runs = pd.read_csv(page.parent / "runs.csv").set_index("run")
    assert runs.loc[arms[1].run_id, "captioner.omission"] == 0.9


def test_the_page_says_what_differs_and_leads_to_the_reports(page: Path) -> None:
    text = page.read_text()
    assert "captioner.omission" in text
    assert "captioner.phrasing" not in text
    links = [unquote(found) for found in re.findall(r'href="([^"#]+)"', text)]
    assert len(links) == 2
    assert all((page.parent / link).read_text() == "a report" for link in links)
    assert text.count("after Holm") == 4
    assert "<svg" in text
    assert text.count("<td>mention: named</td>") == 2
    assert f"arm 3: metric decomposition is not compared: {arms_of(page)[2]} was analysed without it" in text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_a_run_that_was_read_otherwise_is_named_and_left_out(arms: list[Run], results: Path) -> None:
    told = next((results / arms[2].run_id / "labels").glob("*/classifier.json"))
    told.write_text(told.read_text().replace("whole", "other").replace('"exact"', '"else"'))
    page = compare_all(results, "phantom_exact", resamples=100)
    assert set(pd.read_parquet(page.parent / "differences.parquet")["run"]) == {arms[1].run_id}
    assert "arm 3 is not compared: no instrument read both runs" in page.read_text()


def test_one_run_is_no_comparison(arms: list[Run], results: Path) -> None:
    with pytest.raises(ConfigError, match="needs two runs of experiment elsewhere"):
        compare_all(results, "elsewhere")
    for run in arms[1:]:
        shutil.rmtree(results / run.run_id)
    with pytest.raises(ConfigError, match=arms[0].run_id):
        compare_all(results, "phantom_exact")


def test_a_run_is_compared_as_far_as_its_analysis_looked(arms: list[Run], results: Path) -> None:
    longer = exact_run(results, ARMS[1], "rounds=2", "dataset.limit=70", "stages=[play,measure]")
    table = driftloop.compare(longer, load_runs(results)[arms[0].run_id])
    assert table["round"].max() == 1
    assert table["n_seeds"].max() == 60


def test_nothing_on_the_page_is_trusted(arms: list[Run], page: Path) -> None:
    bad = '<script>alert("x")</script>'
    table = pd.read_parquet(page.parent / "differences.parquet").query("run == @arms[1].run_id").assign(run=bad)
    renamed = {"attribute": {"gender": bad}, "category": {"0-3": bad}}
    shown = [ArmShown(run=arms[0].run_id, config={bad: 1}), ArmShown(run=bad, config={bad: bad}, report=f'"{bad}', refused="")]
    more = ArmShown(run="third", config={}, refused=bad)
    comparison = Comparison(experiment=bad, arms=[*shown, more], differences=table.replace(renamed), level=0.95)
    text = comparison_page(comparison)
    assert "<script" not in text
    assert "&lt;script" in text


def test_only_what_differs_is_told() -> None:
    found = varying({"a": {"steps": 3, "guidance": 1.0}, "b": {"steps": 3, "guidance": 2.0, "drop.probability": 0.1}})
    assert found == {"a": {"guidance": 1.0, "drop.probability": None}, "b": {"guidance": 2.0, "drop.probability": 0.1}}


@pytest.mark.slow
def test_differences_of_runs_that_only_chance_tells_apart_cover_0(tmp_path: Path) -> None:
    """Other root seeds, through the whole loop with pictures; disjoint pairs."""
    settings = [{"captioner.omission": "0.5", "root_seed": str(number)} for number in range(16)]
    runs = [exact_run(tmp_path, each, "dataset.limit=36") for each in settings]
    tables = [driftloop.compare(*pair) for pair in zip(runs[::2], runs[1::2], strict=True)]
    later = pd.concat(tables).query("concept == 'all' and round == 1")
    assert len(later) == 8 * 7 * 2
    assert (later["value"] != 0).mean() > 0.8
    assert ((later["low"] <= 0) & (later["high"] >= 0)).mean() >= 0.95
    assert (later["p_value"] < 0.05).mean() <= 0.05


@pytest.mark.slow
def test_a_sweep_ends_with_a_page_and_the_stage_makes_it_again(run_command: Any, tmp_path: Path) -> None:
    words = ("experiment=phantom_exact", "dataset.limit=24", "rounds=1", "analysis.resamples=100", "results_dir=results")
    swept = run_command("-m", *words, "captioner.omission=0.9,0.1", "stages=[play,measure,analyse]")
    assert swept.returncode == 0, swept.stderr
    assert "comparison: results/comparisons/phantom_exact/index.html" in swept.stdout
    folder = tmp_path / "results/comparisons/phantom_exact"
    assert {path.name for path in folder.iterdir()} == {"index.html", "differences.parquet", "runs.csv"}
    table = pd.read_parquet(folder / "differences.parquet")
    assert load_runs(tmp_path / "results")[table["reference"].iloc[0]].config["captioner.omission"] == 0.9
    shutil.rmtree(folder)
    again = run_command(*words, "stages=[compare]")
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "differences.parquet"), table)
    assert len(load_runs(tmp_path / "results")) == 2  # looking makes no run


@pytest.mark.slow
def test_a_sweep_without_readings_ends_well_and_says_so(run_command: Any, toy_command: Any) -> None:
    done = run_command("-m", *TOY, "root_seed=1,2", "stages=[play]")
    assert done.returncode == 0, done.stderr
    assert "no comparison: nothing can be compared" in done.stderr
    refused = toy_command("stages=[compare]", "results_dir=elsewhere")
    assert refused.returncode == 2
    assert "no run" in refused.stderr
