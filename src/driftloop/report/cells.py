"""How values stand in the cells of a table: rounded for a reader, a dash where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from driftloop.report import words
from driftloop.report.parts import Table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def count(value: Any) -> str:
    return "–" if pd.isna(value) else f"{int(value):,}"


def share(value: float) -> str:
    return f"{100 * value:.1f}"


def percent(value: Any) -> str:
    return "–" if pd.isna(value) else words.percent(float(value))


def points(value: Any) -> str:
    return "–" if pd.isna(value) else words.points(float(value))


def number(value: Any) -> str:
    return "–" if pd.isna(value) else f"{float(value):.2f}".replace("-", "−")


def interval(low: Any, high: Any, form: Callable[[float], str] = words.points) -> str:
    return "–" if pd.isna(low) or pd.isna(high) else f"{form(float(low))} to {form(float(high))}"


def banded(value: Any, low: Any, high: Any) -> str:
    """51.2 % (40.0 to 70.0)"""
    return (
        percent(value) if pd.isna(value) or pd.isna(low) or low == high else f"{percent(value)} ({interval(low, high, share)})"
    )


def p(value: Any) -> str:
    return "–" if pd.isna(value) else words.p_text(float(value)).removeprefix("p = ").removeprefix("p ")


def text(value: Any) -> str:
    return "–" if pd.isna(value) or value == "" else words.readable(str(value), 60)


def without_empty(table: Table) -> Table:
    """Without columns that say 0 (or nothing) in every row, apart from the round itself."""
    numbers = [name for name, number in table.head if number and name != "round"]
    empty = {name for name in numbers if all(row[name] in ("0", "–") for row in table.rows)}
    rows = [{key: value for key, value in row.items() if key not in empty} for row in table.rows]
    return Table(table.caption, rows, table.note)


def whose(row: Mapping[str, Any], *, several: bool) -> dict[str, str]:
    """What a row of a table is about; the classifier where there are several."""
    single = row["concept"] not in ("all", "all_standardised")
    names = [key for key in ("concept", "attribute", "category") if single or key != "concept"]
    return {key: text(row[key]) for key in (*names, *(["classifier"] if several else []))}
