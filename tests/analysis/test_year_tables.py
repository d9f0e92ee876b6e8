"""Ages in years beside their groups: against the naive definition, at the edges, and never without an instrument of years."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from driftloop.analysis.tables import analyse_tables
from rows import one

GROUPS = ("0-19", "20-39", "40+")
CATEGORIES = {"vit": {"age": GROUPS, "gender": ["female", "male"]}}


def made_up(n=40, rounds=3, replicates=2, seed=0, unread=0.2, ages=None):
    """Readings of age and gender; ages grow by ten years a round, and only age has years."""
    draws = np.random.default_rng(seed)
    start = draws.uniform(5, 60, n) if ages is None else np.asarray(ages, float)
    rows = []
    for i in range(n):
        for replicate in range(replicates):
            for round_ in range(rounds):
                years = start[i] + round_ * 10 + (draws.normal(0, 3) if round_ and ages is None else 0)
                key = {"run": "r", "seed_id": f"s{i:03d}", "replicate": replicate, "round": round_, "classifier": "vit"}
                status = "no_face" if draws.random() < unread else "ok"
                label = GROUPS[int(np.digitize(years, (20, 40)))] if status == "ok" else None
                rows.append({**key, "attribute": "age", "status": status, "label": label, "years": years if label else np.nan})
                rows.append({**key, "attribute": "gender", "status": "ok", "label": "female", "years": np.nan})
    seeds = pd.DataFrame({"seed_id": [f"s{i:03d}" for i in range(n)], "concept_kind": "emotion"})
    return pd.DataFrame(rows), seeds.assign(concept=np.where(np.arange(n) % 3, "joy", "anger"))


def analysed(readings, seeds, **settings):
    settings = {"categories": CATEGORIES, "baseline_round": 0, "root_seed": 7, "resamples": 200} | settings
    return analyse_tables(readings, seeds, **settings)


def test_means_and_shifts_are_the_naive_ones():
    readings, seeds = made_up()
    years = analysed(readings, seeds)["years"]
    assert set(years["attribute"]) == {"age"}
    assert len(years) == 4 * 3  # groups × rounds
    by_seed = readings[readings["attribute"] == "age"].pivot_table(index="seed_id", columns="round", values="years")
    later = one(years, concept="all", round=2)
    shift = (by_seed[2] - by_seed[0]).dropna()
    assert later["mean"] == pytest.approx(by_seed[2].mean())
    assert (later["shift"], later["n_pairs"]) == (pytest.approx(shift.mean()), len(shift))
    joy = by_seed[by_seed.index.isin(seeds[seeds["concept"] == "joy"]["seed_id"])]
    assert one(years, concept="joy", round=1)["mean"] == pytest.approx(joy[1].mean())
    alike = (joy[1].mean() + by_seed.drop(joy.index)[1].mean()) / 2
    assert one(years, concept="all_standardised", round=1)["mean"] == pytest.approx(alike)


def test_interval_is_near_student_s_and_no_narrower():
    readings, seeds = made_up(n=300, replicates=1, unread=0)
    later = one(analysed(readings, seeds)["years"], concept="all", round=2)
    shift = readings[readings["attribute"] == "age"].pivot_table(index="seed_id", columns="round", values="years")
    student = stats.ttest_1samp(shift[2] - shift[0], 0).confidence_interval()
    assert later["shift_low"] <= student.low < student.high <= later["shift_high"]
    level = stats.ttest_1samp(shift[2], 0).confidence_interval()
    assert later["mean_high"] - later["mean_low"] == pytest.approx(level.high - level.low, rel=0.1)
    assert later["p_value"] < 1e-6


def test_the_baseline_has_no_shift_to_be_unsure_of():
    first = one(analysed(*made_up())["years"], concept="all", round=0)
    assert first["shift"] == 0
    assert first[["shift_low", "shift_high", "p_value"]].isna().all()
    assert first[["mean_low", "mean_high"]].notna().all()


def test_wasserstein_of_everybody_ageing_alike_is_the_shift():
    readings, seeds = made_up(replicates=1, unread=0, ages=np.arange(40))
    distances = analysed(readings, seeds)["distances"]
    found = one(distances, concept="all", round=2, distance="wasserstein_years")
    assert found["value"] == pytest.approx(20)
    assert found["low"] > 10
    assert found["p_value"] < 0.02
    assert found["null_mean"] < found["value"]
    assert "wasserstein_years" not in set(distances[distances["attribute"] == "gender"]["distance"])


def test_wasserstein_sees_what_the_mean_does_not():
    """Half grow younger, half older, by as much."""
    readings, seeds = made_up(n=60, rounds=2, replicates=1, unread=0, ages=np.full(60, 30))
    apart = np.where(readings["seed_id"].str[1:].astype(int) % 2, 20.0, -20.0)
    late = (readings["round"] == 1) & (readings["attribute"] == "age")
    readings.loc[late, "years"] = 30 + apart[late]
    tables = analysed(readings, seeds)
    assert one(tables["years"], concept="all", round=1)["shift"] == pytest.approx(0)
    assert one(tables["distances"], concept="all", distance="wasserstein_years")["value"] == pytest.approx(20)


def test_an_instrument_without_years_has_no_such_table():
    readings, seeds = made_up()
    assert "years" not in analysed(readings.drop(columns="years"), seeds)
    none = analysed(readings.assign(years=np.nan), seeds)
    assert "years" not in none
    assert "wasserstein_years" not in set(none["distances"]["distance"])


def test_years_of_readings_that_are_not_ok_do_not_count():
    readings, seeds = made_up(unread=0)
    failed = (readings["seed_id"] == "s000") & (readings["attribute"] == "age")
    readings.loc[failed, ["status", "label", "years"]] = ["failed", None, 250.0]
    found = one(analysed(readings, seeds)["years"], concept="all", round=0)
    assert found["n_seeds"] == 39
    assert found["mean"] < 100


def test_one_seed_says_its_mean_and_no_more():
    years = analysed(*made_up(n=1, unread=0))["years"]
    assert years["mean"].notna().all()
    assert years[["mean_low", "mean_high", "shift_low", "p_value"]].isna().all(axis=None)


def test_nobody_moved_is_not_certainty():
    readings, seeds = made_up(n=30, rounds=2, replicates=1, unread=0, ages=np.full(30, 30))
    readings["years"] = readings["years"].clip(upper=30)
    found = one(analysed(readings, seeds)["years"], concept="all", round=1)
    assert found["shift"] == 0
    assert found["shift_low"] < -1 < 1 < found["shift_high"]
    assert found["p_value"] == 1
