"""Is the meaning kept? Likeness to the seed by round, beside that of strangers and of a second draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from driftloop.report import cells, figures, panels, tables, words
from driftloop.report.material import Material
from driftloop.report.parts import Block, Figure, Folded, Section, Table, Text

WHAT = ["concept", "encoder", "comparison", "reference"]
SIDES = ("value", "floor", "ceiling")
ENDS = ("low", "high")
COLUMNS = [*WHAT, "round", "n_seeds", *ENDS, *SIDES, *(f"{side}_{end}" for side in SIDES[1:] for end in ENDS),
           "n_seeds_ceiling", "captions_cut"]  # fmt: skip
DECAY = [*WHAT, "quantity", "n_seeds", "value", "low", "high", "status"]
NAMES = {
    "image_image": "pictures and the seed's picture",
    "text_text": "captions and the first caption",
    "image_text": "captions and the seed's picture",
    "text_image": "pictures and the first caption",
}
QUANTITIES = {
    "mean_cumulative_drift": "mean cumulative drift (a likeness: higher is less drift)",
    "mean_step": "mean change of the likeness a step",
    "semantic_drift_rate": "semantic drift rate (higher: lost earlier)",
}
AXIS = figures.Axis("likeness", lambda value: f"{value:.2f}".replace("-", "−"))
MEANING = (
    "Likeness is the cosine of what an encoder makes of both: 1 is the same, and what it is for things that have nothing to do "
    "with each other depends on the encoder. So read it between the floor, the likeness to other seeds, and the ceiling, that "
    "of two draws from the same caption, where there are replicates."
)


def section(material: Material) -> Section | None:
    rows = material.table("semantic", COLUMNS)
    rows = rows[(rows["concept"] == tables.ALL) & (rows["reference"] == "seed") & rows["value"].notna()]
    if rows.empty:
        return None
    decay = material.table("semantic_decay", DECAY)
    decay = decay[(decay["concept"] == tables.ALL) & (decay["reference"] == "seed")]
    found: list[Block] = [Text(line) for line in sentences(rows, material.level)]
    found += [Text(MEANING, "note"), *curves(rows, material.level), *printed(rows, decay)]
    return Section("meaning", "Meaning", "Is the meaning kept?", found)


def by_comparison(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    for (encoder, comparison), mine in rows.groupby(["encoder", "comparison"], sort=False):
        yield words.readable(str(encoder), 60), NAMES.get(str(comparison), str(comparison)), mine.sort_values("round")


def sentences(rows: pd.DataFrame, level: float) -> Iterator[str]:
    """Of each encoder the first comparison: that of like with like."""
    for _, mine in rows.groupby("encoder", sort=False):
        name, what, first = next(by_comparison(mine))
        yield words.readable(sentence(name, what, first.iloc[-1], level), 600)


def sentence(encoder: str, what: str, row: pd.Series[Any], level: float) -> str:
    span = cells.interval(row["low"], row["high"], cells.number)
    told = (
        f"At round {int(row['round'])} the likeness of {what}, as {encoder} sees it, is {cells.number(row['value'])} "
        f"({words.level_text(level)} interval {span}; {words.counted(int(row['n_seeds']), 'seed')})"
    )
    floor = f"where that to other seeds is {edge(row, 'floor')}" if not pd.isna(row["floor"]) else ""
    ceiling = f"that of two draws from the same caption {edge(row, 'ceiling')}" if not pd.isna(row["ceiling"]) else ""
    beside = words.joined([part for part in (floor, ceiling) if part])
    return f"{told}, {beside}." if beside else f"{told}."


def edge(row: pd.Series[Any], name: str) -> str:
    return f"{cells.number(row[name])} ({cells.interval(row[f'{name}_low'], row[f'{name}_high'], cells.number)})"


def curves(rows: pd.DataFrame, level: float) -> Iterator[Figure]:
    """A figure per encoder, a panel per comparison."""
    for encoder, mine in rows.groupby("encoder", sort=False):
        frame = tables.stacked([line for _, what, one in by_comparison(mine) for line in lines_of(one, what)])
        thin = " Thin line: the ceiling, two draws from the same caption." if (frame["role"] == "context").any() else ""
        name, n = words.readable(str(encoder), 60), words.n_range(mine["n_seeds"])
        caption = (
            f"Likeness to the seed by round, as {name} sees it (n = {n}). "
            f"{words.band(level)} Grey band: the floor, likeness to other seeds.{thin}"
        )
        several = len(set(frame["panel"])) > 1
        layouts = (figures.Layout(9, 2.0, 2), figures.Layout(3.7, 1.4, 1)) if several else panels.layouts_of(1)
        yield Figure(f"meaning-{encoder}", caption, layouts, panels.curves(frame, {}, AXIS))


def lines_of(rows: pd.DataFrame, panel: str) -> Iterator[pd.DataFrame]:
    yield tables.curve(tables.as_shares(rows, "floor", "floor_low", "floor_high"), panel, "floor", "null")
    if rows["ceiling"].notna().any():
        yield tables.curve(tables.as_shares(rows, "ceiling", "ceiling_low", "ceiling_high"), panel, "ceiling", "context")
    yield tables.curve(tables.as_shares(rows, "value", "low", "high"), panel, "value")


def printed(rows: pd.DataFrame, decay: pd.DataFrame) -> Iterator[Folded]:
    lines = [row_of(encoder, what, row) for encoder, what, mine in by_comparison(rows) for row in cells.records(mine)]
    yield Folded(cells.without_empty(Table("Likeness to the seed, by round.", lines)))
    sums = [
        sum_of(encoder, what, row)
        for encoder, what, mine in by_comparison(decay.assign(round=0))
        for row in cells.records(mine[mine["quantity"].isin(QUANTITIES)])
    ]
    if sums:
        yield Folded(Table("The same summed up over rounds.", sums))


def row_of(encoder: str, what: str, row: Mapping[str, Any]) -> dict[str, str]:
    bands = {name: (row[name], *(row[f"{name}_{end}"] for end in ("low", "high"))) for name in SIDES[1:]}
    return {
        "encoder": encoder,
        "compared": what,
        "round": cells.count(row["round"]),
        "likeness": cells.number(row["value"]),
        "interval": cells.interval(row["low"], row["high"], cells.number),
        "seeds": cells.count(row["n_seeds"]),
        **{name: "–" if pd.isna(value) else f"{cells.number(value)} ({cells.interval(low, high, cells.number)})"
           for name, (value, low, high) in bands.items()},
        "captions cut": "–" if pd.isna(row["captions_cut"]) else cells.percent(row["captions_cut"]),
    }  # fmt: skip


def sum_of(encoder: str, what: str, row: Mapping[str, Any]) -> dict[str, str]:
    known = row["status"] == "ok"
    return {
        "encoder": encoder,
        "compared": what,
        "what": QUANTITIES[row["quantity"]],
        "value": cells.number(row["value"]),
        "interval": cells.interval(row["low"], row["high"], cells.number),
        "seeds": cells.count(row["n_seeds"]),
        "status": "" if known else words.readable(str(row["status"]), 200),
    }
