"""What people say: how far annotators agree, and how the instrument errs at both rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, panels, tables, words
from driftloop.report.material import WHOSE, Material
from driftloop.report.parts import Block, Folded, Heading, Section, Text
from driftloop.report.sections import instrument

COLUMNS = [*WHOSE, "quantity", "label", "reading", "value", "low", "high", "n", "p_value", "note"]


def section(material: Material) -> Section | None:
    perceived = material.perceived
    audit = perceived.table("audit", COLUMNS)
    if audit.empty:
        return None
    found: list[Block] = []
    for attribute in dict.fromkeys(audit["attribute"].astype(str)):
        rows = audit[audit["attribute"] == attribute]
        found.append(Heading(words.readable(f"Perceived {attribute}", 120)))
        found += [Text(line) for line in (labelled(rows), agreement(rows, perceived.level))]
        for classifier, mine in rows[rows["classifier"].notna()].groupby("classifier", sort=False):
            found += list(read(perceived, mine, attribute, str(classifier)))
    return Section("audit", "Audit", "What people see in the same pictures", found)


def labelled(rows: pd.DataFrame) -> str:
    """How many of the drawn pictures were labelled, per round."""
    counts = rows[rows["quantity"].isin(["pictures", "labelled", "cannot_tell"])]
    wide = counts.pivot_table(index="round", columns="quantity", values="value", aggfunc="first")
    told = [
        f"{int(row['labelled']):,} of {int(row['pictures']):,} pictures drawn at random from round {int(float(str(round_)))} "
        f"(in {int(row['cannot_tell']):,} they could not tell)"
        for round_, row in wide.iterrows()
    ]
    return f"People labelled {words.joined(told)}, without knowing the round or what the instrument reads."


def agreement(rows: pd.DataFrame, level: float) -> str:
    row = rows[rows["quantity"] == "alpha"].iloc[0]
    people = rows.loc[rows["quantity"] == "annotators", "value"].iloc[0]
    if pd.isna(row["value"]):
        return f"How far people agree cannot be told: {words.counted(int(people), 'annotator')}, no picture labelled twice."
    return (
        f"Where several of the {int(people)} annotators saw the same picture ({int(row['n']):,} pictures), they agree by "
        f"Krippendorff's alpha {cells.number(row['value'])} ({words.level_text(level)} interval "
        f"{cells.interval(row['low'], row['high'], cells.number)}): 1 is always, 0 no more than by chance."
    )


def read(material: Material, mine: pd.DataFrame, attribute: str, classifier: str) -> Iterator[Block]:
    """What the instrument makes of the labelled pictures, and whether it errs alike at both rounds."""
    name = words.readable(classifier, 60)
    confused = mine[mine["quantity"] == "confusion"]
    right = confused[(confused["label"] == confused["reading"]) & (confused["n"] >= tables.LEAST)]
    lines = [of_label(name, rows, material.level) for _, rows in right.groupby("label", sort=False)]
    if len(lines) <= 2:
        yield from (Text(line) for line in lines)
    yield from (equality(row) for row in cells.records(mine[mine["quantity"] == "equal_confusion"]))
    by = panels.by(material, attribute, classifier)
    table = instrument.confusion(confused, f"Perceived {attribute}{by}: what people say and what is read, at both rounds.")
    if table is not None:
        yield Folded(table)


def of_label(name: str, rows: pd.DataFrame, level: float) -> str:
    told = [
        f"{words.percent(row['value'])} so at round {int(row['round'])} ({words.level_text(level)} interval "
        f"{cells.interval(row['low'], row['high'], cells.share)}; {words.counted(int(row['n']), 'picture')})"
        for row in cells.records(rows)
    ]
    return f"Of pictures that people call {cells.text(rows['label'].iloc[0])}, {name} reads {words.joined(told)}."


def equality(row: Mapping[str, Any]) -> Text:
    if pd.isna(row["p_value"]):
        return Text(f"Whether it errs alike at both rounds was not tested: {cells.text(row['note'])}.")
    tested = f"({words.p_text(row['p_value'])}, {int(row['n']):,} pictures)"
    if str(row["note"]).startswith("warning"):
        return Text(f"It errs otherwise at the later round {tested}: part of its raw drift is its own error, and corrections "
                    "learned on the seeds do not hold.", "warning")  # fmt: skip
    return Text(f"No sign that it errs otherwise at the later round {tested}; that does not prove that it errs alike.")
