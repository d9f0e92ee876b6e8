"""The published study's percentages beside this run's, and its way of reading them.

Dogan et al. (arXiv 2601.22093) compare human labels of the seeds with LLaVA's answers about the pictures after one round of
SD3.5-large and LLaVA-v1.6-mistral-7b: a change of annotator is mixed into their difference. This run's shares are of one
classifier at every round. Facts to compare with, not a target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

import numpy as np
import pandas as pd

from driftloop.analysis.drift import drift_rows
from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import WHOSE, Panel, Study, View, make_panels, stacked
from driftloop.statistics.intervals import Limits, share_limits, shift_limits
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import Floats, Group

SHARES = ["n_seeds", "coverage", "share", "share_low", "share_high"]
PUBLISHED_COLUMNS = [
    *WHOSE, "category", "classifier", "round", "baseline_round", "n_published", "seed_pct", "generated_pct", *SHARES, "reason",
]  # fmt: skip
DIFFERENCES = ("published_way", "change_of_annotator", "shift")
WAY_COLUMNS = [
    *WHOSE, "category", "classifier", "round", "baseline_round", "n_seeds", "human_share", "human_low", "human_high",
    "first", "share", *(f"{name}{end}" for name in DIFFERENCES for end in ("", "_low", "_high")), "note",
]  # fmt: skip
NOT_DRIFT = "published_way and change_of_annotator are not drift: people read the seeds, a classifier the rest"
NO_LABEL = frozenset({"", "disagreement"})
"""Labels that are none; `unsure` is an answer, and counts as one, as in the study."""


class Published:
    """Table `published`: the study's percentages with this run's raw shares at the baseline, the first and the last round.

    Every published row is kept. Where this run has nothing to put beside it (`round` and shares empty) or too little (fewer
    than `least` seeds) `reason` says why; categories stand beside each other where their names agree. Other data sets have
    no such table. With `human_baseline` there is also `published_way`, for any data set with human labels.
    """

    def __init__(self, *, human_baseline: bool = False, least: int = 5) -> None:
        if least < 1:
            raise ValueError(f"least must be at least 1, got {least}")
        self.human_baseline, self.least = human_baseline, least

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        figures = published_of(material)
        told = [rows for _, part in figures.groupby("attribute", sort=False) for rows in beside(material, part, self.least)]
        tables = {"published": stacked(told, PUBLISHED_COLUMNS).astype({"round": "Int64", "baseline_round": "Int64"})}
        if self.human_baseline:
            tables["published_way"] = stacked(list(human_rows(material, self.least)), WAY_COLUMNS)
        return {name: table for name, table in tables.items() if len(table)}


# The study's percentages beside this run's ---------------------------------------------------------------------------


def published_of(material: Material) -> pd.DataFrame:
    """concept, attribute, category, n_published, seed_pct, generated_pct of this run's data set and concept kind.

    Attributes are called as the labels of the seeds are.
    """
    with (files("driftloop.metrics") / "published_shares.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file).rename(columns={"n_seeds": "n_published"})
    table["attribute"] = table["attribute"].replace("skin tone", "skintone")
    names = set(material.seeds["dataset"]) if "dataset" in material.seeds else set()
    mine = table["dataset"].isin(names) & (len(names) == 1) & (table["concept_kind"] == material.study.concept_kind)
    return table[mine]


def beside(material: Material, figures: pd.DataFrame, least: int) -> list[pd.DataFrame]:
    """`figures` (of one attribute) once per classifier that reads it, or once without shares where none does."""
    [attribute] = set(figures["attribute"])
    readers = [each for each in labelling(material) if attribute in each.categories]
    named = figures.assign(run=material.study.run, concept_kind=material.study.concept_kind)
    if not readers:
        return [named.assign(classifier="", reason=f"no classifier of this run reads perceived {attribute}")]
    return [joined(named, material, instrument, attribute, least) for instrument in readers]


def labelling(material: Material) -> list[Instrument]:
    return [instrument for instrument in material.instruments if instrument.kind == "labels"]


def joined(figures: pd.DataFrame, material: Material, instrument: Instrument, attribute: str, least: int) -> pd.DataFrame:
    """The published rows with the shares of the table `drift`, a row per round where there are shares."""
    study, categories = material.study, instrument.categories[attribute]
    panel = panel_of(material, instrument, attribute)
    views = [View(study, panel, group) for group in study.groups if group.name in set(figures["concept"])]
    ours = stacked([drift_rows(view, material.settings.level) for view in views], [*WHOSE, "category", "round", *SHARES])
    ours = ours[ours["round"].isin(told_rounds(study))]
    key = {"name": ours["category"].astype(str).str.casefold()}
    ours = ours.assign(**key)[["concept", "name", "round", *SHARES]]
    rows = figures.assign(name=figures["category"].str.casefold()).merge(ours, on=["concept", "name"], how="left")
    few = rows["n_seeds"] < least
    concepts = {view.group.name for view in views}
    reads = f"{instrument.name} reads perceived {attribute} as {', '.join(categories)}"
    reason = np.select(
        [~rows["concept"].isin(concepts), rows["round"].isna(), few],
        ["no seed of this run shows it", reads, f"fewer than {least} seeds"],
        "",
    )
    baseline = rows["round"].where(rows["round"].isna(), study.rounds[study.baseline])
    rows[SHARES[1:]] = rows[SHARES[1:]].astype(float).mask(few)
    return rows.assign(classifier=instrument.name, baseline_round=baseline, reason=reason)


def panel_of(material: Material, instrument: Instrument, attribute: str) -> Panel:
    readings = material.readings_of(instrument)
    declared = {instrument.name: {attribute: instrument.categories[attribute]}}
    [panel] = make_panels(readings[readings["attribute"] == attribute], material.study, declared)
    return panel


def told_rounds(study: Study) -> list[int]:
    """The baseline, the first round after it and the last."""
    return sorted({int(study.rounds[place]) for place in (study.baseline, *study.later[:1], *study.later[-1:])})


# The published way ---------------------------------------------------------------------------------------------------


def human_rows(material: Material, least: int) -> Iterator[pd.DataFrame]:
    """Per attribute with human labels and classifier: how far each category went from the labels to a later round.

    Over the seeds that have a label and were read at both rounds, so that `published_way` = `change_of_annotator` + `shift`
    to the last digit: what people and the classifier make of the same seed pictures, and the raw drift.
    """
    for instrument in labelling(material):
        for attribute in instrument.categories:
            labels = human_labels(material, attribute)
            shared = [name for name in instrument.categories[attribute] if name.casefold() in set(labels.dropna())]
            if shared:
                yield from ways(material, panel_of(material, instrument, attribute), labels, shared, least)


def ways(material: Material, panel: Panel, labels: pd.Series[str], shared: Sequence[str], least: int) -> Iterator[pd.DataFrame]:
    """Every group of seeds, at the first round after the baseline and at the last."""
    study = material.study
    for group in study.groups:
        for place in sorted({*study.later[:1], *study.later[-1:]}):
            yield way_rows(View(study, panel, group), labels, shared, place, least, material.settings.level)


def human_labels(material: Material, attribute: str) -> pd.Series[str]:
    """What people called each seed of the study, in small letters; missing where nobody said anything."""
    column = f"label_{attribute}"
    given = material.seeds.set_index("seed_id").reindex(material.study.seed_ids)
    named = given[column] if column in given else pd.Series(index=given.index, dtype=object)
    return named.astype(object).where(named.notna() & ~named.isin(NO_LABEL)).str.casefold()


def way_rows(view: View, labels: pd.Series[str], shared: Sequence[str], place: int, least: int, level: float) -> pd.DataFrame:
    """A row per category of `shared` at the round in that place of the study."""
    human, first, then = same_seeds(view, labels, shared, place)
    group, values = view.group, {"published_way": then - human, "change_of_annotator": first - human, "shift": then - first}
    people = moments(human, group)
    low, high = share_limits(people, level)
    columns = {"human_share": people.mean, "human_low": low, "human_high": high}
    columns |= {"first": moments(first, group).mean, "share": moments(then, group).mean}
    for name, value in values.items():
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), paired(value, group, level), strict=True))
    few = people.n < least
    told = {name: np.where(few, np.nan, column) for name, column in columns.items()}
    note = np.where(few, f"fewer than {least} seeds; {NOT_DRIFT}", NOT_DRIFT)
    axes = {"round": view.study.rounds[place : place + 1], "category": shared}
    return view.rows(axes, {"n_seeds": people.n, **told, "note": note})


def same_seeds(view: View, labels: pd.Series[str], shared: Sequence[str], place: int) -> tuple[Floats, Floats, Floats]:
    """Labels, readings at the baseline and at the round [seeds of the group, categories], NaN where a seed lacks any."""
    mine = labels.iloc[view.group.members]
    columns = [list(view.panel.categories).index(name) for name in shared]
    human = np.stack([(mine == name.casefold()).to_numpy(np.float64) for name in shared], axis=1)
    first, then = (view.means[:, at][:, columns] for at in (view.study.baseline, place))
    whole = mine.notna().to_numpy()[:, None] & np.isfinite(first) & np.isfinite(then)
    return np.where(whole, human, np.nan), np.where(whole, first, np.nan), np.where(whole, then, np.nan)


def paired(difference: Floats, group: Group, level: float) -> tuple[Floats, *Limits]:
    """Mean and limits of a paired difference."""
    up, down, shift = changes(difference, group)
    return shift.mean, *shift_limits(up, down, shift, level)
