"""The age in years, where an instrument reads years: its mean by round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, figures, panels, tables, words
from driftloop.report.material import WHOSE, Material
from driftloop.report.parts import Block, Figure, Folded, Section, Table, Text

COLUMNS = [
    *WHOSE,
    "n_seeds",
    "n_pairs",
    "mean",
    "mean_low",
    "mean_high",
    "shift",
    "shift_low",
    "shift_high",
    "p_value",
    "p_adjusted",
]
AXIS = figures.Axis("years", lambda value: f"{value:.0f}")


def section(material: Material) -> Section | None:
    perceived = material.perceived
    rows = perceived.table("years", COLUMNS)
    rows = rows[(rows["concept"] == tables.ALL) & rows["mean"].notna()]
    if rows.empty:
        return None
    found: list[Block] = [Text(line) for line in sentences(perceived, rows)]
    lines = [row_of(row, several=len(perceived.classifiers) > 1) for row in cells.records(rows)]
    found += [*curves(perceived, rows), Folded(Table("Mean age by round, over all seeds, in years.", lines))]
    return Section("years", "Years", "Age in years", found)


def sentences(material: Material, rows: pd.DataFrame) -> Iterator[str]:
    for attribute, classifier, mine in tables.blocks(material, rows.sort_values("round")):
        first, last = mine.iloc[0], mine.iloc[-1]
        by = panels.by(material, attribute, classifier)
        went = (
            f"The mean perceived {attribute}{by} went from {first['mean']:.1f} to {last['mean']:.1f} years from round "
            f"{int(first['round'])} to round {int(last['round'])}"
        )
        if len(mine) > 1:
            yield words.readable(f"{went}: {shifted(last, material.level)}.", 600)


def shifted(row: pd.Series[Any], level: float) -> str:
    n = f"{words.counted(int(row['n_pairs']), 'seed')} read at both ends"
    if pd.isna(row["shift_low"]):
        return f"{words.signed_years(row['shift'])} years on {n}, too few for an interval"
    span = (
        f"{words.level_text(level)} interval {words.signed_years(row['shift_low'])} to {words.signed_years(row['shift_high'])}"
    )
    told = f"{words.signed_years(row['shift'])} years"
    basis = (
        f"{span}; {n}; exploratory: {words.p_text(row['p_value'])}, {words.p_text(row['p_adjusted'])} after Benjamini–Hochberg"
    )
    if row["shift_low"] <= 0 <= row["shift_high"]:
        return f"no shift can be told apart from chance ({told}, {basis})"
    return f"a shift of {told} ({basis})"


def curves(material: Material, rows: pd.DataFrame) -> Iterator[Figure]:
    frame = tables.stacked([
        tables.curve(
            tables.as_shares(mine, "mean", "mean_low", "mean_high"),
            tables.panel_name(material, attribute, classifier, ""), attribute,
        )
        for attribute, classifier, mine in tables.blocks(material, rows)
    ])  # fmt: skip
    n = words.n_range(rows["n_seeds"])
    caption = f"Mean perceived age in years by round, over all seeds (n = {n}). {words.band(material.level)}"
    yield Figure("years", caption, panels.layouts_of(frame["panel"].nunique()), panels.curves(frame, {}, AXIS))


def row_of(row: Mapping[str, Any], *, several: bool) -> dict[str, str]:
    return {
        "round": cells.count(row["round"]),
        **({"classifier": cells.text(row["classifier"])} if several else {}),
        "mean age": f"{row['mean']:.1f}",
        "interval": cells.interval(row["mean_low"], row["mean_high"], "{:.1f}".format),
        "shift": words.signed_years(row["shift"]),
        "interval of shift": cells.interval(row["shift_low"], row["shift_high"], words.signed_years),
        "p adjusted": cells.p(row["p_adjusted"]),
        "seeds at both": cells.count(row["n_pairs"]),
    }
