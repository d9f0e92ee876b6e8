"""Can the instrument be trusted? Which estimate is told first and why, and what human labels make of the readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, panels, tables, words
from driftloop.report.material import WHOSE, Material
from driftloop.report.parts import Block, Figure, Folded, Heading, Section, Table, Text

COLUMNS = [*WHOSE, "quantity", "label", "reading", "value", "low", "high", "n", "p_value", "note"]
METHODS = {
    "raw": "raw",
    "adjusted": "adjusted",
    "em": "EM",
    "audited": "audited",
}
LEGEND = (
    "Raw: as the instrument reads. Adjusted, EM: corrected by how it errs on the seeds, from its readings or from its "
    "probabilities. Audited: by people's labels of pictures of both rounds."
)
BY = {"adjusted": "adjusted count", "em": "EM"}
CONDITION = "They hold only if the instrument errs on generated pictures as it does on the seeds' own."
QUANTITIES = {
    "labelled": "seeds that people labelled so",
    "left_out": "seeds labelled otherwise, not used",
    "unlabelled": "seeds without a label",
    "condition_number": "how much a correction magnifies errors (condition number; 1 = not at all)",
    "youden_j": "how well the readings tell it (Youden's J; 1 = always, 0 = no better than chance)",
    "pooling_strength": "seeds by which the errors of each concept are drawn to those of all",
    "pooling": "does it err alike in every group?",
    "over_identification": "could some mix of people give these readings?",
    "em_minus_adjusted": "what the two corrections differ by, as a share",
}


def section(material: Material) -> Section | None:
    perceived = material.perceived
    quality = perceived.table("instrument", COLUMNS)
    corrected = perceived.drift[perceived.drift["method"] != "raw"]
    if quality.empty and corrected.empty:
        return None
    found: list[Block] = []
    for attribute, classifier, _ in tables.blocks(perceived, pd.concat([quality[WHOSE], corrected[WHOSE]])):
        found += list(of(perceived, quality, attribute, classifier))
    return Section("instrument", "Instrument", "Can the instrument be trusted?", [*found, *methods_figure(perceived)])


def of(material: Material, quality: pd.DataFrame, attribute: str, classifier: str) -> Iterator[Block]:
    yield Heading(words.readable(f"Perceived {attribute}{panels.by(material, attribute, classifier)}", 120))
    yield Text(which_headline(material, attribute, classifier))
    rows = tables.of(quality, attribute, classifier)
    yield from (Text(line) for line in (calibration(rows, material.level), correction(material, attribute, classifier)) if line)
    concepts = quality[(quality["attribute"] == attribute) & (quality["classifier"] == classifier)]
    yield from (Text(words.readable(line, 400), "warning") for line in warnings(rows, concepts))
    confused = confusion(
        rows[rows["quantity"] == "confusion"], f"Perceived {attribute}: what people say of the seeds and what is read."
    )
    figures = diagnostics(rows, f"Perceived {attribute}: what the correction rests on.")
    yield from (Folded(table) for table in (confused, figures) if table is not None)


def which_headline(material: Material, attribute: str, classifier: str) -> str:
    method, _ = tables.headline(material, attribute, classifier)
    if method == "audited":
        return (
            "Told first is the audited estimate: people labelled pictures of both rounds, so what is misread is no drift in it."
        )
    mine = tables.of(material.drift, attribute, classifier)
    notes = [str(note) for note in mine.loc[mine["method"] == "audited", "note"].dropna().unique()]
    if notes:
        return words.readable(f"Told first is the raw reading: there is an audit, but no estimate from it ({notes[0]}).")
    return (
        "Told first is the raw reading, the same instrument at both ends: no person has labelled pictures of both rounds, and "
        "only that (stages=[audit]) could tell drift from errors that are peculiar to generated pictures."
    )


# What it does on the seeds -------------------------------------------------------------------------------------------


def calibration(rows: pd.DataFrame, level: float) -> str:
    """How often it reads what people say, of the best and of the worst label."""
    right = rows[(rows["quantity"] == "confusion") & (rows["label"] == rows["reading"]) & (rows["n"] >= tables.LEAST)]
    if right.empty:
        return ""
    ordered = right.sort_values("value", ascending=False)
    told = [rightly(row, level if place == 0 else None) for place, row in enumerate(cells.records(ordered.iloc[[0, -1]]))]
    return f"On the seeds' own pictures it reads what people say in {words.joined(list(dict.fromkeys(told)))}."


def rightly(row: Mapping[str, Any], level: float | None) -> str:
    """ "95.8 % of those called female (95 % interval 93.3 to 98.0; n = 284)" """
    span = f"{words.level_text(level)} interval " if level else ""
    span += cells.interval(row["low"], row["high"], cells.share)
    return f"{words.percent(row['value'])} of those called {cells.text(row['label'])} ({span}; n = {cells.count(row['n'])})"


def correction(material: Material, attribute: str, classifier: str) -> str:
    """The shift by each correction, or why there is none."""
    rows = by_method(material, attribute, classifier)
    rows = rows[rows["method"].isin(["adjusted", "em"])]
    if rows.empty:
        return ""
    known = rows[rows["shift"].notna()]
    if known.empty:
        return words.readable(
            f"No correction for its errors is made: {str(rows['note'].iloc[0]).removeprefix('refused: ')}.", 400
        )
    subject = words.lowered(words.subject(attribute, str(known["category"].iloc[0])))
    told = [f"{words.estimated(estimate(row), material.level)} by {BY[row['method']]}" for row in cells.records(known)]
    return words.readable(
        f"Corrected by its errors on the seeds, the shift of {subject} would be {' and '.join(told)}. {CONDITION}", 600
    )


def estimate(row: Mapping[str, Any]) -> words.Estimate:
    return words.Estimate(value=float(row["shift"]), low=float(row["shift_low"]), high=float(row["shift_high"]))


def by_method(material: Material, attribute: str, classifier: str) -> pd.DataFrame:
    """The category that is told, at the last round over all seeds, by every method in reading order."""
    mine = tables.of(material.drift, attribute, classifier)
    _, last = tables.headline(material, attribute, classifier)
    if last.empty:
        return last
    told = tables.told_row(material, attribute, last)
    rows = mine[(mine["round"] == told["round"]) & (mine["category"] == told["category"])]
    order: pd.DataFrame = rows.set_index("method").reindex([name for name in METHODS if name in set(rows["method"])])
    return order.reset_index()


# What speaks against a correction ------------------------------------------------------------------------------------


def warnings(rows: pd.DataFrame, concepts: pd.DataFrame) -> Iterator[str]:
    """In plain words; `rows` are over all seeds, `concepts` of every concept too."""
    warned = rows[rows["note"].fillna("").str.startswith("warning")]
    yield from misfit(warned[warned["quantity"] == "over_identification"])
    yield from disagreement(warned[warned["quantity"] == "em_minus_adjusted"])
    for row in cells.records(warned[warned["quantity"] == "pooling"]):
        group = cells.text(row["label"]).replace("label_", "labelled ")
        yield f"It errs differently by {group} ({words.p_text(row['p_value'])}): one table of errors for all is too simple."
    refused = concepts[(concepts["quantity"] == "warning") & ~concepts["concept"].isin([tables.ALL, tables.ALIKE])]
    for reason, mine in refused.groupby("note", sort=False):
        names = words.joined([cells.text(name) for name in mine["concept"]])
        yield f"Not corrected by itself: {names} ({str(reason).removeprefix('refused: ')})."


def misfit(rows: pd.DataFrame) -> Iterator[str]:
    if len(rows):
        rounds = words.joined([str(int(each)) for each in rows["round"]])
        p_value = words.p_text(float(rows["p_value"].max()))
        yield (
            f"At round {rounds} no mix of people could give these readings if the instrument erred as on the seeds "
            f"({p_value}): it errs otherwise on generated pictures. Do not trust the corrections."
        )


def disagreement(rows: pd.DataFrame) -> Iterator[str]:
    if len(rows):
        most = words.points(float(rows["value"].abs().max())).removeprefix("+")
        yield f"The two corrections disagree by up to {most} points: at most one of them is right."


# Figure and tables ---------------------------------------------------------------------------------------------------


def methods_figure(material: Material) -> Iterator[Figure]:
    """The same shift by every method there is, of each attribute and instrument."""
    frames = []
    for attribute in material.attributes:
        for classifier in material.readers(attribute):
            rows = by_method(material, attribute, classifier)
            rows = rows[rows["shift"].notna()]
            if len(rows) > 1:
                name = words.subject(attribute, str(rows["category"].iloc[0]))
                group = tables.panel_name(material, attribute, classifier, name)
                labels = rows["method"].map(METHODS)
                frames.append(rows.drop(columns="category").rename(columns=tables.FOREST).assign(group=group, label=labels))
    if frames:
        caption = f"The same shift to the last round by every method, in points. {LEGEND} {words.bars(material.level)}"
        yield Figure("methods", caption, panels.ROWS, panels.forest(pd.concat(frames, ignore_index=True)))


def confusion(rows: pd.DataFrame, caption: str) -> Table | None:
    """A row per label (and round, where there are several), a column per reading; labels of few pictures are left out."""
    rows = rows[rows["n"] >= tables.LEAST]
    lines = [
        confusion_row(mine, several=len(set(rows["round"])) > 1)
        for _, mine in rows.groupby(["label", "round"], sort=False, dropna=False)
    ]
    return cells.without_empty(Table(words.readable(caption), lines)) if lines else None


def confusion_row(mine: pd.DataFrame, *, several: bool) -> dict[str, str]:
    first = mine.iloc[0]
    told = {"people say": cells.text(first["label"])} | ({"round": cells.count(first["round"])} if several else {})
    for row in cells.records(mine):
        name = cells.text(row["reading"])
        told["not read" if name == "not read" else f"read as {name}"] = cells.banded(row["value"], row["low"], row["high"])
    return told | {"pictures": cells.count(first["n"])}


def diagnostics(rows: pd.DataFrame, caption: str) -> Table | None:
    """Of what is told by round, the last."""
    kept = rows[rows["quantity"].isin(QUANTITIES)]
    last = kept.groupby("quantity")["round"].transform("max")
    lines = [diagnostic(row) for row in cells.records(kept[kept["round"] == last])]
    return cells.without_empty(Table(words.readable(caption), lines)) if lines else None


def diagnostic(row: Mapping[str, Any]) -> dict[str, str]:
    whole = row["quantity"] in ("labelled", "left_out", "unlabelled", "pooling_strength")
    return {
        "what": QUANTITIES[row["quantity"]],
        "of": cells.text(row["label"]).replace("label_", "labelled "),
        "value": cells.count(row["value"]) if whole and not pd.isna(row["value"]) else cells.number(row["value"]),
        "interval": cells.interval(row["low"], row["high"], cells.number),
        "p": cells.p(row["p_value"]),
        "what it says": words.readable(str(row["note"] or ""), 200).removeprefix("warning: "),
    }
