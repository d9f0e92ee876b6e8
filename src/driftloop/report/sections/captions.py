"""Who drifts? What a shift passed through on its way: captions that were silent, agreed or contradicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, figures, panels, tables, words
from driftloop.report.material import WHOSE, Material
from driftloop.report.parts import Block, Figure, Folded, Section, Table, Text

DECOMPOSITION = [*WHOSE, "category", "span", "part", "n_seeds", "coverage", "share", "value", "low", "high", "shift", "note"]
MENTION = [
    *WHOSE,
    "n_seeds",
    "n_seeds_compared",
    *(f"{name}{end}" for name in ("named", "agrees") for end in ("", "_low", "_high")),
]
SAID = {
    "silent": "were silent on it",
    "agrees": "named what was read",
    "contradicts": "named something else than was read",
    "unclear": "were unclear or missing",
}
KEYS = {"silent": "silent", "agrees": "named as read", "contradicts": "named otherwise", "unclear": "unclear or missing"}
COLOURS = dict(zip(SAID, (figures.BLUE, "#009e73", "#d55e00", "#9aa1ab"), strict=True))
MEANING = (
    "What the parts mean. Silent: the generator had to fill it in, by habit or by other cues of the caption. Named what was "
    "read: the generator did not follow what it was told. Named something else: the captioner misreported, or the instrument "
    "misread; which of the two is not identified without an audit. The parts add up to the shift (but for rounding)."
)
OTHER_WORDS = (
    "A mitigation is at work in this run: where it changes the words between captioner and generator, the parts still add up, "
    "but say nothing of what moved the pictures."
)


def section(material: Material) -> Section | None:
    perceived = material.perceived
    parts, said = last(perceived.table("decomposition", DECOMPOSITION)), perceived.table("mention", MENTION)
    found = [*passed(perceived, parts), *named(perceived, said[said["concept"] == tables.ALL])]
    return Section("captions", "Who drifts", "Who moves it: the captions or the pictures?", found) if found else None


# Through which captions the shift passed -----------------------------------------------------------------------------


def last(parts: pd.DataFrame) -> pd.DataFrame:
    """All steps up to the last round, over all seeds."""
    whole = parts[(parts["concept"] == tables.ALL) & (parts["span"] == "cumulative")]
    end: pd.DataFrame = whole[whole["round"] == whole["round"].max()]
    return end


def passed(material: Material, parts: pd.DataFrame) -> Iterator[Block]:
    told = parts[parts["value"].notna()]
    for attribute, classifier, rows in tables.blocks(material, told):
        yield from (Text(line) for line in sentences(material, attribute, classifier, told_parts(material, attribute, rows)))
    if len(told):
        yield Text(MEANING, "note")
        if material.manifest["names"]["mitigation"] not in ("", "none"):
            yield Text(OTHER_WORDS, "warning")
        yield from figure(material, told)
        several = len(material.classifiers) > 1
        lines = [part_row(row, several=several) for row in cells.records(told)]
        yield Folded(Table("Every part of every shift to the last round, in points.", lines))


def told_parts(material: Material, attribute: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The parts of one category: of two the one that is told, of several the one that moved most."""
    shown = rows[rows["category"].isin(panels.shown_categories(material, attribute))]
    told = tables.largest(shown if len(shown) else rows)
    mine = rows[rows["category"] == told["category"]]
    ordered: pd.DataFrame = mine.set_index("part", drop=False).reindex([name for name in SAID if name in set(mine["part"])])
    return ordered


def sentences(material: Material, attribute: str, classifier: str, rows: pd.DataFrame) -> Iterator[str]:
    first = rows.iloc[0]
    subject = words.lowered(words.subject(attribute, str(first["category"]))) + panels.by(material, attribute, classifier)
    spoken = rows[rows["share"] > 0]
    told = [part(row, material.level if place == 0 else None) for place, row in enumerate(cells.records(spoken))]
    span = f"from round {int(first['baseline_round'])} to round {int(first['round'])}"
    n = words.counted(int(first["n_seeds"]), "seed")
    shift = f"Of the shift of {words.points(first['shift'])} points in {subject} {span}"
    yield words.readable(f"{shift}, {words.joined(told)}; over {n} read in every round.", 1000)
    moved = rows[rows["note"].fillna("").str.contains("not identified")]
    if len(moved):
        yield (
            f"Whether the {words.points(float(moved['value'].iloc[0]))} points through contradicting captions are the "
            "captioner's or the instrument's doing is not identified without an audit."
        )


def part(row: Mapping[str, Any], level: float | None) -> str:
    """ "+4.0 (95 % interval +1.0 to +7.0) passed through the 29.0 % of captions that were silent on it" """
    span = f"{words.level_text(level)} interval " if level else ""
    span += cells.interval(row["low"], row["high"])
    captions = "captions that" if level else "that"
    through = f"{'passed ' if level else ''}through the {words.percent(row['share'])} {f'of {captions}' if level else captions}"
    return f"{words.points(row['value'])} ({span}) {through} {SAID[row['part']]}"


def part_row(row: Mapping[str, Any], *, several: bool) -> dict[str, str]:
    return {
        **cells.whose(row, several=several),
        "captions were": str(row["part"]),
        "of all captions": cells.percent(row["share"]),
        "part of the shift": cells.points(row["value"]),
        "interval": cells.interval(row["low"], row["high"]),
        "whole shift": cells.points(row["shift"]),
        "seeds": cells.count(row["n_seeds"]),
        "chains that count": cells.percent(row["coverage"]),
    }


def figure(material: Material, told: pd.DataFrame) -> Iterator[Figure]:
    frames = []
    for attribute, classifier, rows in tables.blocks(material, told):
        shown = panels.shown_categories(material, attribute)
        wide = rows.pivot_table(index="category", columns="part", values="value", aggfunc="first").reindex(columns=list(SAID))
        totals = rows.drop_duplicates("category").set_index("category")["shift"]
        group = tables.panel_name(material, attribute, classifier, f"perceived {attribute}")
        wide = wide.assign(total=totals, group=group, label=wide.index).reindex([name for name in shown if name in wide.index])
        frames.append(wide)
    rows = pd.concat(frames, ignore_index=True).rename(columns=KEYS)
    if rows.empty:
        return
    colours = {KEYS[name]: colour for name, colour in COLOURS.items()}
    n = words.n_range(told["n_seeds"])
    caption = (
        "Shift to the last round (diamond, in points) as the sum of what passed through captions of each kind; parts of "
        f"opposite sign stand on either side of 0 (n = {n} read in every round). Intervals of the parts are in the table below."
    )
    yield Figure("parts", caption, panels.ROWS, lambda layout: figures.parts(rows, colours, layout))


# How often captions name it ------------------------------------------------------------------------------------------


def named(material: Material, said: pd.DataFrame) -> Iterator[Block]:
    frames = []
    for attribute, classifier, rows in tables.blocks(material, said):
        by = panels.by(material, attribute, classifier)
        yield Text(words.readable(mention(attribute, by, rows.sort_values("round"), material.level), 600))
        name = tables.panel_name(material, attribute, classifier, attribute)
        frames += [band(rows, "named", f"{name} named"), band(rows, "agrees", f"{name} as read")]
    if frames:
        frame = tables.stacked(frames)
        n = words.n_range(said["n_seeds"])
        what = words.joined(list(dict.fromkeys(said["attribute"].astype(str))))
        caption = (
            f"Share of captions that name perceived {what}, and of those, the share that name what is read in the same picture "
            f"(n = {n}). {words.band(material.level)}"
        )
        axis = figures.Axis("share of captions", figures.percent_tick, 1.0)
        yield Figure("mention", caption, panels.layouts_of(frame["panel"].nunique()), panels.curves(frame, {}, axis))
        lines = [mention_row(row, several=len(material.classifiers) > 1) for row in cells.records(said)]
        yield Folded(Table("What captions name, by round.", lines))


def band(rows: pd.DataFrame, name: str, panel: str) -> pd.DataFrame:
    return tables.curve(tables.as_shares(rows, name, f"{name}_low", f"{name}_high"), panel, name)


def mention(attribute: str, by: str, rows: pd.DataFrame, level: float) -> str:
    first, end = rows.iloc[0], rows.iloc[-1]
    told = (
        f"Captions name perceived {attribute} in {words.percent(first['named'])} of cases at round {int(first['round'])} "
        f"({words.level_text(level)} interval {cells.interval(first['named_low'], first['named_high'], cells.share)}) and in "
        f"{cells.banded(end['named'], end['named_low'], end['named_high'])} at round {int(end['round'])}"
        f" ({words.counted(int(end['n_seeds']), 'seed')})"
    )
    if pd.isna(first["agrees"]) or pd.isna(end["agrees"]):
        return f"{told}."
    return (
        f"{told}; of those, {cells.banded(first['agrees'], first['agrees_low'], first['agrees_high'])} and "
        f"{cells.banded(end['agrees'], end['agrees_low'], end['agrees_high'])} name what is read in the same picture{by}."
    )


def mention_row(row: Mapping[str, Any], *, several: bool) -> dict[str, str]:
    told = {"attribute": cells.text(row["attribute"])} | ({"classifier": cells.text(row["classifier"])} if several else {})
    told |= {"round": cells.count(row["round"]), "named": cells.banded(row["named"], row["named_low"], row["named_high"])}
    told |= {"seeds": cells.count(row["n_seeds"])}
    told |= {"of those, as read": cells.banded(row["agrees"], row["agrees_low"], row["agrees_high"])}
    return told | {"seeds compared": cells.count(row["n_seeds_compared"])}
