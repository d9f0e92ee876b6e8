"""The metrics `mention` and `decomposition`: counts by hand, and what was planted in runs of the built-in world."""

from pathlib import Path

import pandas as pd
import pytest

from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import Settings
from driftloop.metrics.decomposition import DECOMPOSITION_COLUMNS, NOT_IDENTIFIED, DecompositionMetric
from driftloop.metrics.mention import MENTION_COLUMNS, MentionMetric
from driftloop.phantom.world import CATEGORIES
from playing import composed, played
from rows import only

KEY = ["concept", "attribute", "category", "classifier", "round"]
ALIKE = ", ".join(f"{activity}: 0.95" for activity in CATEGORIES["activity"])
EXACT = ("experiment=phantom_exact", "rounds=2", "dataset.limit=120", "analysis.resamples=100", "stages=[play,measure,analyse]",
         "metric=[mention,decomposition]", "truth=none")  # fmt: skip


class Kept:
    """A store that holds one table of readings."""

    def __init__(self, readings: pd.DataFrame) -> None:
        self.table = readings

    def readings(self, folder: str) -> pd.DataFrame:
        return self.table


def material(
    said: list[list[str]],
    read: list[list[str]],
    attribute: str = "gender",
    categories: tuple[str, ...] = ("female", "male"),
    replicates: int = 1,
) -> Material:
    """`said` and `read` by chain and round; a reading of "" is none. Chains are seeds, `replicates` of them to a seed."""
    keys = [(f"s{i // replicates:02d}", i % replicates, r, i) for i in range(len(said)) for r in range(len(said[0]))]
    rows = pd.DataFrame([k[:3] for k in keys], columns=["seed_id", "replicate", "round"])
    rows = rows.assign(run="r", chain=rows["seed_id"] + "/" + rows["replicate"].astype(str), status="ok", image="x")
    labels = [read[i][r] for *_, r, i in keys]
    readings = rows.assign(classifier="vit", attribute=attribute, label=pd.Series(labels).where(pd.Series(labels) != ""))
    readings["status"] = ["ok" if label else "low_confidence" for label in labels]
    return Material(
        store=Kept(readings),  # type: ignore[arg-type]
        seeds=pd.DataFrame({"seed_id": sorted(set(rows["seed_id"])), "concept_kind": "activity", "concept": "reading"}),
        rows=rows.assign(caption=[said[i][r] for *_, r, i in keys]),
        instruments=[Instrument(name="vit", folder="labels/vit", kind="labels", categories={attribute: categories})],
        settings=Settings(root_seed=0, resamples=100, level=0.95, ordered=frozenset({"age"}), confirmatory=None),
        baseline_round=0,
    )


# Mention -------------------------------------------------------------------------------------------------------------


def test_rates_count_captions_and_their_readings() -> None:
    said = [["a woman", "a man"], ["a person", "a lady"], ["a man and a woman", "a man"], ["a man", ""]]
    read = [["female", "female"], ["male", "female"], ["male", ""], ["female", "male"]]
    table = MentionMetric().tables(material(said, read))["mention"]
    assert list(table.columns) == MENTION_COLUMNS
    first, second = (only(table, concept="all", round=r).iloc[0] for r in (0, 1))
    assert (first["n_captions"], first["named"], first["contradictory"], first["agrees"]) == (4, 0.5, 0.25, 0.5)
    assert (first["n_compared"], first["n_seeds_compared"]) == (2, 2)
    assert (second["n_captions"], second["n_seeds"], second["named"], second["contradictory"]) == (3, 3, 1.0, 0.0)
    assert (second["n_compared"], second["agrees"]) == (2, 0.5)
    assert (table["named_low"] < table["named_high"]).all()


def test_seeds_count_alike_however_many_replicates_name() -> None:
    said = [["a woman"], ["a person"], ["a man"], ["a man"]]
    read = [["female"], ["female"], ["female"], ["male"]]
    row = only(MentionMetric().tables(material(said, read, replicates=2))["mention"], concept="all").iloc[0]
    assert (row["named"], row["agrees"]) == (0.75, 0.75)
    assert (row["n_seeds"], row["n_compared"]) == (2, 3)


def test_several_groups_of_age_may_agree() -> None:
    groups = ("10-19", "20-29", "30-39")
    said, read = [["a young man"]] * 3, [["20-29"], ["30-39"], ["10-19"]]
    row = only(MentionMetric().tables(material(said, read, "age", groups))["mention"], concept="all").iloc[0]
    assert row["agrees"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("attribute", "categories"), [("emotion", ("joy", "fear")), ("gender", ("red", "blue"))])
def test_what_has_no_words_has_no_rows(attribute: str, categories: tuple[str, ...]) -> None:
    given = material([["a man", "a man"]] * 3, [[categories[0]] * 2] * 3, attribute, categories)
    assert len(MentionMetric().tables(given)["mention"]) == 0
    assert len(DecompositionMetric().tables(given)["decomposition"]) == 0


@pytest.mark.slow
def test_an_exact_captioner_names_as_often_as_it_was_told(tmp_path: Path) -> None:
    words = ("captioner.omission={gender: 0.4, age: 0}", "captioner.confusion={gender: [[0.8,0.2],[0.2,0.8]]}")
    run = played(composed(*EXACT, *words, f"results_dir={tmp_path}"))
    table = only(run.table("mention"), concept="all")
    gender, age = only(table, attribute="gender"), only(table, attribute="age")
    assert (gender["named_low"] <= 0.6).all()
    assert (gender["named_high"] >= 0.6).all()
    assert (gender["agrees_low"] <= 0.8).all()
    assert (gender["agrees_high"] >= 0.8).all()
    assert (age[["named", "agrees"]] == 1).all().all()
    assert (table["contradictory"] == 0).all()


# Decomposition -------------------------------------------------------------------------------------------------------


def table_of(tmp_path: Path, *words: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    run = played(composed(*EXACT, *words, f"results_dir={tmp_path}"))
    return run.table("decomposition"), run.table("drift")


def check_parts_add_up(table: pd.DataFrame) -> None:
    sums = table.groupby([*KEY, "span"]).agg(value=("value", "sum"), shift=("shift", "first"), share=("share", "sum"))
    assert sums["value"].tolist() == pytest.approx(sums["shift"].tolist(), abs=1e-11)
    assert sums["share"].tolist() == pytest.approx([1.0] * len(sums))
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert (table["low"] < table["high"]).all()


def check_is_the_drift(table: pd.DataFrame, drift: pd.DataFrame) -> None:
    both = only(table, span="cumulative").merge(drift, on=KEY, suffixes=("", "_drift"), validate="m:1")
    assert len(both) == len(only(table, span="cumulative"))
    assert both["shift"].tolist() == pytest.approx(both["shift_drift"].tolist(), abs=1e-11)


@pytest.mark.slow
def test_a_captioner_that_only_omits_drifts_through_silent_captions(tmp_path: Path) -> None:
    table, drift = table_of(tmp_path, "captioner.omission=0.4", f"generator.prior={{gender: {{{ALIKE}}}}}")
    assert list(table.columns) == DECOMPOSITION_COLUMNS
    check_parts_add_up(table)
    check_is_the_drift(table, drift)
    assert (table.loc[table["part"] != "silent", "value"] == 0).all()
    assert only(table, part="contradicts")["share"].max() == 0
    assert (table["note"] == "").all()
    women = only(table, concept="all", category="female", part="silent", span="cumulative", round=2).iloc[0]
    truth = 0.4 * (0.95 - 0.5) * (1 + 0.6)  # half of the seeds are women; the second round starts with .6 of the distance
    assert 0 < women["low"] < truth < women["high"]


@pytest.mark.slow
def test_a_captioner_that_only_confuses_drifts_through_contradicting_captions(tmp_path: Path) -> None:
    confusion = "captioner.confusion={gender: [[0.5,0.5],[0,1]]}"
    table, drift = table_of(tmp_path, "captioner.omission=0", confusion)
    check_parts_add_up(table)
    check_is_the_drift(table, drift)
    assert (table.loc[table["part"] != "contradicts", "value"] == 0).all()
    women = only(table, concept="all", category="female", part="contradicts", span="step", round=1).iloc[0]
    assert women["low"] < -0.25 < women["high"] < 0
    assert women["note"] == NOT_IDENTIFIED
    assert (only(table, attribute="age")["note"] == "").all()


@pytest.mark.slow
def test_both_at_once_and_an_instrument_that_abstains(tmp_path: Path) -> None:
    words = ("captioner.omission=0.3", "captioner.confusion={gender: [[0.8,0.2],[0.2,0.8]]}", "classifier.exact.abstention=0.2")
    table, _ = table_of(tmp_path, *words)
    check_parts_add_up(table)
    assert (table.loc[table["part"] == "agrees", "value"] == 0).all()
    everyone = only(table, concept="all", attribute="gender", category="female", part="silent")
    assert only(everyone, span="step", round=1)["coverage"].item() == pytest.approx(0.64, abs=0.12)
    assert only(everyone, span="cumulative", round=2)["coverage"].item() == pytest.approx(0.51, abs=0.12)


@pytest.mark.slow
def test_an_instrument_that_errs_shows_as_contradiction_and_says_it_cannot_tell(tmp_path: Path) -> None:
    table, _ = table_of(tmp_path, "captioner.omission=0", "classifier.exact.confusion={gender: [[0.7,0.3],[0,1]]}")
    contradicts = only(table, attribute="gender", part="contradicts", concept="all")
    assert (contradicts["share"] > 0.05).all()
    assert (contradicts["note"] == NOT_IDENTIFIED).all()


def test_captions_that_name_two_or_are_not_on_record_are_unclear() -> None:
    said = [["a man and a woman", ""], ["", ""], ["a man", ""], ["a person", ""]]
    read = [["female", "male"], ["female", "male"], ["male", "male"], ["female", "female"]]
    table = DecompositionMetric().tables(material(said, read))["decomposition"]
    row = only(table, concept="all", part="unclear", category="male", span="step").iloc[0]
    assert (row["share"], row["value"], row["shift"], row["n_chains"]) == (0.5, 0.5, 0.5, 4)


def test_one_round_has_no_step() -> None:
    assert len(DecompositionMetric().tables(material([["a man"]] * 3, [["male"]] * 3))["decomposition"]) == 0
