"""Analyse: shares, shifts, distances and tests of perceived attributes, from readings to tidy tables.

Seeds are what is independent (cohorts where a mitigation couples them): every interval lets whole seeds vary, with all
their replicates and rounds. Nothing here reads or writes a file but the stage function at the bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from driftloop.core import rng
from driftloop.core.limits import within
from driftloop.core.records import ReadingStatus
from driftloop.statistics.distances import DISTANCES, ORDERED_DISTANCES, Distance
from driftloop.statistics.intervals import share_limits, shift_limits
from driftloop.statistics.moments import Moments, changes, moments
from driftloop.statistics.multiplicity import benjamini_hochberg, holm
from driftloop.statistics.pairs import Pairs, distance_estimate, make_pairs, omnibus_tests
from driftloop.statistics.panel import Bools, Floats, Group, Ints, concept_groups, seed_means, tally
from driftloop.statistics.tests import category_p_values

if TYPE_CHECKING:
    from driftloop.core.experiment import Experiment
    from driftloop.core.store import Store
    from driftloop.core.watch import Watch

STATUSES: tuple[str, ...] = get_args(ReadingStatus)
Adjust = Callable[[Mapping[Any, float]], dict[Any, float]]
KEY = ["seed_id", "replicate", "round"]
CONFIRMATORY_ATTRIBUTES = frozenset({"gender", "age"})

WHOSE = ["run", "concept_kind", "concept", "attribute"]
DRIFT_COLUMNS = [
    *WHOSE, "category", "round", "baseline_round", "classifier", "method", "n_seeds", "n_pairs", "coverage",
    "share", "share_low", "share_high", "shift", "shift_low", "shift_high", "p_value", "p_adjusted",
]  # fmt: skip
DISTANCE_COLUMNS = [
    *WHOSE, "classifier", "round", "baseline_round", "distance", "n_pairs", "value", "low", "high",
    "null_mean", "null_low", "null_high", "p_value",
]  # fmt: skip
TEST_COLUMNS = [
    *WHOSE, "classifier", "round", "baseline_round", "test", "statistic", "dof", "n_pairs", "n_discordant", "p_value",
    "p_adjusted", "family",
]  # fmt: skip
PLANTED_COLUMNS = ["round", "concept", "attribute", "category", "share"]
COVERAGE_COLUMNS = [
    *WHOSE, "category", "classifier", "round", "n_expected", *(f"n_{status}" for status in STATUSES), "n_no_image",
    "coverage", "share_at_least", "share_at_most",
]  # fmt: skip


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


def analyse_tables(
    readings: pd.DataFrame,
    seeds: pd.DataFrame,
    *,
    categories: Mapping[str, Mapping[str, Sequence[str]]],
    baseline_round: int,
    root_seed: int,
    expected: pd.DataFrame | None = None,
    rounds: Collection[int] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    ordered: Collection[str] = frozenset({"age"}),
    confirmatory: Extent | None = None,
) -> dict[str, pd.DataFrame]:
    """Tables `drift`, `distances`, `tests` and `coverage` of one run.

    `readings`: run, seed_id, replicate, round, classifier, attribute, status, label; a row for every image, whatever
    its status. `seeds`: seed_id, concept_kind, concept, and `cohort` where a mitigation couples seeds: then that is the
    unit. `categories`: classifier -> attribute -> its categories in order, so that empty ones are kept. `expected`:
    seed_id, replicate, round, status of every chain-round that should have an image; where the status is not ok there
    may be no reading, which counts as not read. Left out, it is what any classifier read. `rounds` limits the rounds
    looked at; those before the baseline never are. `resamples` bootstrap samples, and as many swaps; `level` of every
    interval; `ordered` attributes have Wasserstein-1; `confirmatory` is the declared extent, None = nothing was
    declared, so everything is exploratory.
    """
    settings = Settings(root_seed=root_seed, resamples=resamples, level=level, ordered=ordered, confirmatory=confirmatory)
    study = make_study(readings, seeds, expected, baseline_round, rounds)
    views = [View(study, panel, group) for panel in make_panels(readings, study, categories) for group in study.groups]
    paired = [paired_rows(view, settings) for view in views if study.later]
    return {
        "drift": adjust_drift(_stacked([drift_rows(view, level) for view in views], DRIFT_COLUMNS)),
        "distances": _stacked([distances for _, distances in paired], DISTANCE_COLUMNS),
        "tests": adjust_tests(_stacked([tests for tests, _ in paired], TEST_COLUMNS)),
        "coverage": _stacked([coverage_rows(view) for view in views], COVERAGE_COLUMNS),
    }


# From tidy to dense


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
    cohorts = pd.factorize(known["cohort"], sort=True)[0].astype(np.intp) if "cohort" in known else None
    return Study(
        run=_only(readings, "run"),
        concept_kind=_only(known, "concept_kind"),
        seed_ids=axes[0],
        replicates=axes[1],
        rounds=axes[2],
        baseline=int(axes[2].get_indexer([baseline_round])[0]),
        expected=_marked(cells, shape),
        played=_marked(cells[(chains["status"] == "ok").to_numpy()], shape),
        groups=concept_groups(known["concept"].tolist(), cohorts),
    )


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


# Shares and shifts


def drift_rows(view: View, level: float) -> pd.DataFrame:
    """Share at every round and shift from the baseline, per category.

    `n_seeds` have at least one ok reading at the round, `n_pairs` at both rounds. At the baseline itself the shift is 0
    by definition and has neither interval nor p-value. Over fewer than two seeds there is no interval.
    """
    study, k = view.study, len(view.panel.categories)
    share = _moments(view.means, view.group)
    share_low, share_high = share_limits(share, level)
    up, down, shift = changes(view.means - view.means[:, [study.baseline]], view.group)
    low, high = shift_limits(up, down, shift, level)
    at_baseline = np.repeat(np.arange(len(study.rounds)) == study.baseline, k)
    columns = {
        "n_seeds": share.n,
        "n_pairs": shift.n,
        "coverage": np.repeat(_coverage(view), k),
        "share": share.mean,
        "share_low": share_low,
        "share_high": share_high,
        "shift": shift.mean,
        "shift_low": np.where(at_baseline, np.nan, low),
        "shift_high": np.where(at_baseline, np.nan, high),
        "p_value": np.where(at_baseline, np.nan, category_p_values(up, down, shift)),
    }
    return view.rows({"round": study.rounds, "category": view.panel.categories}, columns).assign(method="raw")


def _moments(values: Floats, group: Group) -> Moments:
    """Of values [seeds, rounds, categories], flat [rounds × categories]."""
    return moments(values.reshape(len(values), -1), group)


def _coverage(view: View) -> Floats:
    """ok readings / expected readings of the group at each round; NaN where none was expected."""
    ok = view.panel.counts[view.group.members].sum(axis=(0, 2))
    expected = view.study.expected[view.group.members].sum(axis=(0, 1))
    share = np.full(ok.shape, np.nan)
    np.divide(ok, expected, out=share, where=expected > 0)
    return share


# Tests and distances


def paired_rows(view: View, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Omnibus tests, and distances with their nulls, of every later round against the baseline.

    Every attribute and classifier of a group has the same draws, so that their estimates stay joined.
    """
    baseline, later = view.means[:, [view.study.baseline]], view.means[:, view.study.later]
    seed = rng.derive(settings.root_seed, "analyse", view.group.name)
    pairs = make_pairs(baseline, later, view.group, settings.resamples, seed)
    tests = _test_rows(view, pairs, settings)
    wanted = (*DISTANCES, *(ORDERED_DISTANCES if view.panel.attribute in settings.ordered else ()))
    rows = [_distance_rows(view, pairs, distance, tests, settings.level) for distance in wanted]
    return tests, pd.concat(rows, ignore_index=True)


def _test_rows(view: View, pairs: Pairs, settings: Settings) -> pd.DataFrame:
    results = omnibus_tests(pairs)
    columns = {
        "test": [result.name for result in results],
        "statistic": [result.statistic for result in results],
        "dof": [result.dof for result in results],
        "n_pairs": np.isfinite(pairs.difference[:, :, 0]).sum(axis=0),
        "n_discordant": (np.nan_to_num(pairs.difference) != 0).any(axis=2).sum(axis=0),
        "p_value": [result.p_value for result in results],
    }
    rows = view.rows({"round": view.study.rounds[view.study.later]}, columns)
    confirmatory = _is_confirmatory(view, settings.confirmatory) & (rows["round"] == view.study.rounds[-1])
    return rows.assign(family=np.where(confirmatory, "confirmatory", "exploratory"))


def _is_confirmatory(view: View, declared: Extent | None) -> bool:
    """Gender and age over all seeds, at exactly the extent declared: to look earlier, or again, is optional stopping."""
    if declared is None or view.group.name != "all" or view.panel.attribute not in CONFIRMATORY_ATTRIBUTES:
        return False
    study = view.study
    got = (int(study.rounds[-1]), len(study.replicates), len(study.seed_ids))
    wanted = (declared.rounds, declared.replicates, declared.seeds)
    return all(number is None or number == found for number, found in zip(wanted, got, strict=True))


def _distance_rows(view: View, pairs: Pairs, distance: Distance, tests: pd.DataFrame, level: float) -> pd.DataFrame:
    """One distance at every later round, see `pairs.distance_estimate`."""
    estimate = distance_estimate(distance, pairs, tests["p_value"].to_numpy(), level)
    columns = asdict(estimate) | {"n_pairs": tests["n_pairs"].to_numpy()}
    rounds = view.study.rounds[view.study.later]
    return view.rows({"round": rounds}, columns).assign(distance=distance.__name__)


# Coverage


def coverage_rows(view: View) -> pd.DataFrame:
    """What became of every expected reading, and how far the unread ones could move each share (Manski bounds).

    The bounds weigh seeds as the share does, those with no reading at all included: in each, the unread readings are
    all, or none, of the category.
    """
    expected = view.study.expected[view.group.members].sum(axis=1)
    statuses = view.panel.statuses[view.group.members].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sure = view.panel.counts[view.group.members] / expected[:, :, None]
    unread = 1 - sure.sum(axis=2, keepdims=True)
    n_expected = expected.sum(axis=0)
    per_round = {
        "n_expected": n_expected,
        **{f"n_{status}": statuses[:, i] for i, status in enumerate(STATUSES)},
        "n_no_image": n_expected - statuses.sum(axis=1),
        "coverage": _coverage(view),
    }
    columns = {name: np.repeat(column, len(view.panel.categories)) for name, column in per_round.items()}
    columns["share_at_least"] = _moments(sure, view.group).mean
    columns["share_at_most"] = _moments(np.minimum(sure + unread, 1.0), view.group).mean
    return view.rows({"round": view.study.rounds, "category": view.panel.categories}, columns)


# Families of tests


def adjust_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """`p_adjusted` of omnibus tests, by name: Holm in the confirmatory family, Benjamini-Hochberg in the other.

    Takes the tests of one run, or of all runs of a study at once: families then reach across arms and instruments.
    """
    adjusted = pd.Series(np.nan, index=tests.index, dtype=np.float64)
    for family, adjust in (("confirmatory", holm), ("exploratory", benjamini_hochberg)):
        rows = tests[tests["family"] == family]
        adjusted.loc[rows.index] = _adjusted(rows, [*WHOSE, "classifier", "round"], adjust)
    return tests.assign(p_adjusted=adjusted)


def adjust_drift(drift: pd.DataFrame) -> pd.DataFrame:
    """`p_adjusted` of the categories, by name: Benjamini-Hochberg over all of them; none of them is confirmatory."""
    names = [*WHOSE, "category", "classifier", "round"]
    return drift.assign(p_adjusted=_adjusted(drift, names, benjamini_hochberg))


def _adjusted(rows: pd.DataFrame, columns: list[str], adjust: Adjust) -> Floats:
    names = [tuple(row) for row in rows[columns].itertuples(index=False)]
    if len(set(names)) < len(names):
        raise ValueError(f"two tests of one name cannot be told apart: {rows[rows.duplicated(columns)].iloc[0].to_dict()}")
    found = adjust(dict(zip(names, rows["p_value"].tolist(), strict=True)))
    return np.array([found[name] for name in names], dtype=np.float64)


def _stacked(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """All rows under exactly these columns; tables without a row say nothing about their types."""
    full = [table for table in tables if len(table)]
    return (pd.concat(full, ignore_index=True) if full else pd.DataFrame()).reindex(columns=columns)


# The stage


def analyse(experiment: Experiment, store: Store, watch: Watch) -> dict[str, Any]:
    """Writes analysis/*.parquet for the declared extent, unless nothing it reads has changed; returns what was looked at."""
    inputs = _inputs(experiment, store)
    unchanged = store.read_json("analysis/inputs.json") == inputs
    watch.start("analyse", 1, done=int(unchanged))
    rows = _within(experiment, store)
    looked = {"rounds": experiment.rounds, "replicates": experiment.replicates, "seeds": rows["seed_id"].nunique()}
    if unchanged:
        return looked
    for name, table in _tables(experiment, store, rows).items():
        store.write_table(f"analysis/{name}.parquet", table)
    store.write_json("analysis/inputs.json", inputs)
    watch.advance()
    return looked


def _within(experiment: Experiment, store: Store) -> pd.DataFrame:
    """The rows of rounds/ within the declared extent, so that the same command gives the same tables whatever else is there."""
    seeds = store.seeds()
    wanted = within(seeds["seed_id"], seeds.get("concept", seeds["seed_id"]), experiment.limit, experiment.limit_per_concept)
    rows = store.rounds(["run", "seed_id", "replicate", "chain", "round", "image", "status"])
    near = (rows["round"] <= experiment.rounds) & (rows["replicate"] < experiment.replicates)
    return rows[near & rows["seed_id"].isin(wanted)]


def _tables(experiment: Experiment, store: Store, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    instruments = experiment.instruments()
    read = [store.readings(folder) for folder, _, _ in instruments]
    seeds = store.seeds()
    seeds = seeds[seeds["seed_id"].isin(rows["seed_id"])]
    tables: dict[str, pd.DataFrame] = {}
    if instruments and len(rows):
        readings = pd.concat(read, ignore_index=True)
        tables = analyse_tables(
            readings[_keys(readings).isin(_keys(rows))],
            seeds,
            categories={option.name: option.build().categories for _, option, _ in instruments},
            baseline_round=int(rows.loc[rows["image"] != "", "round"].min()) if (rows["image"] != "").any() else 0,
            root_seed=experiment.root_seed,
            expected=rows,
            resamples=experiment.resamples,
            level=experiment.level,
            confirmatory=Extent(rounds=experiment.rounds, replicates=experiment.replicates),
        )
    if experiment.truth is not None:
        told = experiment.truth.build().shares(seeds.to_dict("records"), experiment.rounds)
        tables["planted"] = pd.DataFrame(told, columns=PLANTED_COLUMNS).assign(run=store.run_id)
    return tables


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[["chain", "round"]])


def _inputs(experiment: Experiment, store: Store) -> dict[str, Any]:
    """What the tables depend on: the files read, the extent, the settings."""
    folders = ["rounds", *(folder for folder, _, _ in experiment.instruments())]
    return {
        "files": {folder: store.listing(folder) for folder in folders},
        "extent": [experiment.rounds, experiment.replicates, experiment.limit, experiment.limit_per_concept],
        "settings": [experiment.resamples, experiment.level, experiment.root_seed],
        "truth": None if experiment.truth is None else experiment.truth.identity(),
    }
