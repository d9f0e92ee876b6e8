"""What does one word cause? Generator and captioner asked again with one thing changed, all else the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from driftloop.report import cells, figures, panels, tables, words
from driftloop.report.material import Material
from driftloop.report.parts import Block, Figure, Folded, Section, Table, Text

NAMES = ["model", "probed", "captions", "version", "versus", "attribute", "category", "classifier"]
COLUMNS = ["concept", *NAMES, "n_seeds", "mean", "mean_versus", "effect", "low", "high", "p_value", "p_adjusted"]
NO_VALUE = ("as_is", "removed")
WORDS, YEARS, KEPT = "words", "years", "kept"
MOST = 3  # effects told in a sentence
SAID = {"names": " whose captions named one", "silent": " whose captions were silent on it"}
POINTS, IN_YEARS = figures.Effects("effect in points"), figures.Effects("effect in years", 1.0)
MEANING = (
    "A probe changes one thing alone and asks the model again with the same random numbers, so a difference is caused by that "
    "change. Told and drawn are the two values furthest apart, in captions that named one; all else is in the table. All of it "
    "is exploratory; adjusted p-values are Benjamini–Hochberg over the whole table."
)


def section(material: Material) -> Section | None:
    rows = material.table("probes", COLUMNS)
    rows = rows[(rows["concept"] == tables.ALL) & rows["effect"].notna()]
    if rows.empty:
        return None
    asked = [(str(names[0]), shown(material, outermost(mine))) for names, mine in rows.groupby(["model", "probed"], sort=False)]
    told = [(model, mine) for model, mine in asked if len(mine)]
    found: list[Block] = [Text(words.readable(sentence(model, mine, material.level), 1000)) for model, mine in told]
    found += [Text(MEANING, "note"), *figures_of(told, material.level)]
    found.append(Folded(Table("Every probe, over all seeds.", [row_of(row) for row in cells.records(rows)])))
    return Section("probes", "Probes", "What does one word cause?", found)


def outermost(rows: pd.DataFrame) -> pd.DataFrame:
    """The first value against the last, in captions that named one if there are; without two values none."""
    values = rows[~rows["version"].isin(NO_VALUE) & ~rows["versus"].isin(NO_VALUE)]
    named = values[values["captions"] == "names"]
    values = named if len(named) else values[values["captions"] == values["captions"].iloc[:1].squeeze()]
    if values.empty:
        return values
    first, last = values["version"].iloc[0], values["versus"].iloc[-1]
    pair: pd.DataFrame = values[(values["version"] == first) & (values["versus"] == last)]
    return pair


def shown(material: Material, rows: pd.DataFrame) -> pd.DataFrame:
    """Without unclear captions; of two categories that are read one, of concepts whether they are kept."""
    read = material.perceived
    plain = {str(name): panels.shown_categories(read, str(name)) for name in read.attributes}
    told = {name: {YEARS, KEPT, *categories} for name, categories in plain.items()}
    said = (rows["classifier"] == WORDS) & (rows["category"] != "unclear")
    mine = [row["category"] in told.get(row["attribute"], {YEARS, KEPT}) for row in cells.records(rows)]
    return rows[said | (pd.Series(mine, index=rows.index, dtype=bool) & (rows["classifier"] != WORDS))]


def change(rows: pd.DataFrame) -> str:
    return f"{cells.text(rows['version'].iloc[0])} instead of {cells.text(rows['versus'].iloc[0])}"


def sentence(model: str, rows: pd.DataFrame, level: float) -> str:
    """What differs beyond chance, the largest first; years are told beside shares."""
    what = f"When the {'caption says' if model == 'generator' else 'picture shows'} {change(rows)} "
    what += f"({words.n_range(rows['n_seeds'])}{SAID.get(str(rows['captions'].iloc[0]), '')})"
    clear = rows[rows["p_adjusted"] < 1 - level]
    if clear.empty:
        return f"{what}, none of {words.counted(len(rows), 'outcome')} differs beyond chance."
    size = clear["effect"].abs() * (clear["category"] != YEARS).map({True: 100.0, False: 1.0})
    first = clear.loc[size.sort_values(ascending=False, kind="stable").index].head(MOST)
    told = [effect(row, level if place == 0 else None) for place, row in enumerate(cells.records(first))]
    return f"{what}: {'; '.join(told)}. {len(clear)} of {len(rows)} outcomes differ beyond chance."


def effect(row: Mapping[str, Any], level: float | None) -> str:
    """ "perceived women +92.0 points (95 % interval +85.0 to +99.0; 95.0 % instead of 3.0 %; adjusted p < 0.001)" """
    span = f"{words.level_text(level)} interval " if level else ""
    span += f"{signed(row['low'], row)} to {signed(row['high'], row)}"
    ends = f"{plainly(row['mean'], row)} instead of {plainly(row['mean_versus'], row)}"
    unit = "years" if row["category"] == YEARS else "points"
    return f"{outcome(row)} {signed(row['effect'], row)} {unit} ({span}; {ends}; adjusted {words.p_text(row['p_adjusted'])})"


def outcome(row: Mapping[str, Any]) -> str:
    attribute, category = cells.text(row["attribute"]), cells.text(row["category"])
    if row["classifier"] == WORDS:
        return f"captions {category} on {attribute}" if category in ("silent", "unclear") else f"captions naming {category}"
    if category == KEPT:
        return f"{attribute} kept"
    return f"mean perceived {attribute}" if category == YEARS else words.lowered(words.subject(attribute, category))


def plainly(value: float, row: Mapping[str, Any]) -> str:
    return f"{value:.1f}" if row["category"] == YEARS else words.percent(value)


def signed(value: float, row: Mapping[str, Any]) -> str:
    return words.signed_years(value) if row["category"] == YEARS else words.points(value)


def figures_of(told: Sequence[tuple[str, pd.DataFrame]], level: float) -> Iterator[Figure]:
    """One of shares for each model, and one of years where an instrument gives them."""
    for model in dict.fromkeys(model for model, _ in told):
        mine = [
            rows.assign(group=change(rows), label=[outcome(row) for row in cells.records(rows)])
            for name, rows in told
            if name == model
        ]
        rows = pd.concat(mine).rename(columns={"effect": "value"})
        in_years = rows["category"] == YEARS
        for name, part, axis in ((model, rows[~in_years], POINTS), (f"{model}-years", rows[in_years], IN_YEARS)):
            if len(part):
                what = (
                    "a word in the caption causes in the generator"
                    if model == "generator"
                    else "a picture causes in the captioner"
                )
                caption = f"What {what}, on {words.n_range(part['n_seeds'])}, paired by seed. {words.bars(level)}"
                yield Figure(
                    f"probes-{name}",
                    words.readable(caption, 400),
                    panels.ROWS,
                    panels.forest(part.reset_index(drop=True), axis),
                )


def row_of(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "model": cells.text(row["model"]),
        "change": f"{cells.text(row['probed'])}: {cells.text(row['version'])} instead of {cells.text(row['versus'])}".replace(
            "_", " "
        ),
        "captions were": cells.text(row["captions"]),
        "what": outcome(row),
        "by": cells.text(row["classifier"]),
        "with": plainly(row["mean"], row),
        "instead of": plainly(row["mean_versus"], row),
        "effect": signed(row["effect"], row),
        "interval": f"{signed(row['low'], row)} to {signed(row['high'], row)}",
        "p": cells.p(row["p_value"]),
        "p adjusted": cells.p(row["p_adjusted"]),
        "seeds": cells.count(row["n_seeds"]),
    }
