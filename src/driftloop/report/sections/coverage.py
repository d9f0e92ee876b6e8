"""How much could be read? What became of pictures and readings, and how far what was not read could move a share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, panels, tables, words
from driftloop.report.material import Material
from driftloop.report.parts import Block, Folded, Section, Table, Text


def section(material: Material) -> Section:
    found = list(blocks(material)) or [Text("Nothing has been played yet.")]
    return Section("coverage", "Coverage", "How much could be read?", found)


def blocks(material: Material) -> Iterator[Block]:
    if len(material.rounds):
        yield Text(played(material.rounds))
    for line in read(material):
        yield Text(line)
    failures = tables.failures(material.rounds)
    if len(failures):
        yield Table("One example of each failure.", [failure_row(material, row) for row in cells.records(failures)])
    for table in details(material):
        yield Folded(cells.without_empty(table))


def played(rounds: pd.DataFrame) -> str:
    """How many chains got to the last round."""
    chains, last = int(rounds["chain"].nunique()), int(rounds["round"].max())
    whole = int(((rounds["round"] == last) & (rounds["status"] == "ok")).sum())
    if whole == chains:
        return f"All {words.counted(chains, 'chain')} were played to the end of round {last}."
    return (
        f"{whole:,} of {words.counted(chains, 'chain')} were played to the end of round {last}; the others failed on the way."
    )


def read(material: Material) -> Iterator[str]:
    """What each instrument could read at both ends, and what that leaves open."""
    covered = tables.covered(material.coverage)
    for (classifier, attribute), rows in covered.groupby(["classifier", "attribute"], sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        name, names = words.readable(str(classifier), 60), str(attribute).split(", ")
        perceived = "perceived " if set(names) <= set(material.perceived.attributes) else ""
        what = words.readable(f"{perceived}{words.joined(names)}", 120)
        shares = [words.percent(float(row["coverage"])) for row in (first, last)]
        numbers = [cells.count(row["n_expected"]) for row in (first, last)]
        told = (
            f"{name} could read {what} in {shares[0]} of the {numbers[0]} pictures expected at round "
            f"{int(first['round'])} and in {shares[1]} of {numbers[1]} at round {int(last['round'])}."
        )
        yield " ".join([told, *left_open(material, str(classifier), names)])


def left_open(material: Material, classifier: str, attributes: list[str]) -> Iterator[str]:
    bounds = tables.bounds(material.coverage)
    for attribute in attributes:
        shown = panels.shown_categories(material, attribute)
        if len(shown) != 1:
            continue
        rows = bounds[(bounds["classifier"] == classifier) & (bounds["attribute"] == attribute)]
        for row in cells.records(rows[rows["category"].isin(shown)]):
            least, most = (words.percent(row[name]) for name in ("share_at_least", "share_at_most"))
            people = words.lowered(words.subject(attribute, shown[0]))
            yield f"Whatever the unread pictures show, {people} are between {least} and {most} of all at round {row['round']}."


def details(material: Material) -> Iterator[Table]:
    made = [
        ("Pictures and captions by round.", play_row, tables.played(material.rounds)),
        ("Readings by round, over all seeds.", reading_row, tables.covered(material.coverage)),
        ("How far what was not read could move each share at the last round.", bound_row, tables.bounds(material.coverage)),
    ]
    for caption, row, table in made:
        if len(table):
            yield Table(caption, [row(line) for line in cells.records(table)])


def play_row(row: Mapping[str, Any]) -> dict[str, str]:
    names = {"caption_truncated": "captions cut", "caption_echo": "prompt echoed", "prompt_truncated": "prompts cut",
             "retried": "drawn again", "parent_failed": "stopped before"}  # fmt: skip
    told = {names.get(key, key.replace("_", " ")): cells.count(value) for key, value in row.items() if key != "tokens"}
    return told | {"tokens a caption": "–" if pd.isna(row["tokens"]) else f"{row['tokens']:.1f}"}


def failure_row(material: Material, row: Mapping[str, Any]) -> dict[str, str]:
    """An error may quote a caption or a file: of licensed seeds only its kind is told."""
    error = words.safe(str(row["error"] or ""), 200)
    example = f"{row['chain']} in round {row['round']}: {error}" if material.shown else error.split(":")[0]
    status = str(row["status"]).replace("_", " ")
    return {"status": status, "chains": cells.count(row["n"]), "example": words.readable(example, 260)}


def reading_row(row: Mapping[str, Any]) -> dict[str, str]:
    told = {key: cells.text(row[key]) for key in ("classifier", "attribute")} | {"round": cells.count(row["round"])}
    told |= {key.removeprefix("n_").replace("_", " "): cells.count(value) for key, value in row.items() if key[:2] == "n_"}
    return told | {"read": cells.percent(row["coverage"])}


def bound_row(row: Mapping[str, Any]) -> dict[str, str]:
    told = {key: cells.text(row[key]) for key in ("classifier", "attribute", "category")}
    told |= {"read": cells.percent(row["coverage"]), "at least": cells.percent(row["share_at_least"])}
    return told | {"at most": cells.percent(row["share_at_most"])}
