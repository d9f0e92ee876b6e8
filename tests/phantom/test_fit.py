"""The joint test of a run against the closed form: it holds what is planted, and rejects what is not, as it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftloop.phantom.world import CATEGORIES, Prior
from driftloop.runs import Run
from playing import composed, played

OMISSION = 0.3


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card that a trained generator would have that had learned the planted world without error."""
    folder = tmp_path_factory.mktemp("generator")
    prior = Prior()
    silent = {name: {"guidance 1": getattr(prior, name)} for name in ("gender", "age")}
    kept = {name: np.eye(len(values)).tolist() for name, values in CATEGORIES.items()}
    (folder / "card.json").write_text(json.dumps({"silent captions": silent, "confusion at guidance 1": kept}))
    return folder


def run_of(results: Path, card: Path, *words: str) -> Run:
    options = {"guidance": 1, "generator": card, "omission": OMISSION, "error": 0.2}
    asked = composed(
        "experiment=phantom_exact", "metric=[closed_form]", "truth=none", "rounds=3", "dataset.limit=300", "dataset.n=300",
        f"captioner.omission={OMISSION}", "analysis.resamples=100", "stages=[play,measure,analyse]",
        f"results_dir={results}", *(f"metric.closed_form.{name}={value}" for name, value in options.items()), *words,
    )  # fmt: skip
    return played(asked)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory, card: Path) -> pd.DataFrame:
    table: pd.DataFrame = run_of(tmp_path_factory.mktemp("results"), card).tables["closed_form"]
    return table.set_index(["attribute", "hypothesis"])


def test_what_is_planted_is_not_rejected(fit: pd.DataFrame) -> None:
    right = fit.xs("card", level="hypothesis")
    assert set(right.index) == {"gender", "age", "all"}
    assert (right["p_value"] > 0.001).all()
    assert right["power"].isna().all()
    assert (right["n_seeds"] == 300).all()
    assert right.loc["gender", "columns"] == 2 * 3


@pytest.mark.parametrize("hypothesis", ["omission 0.1", "omission 0.5", "prior off by 0.2"])
def test_what_is_false_is_rejected_where_the_power_says_so(fit: pd.DataFrame, hypothesis: str) -> None:
    row = fit.loc[("all", hypothesis)]
    assert row["power"] > 0.99
    assert row["p_value"] < 0.01


def test_without_figures_there_is_no_table(tmp_path: Path) -> None:
    run = run_of(tmp_path / "results", tmp_path, "dataset.limit=12")
    assert "closed_form" not in run.tables
