"""The metric `probes`: effects by hand, what was planted in exact models, and what it says where nothing was probed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftloop.core.counterfactuals import probe_folder
from driftloop.core.errors import DriftloopError
from driftloop.metrics.probes import (
    PROBE_COLUMNS,
    Outcome,
    ProbesMetric,
    adjusted,
    named_in,
    pairs,
    part_effects,
    probe_effects,
)
from driftloop.phantom.grammar import parse
from driftloop.phantom.world import CATEGORIES
from driftloop.runs import Run
from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes
from driftloop.statistics.multiplicity import benjamini_hochberg
from driftloop.statistics.panel import group
from driftloop.statistics.tests import mcnemar
from driftloop.statistics.years import year_change
from playing import composed, played
from rows import one, only

ORDER = ("as_is", "removed", "female", "male")
STAGES = "stages=[play,measure,probe,analyse]"
EXACT = ("experiment=phantom_exact", "rounds=0", "dataset.limit=150", "probe.n=150", "analysis.resamples=100", "truth=none",
         "metric=[probes]", "probe.attributes=[gender]", STAGES)  # fmt: skip


# By hand -------------------------------------------------------------------------------------------------------------


def made_up(
    reads: dict[str, list[list[str]]], attribute: str = "gender", years: dict[str, float] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, Outcome]:
    """`reads`: version -> of each seed, what its replicates are read as; "" is not read."""
    of_seeds = [(f"s{i}", v, some) for v, seeds in reads.items() for i, some in enumerate(seeds)]
    keys = [(seed, r, v, label) for seed, v, some in of_seeds for r, label in enumerate(some)]
    rows = pd.DataFrame(keys, columns=["seed_id", "replicate", "version", "label"])
    rows = rows.assign(chain=rows["seed_id"] + rows["version"] + rows["replicate"].astype(str), probed="gender", says="names")
    names = sorted(set(rows["seed_id"]))
    concepts = ["reading", "dancing"] * len(names)
    seeds = pd.DataFrame({"concept": concepts[: len(names)], "concept_kind": "activity"}, index=names)
    found = rows[rows["label"] != ""].set_index("chain")["label"]
    outcome = Outcome(
        model="generator",
        classifier="vit",
        attribute=attribute,
        categories=CATEGORIES[attribute],
        labels=found,
        years=pd.Series(years or {}, dtype=np.float64),
        order=ORDER,
    )
    return rows, seeds, outcome


def test_an_effect_is_the_mean_over_seeds_of_the_difference_of_their_replicates() -> None:
    reads = {
        "female": [["female", "female"], ["female", "male"], ["female", ""], ["", ""]],
        "male": [["male", "male"], ["male", "female"], ["male", "male"], ["male", "male"]],
    }
    rows, seeds, outcome = made_up(reads)
    table = probe_effects(rows, seeds, outcome, 0.95)
    row = one(table, concept="all", category="female")
    by_seed = np.array([1 - 0, 0.5 - 0.5, 1 - 0])
    assert (row["version"], row["versus"], row["captions"], row["probed"]) == ("female", "male", "names", "gender")
    assert (row["n_probed"], row["n_seeds"]) == (4, 3)
    assert row["effect"] == pytest.approx(by_seed.mean())
    assert (row["mean"], row["mean_versus"]) == pytest.approx(((1 + 0.5 + 1) / 3, 0.5 / 3))
    low, high = shift_limits(*changes(by_seed[:, None], group("all", np.arange(3))), 0.95)
    assert (row["low"], row["high"]) == pytest.approx((low[0], high[0]))
    mirrored = one(table, concept="all", category="male")
    assert (mirrored["effect"], mirrored["low"]) == pytest.approx((-row["effect"], -row["high"]))


def test_whole_readings_are_tested_by_mcnemar() -> None:
    reads = {"removed": [["female"]] * 7 + [["male"]] * 3, "as_is": [["male"]] * 9 + [["female"]]}
    row = one(probe_effects(*made_up(reads), 0.95), concept="all", category="female")
    assert row["effect"] == pytest.approx(0.6)
    assert row["p_value"] == pytest.approx(float(mcnemar(7, 1)))


def test_a_version_that_a_seed_lacks_is_no_pair() -> None:
    reads = {"as_is": [["male"]] * 4, "removed": [["female"]] * 2, "female": [["female"]] * 3}
    table = only(probe_effects(*made_up(reads), 0.95), concept="all", category="female")
    assert table.set_index(["version", "versus"])["n_probed"].to_dict() == {("removed", "as_is"): 2, ("female", "removed"): 2}


def test_what_captions_said_is_told_apart() -> None:
    rows, seeds, outcome = made_up({"female": [["female"]] * 4, "male": [["male"]] * 4})
    rows["says"] = np.where(rows["seed_id"] < "s2", "names", "silent")
    table = only(probe_effects(rows, seeds, outcome, 0.95), concept="all", category="female")
    assert table.set_index("captions")["n_seeds"].to_dict() == {"names": 2, "silent": 2}


def test_kept_is_the_own_concept_of_each_seed() -> None:
    women, men = [["reading"], ["dancing"], ["dancing"], ["reading"]], [["reading"], ["reading"], ["reading"], ["dancing"]]
    reads = {"female": women, "male": men}
    rows, seeds, outcome = made_up(reads, attribute="activity")
    row = one(part_effects(rows, seeds, outcome, 0.95), concept="all", category="kept")
    assert (row["mean"], row["mean_versus"], row["effect"]) == (0.5, 0.75, -0.25)
    assert "kept" not in set(part_effects(*made_up({"female": [["male"]] * 3, "male": [["male"]] * 3}), 0.95)["category"])


def test_ages_in_years_are_compared_where_there_are_some() -> None:
    reads = {"female": [["20-39", "20-39"], ["4-19", "4-19"]], "male": [["40-69", "40-69"], ["4-19", "4-19"]]}
    years = {"s0female0": 30.0, "s0female1": 34.0, "s1female0": 10.0, "s0male0": 50.0, "s1male0": 12.0, "s1male1": 16.0}
    row = one(probe_effects(*made_up(reads, "age", years), 0.95), concept="all", category="years")
    difference = np.array([32.0 - 50.0, 10.0 - 14.0])
    direct = year_change(difference[:, None], group("all", np.arange(2)))
    assert (row["effect"], row["low"], row["high"]) == pytest.approx((-11.0, direct.low[0], direct.high[0]))
    assert (row["mean"], row["mean_versus"]) == pytest.approx((21.0, 32.0))


def test_concepts_are_shown_apart_and_weighted_alike() -> None:
    reads = {"female": [["female"], ["male"], ["female"]], "male": [["male"]] * 3}
    table = only(probe_effects(*made_up(reads), 0.95), category="female").set_index("concept")["effect"]
    assert table.to_dict() == pytest.approx({"all": 2 / 3, "all_standardised": 0.5, "reading": 1.0, "dancing": 0.0})


def test_a_single_seed_has_no_interval() -> None:
    row = one(probe_effects(*made_up({"female": [["female"]], "male": [["male"]]}), 0.95), concept="all", category="female")
    assert row["effect"] == 1
    assert row[["low", "high", "p_value"]].isna().all()


def test_strange_labels_are_refused() -> None:
    rows, seeds, outcome = made_up({"female": [["woman"]] * 2, "male": [["male"]] * 2})
    with pytest.raises(DriftloopError, match=r"vit: gender \['woman'\] is not one of"):
        probe_effects(rows, seeds, outcome, 0.95)


def test_pairs() -> None:
    assert pairs(["as_is", "removed", "female", "male"]) == [
        ("removed", "as_is"), ("female", "removed"), ("male", "removed"), ("female", "male"),
    ]  # fmt: skip
    assert pairs(["as_is", "female", "male"]) == [("female", "as_is"), ("male", "as_is"), ("female", "male")]
    assert pairs(["a", "b", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert pairs(["as_is"]) == []


@pytest.mark.parametrize(
    ("text", "attribute", "named"),
    [("a woman", "gender", "female"), ("a person", "gender", "silent"), ("a man and a woman", "gender", "unclear"),
     ("an elderly man", "age", "70+"), ("a baby and an old man", "age", "unclear")],
)  # fmt: skip
def test_what_a_caption_names(text: str, attribute: str, named: str) -> None:
    assert named_in(text, attribute, CATEGORIES[attribute]) == named


def test_p_values_are_adjusted_within_what_was_asked_of_a_group() -> None:
    reads = {"removed": [["female"]] * 6 + [["male"]] * 4, "as_is": [["male"]] * 10, "female": [["female"]] * 10}
    found = adjusted(probe_effects(*made_up(reads), 0.95).assign(run="r"))
    everyone = only(found, concept="all")
    p_values = dict(zip(everyone["version"] + everyone["category"], everyone["p_value"], strict=True))
    direct = benjamini_hochberg(p_values)
    assert dict(zip(everyone["version"] + everyone["category"], everyone["p_adjusted"], strict=True)) == pytest.approx(direct)
    assert (found["p_adjusted"] >= found["p_value"]).all()


# Planted -------------------------------------------------------------------------------------------------------------

ALIKE = ", ".join(f"{activity}: 0.9" for activity in CATEGORIES["activity"])
READ_YOUNGER = "[[1,0,0,0,0],[0,1,0,0,0],[0,0.8,0.2,0,0],[0,0,0.5,0.5,0],[0,0,0,0.5,0.5]]"
READ_AS_IS = "[[1,0,0,0,0],[0,1,0,0,0],[0,0,1,0,0],[0,0,0,1,0],[0,0,0,0,1]]"
BY_GENDER = f"{{age: {{female: {READ_YOUNGER}, male: {READ_AS_IS}}}}}"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A generator that draws nine women in ten, a captioner that errs and omits, an instrument that reads women younger."""
    words = (
        f"generator.prior={{gender: {{{ALIKE}}}}}",
        "captioner.omission={gender: 0.25, age: 0}",
        "captioner.confusion={gender: [[0.9,0.1],[0.3,0.7]]}",
        f"classifier.exact.confusion={BY_GENDER}",
        f"results_dir={tmp_path_factory.mktemp('planted')}",
    )
    return played(composed(*EXACT, *words))


@pytest.fixture(scope="module")
def table(planted: Run) -> pd.DataFrame:
    return planted.table("probes")


def holds(row: pd.Series[Any], truth: float, column: str = "effect") -> bool:
    return bool(row["low"] <= truth <= row["high"]) if column == "effect" else bool(abs(row[column] - truth) < 0.1)


def generated(table: pd.DataFrame, **wanted: Any) -> pd.Series[Any]:
    return one(table, **{"model": "generator", "concept": "all", "probed": "gender", "attribute": "gender"} | wanted)


def test_the_table_is_tidy(table: pd.DataFrame) -> None:
    assert list(table.columns) == PROBE_COLUMNS
    assert not table.duplicated(PROBE_COLUMNS[:11]).any()
    assert (table["low"].isna() | ((table["low"] <= table["effect"]) & (table["effect"] <= table["high"]))).all()
    assert (table["n_seeds"] <= table["n_probed"]).all()
    assert np.allclose(table["mean"] - table["mean_versus"], table["effect"], equal_nan=True)
    assert (table.loc[table["effect"].notna(), "n_seeds"] > 0).all()


def test_without_the_word_the_share_is_that_of_the_prior(table: pd.DataFrame) -> None:
    found = generated(table, captions="names", version="removed", versus="as_is", category="female")
    assert holds(found, 0.9, "mean")
    assert holds(found, 0.9 - found["mean_versus"])
    named = generated(table, captions="names", version="female", versus="removed", category="female")
    assert named["mean"] == 1
    assert named["mean_versus"] == found["mean"]
    assert holds(named, 0.1)


@pytest.mark.parametrize("captions", ["names", "silent"])
def test_a_named_gender_is_drawn(table: pd.DataFrame, captions: str) -> None:
    found = generated(table, captions=captions, version="female", versus="male", category="female")
    assert (found["effect"], found["mean"], found["mean_versus"]) == (1, 1, 0)
    assert found["low"] > 0.8


def test_naming_it_where_it_was_silent_is_a_version_of_its_own(table: pd.DataFrame) -> None:
    found = generated(table, captions="silent", version="male", versus="as_is", category="female")
    assert holds(found, -0.9)
    silent = only(table, model="generator", captions="silent", probed="gender")
    assert set(silent["versus"]) == {"as_is", "male"}
    pair = {"version": "female", "versus": "male", "category": "male"}
    assert sum(generated(table, captions=says, **pair)["n_probed"] for says in ("names", "silent")) == 150


def test_naming_a_gender_moves_the_age_that_a_biased_instrument_reads(planted: Run, table: pd.DataFrame) -> None:
    """Of the women of 20-39 it reads .8 as 4-19, of those of 70+ every second as younger; men it reads as they are."""
    drawn = only(planted.store.probes(probe_folder(["gender"])), model="generator", probed="gender", says="names")
    ages = [parse(text)["age"] for text in only(drawn, version="male")["caption"]]
    assert ages == [parse(text)["age"] for text in only(drawn, version="female")["caption"]]
    for category, moved in {"4-19": 0.8 * ages.count("20-39"), "70+": -0.5 * ages.count("70+")}.items():
        found = generated(table, captions="names", version="female", versus="male", attribute="age", category=category)
        assert holds(found, moved / len(ages)), category
        assert found["p_value"] < 0.05


def told(table: pd.DataFrame, **wanted: Any) -> pd.Series[Any]:
    return one(
        table, **{"model": "captioner", "concept": "all", "probed": "gender", "version": "female", "versus": "male"} | wanted
    )


def test_a_captioner_names_what_it_is_shown_as_often_as_was_planted(table: pd.DataFrame) -> None:
    truth = {"female": 0.75 * (0.9 - 0.3), "male": 0.75 * (0.1 - 0.7), "silent": 0.0, "unclear": 0.0}
    for category, effect in truth.items():
        found = told(table, attribute="gender", category=category)
        assert holds(found, effect)
        assert (found["classifier"], found["n_seeds"]) == ("words", 150)
    assert holds(told(table, attribute="gender", category="silent"), 0.25, "mean")


def test_the_age_it_names_does_not_follow_the_gender_it_is_shown(table: pd.DataFrame) -> None:
    ages = only(table, model="captioner", concept="all", probed="gender", version="female", attribute="age")
    assert len(ages) == 7
    assert (ages["effect"] == 0).all()


@pytest.mark.slow
def test_the_extent_is_that_of_the_config_whatever_else_was_probed(tmp_path: Path) -> None:
    words = (*EXACT[:2], "dataset.limit=16", *EXACT[4:], f"results_dir={tmp_path}")
    small = played(composed(*words, "probe.n=8")).table("probes")
    large = played(composed(*words, "probe.n=16", "probe.replicates=2")).table("probes")
    again = played(composed(*words, "probe.n=8")).table("probes")
    pd.testing.assert_frame_equal(small, again)
    assert told(large, attribute="gender", category="male")["n_probed"] == 16
    assert told(small, attribute="gender", category="male")["n_probed"] == 8


def test_probes_that_come_later_are_analysed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = (*EXACT[:2], "dataset.limit=8", *EXACT[3:8], f"results_dir={tmp_path}")
    before = played(composed(*words, "stages=[play,measure,analyse]"))
    assert before.table("probes").empty
    assert "table probes is empty: no probe of gender was made" in caplog.text
    assert list(before.table("probes").columns) == PROBE_COLUMNS
    assert len(played(composed(*words, "stages=[probe,analyse]")).table("probes")) > 0


def test_the_metric_looks_where_the_stage_wrote() -> None:
    asked = composed("experiment=phantom_exact", "metric=[probes]", "probe.n=7", "probe.attributes=[age]", "probe.replicates=3")
    metric = asked.metrics[0].build()
    assert isinstance(metric, ProbesMetric)
    assert (metric.attributes, metric.n, metric.replicates) == (("age",), 7, 3)


@pytest.mark.slow
def test_the_trained_generator_follows_words(tmp_path: Path) -> None:
    words = ("experiment=phantom", "rounds=0", "dataset.limit=32", "probe.n=32", "probe.attributes=[gender]", "metric=[probes]")
    found = played(composed(*words, "concept_classifier=none", STAGES, f"results_dir={tmp_path}")).table("probes")
    row = generated(found, captions="names", version="female", versus="male", category="female")
    assert row["effect"] > 0.8
    assert row["low"] > 0.5
    assert told(found, attribute="gender", category="female")["effect"] > 0.8
