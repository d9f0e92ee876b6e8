"""Selections from the tables of a run, ready to be drawn or printed; what a page computes, it computes here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from driftloop.core.records import PlayStatus
from driftloop.report.material import Material
from driftloop.report.words import Apart, Change, Tested, told_of_two

ALL, ALIKE = "all", "all_standardised"
LEAST = 5  # seeds a cell of one concept must rest on to be told
NAME = ["concept", "attribute", "category", "classifier"]
SHARE = ["share", "share_low", "share_high"]
SHIFT = ["shift", "shift_low", "shift_high", "p_value", "p_adjusted"]
BAND = ["panel", "series", "round", "value", "low", "high", "role"]
"""A frame to draw: role data (line with band), context (thin grey), planted (dashed), null (grey band and its mean),
audited (diamonds with bars)."""

FOREST = {"category": "label", "shift": "value", "shift_low": "low", "shift_high": "high"}
NULL = {"null_mean": "value", "null_low": "low", "null_high": "high"}
PLAY_STATUSES: tuple[str, ...] = PlayStatus.__args__  # type: ignore[attr-defined]


# Drift ---------------------------------------------------------------------------------------------------------------


def raw(drift: pd.DataFrame) -> pd.DataFrame:
    """The same instrument at both ends, nothing adjusted."""
    return drift[drift["method"] == "raw"]


def of(table: pd.DataFrame, attribute: str, classifier: str) -> pd.DataFrame:
    """The rows over all seeds of what one classifier read of one attribute."""
    return table[(table["concept"] == ALL) & (table["attribute"] == attribute) & (table["classifier"] == classifier)]


def headline(material: Material, attribute: str, classifier: str) -> tuple[str, pd.DataFrame]:
    """The method that is told first, and its rows of `ends` over all seeds.

    Raw, until people have labelled pictures of the baseline and of the last round: then audited, which does not rest on the
    instrument erring alike in both.
    """
    mine = of(material.drift, attribute, classifier)
    rows = ends(raw(mine))
    checked = ends(mine[mine["method"] == "audited"])
    checked = checked[checked["round"].isin(rows["round"])]
    known = len(checked) and checked[["first", "share", "shift_low", "shift_high"]].notna().to_numpy().all()
    return ("audited", checked) if known else ("raw", rows)


def told(drift: pd.DataFrame) -> pd.DataFrame:
    """`drift` with small cells of single concepts emptied: a share needs LEAST seeds, a shift LEAST pairs."""
    known = drift.copy()
    single = ~known["concept"].isin([ALL, ALIKE])
    known.loc[single & (known["n_seeds"] < LEAST), SHARE] = float("nan")
    known.loc[single & (known["n_pairs"] < LEAST), SHIFT] = float("nan")
    return known


def small_concepts(drift: pd.DataFrame) -> list[str]:
    """Concepts of which some round is not told by some instrument."""
    small = drift[~drift["concept"].isin([ALL, ALIKE]) & (drift[["n_seeds", "n_pairs"]].min(axis=1) < LEAST)]
    return sorted(map(str, small["concept"].unique()))


def told_concepts(drift: pd.DataFrame) -> list[str]:
    """Concepts with something to tell, by name."""
    single = drift[~drift["concept"].isin([ALL, ALIKE]) & drift["share"].notna()]
    return sorted(map(str, single["concept"].unique()))


def ends(drift: pd.DataFrame) -> pd.DataFrame:
    """Every category at the last round, with `first`, its limits and `n_first` of its baseline round; empty without a later
    round. `drift` is of one method."""
    if drift.empty:
        return drift.assign(first=[], first_low=[], first_high=[], n_first=[])
    last = drift[(drift["round"] == drift["round"].max()) & (drift["round"] > drift["baseline_round"])]
    first = drift.loc[drift["round"] == drift["baseline_round"], [*NAME, *SHARE, "n_seeds"]]
    first = first.rename(columns={name: name.replace("share", "first") for name in SHARE} | {"n_seeds": "n_first"})
    joined: pd.DataFrame = last.merge(first, on=NAME, how="left", validate="1:1")
    return joined


def change(row: pd.Series[Any]) -> Change:
    """A row of `ends` as the words want it."""
    return Change(
        attribute=str(row["attribute"]),
        category=str(row["category"]),
        baseline_round=int(row["baseline_round"]),
        round=int(row["round"]),
        first=float(row["first"]),
        last=float(row["share"]),
        shift=float(row["shift"]),
        low=float(row["shift_low"]),
        high=float(row["shift_high"]),
        n_first=_whole(row["n_first"]),
        n_last=_whole(row["n_seeds"]),
        n_pairs=_whole(row["n_pairs"]),
        audited=row["method"] == "audited",
    )


def largest(rows: pd.DataFrame) -> pd.Series[Any]:
    """The row whose category moved most; the first one where none can be told."""
    moved = rows["shift"].astype(float).abs()
    return rows.iloc[0 if moved.isna().all() else int(moved.argmax())]


def tested(tests: pd.DataFrame, attribute: str, classifier: str) -> Tested | None:
    """The omnibus test over all seeds at the last round."""
    row = _at_end(tests, attribute, classifier)
    if row is None:
        return None
    p_value, p_adjusted = float(row["p_value"]), float(row["p_adjusted"])
    return Tested(name=str(row["test"]), p_value=p_value, p_adjusted=p_adjusted, family=str(row["family"]))


def told_row(material: Material, attribute: str, rows: pd.DataFrame) -> pd.Series[Any]:
    """Of two categories the one that is told; of several the one that moved most, of people's labels past its interval."""
    categories = material.categories(attribute)
    if len(categories) == 2:
        mine = rows[rows["category"] == told_of_two(categories)]
    else:
        mine = moved(rows[rows["method"] == "audited"])
    return largest(mine if len(mine) else rows)


def moved(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose interval leaves out no shift at all."""
    return rows[(rows["shift_low"] > 0) | (rows["shift_high"] < 0)]


def apart(distances: pd.DataFrame, attribute: str, classifier: str) -> Apart | None:
    """Total variation over all seeds at the last round."""
    row = _at_end(distances[distances["distance"] == "total_variation"], attribute, classifier)
    names = ("value", "low", "high", "null_low", "null_high")
    return None if row is None else Apart(**{name: float(row[name]) for name in names})


def _at_end(table: pd.DataFrame, attribute: str, classifier: str) -> pd.Series[Any] | None:
    rows = table[(table["concept"] == ALL) & (table["attribute"] == attribute) & (table["classifier"] == classifier)]
    return None if rows.empty else rows.iloc[int(rows["round"].astype(int).argmax())]


def _whole(n: Any) -> int:
    return 0 if pd.isna(n) else int(n)


# What is planted -----------------------------------------------------------------------------------------------------


def planted_of(planted: pd.DataFrame, seeds: pd.DataFrame, concept: str, attribute: str, category: str) -> pd.DataFrame:
    """round, share of a planted truth; over all seeds it is the mean over concepts weighted by their seeds, unless given."""
    rows = planted[(planted["attribute"] == attribute) & (planted["category"] == category)]
    mine = rows[rows["concept"] == concept]
    if mine.empty and concept == ALL:
        weight = rows["concept"].map(seeds["concept"].value_counts()).fillna(0) if len(rows) else rows["share"]
        parts = pd.DataFrame({"round": rows["round"], "weight": weight, "share": rows["share"] * weight})
        sums = parts[parts["weight"] > 0].groupby("round", as_index=False)[["weight", "share"]].sum()
        return sums.assign(share=sums["share"] / sums["weight"])[["round", "share"]]
    return mine[["round", "share"]].sort_values("round")


# Frames to draw ------------------------------------------------------------------------------------------------------


def curve(rows: pd.DataFrame, panel: str, series: str, role: str = "data") -> pd.DataFrame:
    """Shares by round as one line of a frame to draw."""
    line = rows.sort_values("round").rename(columns={"share": "value", "share_low": "low", "share_high": "high"})
    return line.assign(panel=panel, series=series, role=role).reindex(columns=BAND)


def as_shares(rows: pd.DataFrame, value: str, low: str, high: str) -> pd.DataFrame:
    """Other estimates by round under the names that `curve` takes."""
    return rows[["round", value, low, high]].set_axis(["round", *SHARE], axis=1)


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    full = [frame for frame in frames if len(frame)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=BAND)


def attribute_curves(material: Material, attribute: str, shown: Sequence[str]) -> pd.DataFrame:
    """One panel per classifier and category of `shown`, over all seeds, with what is planted."""
    drift = raw(material.drift)
    drift = drift[(drift["attribute"] == attribute) & (drift["concept"] == ALL)]
    frames = []
    for classifier in material.readers(attribute):
        for category in shown:
            panel = panel_name(material, attribute, classifier, category if len(shown) > 1 else "")
            rows = drift[(drift["classifier"] == classifier) & (drift["category"] == category)]
            truth = planted_of(material.planted, material.seeds, ALL, attribute, category)
            truth = truth[truth["round"].isin(rows["round"])]
            frames += [curve(rows, panel, category), curve(truth, panel, category, "planted")]
            method, checked = headline(material, attribute, classifier)
            if method == "audited":
                frames.append(audited_points(checked[checked["category"] == category], panel, category))
    return stacked(frames)


def audited_points(last: pd.DataFrame, panel: str, category: str) -> pd.DataFrame:
    """The two rounds that people labelled, from a row of `ends`."""
    first = last.assign(round=last["baseline_round"], share=last["first"], share_low=last["first_low"],
                        share_high=last["first_high"])  # fmt: skip
    return curve(pd.concat([first, last]), panel, category, "audited")


def concept_curves(material: Material, drift: pd.DataFrame, classifier: str, attribute: str, category: str) -> pd.DataFrame:
    """One panel per concept of one category, with the curve of all seeds behind it."""
    rows = drift[(drift["classifier"] == classifier) & (drift["attribute"] == attribute) & (drift["category"] == category)]
    whole, frames = rows[rows["concept"] == ALL], []
    for concept in told_concepts(rows):
        mine = rows[rows["concept"] == concept]
        truth = planted_of(material.planted, material.seeds, concept, attribute, category)
        frames += [
            curve(whole, concept, "all seeds", "context"),
            curve(mine, concept, category),
            curve(truth[truth["round"].isin(mine["round"])], concept, category, "planted"),
        ]
    return stacked(frames)


def concept_stacks(drift: pd.DataFrame, classifier: str, attribute: str, categories: Sequence[str]) -> pd.DataFrame:
    """panel (concept), series (category), round, value of every concept that can be told; categories in their order."""
    rows = drift[(drift["classifier"] == classifier) & (drift["attribute"] == attribute) & drift["share"].notna()]
    frames = [
        curve(rows[(rows["concept"] == concept) & (rows["category"] == category)], concept, category)
        for concept in told_concepts(rows)
        for category in categories
    ]
    return stacked(frames)


def shift_rows(material: Material) -> pd.DataFrame:
    """group, label, value, low, high: every category at the last round over all seeds, in reading order."""
    frames = []
    for attribute in material.attributes:
        for classifier in material.readers(attribute):
            method, rows = headline(material, attribute, classifier)
            rows = rows.set_index("category").reindex(material.categories(attribute)).dropna(subset=["shift"])
            several = len(material.readers(attribute)) > 1
            group = panel_name(material, attribute, classifier, attribute if several else f"perceived {attribute}")
            group = f"{group}, audited" if method == "audited" else group
            frames.append(rows.reset_index().rename(columns=FOREST).assign(group=group))
    return stacked(frames).reindex(columns=["group", *FOREST.values()])


def distance_rows(material: Material, classifier: str, attribute: str, names: dict[str, str]) -> pd.DataFrame:
    """One panel per distance in `names` (name -> what a reader calls it), with its null band."""
    table = material.distances
    table = table[(table["concept"] == ALL) & (table["classifier"] == classifier) & (table["attribute"] == attribute)]
    frames = []
    for name, title in names.items():
        rows = table[table["distance"] == name].sort_values("round").assign(panel=title, series=title)
        null = rows.drop(columns=list(NULL.values())).rename(columns=NULL)
        frames += [part.assign(role=role).reindex(columns=BAND) for part, role in ((null, "null"), (rows, "data"))]
    return stacked(frames)


def panel_name(material: Material, attribute: str, classifier: str, name: str) -> str:
    """A panel names its classifier only where there are several."""
    if len(material.readers(attribute)) < 2:
        return name
    return f"{name} · {classifier}" if name else classifier


def blocks(material: Material, table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(attribute, classifier or "", its rows), attributes in reading order and those that nobody reads last."""
    for attribute in dict.fromkeys([*material.attributes, *table["attribute"].dropna().astype(str)]):
        mine = table[table["attribute"] == attribute]
        yield from ((attribute, str(classifier), rows) for classifier, rows in mine.groupby("classifier", sort=False))


# Counts --------------------------------------------------------------------------------------------------------------


def played(rounds: pd.DataFrame) -> pd.DataFrame:
    """Per round: chains by status, captions cut or echoed, prompts cut, items that took more than one attempt."""
    table = pd.crosstab(rounds["round"], rounds["status"]).reindex(columns=list(PLAY_STATUSES), fill_value=0)
    flags = rounds.groupby("round")[["caption_truncated", "caption_echo", "prompt_truncated"]].sum()
    again = (rounds["attempts"] > 1).groupby(rounds["round"]).sum().rename("retried")
    tokens = rounds.loc[rounds["caption_tokens"] > 0].groupby("round")["caption_tokens"].mean().rename("tokens")
    chains = rounds.groupby("round").size().rename("chains")
    return pd.DataFrame(pd.concat([chains, table, flags.astype(int), again, tokens], axis=1).reset_index())


def failures(rounds: pd.DataFrame) -> pd.DataFrame:
    """One example of every status that is a failure of its own, with how many there are."""
    failed = rounds[~rounds["status"].isin(["ok", "parent_failed"])]
    counts = failed["status"].value_counts()
    first: pd.DataFrame = failed.drop_duplicates("status")
    return first.assign(n=first["status"].map(counts)).reset_index(drop=True)


def covered(coverage: pd.DataFrame) -> pd.DataFrame:
    """Per classifier and round over all seeds: readings expected, and what became of them.

    Attributes that fared alike are one row, their names joined.
    """
    rows = coverage[coverage["concept"] == ALL].drop_duplicates(["classifier", "attribute", "round"])
    same = ["classifier", "round", *(name for name in rows if str(name).startswith("n_")), "coverage"]
    alike = rows.groupby(same, sort=False, dropna=False, observed=True)["attribute"].agg(", ".join).reset_index()
    return alike.sort_values(["classifier", "attribute", "round"], kind="stable")


def bounds(coverage: pd.DataFrame) -> pd.DataFrame:
    """Worst-case bounds of every share over all seeds at the last round, where something was not read."""
    rows = coverage[(coverage["concept"] == ALL) & (coverage["round"] == coverage["round"].max())]
    return pd.DataFrame(rows[rows["coverage"].astype(float) < 1])
