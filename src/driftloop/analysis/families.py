"""Families of tests: p-values adjusted by name, never by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.study import WHOSE
from driftloop.statistics.multiplicity import benjamini_hochberg, holm
from driftloop.statistics.panel import Floats

Adjust = Callable[[Mapping[Any, float]], dict[Any, float]]


def adjust_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """`p_adjusted` of omnibus tests, by name: Holm in the confirmatory family, Benjamini-Hochberg in the other.

    Takes the tests of one run, or of all runs of a study at once: families then reach across arms and instruments.
    """
    adjusted = pd.Series(np.nan, index=tests.index, dtype=np.float64)
    for family, adjust in (("confirmatory", holm), ("exploratory", benjamini_hochberg)):
        rows = tests[tests["family"] == family]
        adjusted.loc[rows.index] = _adjusted(rows, [*WHOSE, "classifier", "round"], adjust)
    return tests.assign(p_adjusted=adjusted)


def adjust_drift(drift: pd.DataFrame) -> pd.DataFrame:
    """`p_adjusted` of the rows of a table, by name: Benjamini-Hochberg over all of them; none of them is confirmatory."""
    names = [name for name in (*WHOSE, "category", "classifier", "round") if name in drift]
    return drift.assign(p_adjusted=_adjusted(drift, names, benjamini_hochberg))


def adjust_differences(differences: pd.DataFrame) -> pd.DataFrame:
    """Adjusts differences between arms, of one pair or of all arms of a study at once: families then reach across arms.

    `p_adjusted`: Benjamini-Hochberg over the rows of a quantity. `test_p_adjusted`: of the omnibus tests, as `adjust_tests`.
    """
    names = ["run", "reference", "concept", "attribute", "instrument", "round"]
    adjusted = pd.Series(np.nan, index=differences.index, dtype=np.float64)
    for _, rows in differences.groupby("quantity"):
        adjusted.loc[rows.index] = _adjusted(rows, [*names, "category"], benjamini_hochberg)
    tests = pd.Series(np.nan, index=differences.index, dtype=np.float64)
    for family, adjust in (("confirmatory", holm), ("exploratory", benjamini_hochberg)):
        rows = differences[differences["family"] == family]
        once = rows.drop_duplicates(names).assign(p_value=lambda found: found["test_p_value"])
        found = pd.Series(_adjusted(once, names, adjust), index=pd.MultiIndex.from_frame(once[names]), dtype=np.float64)
        tests.loc[rows.index] = found.reindex(pd.MultiIndex.from_frame(rows[names])).to_numpy()
    return differences.assign(p_adjusted=adjusted, test_p_adjusted=tests)


def _adjusted(rows: pd.DataFrame, columns: list[str], adjust: Adjust) -> Floats:
    names = [tuple(row) for row in rows[columns].itertuples(index=False)]
    if len(set(names)) < len(names):
        raise ValueError(f"two tests of one name cannot be told apart: {rows[rows.duplicated(columns)].iloc[0].to_dict()}")
    found = adjust(dict(zip(names, rows["p_value"].tolist(), strict=True)))
    return np.array([found[name] for name in names], dtype=np.float64)
