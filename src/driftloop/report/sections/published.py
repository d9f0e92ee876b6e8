"""Beside the published study: its percentages, and its way of reading, which is not drift."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from driftloop.report import cells, panels, tables, words
from driftloop.report.material import WHOSE, Material
from driftloop.report.parts import Block, Folded, Heading, Section, Table, Text

COLUMNS = [*WHOSE, "category", "seed_pct", "generated_pct", "n_seeds", "share", "share_low", "share_high", "reason"]
WAYS = {"way": "published_way", "annotator": "change_of_annotator", "drift": "shift"}
WAY_COLUMNS = [
    *WHOSE, "category", "n_seeds", "human_share", "first", "share",
    *(f"{name}{end}" for name in WAYS.values() for end in ("", "_low", "_high")),
]  # fmt: skip
PUBLISHED = (
    "Dogan et al. (arXiv 2601.22093) played one round with SD3.5-large and LLaVA-v1.6-mistral-7b. Their percentages change "
    "annotators on the way: people labelled the seeds, and LLaVA, the captioner of the same loop, labelled what was generated. "
    "So part of the study's difference is that change of annotator and not drift. In this run the same classifier reads the "
    "seeds and every later round. The percentages stand side by side as facts to compare with; they are not a target."
)


def section(material: Material) -> Section | None:
    beside = list(side_by_side(material, material.table("published", COLUMNS)))
    way = material.table("published_way", WAY_COLUMNS)
    ways = [Text(line) for line in published_ways(material, way)]
    found: list[Block] = [Text(PUBLISHED), *beside] if beside else []
    if ways:
        found += [Heading("Read the study's way"), *ways, *way_tables(material, way)]
    return Section("published", "The study", "Beside the published study", found) if found else None


def side_by_side(material: Material, published: pd.DataFrame) -> Iterator[Table | Folded]:
    """One table per attribute and classifier, the first with something of this run beside the study opened."""
    shut = False
    for attribute, classifier, rows in tables.blocks(material, published):
        beside = bool(rows["share"].notna().any())
        title = published_title(attribute, classifier if len(material.readers(attribute)) > 1 else "", beside=beside)
        note = words.readable(published_note(not_beside(rows), material.level, beside=beside), 1000)
        lines = [published_row(line) for _, line in rows.groupby(["concept", "category"], sort=False)]
        table = cells.without_empty(Table(words.readable(title), _filled(lines), note))
        yield table if beside and not shut else Folded(table)
        shut = shut or beside


def published_row(line: pd.DataFrame) -> dict[str, str]:
    """`line`: one published row, with this run's shares at some rounds."""
    first = line.iloc[0]
    told = {"concept": str(first["concept"]), "category": str(first["category"])}
    told |= {"study: seeds, by people": f"{first['seed_pct']:.2f} %"}
    told |= {"study: round 1, by LLaVA": f"{first['generated_pct']:.2f} %"}
    for row in cells.records(line[line["round"].notna()]):
        start = int(row["round"]) == int(row["baseline_round"])
        name = "here: seeds" if start else f"here: round {cells.count(row['round'])}"
        told[name] = cells.banded(row["share"], row["share_low"], row["share_high"])
    return told | {"seeds": _range(line["n_seeds"])}


def _filled(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The same columns in every row, the number of seeds last."""
    names = sorted({name: None for row in rows for name in row}, key=lambda name: name == "seeds")
    return [{name: row.get(name, "–") for name in names} for row in rows]


def _range(counts: pd.Series[Any]) -> str:
    known = sorted({int(n) for n in counts.dropna()})
    return "–" if not known else f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,}–{known[-1]:,}"


def published_ways(material: Material, way: pd.DataFrame) -> list[str]:
    """Over all seeds at the first round after the baseline, of the category that is told."""
    told = []
    for attribute, classifier, rows in tables.blocks(material, way):
        whole = rows[(rows["concept"] == tables.ALL) & (rows["round"] == rows["round"].min())]
        shown = _told(material, attribute, whole)
        row = shown.iloc[int(shown["published_way"].astype(float).abs().fillna(-1).argmax())]
        parts = {key: _estimate(row, name) for key, name in WAYS.items()}
        subject = words.subject(attribute, str(row["category"]))
        round_, n = int(row["round"]), int(row["n_seeds"])
        line = published_way(subject, classifier, round_, n, **parts, level=material.level)
        told.append(words.readable(line, 1000))
    return told


def _told(material: Material, attribute: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the categories that are told; all of them where people used none of those."""
    mine = rows[rows["category"].isin(panels.shown_categories(material, attribute))]
    return mine if len(mine) else rows


def _estimate(row: pd.Series[Any], name: str) -> words.Estimate:
    return words.Estimate(value=float(row[name]), low=float(row[f"{name}_low"]), high=float(row[f"{name}_high"]))


def way_tables(material: Material, way: pd.DataFrame) -> list[Folded]:
    found = []
    for attribute, classifier, rows in tables.blocks(material, way):
        shown = _told(material, attribute, rows[rows["published_way"].notna()])
        title = f"Perceived {attribute} read the study's way by {classifier}, in points: not drift."
        lines = [way_row(row) for row in cells.records(shown)]
        found += [Folded(Table(words.readable(title), lines))] if lines else []
    return found


def way_row(row: Mapping[str, Any]) -> dict[str, str]:
    told = {"concept": words.name_of(str(row["concept"])), "category": str(row["category"]), "round": cells.count(row["round"])}
    told |= {"seeds, by people": cells.percent(row["human_share"]), "seeds, by classifier": cells.percent(row["first"])}
    told |= {"the round, by classifier": cells.percent(row["share"]), "study's way": cells.points(row["published_way"])}
    told |= {"of it annotator": cells.points(row["change_of_annotator"]), "of it drift": cells.points(row["shift"])}
    return told | {"seeds": cells.count(row["n_seeds"])}


# Words ---------------------------------------------------------------------------------------------------------------


def published_title(attribute: str, classifier: str, *, beside: bool) -> str:
    """`classifier` is told where there are several; `beside`: whether this run has any share to put there."""
    name = attribute.replace("skintone", "skin tone")
    read = f", here as {classifier} reads it" if classifier else ""
    return f"Perceived {name}: the study beside this run{read}." if beside else f"Perceived {name}: the study alone{read}."


def published_note(missing: Mapping[str, Sequence[str]], level: float, *, beside: bool) -> str:
    """`missing`: why this run has nothing to put beside some rows -> which; nothing = any of them."""
    told = "; ".join(f"{words.joined(names)}: {reason}" if names else reason for reason, names in missing.items())
    if not beside:
        return f"This run has nothing to put beside it: {told}."
    brackets = f"In brackets: {words.level_text(level)} interval over seeds."
    return f"{brackets} Nothing of this run stands beside some rows ({told})." if told else brackets


def published_way(
    subject_: str,
    classifier: str,
    round_: int,
    n: int,
    *,
    way: words.Estimate,
    annotator: words.Estimate,
    drift: words.Estimate,
    level: float,
) -> str:
    """The difference as the study reads it, and the two parts it is the sum of."""
    if math.isnan(way.value):
        return f"Too few seeds with a human label were read to take {subject_.lower()} the study's way."
    moved = f"{words.lowered(subject_)} would seem to move by {words.estimated(way, level)}"
    return (
        f"Not drift: with human labels for the seeds and {classifier} for round {round_}, as the study has it, {moved}. "
        f"Of that, {words.estimated(annotator, level)} is the change of annotator: what the classifier and people make of the "
        f"very same seeds. The drift by one annotator is {words.estimated(drift, level)}. "
        f"All over the {words.counted(n, 'seed')} with a label and a reading at both ends."
    )


def not_beside(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Why this run has nothing to put beside some published rows: reason -> the categories, or the concepts, it is true of.

    A reason that is true of every row of a concept names the concept.
    """
    missing = rows[rows["reason"] != ""]
    found: dict[str, list[str]] = {}
    for reason, mine in missing.groupby("reason", sort=False):
        whole = [name for name, part in mine.groupby("concept", sort=False) if len(part) == (rows["concept"] == name).sum()]
        names = whole if len(whole) == mine["concept"].nunique() else mine["category"].unique()
        found[str(reason)] = [] if len(mine) == len(rows) else [str(name) for name in names]
    return found
