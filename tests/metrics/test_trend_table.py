"""The metric `trend`, over a run: tidy rows that say what the statistics say of the run's own readings."""

import numpy as np
import pandas as pd
import pytest

from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import Settings
from driftloop.metrics.trend import TREND_COLUMNS, TrendMetric
from driftloop.statistics.panel import group
from driftloop.statistics.trend import trend

CATEGORIES = {"age": ("young", "old"), "gender": ("female", "male")}


class Kept:
    """A store that holds one table of readings."""

    def __init__(self, readings: pd.DataFrame) -> None:
        self.table = readings

    def readings(self, folder: str) -> pd.DataFrame:
        return self.table


def material(rounds=4, n=40, years=True):
    draws = np.random.default_rng(0)
    chains = [(f"s{i:02d}", r) for i in range(n) for r in range(rounds)]
    rows = pd.DataFrame(chains, columns=["seed_id", "round"])
    rows = rows.assign(run="r", replicate=0, chain=rows["seed_id"] + "/0", image="x", status="ok", caption="")
    aged = 20 + 2.0 * rows["round"] + draws.normal(0, 2, len(rows))
    common = rows[["run", "seed_id", "replicate", "chain", "round", "status"]].assign(classifier="vit")
    old = common.assign(attribute="age", label=np.where(aged > 25, "old", "young"), years=aged if years else np.nan)
    man = common.assign(attribute="gender", label=draws.choice(["female", "male"], len(rows)), years=np.nan)
    seeds = pd.DataFrame({"seed_id": [f"s{i:02d}" for i in range(n)], "concept_kind": "emotion", "concept": "joy"})
    return Material(
        store=Kept(pd.concat([old, man], ignore_index=True)),
        seeds=seeds,
        rows=rows,
        instruments=[Instrument(name="vit", folder="labels/vit", kind="labels", categories=CATEGORIES)],
        settings=Settings(root_seed=0, resamples=100, level=0.95, ordered=frozenset({"age"}), confirmatory=None),
        baseline_round=0,
    )


def test_rows_are_the_statistics_of_the_readings():
    given = material()
    table = TrendMetric().tables(given)["trend"]
    assert list(table.columns) == TREND_COLUMNS
    everyone = table[table["concept"] == "all"].set_index(["attribute", "category"])
    assert set(everyone.index) == {("age", "young"), ("age", "old"), ("age", "years"), ("gender", "female"), ("gender", "male")}
    read = given.readings[given.readings["attribute"] == "age"].pivot_table(index="seed_id", columns="round", values="years")
    assert everyone.loc[("age", "years"), "slope"] == pytest.approx(np.polyfit(range(4), read.T, 1)[0].mean())
    means = np.stack([read.to_numpy() <= 25, read.to_numpy() > 25], axis=2).astype(float)
    direct = trend(means, np.arange(4.0), group("all", np.arange(40)))
    assert everyone.loc[("age", "old"), "slope"] == pytest.approx(direct.slope[1])
    assert everyone.loc[("age", "old"), "slope_low"] == pytest.approx(direct.low[1])
    assert everyone.loc[("age", "old"), "p_adjusted"] < 0.01 < everyone.loc[("gender", "male"), "p_adjusted"]
    assert (everyone["round"] == 3).all()
    assert (everyone["n_seeds"] == 40).all()


def test_one_round_has_no_trend_and_no_years_no_row_of_years():
    assert len(TrendMetric().tables(material(rounds=1))["trend"]) == 0
    assert "years" not in set(TrendMetric().tables(material(years=False))["trend"]["category"])
