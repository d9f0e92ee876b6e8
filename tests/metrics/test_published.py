"""The metric `published`: the study's figures beside a run's own, and the artefact of its way of reading them."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import Settings
from driftloop.analysis.tables import core_tables
from driftloop.datasets.phantom import PhantomDataset
from driftloop.metrics import published
from driftloop.metrics.published import PUBLISHED_COLUMNS, WAY_COLUMNS, Published
from driftloop.phantom.export import phase
from playing import composed, played
from rows import only

CARRIED = Path(published.__file__).with_name("published_shares.csv")
REFERENCE = Path(__file__).parents[2] / "results/reference/published_shares.csv"
RAF_AGES = ("0-3", "4-19", "20-39", "40-69", "70+")
CATEGORIES = {"gender": ("female", "male"), "age": RAF_AGES}
CONCEPTS = ("happiness", "anger", "neutral")


class Kept:
    """A store that holds one table of readings."""

    def __init__(self, readings):
        self.table = readings

    def readings(self, folder):
        return self.table


def misread(gender):
    """What a classifier makes of a picture, the same in every round: every other woman is called a man."""
    women = np.flatnonzero(gender == "female")
    return np.where(np.isin(np.arange(len(gender)), women[::2]), "male", gender)


def material(n=120, *, dataset="raf_db", kind="emotion", concepts=CONCEPTS, categories=None, later=None, labels=None, rounds=3):
    """Nothing changes in any round but what `later` says is read from round 1 on; labels are the truth of the seeds."""
    generator, categories = np.random.default_rng(3), categories or CATEGORIES
    truth = {"gender": np.where(generator.random(n) < 0.6, "female", "male"), "age": generator.choice(RAF_AGES, n)}
    names = [f"s{i:03d}" for i in range(n)]
    read = {"gender": misread(truth["gender"]), "age": truth["age"]}
    rows, readings = [], []
    for r in range(rounds):
        for i, name in enumerate(names):
            where = {"run": "r", "seed_id": name, "replicate": 0, "chain": f"{name}/0", "round": r, "status": "ok"}
            rows.append({**where, "image": "x", "caption": ""})
            for attribute, known in categories.items():
                said = str((later or read)[attribute][i] if r else read[attribute][i])
                label = next((each for each in known if each.casefold() == said), known[0])
                readings.append({**where, "classifier": "vit", "attribute": attribute, "label": label})
    seeds = pd.DataFrame({"seed_id": names, "dataset": dataset, "concept_kind": kind})
    seeds["concept"] = [concepts[i % len(concepts)] for i in range(n)]
    seeds = seeds.assign(**{f"label_{name}": values for name, values in (truth if labels is None else labels(truth)).items()})
    return Material(
        store=Kept(pd.DataFrame(readings)),
        seeds=seeds,
        rows=pd.DataFrame(rows),
        instruments=[Instrument(name="vit", folder="labels/vit", kind="labels", categories=categories)],
        settings=Settings(root_seed=0, resamples=100, level=0.95, ordered=frozenset({"age"}), confirmatory=None),
        baseline_round=0,
    )


def carried(**wanted):
    with CARRIED.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


# The figures that are carried ----------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_reference_folder():
    assert CARRIED.read_bytes() == REFERENCE.read_bytes()


def test_the_figures_agree_with_the_composition_of_the_whole_set():
    women = carried(dataset="raf_db", attribute="gender", category="female")
    sizes = np.array([int(row["n_seeds"]) for row in women])
    assert sizes.sum() == 15_339
    assert np.average([float(row["seed_pct"]) for row in women], weights=sizes) == pytest.approx(53.3, abs=0.05)


def test_every_composition_adds_up_to_all():
    groups = pd.DataFrame(carried()).astype({"seed_pct": float, "generated_pct": float})
    sums = groups.groupby(["dataset", "concept_kind", "concept", "attribute"])[["seed_pct", "generated_pct"]].sum()
    assert np.abs(sums - 100).max().max() < 0.5


# Beside this run -----------------------------------------------------------------------------------------------------


def test_shares_are_those_of_the_table_drift():
    given = material(rounds=4)
    table = Published().tables(given)["published"]
    assert list(table.columns) == PUBLISHED_COLUMNS
    ours = table[table["round"].notna()].astype({"round": int})
    assert set(ours["round"]) == {0, 1, 3}
    drift = core_tables(given)["drift"].drop(columns="p_value")
    key = ["concept", "attribute", "category", "classifier", "round", "baseline_round"]
    both = ours.astype({"baseline_round": int}).merge(drift, on=key, suffixes=("", "_drift"), validate="1:1")
    assert len(both) == len(ours) == 3 * len(CONCEPTS) * (2 + 5)
    for name in ("share", "share_low", "share_high", "n_seeds", "coverage"):
        assert both[name].tolist() == pytest.approx(both[f"{name}_drift"].tolist())


def test_every_published_row_is_kept_with_its_figures():
    table = Published().tables(material())["published"].drop_duplicates(["concept", "attribute", "category"])
    found = table.set_index(["concept", "attribute", "category"])[["seed_pct", "generated_pct"]].to_dict("index")
    assert found == {
        (row["concept"], row["attribute"], row["category"]): {
            "seed_pct": float(row["seed_pct"]),
            "generated_pct": float(row["generated_pct"]),
        }
        for row in carried(dataset="raf_db")
    }


def test_what_cannot_stand_beside_a_figure_says_why():
    fair = {"gender": ("Female", "Male"), "age": ("0-2", "3-9", "10-19")}
    table = Published().tables(material(categories=fair))["published"]
    empty = table[table["round"].isna()]
    assert empty[["share", "n_seeds"]].isna().all().all()
    reasons = {name: set(rows["reason"]) for name, rows in only(empty, concept="anger").groupby("attribute")}
    assert reasons == {
        "age": {"vit reads perceived age as 0-2, 3-9, 10-19"},
        "gender": {"vit reads perceived gender as Female, Male"},
        "ethnicity": {"no classifier of this run reads perceived ethnicity"},
    }
    assert set(only(empty, concept="anger", attribute="gender")["category"]) == {"unsure"}
    assert set(only(empty, concept="fear", attribute="gender")["reason"]) == {"no seed of this run shows it"}
    women = only(table, concept="anger", category="female")
    assert women["share"].notna().all()
    assert (women["reason"] == "").all()


def test_small_cells_are_suppressed_and_say_so():
    few = material(n=15, concepts=("anger",) * 4 + ("fear",))  # 3 seeds show fear
    table = only(Published(human_baseline=True).tables(few)["published"], attribute="gender", category="female")
    fear = only(table, concept="fear")
    assert set(fear["reason"]) == {"fewer than 5 seeds"}
    assert fear[["share", "share_low", "share_high", "coverage"]].isna().all().all()
    assert only(table, concept="anger")["share"].notna().all()
    ways = Published(human_baseline=True).tables(few)["published_way"]
    assert only(ways, concept="fear")["published_way"].isna().all()
    assert only(ways, concept="fear")["human_share"].isna().all()
    assert only(Published(least=3).tables(few)["published"], concept="fear", category="female")["share"].notna().all()


def test_phase_has_its_own_figures_by_kind_and_calls_skin_tone_as_its_labels_do():
    table = Published().tables(material(dataset="phase", kind="activity", concepts=("sports", "work")))["published"]
    assert set(table["attribute"]) == {"age", "gender", "skintone"}
    row = only(table, concept="sports", category="female").iloc[0]
    assert (row["seed_pct"], row["generated_pct"]) == (9.23, 19.88)
    assert set(only(table, attribute="age")["reason"]) >= {"vit reads perceived age as 0-3, 4-19, 20-39, 40-69, 70+"}


def test_other_data_sets_have_no_such_table():
    assert Published().tables(material(dataset="phantom")) == {}
    assert set(Published(human_baseline=True).tables(material(dataset="phantom"))) == {"published_way"}


def test_least_is_checked():
    with pytest.raises(ValueError, match="least must be at least 1, got 0"):
        Published(least=0)


# The published way ---------------------------------------------------------------------------------------------------


def test_a_world_without_drift_drifts_when_it_is_read_the_published_way():
    given = material()
    ways = Published(human_baseline=True).tables(given)["published_way"]
    assert list(ways.columns) == WAY_COLUMNS
    raw = core_tables(given)["drift"]
    assert (raw["shift"] == 0).all()
    women = only(ways, concept="all", category="female", round=1).iloc[0]
    truth = (given.seeds["label_gender"] == "female").mean()
    read = (misread(given.seeds["label_gender"].to_numpy()) == "female").mean()
    assert women["published_way"] == pytest.approx(read - truth)
    assert women["published_way"] < -0.25
    assert women["published_way_high"] < 0
    assert women["change_of_annotator"] == women["published_way"]
    assert women["shift"] == 0
    assert "not drift" in women["note"]
    assert (only(ways, concept="all", attribute="age")["published_way"] == 0).all()


def test_the_difference_is_the_study_s_and_the_sum_of_its_parts():
    def with_unsure(truth):
        return {"gender": np.where(np.arange(120) % 10 == 0, "unsure", truth["gender"])}

    given = material(labels=with_unsure, later={"gender": np.array(["female"] * 120), "age": np.array(["0-3"] * 120)})
    ways = only(Published(human_baseline=True).tables(given)["published_way"], category="female")
    assert set(ways["attribute"]) == {"gender"}
    for concept, seeds in given.seeds.groupby("concept"):
        row = only(ways, concept=concept, round=2).iloc[0]
        assert row["human_share"] == pytest.approx((seeds["label_gender"] == "female").mean())  # unsure is an answer
        assert row["share"] == 1
        assert row["published_way"] == pytest.approx(1 - row["human_share"])
        assert row["published_way"] == pytest.approx(row["change_of_annotator"] + row["shift"])
        assert row["published_way_low"] < row["published_way"] < row["published_way_high"]


def test_labels_that_are_none_leave_their_seeds_out():
    def some(truth):
        return {"gender": np.where(np.arange(120) < 20, "disagreement", np.where(np.arange(120) < 30, "", truth["gender"]))}

    ways = only(Published(human_baseline=True).tables(material(labels=some))["published_way"], concept="all")
    assert set(ways["n_seeds"]) == {90}
    assert "published_way" not in Published(human_baseline=True).tables(material(labels=lambda truth: {}))


@pytest.mark.slow
def test_people_of_phase_on_disk_who_keep_their_gender(tmp_path):
    """The exact models keep everything; the instrument calls half of the women men, in seeds and in what is generated."""
    phase(PhantomDataset(n=120, concept_kind="emotion").load(), tmp_path / "phase", box="xyxy", annotations="both", zips=False)
    words = (
        "experiment=none", "dataset=phase", f"dataset.root={tmp_path / 'phase'}", "dataset.concept_kind=emotion", "rounds=1",
        "generator=exact", "captioner=exact", "captioner.omission=0", "classifier=[exact]", "on_failure.max_share=1",
        "classifier.exact.confusion={gender: [[0.5,0.5],[0,1]]}", "metric=[published]",
        "metric.published.human_baseline=true", "stages=[play,measure,analyse,report]", "analysis.resamples=100",
        f"results_dir={tmp_path / 'results'}",
    )  # fmt: skip
    run = played(composed(*words))
    women = only(run.table("published_way"), concept="all", category="female").iloc[0]
    assert women["published_way_high"] < 0
    assert women["published_way"] < -0.1
    assert women["shift_low"] < 0 < women["shift_high"]
    page = (run.store.folder / "report/index.html").read_text()
    assert "Beside the published study" in page
    assert "not drift" in page
    assert not [name for name in run.seeds["seed_id"] if name in page]
    assert "regions are xyxy" in page
