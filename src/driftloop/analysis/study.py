"""From tidy readings to dense arrays: what was to be read, what was read, and over whom to average.

Seeds are what is independent (cohorts where a mitigation couples them): every interval lets whole seeds vary, with all
their replicates and rounds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from driftloop.core.records import ReadingStatus
from driftloop.statistics.moments import Moments, moments
from driftloop.statistics.panel import Bools, Floats, Group, Ints, concept_groups, seed_means, tally

STATUSES: tuple[str, ...] = get_args(ReadingStatus)
KEY = ["seed_id", "replicate", "round"]
WHOSE = ["run", "concept_kind", "concept", "attribute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much the config declares it will look at; only at exactly this extent are p-values confirmatory.

    `rounds` is the number of the last round; None leaves a dimension undeclared.
    """

    rounds: int | None = None
    replicates: int | None = None
    seeds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to analyse: see `analyse_tables`."""

    root_seed: int
    resamples: int
    level: float
    ordered: Collection[str]
    confirmatory: Extent | None
    min_seeds: int = 1


@dataclass(frozen=True, slots=True)
class Study:
    """What was to be read: seeds (sorted by name) × replicates × rounds, and the groups to average over.

    `expected` [n_seeds, n_replicates, n_rounds] marks the chain-rounds there should be, `played` those that went well
    and so must have a reading.
    """

    run: str
    concept_kind: str
    seed_ids: pd.Index[Any]
    replicates: pd.Index[Any]
    rounds: pd.Index[Any]
    baseline: int
    expected: Bools
    played: Bools
    groups: list[Group]

    @property
    def concepts(self) -> Ints:
        """The number of each seed's concept [n_seeds], by name."""
        _, alike, *_ = self.groups
        return alike.strata

    @property
    def later(self) -> list[int]:
        """Positions of the rounds after the baseline."""
        return [i for i in range(len(self.rounds)) if i != self.baseline]


@dataclass(frozen=True, slots=True)
class Panel:
    """One attribute as one classifier read it.

    `counts` [n_seeds, n_rounds, n_categories] and `statuses` [n_seeds, n_rounds, n_statuses] count readings over
    replicates; `means`, shaped as `counts`, is the mean reading of each seed, NaN where it has none.
    """

    classifier: str
    attribute: str
    categories: Sequence[str]
    counts: Ints
    statuses: Ints
    means: Floats


@dataclass(frozen=True, slots=True)
class View:
    """One panel seen over one group of seeds: what a block of rows is about."""

    study: Study
    panel: Panel
    group: Group

    @property
    def means(self) -> Floats:
        """[seeds of the group, rounds, categories]"""
        return self.panel.means[self.group.members]

    def rows(self, axes: Mapping[str, Iterable[Any]], columns: Mapping[str, Any]) -> pd.DataFrame:
        """A tidy table over the product of `axes`; each column has one value a row, raveled in that order."""
        index = pd.MultiIndex.from_product([list(axis) for axis in axes.values()], names=list(axes))
        return index.to_frame(index=False).assign(
            run=self.study.run,
            concept_kind=self.study.concept_kind,
            concept=self.group.name,
            attribute=self.panel.attribute,
            classifier=self.panel.classifier,
            baseline_round=self.study.rounds[self.study.baseline],
            **{name: np.ravel(column) for name, column in columns.items()},
        )


def make_study(
    readings: pd.DataFrame,
    seeds: pd.DataFrame,
    expected: pd.DataFrame | None,
    baseline_round: int,
    rounds: Collection[int] | None,
) -> Study:
    """The dense frame of what was to be read, from the baseline round on."""
    chains = readings[KEY].drop_duplicates().assign(status="ok") if expected is None else expected
    chains = chains[_looked_at(chains["round"], baseline_round, rounds)]
    if baseline_round not in set(chains["round"]):
        raise ValueError(f"no chain has the baseline round {baseline_round}; rounds there are: {_some(chains['round'])}")
    if chains.duplicated(KEY).any():
        raise ValueError(f"expected holds a chain-round twice: {_first(chains[chains.duplicated(KEY)])}")
    axes = [pd.Index(sorted(chains[column].unique())) for column in KEY]
    shape = tuple(len(axis) for axis in axes)
    cells = _cells(chains, axes, "expected")
    known = _in_order(seeds, axes[0])
    return Study(
        run=_only(readings, "run"),
        concept_kind=_only(known, "concept_kind"),
        seed_ids=axes[0],
        replicates=axes[1],
        rounds=axes[2],
        baseline=int(axes[2].get_indexer([baseline_round])[0]),
        expected=_marked(cells, shape),
        played=_marked(cells[(chains["status"] == "ok").to_numpy()], shape),
        groups=groups_of(known),
    )


def groups_of(known: pd.DataFrame) -> list[Group]:
    """All seeds, concepts weighted alike, each concept: of seeds with a `concept`, and a `cohort` where one couples them."""
    cohorts = pd.factorize(known["cohort"], sort=True)[0].astype(np.intp) if "cohort" in known else None
    return concept_groups(known["concept"].tolist(), cohorts)


def placed(rows: pd.DataFrame, values: Ints, axes: Sequence[pd.Index[Any]]) -> Ints:
    """The values of rows in their cells [n_seeds, n_replicates, n_rounds], -1 elsewhere; rows outside the axes go."""
    cells = [axis.get_indexer(pd.Index(rows[column])) for axis, column in zip(axes, KEY, strict=True)]
    inside = np.logical_and.reduce([cell >= 0 for cell in cells])
    dense = np.full([len(axis) for axis in axes], -1, dtype=np.intp)
    dense[tuple(cell[inside] for cell in cells)] = values[inside]
    return dense


def make_panels(readings: pd.DataFrame, study: Study, categories: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterable[Panel]:
    """One panel per classifier and attribute, in the order declared; readings that nobody declared are refused."""
    later = _looked_at(readings["round"], int(study.rounds[study.baseline]), study.rounds)
    found = readings[later].groupby(["classifier", "attribute"], observed=True)
    declared = [(classifier, attribute) for classifier in categories for attribute in categories[classifier]]
    if unknown := set(found.indices) - set(declared):
        raise ValueError(f"readings of {unknown} are not declared; categories has {declared}")
    parts = dict(iter(found))
    for classifier, attribute in declared:
        part = parts.get((classifier, attribute), readings.iloc[:0])
        yield make_panel(part, study, classifier, attribute, categories[classifier][attribute])


def make_panel(readings: pd.DataFrame, study: Study, classifier: str, attribute: str, categories: Sequence[str]) -> Panel:
    """The panel of one classifier and attribute; missing, doubled, unexpected and unknown readings are refused."""
    what = f"{classifier}/{attribute}"
    cells = _cells(readings, [study.seed_ids, study.replicates, study.rounds], what)
    _check_complete(cells, study, what)
    seed, _, round_ = np.unravel_index(cells, study.expected.shape)
    status = _codes(readings["status"], STATUSES, f"{what}: status")
    label = np.full(cells.size, -1)
    ok = status == STATUSES.index("ok")
    label[ok] = _codes(readings["label"][ok], categories, f"{what}: label")
    n_seeds, _, n_rounds = study.expected.shape
    counts = tally(seed, round_, label, (n_seeds, n_rounds, len(categories)))
    statuses = tally(seed, round_, status, (n_seeds, n_rounds, len(STATUSES)))
    return Panel(classifier, attribute, categories, counts, statuses, seed_means(counts))


def _check_complete(cells: Ints, study: Study, what: str) -> None:
    counted = np.bincount(cells, minlength=study.expected.size).reshape(study.expected.shape)
    problems = {
        "doubled": counted > 1,
        "unexpected": (counted > 0) & ~study.expected,
        "missing (abstention and failure are rows with a status)": (counted == 0) & study.played,
    }
    for problem, where in problems.items():
        if where.any():
            seed, replicate, round_ = (int(axis[0]) for axis in np.nonzero(where))
            example = (study.seed_ids[seed], int(study.replicates[replicate]), int(study.rounds[round_]))
            raise ValueError(f"{what}: {where.sum()} readings {problem}; first (seed, replicate, round): {example}")


def _looked_at(round_: pd.Series[Any], baseline_round: int, rounds: Iterable[int] | None) -> pd.Series[bool]:
    later = round_ >= baseline_round
    return later if rounds is None else later & round_.isin([*rounds, baseline_round])


def _cells(rows: pd.DataFrame, axes: Sequence[pd.Index[Any]], what: str) -> Ints:
    """The place of each row in the dense frame, flattened."""
    codes = [axis.get_indexer(pd.Index(rows[column])) for axis, column in zip(axes, KEY, strict=True)]
    outside = np.logical_or.reduce([code < 0 for code in codes])
    if outside.any():
        raise ValueError(f"{what}: {outside.sum()} readings unexpected; first: {_first(rows[outside])}")
    return np.asarray(np.ravel_multi_index(tuple(codes), tuple(len(axis) for axis in axes)), dtype=np.intp)


def _marked(cells: Ints, shape: tuple[int, ...]) -> Bools:
    marked = np.zeros(shape, np.bool_)
    marked.reshape(-1)[cells] = True
    return marked


def _codes(values: pd.Series[Any], allowed: Sequence[str], what: str) -> Ints:
    codes = pd.Index(allowed).get_indexer(pd.Index(values))
    if (codes < 0).any():
        raise ValueError(f"{what} {_some(values[codes < 0])} is not one of {list(allowed)}")
    return codes


def _in_order(seeds: pd.DataFrame, seed_ids: pd.Index[Any]) -> pd.DataFrame:
    """The rows of `seeds` in the order of `seed_ids`."""
    known = seeds.set_index("seed_id")
    if not known.index.is_unique:
        raise ValueError(f"seeds holds a seed twice: {known.index[known.index.duplicated()][0]}")
    if len(lost := seed_ids.difference(known.index)):
        raise ValueError(f"{len(lost)} seeds were read that are not in seeds, first: {lost[0]}")
    return known.loc[seed_ids]


def _only(table: pd.DataFrame, column: str) -> str:
    names = table[column].unique()
    if len(names) != 1:
        raise ValueError(f"one {column} at a time, got {_some(table[column])}")
    return str(names[0])


def _some(values: pd.Series[Any]) -> list[str]:
    return sorted(map(str, values.unique()))[:10]


def _first(rows: pd.DataFrame) -> dict[str, Any]:
    return {column: rows[column].iloc[0] for column in KEY}


def group_moments(values: Floats, group: Group) -> Moments:
    """Of values [seeds, rounds, categories], flat [rounds × categories]."""
    return moments(values.reshape(len(values), -1), group)


def coverage(view: View) -> Floats:
    """ok readings / expected readings of the group at each round; NaN where none was expected."""
    ok = view.panel.counts[view.group.members].sum(axis=(0, 2))
    expected = view.study.expected[view.group.members].sum(axis=(0, 1))
    share = np.full(ok.shape, np.nan)
    np.divide(ok, expected, out=share, where=expected > 0)
    return share


def stacked(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """All rows under exactly these columns; tables without a row say nothing about their types."""
    full = [table for table in tables if len(table)]
    return (pd.concat(full, ignore_index=True) if full else pd.DataFrame()).reindex(columns=columns)
