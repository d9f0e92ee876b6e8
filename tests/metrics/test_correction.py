"""The metric `correction`: rows of corrected drift beside the raw ones, what the instrument is like, and its refusals."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from driftloop.analysis.drift import DRIFT_COLUMNS
from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import Settings
from driftloop.analysis.tables import core_tables
from driftloop.metrics.correction import INSTRUMENT_COLUMNS, Correction
from driftloop.stages.analyse import added
from driftloop.statistics.quantification import adjusted_count
from rows import one, only

AGES, FINE = ("young", "old"), ("0-9", "10-29", "30-59", "60+")
ERRS = {"young": (0.85, 0.15), "old": (0.2, 0.8)}
ERRS_FINE = {"young": (0.5, 0.35, 0.1, 0.05), "old": (0.05, 0.1, 0.35, 0.5)}
WORSE = {"young": (0.6, 0.4), "old": (0.05, 0.95)}


class Kept:
    """A store that holds one table of readings."""

    def __init__(self, readings):
        self.table = readings

    def readings(self, folder):
        return self.table


def material(
    n=240, *, later=0.8, errs=ERRS, errs_later=None, categories=AGES, labels=None, probabilities=False
):  # fmt: skip
    """Readings of rounds 0 and 1 of seeds half of whom are young, and a share of `later` thereafter."""
    generator = np.random.default_rng(0)
    early = np.where(generator.random(n) < 0.5, "young", "old")
    then = np.where(generator.random(n) < later, "young", "old")
    names = [f"s{i:03d}" for i in range(n)]
    rows, readings = [], []
    for r, (truth, wrong) in enumerate(((early, errs), (then, errs_later or errs))):
        for name, true in zip(names, truth, strict=True):
            where = {"run": "r", "seed_id": name, "replicate": 0, "chain": f"{name}/0", "round": r, "status": "ok"}
            rows.append({**where, "image": "x", "caption": ""})
            label = str(generator.choice(categories, p=wrong[true]))
            sure = np.where(np.array(categories) == label, max(wrong[true]), (1 - max(wrong[true])) / (len(categories) - 1))
            given = {"probability": max(wrong[true]), "probabilities": list(sure)} if probabilities else {}
            readings.append({**where, "classifier": "vit", "attribute": "age", "label": label, **given})
    table = pd.DataFrame(readings)
    table = table if probabilities else table.assign(probability=np.nan, probabilities=None)
    seeds = pd.DataFrame({"seed_id": names, "concept_kind": "emotion", "concept": [("joy", "fear")[i % 2] for i in range(n)]})
    return Material(
        store=Kept(table),
        seeds=seeds.assign(label_age=early if labels is None else labels(early)) if labels is not False else seeds,
        rows=pd.DataFrame(rows),
        instruments=[Instrument(name="vit", folder="labels/vit", kind="labels", categories={"age": tuple(categories)})],
        settings=Settings(root_seed=0, resamples=200, level=0.95, ordered=frozenset(), confirmatory=None),
        baseline_round=0,
    )


def test_there_is_a_row_per_method_group_round_and_label():
    given = material()
    tables = Correction().tables(given)
    drift = tables["drift"]
    assert list(drift.columns) == [*DRIFT_COLUMNS, "note"]
    assert list(tables["instrument"].columns) == INSTRUMENT_COLUMNS
    key = ["method", "concept", "round", "category"]
    assert not drift.duplicated(key).any()
    assert len(drift) == 2 * 4 * 2 * 2
    assert set(drift["concept"]) == {"all", "all_standardised", "joy", "fear"}
    joined = added(core_tables(given), tables)["drift"]
    assert set(joined["method"]) == {"raw", "adjusted", "em"}
    assert (joined.groupby("method").size() == 16).all()
    assert joined.loc[joined["method"] == "raw", "note"].isna().all()
    assert drift["note"].str.contains("raw is the headline until both rounds are audited").all()


def test_rows_are_the_statistics_of_the_readings():
    given = material()
    drift = Correction().tables(given)["drift"]
    read = given.readings.pivot_table(index="seed_id", columns="round", values="label", aggfunc="first")
    truth = given.seeds.set_index("seed_id")["label_age"]
    matrix = np.array([[((read[0] == k) & (truth == label)).sum() for k in AGES] for label in AGES], float)
    matrix /= matrix.sum(axis=1, keepdims=True)
    expected = adjusted_count(matrix, np.array([(read[1] == k).mean() for k in AGES]))
    row = one(drift, method="adjusted", concept="all", round=1, category="young")
    assert row["share"] == pytest.approx(expected[0])
    assert row["shift"] == pytest.approx(expected[0] - (truth == "young").mean())
    assert row["share_low"] < 0.8 < row["share_high"]
    assert row["n_seeds"] == row["n_pairs"] == 240
    at_first = one(drift, method="adjusted", concept="all", round=0, category="young")
    assert at_first["share"] == pytest.approx((truth == "young").mean())
    assert np.isnan(at_first["shift_low"])


def test_a_rectangular_confusion_gives_the_labels_categories():
    drift = Correction().tables(material(1500, errs=ERRS_FINE, categories=FINE))["drift"]
    assert set(drift["category"]) == {"old", "young"}
    for method in ("adjusted", "em"):
        assert one(drift, method=method, concept="all", round=1, category="young")["share"] == pytest.approx(0.8, abs=0.05)


def quantity(tables, name, **wanted):
    return only(tables["instrument"], quantity=name, **wanted)


def test_the_instrument_is_described():
    tables = Correction().tables(material())
    confusion = quantity(tables, "confusion", concept="all").set_index(["label", "reading"])
    assert confusion.loc[("young", "young"), "value"] == pytest.approx(0.85, abs=0.08)
    assert (confusion["low"] <= confusion["value"]).all()
    assert (confusion["value"] <= confusion["high"]).all()
    assert confusion.loc[("young", "old"), "n"] + confusion.loc[("old", "old"), "n"] == 240
    assert quantity(tables, "youden_j", concept="all")["value"].between(0.5, 0.8).all()
    assert one(tables["instrument"], quantity="condition_number", concept="joy")["value"] < 3
    assert one(tables["instrument"], quantity="pooling", label="concept")["p_value"] > 0.01
    assert one(tables["instrument"], quantity="unlabelled")["value"] == 0


def test_errors_that_were_never_seen_are_not_excluded():
    never = {"young": (1.0, 0.0), "old": (0.0, 1.0)}
    table = Correction().tables(material(errs=never))["instrument"]
    right = one(table, quantity="confusion", concept="all", label="young", reading="young")
    assert (right["value"], right["high"]) == pytest.approx((1, 1))
    assert right["low"] == pytest.approx(proportion_confint(right["n"], right["n"], method="wilson")[0])


def test_labels_that_are_no_category_are_left_out_and_counted_or_their_own_class():
    def some_unsure(early):
        return np.where(np.arange(len(early)) < 40, "unsure", np.where(np.arange(len(early)) < 50, None, early))

    tables = Correction().tables(material(labels=some_unsure))
    assert one(tables["instrument"], quantity="left_out", label="unsure")["n"] == 40
    assert one(tables["instrument"], quantity="unlabelled")["n"] == 10
    assert set(tables["drift"]["category"]) == set(AGES)
    third = Correction(left_out=[]).tables(material(errs=ERRS_FINE, categories=FINE, labels=some_unsure))
    assert set(third["drift"]["category"]) == {*AGES, "unsure"}


BLIND = {"young": (0.5, 0.5), "old": (0.5, 0.5)}
REFUSALS = {
    "no labels": ({"labels": False}, "human labels of two categories are needed, there are none"),
    "one label": ({"labels": lambda early: np.full(early.size, "old")}, "all of them are old"),
    "a rare label": (
        {"labels": lambda early: np.where(np.arange(early.size) < 3, "young", "old")},
        r"labelled seeds .*young \(3\)",
    ),
    "blind": ({"errs": BLIND}, "near singular|hardly tell"),
    "three labels of two readings": (
        {"labels": lambda early: np.where(np.arange(early.size) % 3 == 0, "middle", early)},
        "3 labels cannot be told from 2 readings",
    ),
}


@pytest.mark.parametrize(("given", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_corrected_is_a_row_with_the_reason(given, reason):
    tables = Correction().tables(material(**given))
    drift = only(tables["drift"], concept="all")
    assert len(drift) >= 8
    assert drift["note"].str.contains(f"refused: .*(?:{reason})", regex=True).all()
    assert drift[["share", "share_low", "shift", "shift_high"]].isna().all(axis=None)
    assert set(tables["drift"]["method"]) == {"adjusted", "em"}
    assert len(quantity(tables, "warning", concept="all")) == 1


def test_other_errors_at_a_later_round_are_suspected():
    """The readings are less sure than any mixture of the seeds' could be, and the two corrections disagree."""
    wrong = Correction().tables(material(400, later=0.5, errs_later=WORSE, probabilities=True))
    right = Correction().tables(material(400, probabilities=True))
    assert quantity(wrong, "over_identification")["note"].str.startswith("warning").all()
    assert not quantity(right, "over_identification")["note"].str.startswith("warning").any()
    assert quantity(wrong, "em_minus_adjusted")["note"].str.startswith("warning").all()


def test_an_instrument_that_errs_by_concept_is_told():
    given = material(400)
    read = given.store.table
    joyful = read["seed_id"].isin(given.seeds.loc[given.seeds["concept"] == "joy", "seed_id"])
    given.store.table = read.assign(label=read["label"].where(~joyful, "young"))
    tables = Correction().tables(given)
    assert one(tables["instrument"], quantity="pooling", label="concept")["note"].startswith("warning: errs differently")
    assert one(tables["instrument"], quantity="pooling_strength")["value"] < 20
    assert only(tables["drift"], concept="joy")["note"].str.contains("refused").all()
    assert only(tables["drift"], concept="all_standardised")["note"].str.contains("refused").all()
    assert not only(tables["drift"], concept="fear")["note"].str.contains("refused").any()


def test_wrong_settings_are_told():
    with pytest.raises(ValueError, match="least must be at least 1"):
        Correction(least=0)


def test_attributes_of_concept_classifiers_are_left_alone():
    given = material()
    other = Instrument(name="vit", folder="concepts/vit", kind="concepts", categories=given.instruments[0].categories)
    object.__setattr__(given, "instruments", [other])
    assert all(table.empty for table in Correction().tables(given).values())
