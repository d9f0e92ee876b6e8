"""Picks rows of a tidy table by the values of its columns."""

from __future__ import annotations

from typing import Any

import pandas as pd


def only(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def one(table: pd.DataFrame, **wanted: Any) -> pd.Series[Any]:
    """The only row there is."""
    found = only(table, **wanted)
    assert len(found) == 1, found
    return found.iloc[0]
