"""Is there a trend? The straight-line change of every share, and of the age in years, per round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, panels, tables, words
from driftloop.report.material import WHOSE, Material
from driftloop.report.parts import Block, Folded, Section, Table, Text

COLUMNS = [*WHOSE, "category", "n_seeds", "slope", "slope_low", "slope_high", "p_value", "p_adjusted"]
YEARS = "years"
LINE = (
    "A line is drawn through all rounds, within each seed. A jump at the first round has a slope too, and what rises and falls "
    "again has little: look at the curves. All slopes are exploratory; p adjusted is Benjamini–Hochberg over all of them."
)


def section(material: Material) -> Section | None:
    perceived = material.perceived
    rows = perceived.table("trend", COLUMNS)
    rows = rows[(rows["concept"] == tables.ALL) & rows["slope"].notna()]
    if rows.empty:
        return None
    found: list[Block] = [Text(line) for line in sentences(perceived, rows)]
    lines = [row_of(row, several=len(perceived.classifiers) > 1) for row in cells.records(rows)]
    found += [Text(LINE, "note"), Folded(Table("Every slope, over all seeds.", lines))]
    return Section("trend", "Trend", "Is there a trend?", found)


def sentences(material: Material, rows: pd.DataFrame) -> Iterator[str]:
    """Of two categories the one that is told; of several the steepest; and years."""
    for attribute, classifier, mine in tables.blocks(material, rows):
        shares = mine[mine["category"] != YEARS]
        shown = shares[shares["category"].isin(panels.shown_categories(material, attribute))]
        told = [tables.largest(shown.rename(columns={"slope": "shift"})).rename({"shift": "slope"})] if len(shown) else []
        told += [row for _, row in mine[mine["category"] == YEARS].iterrows()]
        for row in told:
            yield words.readable(sentence(row, panels.by(material, attribute, classifier), material.level), 600)


def sentence(row: pd.Series[Any], by: str, level: float) -> str:
    in_years = row["category"] == YEARS
    what = (
        f"the mean perceived {row['attribute']}"
        if in_years
        else words.lowered(words.subject(row["attribute"], row["category"]))
    )
    told = f"From round {int(row['baseline_round'])} to round {int(row['round'])}, {what}{by}"
    estimate = f"{slope(row['slope'], in_years)} {'years' if in_years else 'points'} a round"
    if pd.isna(row["slope_low"]):
        return f"{told}: {estimate}, on {words.counted(int(row['n_seeds']), 'seed')}, too few for an interval."
    span = (
        f"{words.level_text(level)} interval {slope(row['slope_low'], in_years)} to {slope(row['slope_high'], in_years)}; "
        f"{words.counted(int(row['n_seeds']), 'seed')}; {words.p_text(row['p_value'])}, "
        f"{words.p_text(row['p_adjusted'])} after Benjamini–Hochberg"
    )
    if row["slope_low"] <= 0 <= row["slope_high"]:
        return f"{told}: no trend can be told apart from chance ({estimate}, {span})."
    return f"{told}: a trend of {estimate} ({span})."


def slope(value: float, in_years: bool) -> str:
    return words.signed_years(value) if in_years else words.points(value)


def row_of(row: Mapping[str, Any], *, several: bool) -> dict[str, str]:
    in_years = row["category"] == YEARS
    known = not pd.isna(row["slope_low"])
    span = f"{slope(row['slope_low'], in_years)} to {slope(row['slope_high'], in_years)}" if known else "–"
    return {
        **cells.whose(row, several=several),
        "a round": f"{slope(row['slope'], in_years)} {'years' if in_years else 'points'}",
        "interval": span,
        "p": cells.p(row["p_value"]),
        "p adjusted": cells.p(row["p_adjusted"]),
        "seeds": cells.count(row["n_seeds"]),
    }
