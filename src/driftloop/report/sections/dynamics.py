"""Where does it pull to? The attractor and the half-life, where they may be told, else why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, panels, tables, words
from driftloop.report.material import WHOSE, Material
from driftloop.report.parts import Block, Folded, Section, Table, Text

COLUMNS = [*WHOSE, "category", "concept_read_by", "n_seeds", "status", "p_order", "p_late",
           *(f"{name}{end}" for name in ("attractor", "half_life") for end in ("", "_low", "_high"))]  # fmt: skip
SHOWN = "shown"
REASONS = {
    "not first order": "what is read next depends on more than the last reading",
    "late rounds not predicted": "what the first half of the rounds predicts is not what the later ones show",
    "too few seeds": "there are too few seeds",
    "too few rounds": "there are too few rounds",
    "not identifiable": "the readings hardly change, or fall into parts that never mix",
}
MEANING = (
    "The attractor is the mix that this loop would end in if it went on for ever, whatever it began with; after one half-life "
    "half of the start is forgotten. Both suppose that only the last reading matters. They are told only where two tests do "
    "not speak against that: one asks whether earlier readings matter too (p order), one whether the first rounds predict the "
    "later ones (p late)."
)


def section(material: Material) -> Section | None:
    perceived = material.perceived
    rows = perceived.table("dynamics", COLUMNS)
    rows = rows[rows["concept_read_by"].fillna("") == ""]
    whole = rows[rows["concept"] == tables.ALL]
    if whole.empty:
        return None
    found: list[Block] = [Text(line) for line in sentences(perceived, whole)]
    found.append(Text(MEANING, "note"))
    several = len(perceived.classifiers) > 1
    found.append(
        Table(
            "Where each category is pulled to, over all seeds.", [row_of(row, several=several) for row in cells.records(whole)]
        )
    )
    single = rows[~rows["concept"].isin([tables.ALL, tables.ALIKE]) & (rows["n_seeds"] >= tables.LEAST)]
    if len(single):
        found.append(
            Folded(Table("The same by concept (exploratory).", [row_of(row, several=several) for row in cells.records(single)]))
        )
    return Section("dynamics", "Pull", "Where does it pull to?", found)


def sentences(material: Material, rows: pd.DataFrame) -> Iterator[str]:
    """One per attribute and instrument: of two categories the one that is told, of several the largest at the end."""
    for attribute, classifier, mine in tables.blocks(material, rows):
        shown = mine[mine["category"].isin(panels.shown_categories(material, attribute))]
        told = shown if len(shown) else mine
        row = told.iloc[int(told["attractor"].astype(float).fillna(-1).to_numpy().argmax())]
        yield words.readable(sentence(row, panels.by(material, attribute, classifier), material.level), 600)


def sentence(row: pd.Series[Any], by: str, level: float) -> str:
    n = words.counted(int(row["n_seeds"]), "seed")
    if row["status"] != SHOWN:
        return f"No attractor is told for perceived {row['attribute']}{by}: {reason(row)} ({n}{tested(row)})."
    people = words.lowered(words.subject(str(row["attribute"]), str(row["category"])))
    span = cells.interval(row["attractor_low"], row["attractor_high"], cells.share)
    pulled = (
        f"This loop pulls {people}{by} to {words.percent(row['attractor'])} ({words.level_text(level)} interval {span}; {n})"
    )
    if pd.isna(row["half_life"]):
        return f"{pulled}; how fast cannot be told."
    life = cells.interval(row["half_life_low"], row["half_life_high"], "{:.1f}".format)
    return f"{pulled}; half of the start is forgotten in {row['half_life']:.1f} rounds ({life})."


def reason(row: Mapping[str, Any] | pd.Series[Any]) -> str:
    status = str(row["status"])
    return next((plain for name, plain in REASONS.items() if status.startswith(name)), status)


def tested(row: pd.Series[Any]) -> str:
    told = {"order": row["p_order"], "late rounds": row["p_late"]}
    return "".join(f"; {name}: {words.p_text(float(value))}" for name, value in told.items() if not pd.isna(value))


def row_of(row: Mapping[str, Any], *, several: bool) -> dict[str, str]:
    shown = row["status"] == SHOWN
    return {
        **cells.whose(row, several=several),
        "attractor": cells.banded(row["attractor"], row["attractor_low"], row["attractor_high"]) if shown else "–",
        "half-life, rounds": in_rounds(row) if shown else "–",
        "p order": cells.p(row["p_order"]),
        "p late": cells.p(row["p_late"]),
        "seeds": cells.count(row["n_seeds"]),
        "what it says": "shown" if shown else reason(row),
    }


def in_rounds(row: Mapping[str, Any]) -> str:
    if pd.isna(row["half_life"]):
        return "–"
    return f"{row['half_life']:.1f} ({cells.interval(row['half_life_low'], row['half_life_high'], '{:.1f}'.format)})"
