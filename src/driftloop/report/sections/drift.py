"""Drift by round: curves of every share, the whole table, and what a world of known truth makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, figures, panels, tables, words
from driftloop.report.material import Material
from driftloop.report.parts import Block, Figure, Folded, Section, Table, Text

NOTE = (
    "The shift is on the seeds read at both ends, so it need not equal the difference of the shares. p is of the category by "
    "itself; p adjusted is Benjamini–Hochberg over all categories, concepts and rounds of this run; both are exploratory. "
    "“read” is the share of expected readings that succeeded in the last round."
)


def section(material: Material) -> Section:
    perceived = material.perceived
    drawn: list[Block] = list(curves(perceived)) or [Text("There is no curve to draw.")]
    return Section("drift", "Drift", "Drift by round", [*drawn, *printed(perceived)])


def curves(material: Material) -> Iterator[Figure]:
    for attribute in material.attributes:
        frame = tables.attribute_curves(material, attribute, panels.shown_categories(material, attribute))
        if frame["value"].notna().any():
            yield curve(material, attribute, frame)


def curve(material: Material, attribute: str, frame: pd.DataFrame) -> Figure:
    drift = tables.raw(material.drift)
    n = words.n_range(drift.loc[(drift["attribute"] == attribute) & (drift["concept"] == tables.ALL), "n_seeds"])
    subject = words.subjects(attribute, panels.shown_categories(material, attribute))
    roles = {name: bool((frame["role"] == name).any()) for name in ("planted", "audited")}
    caption = words.curve_caption(subject, n, material.level, **roles)
    axis = panels.SHARES_TO_ONE if len(material.categories(attribute)) == 2 else figures.SHARES
    colour = panels.colours(material, attribute)
    return Figure(
        f"drift-{attribute}", caption, panels.layouts_of(frame["panel"].nunique()), panels.curves(frame, colour, axis)
    )


def printed(material: Material) -> Iterator[Block]:
    """All seeds at the last round; behind their captions the same with concepts weighted alike, and every round."""
    drift = tables.raw(material.drift)
    whole, alike = drift[drift["concept"] == tables.ALL], drift[drift["concept"] == tables.ALIKE]
    last = tables.ends(whole)
    if last.empty:
        return
    ends = f"From round {int(last['baseline_round'].iloc[0])} to round {int(last['round'].iloc[0])}, as read (raw)"
    yield Table(f"{ends}, over all seeds.", [drift_row(material, row) for row in cells.records(last)], NOTE)
    rows = [drift_row(material, row) for row in cells.records(tables.ends(alike))]
    if rows:
        yield Folded(Table(f"{ends}, {words.name_of(tables.ALIKE)}.", rows))
    yield Folded(Table("Every round, over all seeds.", [round_row(material, row) for row in cells.records(whole)]))


def drift_row(material: Material, row: Mapping[str, Any]) -> dict[str, str]:
    return {
        **cells.whose(row, several=len(material.classifiers) > 1),
        "from": cells.percent(row["first"]),
        "to": cells.percent(row["share"]),
        "shift": cells.points(row["shift"]),
        f"{words.level_text(material.level)} interval": cells.interval(row["shift_low"], row["shift_high"]),
        "p": cells.p(row["p_value"]),
        "p adjusted": cells.p(row["p_adjusted"]),
        "seeds at both": cells.count(row["n_pairs"]),
        "read": cells.percent(row["coverage"]),
    }


def round_row(material: Material, row: Mapping[str, Any]) -> dict[str, str]:
    level = words.level_text(material.level)
    return {
        "round": cells.count(row["round"]),
        **cells.whose(row, several=len(material.classifiers) > 1),
        "share": cells.percent(row["share"]),
        f"{level} interval": cells.interval(row["share_low"], row["share_high"], cells.share),
        "seeds": cells.count(row["n_seeds"]),
        "shift": cells.points(row["shift"]),
        f"{level} interval of shift": cells.interval(row["shift_low"], row["shift_high"]),
        "seeds at both": cells.count(row["n_pairs"]),
        "read": cells.percent(row["coverage"]),
    }
