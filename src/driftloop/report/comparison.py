"""The page that ends a sweep: every arm against the first, in sentences, forests and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from driftloop.report import figures, words
from driftloop.report.page import draw, unbroken
from driftloop.report.parts import Answer, Drawn
from driftloop.report.words import Tested

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL, SHARE, SHIFT = "all", "share", "shift"
CONFIRMED = ("gender", "age")
LIMITS = (
    "Everything here is a perceived attribute: what an instrument reads off a picture. Nothing is said about who anybody is.",
    "Arms are paired by seed: each difference is over the seeds that the same instrument read in both arms, with the mean of "
    "their replicates. Seeds are what is independent.",
    "All arms are set against one reference, so their differences are not independent of each other. Confirmatory are gender "
    "and age over all seeds at the last round, where both runs were looked at the extent declared; those p-values are "
    "adjusted by Holm over all arms, the others by Benjamini–Hochberg.",
    "A higher or lower shift is not a better or worse one: a mitigation also has to keep the meaning of the pictures.",
)


@dataclass(frozen=True, kw_only=True)
class ArmShown:
    """One run of a comparison. `config`: its columns; `report`: a relative path, "" without one; `refused`: why it is not
    compared, "" if it is; `remarks`: what of it is not, and what to beware of."""

    run: str
    config: Mapping[str, Any]
    report: str = ""
    refused: str = ""
    remarks: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms in the order of the sweep, the first is the reference; `differences` of all others, adjusted together."""

    experiment: str
    arms: Sequence[ArmShown]
    differences: pd.DataFrame
    level: float

    @property
    def compared(self) -> list[ArmShown]:
        return [arm for arm in self.arms[1:] if not arm.refused]

    @property
    def names(self) -> dict[str, str]:
        """Run -> arm 2 (guidance 3, mitigation drop_words)."""
        told = varying({arm.run: arm.config for arm in self.arms})
        return {run: arm_name(place, columns) for place, (run, columns) in enumerate(told.items(), start=1)}

    @property
    def last(self) -> pd.DataFrame:
        """Differences of shifts over all seeds at the last round of each pair."""
        rows = self.overall
        return _at_the_end(rows[(rows["quantity"] == SHIFT) & (rows["round"] > rows["baseline_round"])])

    @property
    def further(self) -> pd.DataFrame:
        """Differences of ages and of what metrics offer, over all seeds at the last round of each quantity."""
        rows = self.overall
        return _at_the_end(rows[~rows["quantity"].isin([SHARE, SHIFT])])

    @property
    def overall(self) -> pd.DataFrame:
        return self.differences[self.differences["concept"] == ALL]


def _at_the_end(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["round"] == rows.groupby(["run", "metric", "quantity"])["round"].transform("max")]


def varying(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Run -> its config columns, those alone in which the runs differ; what a run has not is None."""
    names = list(dict.fromkeys(name for columns in configs.values() for name in columns))
    differ = [name for name in names if len({repr(columns.get(name)) for columns in configs.values()}) > 1]
    return {run: {name: columns.get(name) for name in differ} for run, columns in configs.items()}


def arm_name(place: int, columns: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {_told(value)}" for name, value in columns.items() if value not in (None, ""))
    return words.readable(f"arm {place} ({told})" if told else f"arm {place}", 90)


def comparison_page(comparison: Comparison) -> str:
    """One file that stands alone; every value is escaped but the figures and the style, which are ours."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=unbroken)
    text = (files("driftloop.report") / "comparison.html.j2").read_text(encoding="utf-8")
    values = {
        "style": _style(),
        "title": words.readable(f"Comparison of {words.counted(len(comparison.arms), 'run')}: {comparison.experiment}", 120),
        "reference": comparison.names[comparison.arms[0].run],
        "arms": arm_rows(comparison),
        "columns": list(varying({arm.run: arm.config for arm in comparison.arms})[comparison.arms[0].run]),
        "answers": list(answers(comparison)),
        "figures": list(forests(comparison)),
        "further": further(comparison),
        "rounds": rounds(comparison),
        "limits": LIMITS,
    }
    return environment.from_string(text).render(values) + "\n"


def _style() -> Markup:
    """The style of the report's page."""
    text = (files("driftloop.report") / "frame.html.j2").read_text(encoding="utf-8")
    return Markup(text.partition("<style>")[2].partition("</style>")[0])  # noqa: S704 (a file of ours)


def arm_rows(comparison: Comparison) -> list[dict[str, Any]]:
    told = varying({arm.run: arm.config for arm in comparison.arms})
    n = {str(run): numbers for run, numbers in comparison.last.groupby("run")["n_seeds"]}
    return [
        {
            "name": f"arm {place}",
            "run": words.readable(arm.run),
            "values": [words.readable(_told(value), 120) for value in told[arm.run].values()],
            "seeds": _span(n[arm.run]) if arm.run in n else "",
            "report": quote(arm.report),
            "refused": words.readable(arm.refused),
            "remarks": [words.readable(remark) for remark in arm.remarks],
        }
        for place, arm in enumerate(comparison.arms, start=1)
    ]


def _span(n: pd.Series[Any]) -> str:
    return f"{n.min():,}" if n.min() == n.max() else f"{n.min():,} to {n.max():,}"


def _told(value: Any) -> str:
    return "–" if value is None or value == "" else f"{value}"


# Sentences -----------------------------------------------------------------------------------------------------------


def answers(comparison: Comparison) -> Iterator[Answer]:
    """One per arm, attribute and instrument: gender and age first, for they can be confirmatory."""
    names, last = comparison.names, comparison.last
    for arm in comparison.compared:
        mine = last[last["run"] == arm.run]
        attributes = sorted(dict.fromkeys(mine["attribute"]), key=lambda name: (name not in CONFIRMED, name == "age"))
        for attribute in attributes:
            for classifier, rows in mine[mine["attribute"] == attribute].groupby("instrument", sort=False):
                by = str(classifier).partition("/")[2].rpartition("-")[0]
                tag = f"{names[arm.run]}: perceived {attribute}, read by {by}"
                yield answer(rows, names[arm.run].partition(" (")[0], tag, comparison.level)


def answer(rows: pd.DataFrame, name: str, tag: str, level: float) -> Answer:
    """Of one omnibus test: the category that differs most, and the test."""
    row = told_row(rows)
    tested = Tested(
        name=str(row["test"]), p_value=row["test_p_value"], p_adjusted=row["test_p_adjusted"], family=str(row["family"])
    )
    text = words.readable(sentence(row, name, level, two=len(rows) == 2), 1000)
    line = words.test_line(tested, level).replace("swapped rounds", "swapped arms")
    return Answer(text, [line], words.readable(tag))


def told_row(rows: pd.DataFrame) -> pd.Series[Any]:
    """Of two categories the one that is told; of several the one that differs most."""
    categories = [str(name) for name in rows["category"]]
    if len(categories) == 2:
        return rows[rows["category"] == words.told_of_two(categories)].iloc[0]
    largest = rows["value"].abs().fillna(-1).to_numpy().argmax()
    return rows.iloc[int(largest)]


def sentence(row: pd.Series[Any], name: str, level: float, *, two: bool) -> str:
    """What one difference of shifts says: how much higher or lower than in the reference, or that chance explains it."""
    people = words.subject(str(row["attribute"]), str(row["category"])).replace("Perceived", "perceived", 1)
    what = f"the shift of {people} from round {row['baseline_round']} to round {row['round']}"
    if pd.isna(row["value"]):
        return f"No seed was read in both arms at both ends, so nothing can be said about {what}."
    if pd.isna(row["low"]):
        return f"On {words.counted(row['n_seeds'], 'seed')} it cannot be told whether {what} differs in {name}."
    footing = (
        f"{words.level_text(level)} interval {words.points(row['low'])} to {words.points(row['high'])}; "
        f"{words.counted(row['n_seeds'], 'seed')}"
    )
    found = row["low"] > 0 or row["high"] < 0 if two else row["test_p_value"] < 1 - level
    most = "" if two else "Of all categories this one differs most: "
    if not found:
        told = f"{what} differs by {words.points(row['value'])} points in {name} ({footing})"
        return f"No difference from the reference can be told apart from chance: {told}."
    way = "higher" if row["value"] > 0 else "lower"
    by = words.points(abs(row["value"])).removeprefix("+")
    told = f"in {name}, {what} is {by} points {way} than in the reference ({footing})."
    return f"{most}{told}" if most else f"{told[0].upper()}{told[1:]}"


# Figures and tables --------------------------------------------------------------------------------------------------


def forests(comparison: Comparison) -> Iterator[Drawn]:
    """One figure per instrument and attribute: under each category a bar per arm."""
    last, names = comparison.last, comparison.names
    layouts = figures.Layout(7.2, 0, 1), figures.Layout(3.7, 0, 1)
    for (instrument, attribute), mine in last.groupby(["instrument", "attribute"], sort=False):
        shown = _shown(mine, names)
        if shown["value"].notna().any():
            caption = forest_caption(str(attribute), str(instrument), comparison.level)
            name = f"differences {instrument} {attribute}"
            yield draw(name, caption, layouts, partial(_forest, shown))


def _forest(rows: pd.DataFrame, layout: figures.Layout) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = figures.forest(rows, layout)
    figure.axes[0].set_xlabel("difference of shifts in points")
    figure.axes[0].xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))  # labels are whole points
    return figure


def _shown(rows: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """A group per category, arms below it; of two categories one is enough."""
    categories = list(dict.fromkeys(rows["category"].astype(str)))
    kept = [words.told_of_two(categories)] if len(categories) == 2 else categories
    ordered = pd.concat([rows[rows["category"] == name] for name in kept], ignore_index=True)
    group = [words.subject(str(a), str(c)) for a, c in zip(ordered["attribute"], ordered["category"], strict=True)]
    return ordered.assign(group=group, label=ordered["run"].map(names))


def forest_caption(attribute: str, instrument: str, level: float) -> str:
    return (
        f"Perceived {attribute}, read by {instrument.partition('/')[2]}: shift from the baseline to the last round in each arm "
        f"minus that in the reference, in points, paired by seed. Bars are {words.level_text(level)} intervals over seeds; "
        "blue where the interval leaves out 0."
    )


def rounds(comparison: Comparison) -> list[dict[str, Any]]:
    """All rounds over all seeds: one table an arm, ready to print."""
    rows = comparison.overall
    return by_arm(comparison, rows[(rows["quantity"] == SHIFT) & (rows["round"] > rows["baseline_round"])], _round_cells)


def further(comparison: Comparison) -> list[dict[str, Any]]:
    """Ages and what metrics offer, at the last round, where there is a difference: one table an arm; of two categories one
    is enough."""
    rows = comparison.further[comparison.further["value"].fillna(0) != 0]
    kept = [_kept(mine) for _, mine in rows.groupby(["run", "metric", "quantity", "instrument", "attribute"], sort=False)]
    return by_arm(comparison, pd.concat(kept) if kept else rows, _further_cells)


def by_arm(comparison: Comparison, rows: pd.DataFrame, cells: Callable[[Mapping[Any, Any]], list[str]]) -> list[dict[str, Any]]:
    """The rows of every arm that has some, ready to print."""
    tables = {arm.run: rows[rows["run"] == arm.run].to_dict("records") for arm in comparison.compared}
    return [
        {
            "name": comparison.names[run],
            "rows": [{"cells": cells(row), "clear": row["low"] > 0 or row["high"] < 0} for row in mine],
        }
        for run, mine in tables.items()
        if mine
    ]


def _kept(rows: pd.DataFrame) -> pd.DataFrame:
    categories = [str(name) for name in rows["category"]]
    return rows[rows["category"] == words.told_of_two(categories)] if len(categories) == 2 else rows


def _round_cells(row: Mapping[Any, Any]) -> list[str]:
    return [
        words.readable(str(row["attribute"])),
        words.readable(str(row["category"])),
        words.readable(str(row["classifier"])),
        *_numbers(row, words.points),
    ]


def _further_cells(row: Mapping[Any, Any]) -> list[str]:
    metric, quantity = str(row["metric"]), str(row["quantity"]).replace("_", " ")
    return [
        words.readable(f"{metric}: {quantity}" if metric else quantity),
        words.readable(f"{row['attribute']} {row['category']}".strip()),
        *_numbers(row, partial(_plain, digits=3 if metric else 1)),
        words.readable(str(row["classifier"])),
    ]


def _numbers(row: Mapping[Any, Any], told: Callable[[float], str]) -> list[str]:
    """Round, seeds, difference, interval, p-value and the adjusted one."""
    known = not pd.isna(row["low"])
    return [
        f"{row['round']}",
        f"{row['n_seeds']:,}",
        told(row["value"]),
        f"{told(row['low'])} to {told(row['high'])}" if known else "–",
        words.p_text(row["p_value"]).removeprefix("p = ").removeprefix("p ") if known else "–",
        words.p_text(row["p_adjusted"]).removeprefix("p = ").removeprefix("p ") if known else "–",
    ]


def _plain(value: float, digits: int) -> str:
    """A difference in its own unit, signed."""
    rounded = round(value, digits) + 0.0
    return "unknown" if pd.isna(value) else "0" if rounded == 0 else f"{rounded:+.{digits}f}".replace("-", "−")
