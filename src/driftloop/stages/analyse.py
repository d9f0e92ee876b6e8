"""Analyse: shares, shifts, distances and tests of perceived attributes, from readings to tidy tables.

Seeds are what is independent (cohorts where a mitigation couples them): every interval lets whole seeds vary, with all their
replicates and rounds. Nothing here reads or writes a file but the stage function at the bottom.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from driftloop.core import rng
from driftloop.core.limits import within
from driftloop.core.records import ReadingStatus
from driftloop.statistics import distances as dist
from driftloop.statistics.intervals import share_limits, shift_limits, shift_p_value
from driftloop.statistics.moments import Moments, moments
from driftloop.statistics.multiplicity import benjamini_hochberg, holm
from driftloop.statistics.panel import Bools, Floats, Group, Ints, concept_groups, seed_means, tally
from driftloop.statistics.resampling import bootstrap_means, flipped_sums, unit_differences
from driftloop.statistics.tests import TestResult, flip_p_value, margins_test, mcnemar

if TYPE_CHECKING:
    from driftloop.core.experiment import Experiment
    from driftloop.core.store import Store
    from driftloop.core.watch import Watch

STATUSES: tuple[str, ...] = get_args(ReadingStatus)
KEY = ["seed_id", "replicate", "round"]
CONFIRMATORY_ATTRIBUTES = frozenset({"gender", "age"})
RARE = 5.0  # seeds that moved, below which a distance is bounded by how many moved and not by the bootstrap

WHOSE = ["run", "concept_kind", "concept", "attribute"]
DRIFT = [
    *WHOSE, "category", "round", "baseline_round", "classifier", "method", "n_seeds", "n_pairs", "coverage",
    "share", "share_low", "share_high", "shift", "shift_low", "shift_high", "p_value", "p_adjusted",
]  # fmt: skip
DISTANCES = [
    *WHOSE, "classifier", "round", "baseline_round", "distance", "n_pairs", "value", "low", "high",
    "null_mean", "null_low", "null_high", "p_value",
]  # fmt: skip
TESTS = [
    *WHOSE, "classifier", "round", "baseline_round", "test", "statistic", "dof", "n_pairs", "n_discordant", "p_value",
    "p_adjusted", "family",
]  # fmt: skip
COVERAGE = [
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


@dataclass(frozen=True, slots=True)
class Study:
    """What was to be read: seeds (sorted by name) x replicates x rounds, and the groups to average over.

    `expected` [n_seeds, n_replicates, n_rounds] marks the chain-rounds there should be, `pictured` those that were played.
    """

    run: str
    concept_kind: str
    seed_ids: pd.Index[str]
    replicates: pd.Index[int]
    rounds: pd.Index[int]
    baseline: int
    expected: Bools
    pictured: Bools
    groups: list[Group]

    @property
    def later(self) -> list[int]:
        """Positions of the rounds after the baseline."""
        return [i for i in range(len(self.rounds)) if i != self.baseline]


@dataclass(frozen=True, slots=True)
class Panel:
    """One attribute as one classifier read it: readings counted by category and by status, and the mean reading of each seed.

    `counts` [n_seeds, n_rounds, n_categories], `statuses` [n_seeds, n_rounds, n_statuses], `values` as `counts`, NaN if unread.
    """

    classifier: str
    attribute: str
    categories: Sequence[str]
    counts: Ints
    statuses: Ints
    values: Floats = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to analyse: see `analyse_tables`."""

    root_seed: int
    resamples: int
    level: float
    ordered: Collection[str]
    confirmatory: Extent | None


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
    """Tables `drift`, `distances`, `tests`, `coverage` of one run.

    `readings`: run, seed_id, replicate, round, classifier, attribute, status, label; a row for every image, whatever its
    status. `seeds`: seed_id, concept_kind, concept, and `cohort` where a mitigation couples seeds (NaN-free; then it is the
    unit). `categories`: classifier -> attribute -> its categories in order. `expected`: seed_id, replicate, round, status of
    every chain-round that should have an image; those whose status is not ok may lack a reading and count as not read. Left
    out, it is what any classifier read. `rounds` limits the rounds looked at; rounds before the baseline are never looked at.
    `resamples` bootstrap samples and swaps; `level` of every interval; `ordered` attributes get Wasserstein-1;
    `confirmatory` is the declared extent, None when nothing was declared and so everything is exploratory.
    """
    settings = Settings(
        root_seed=root_seed, resamples=resamples, level=level, ordered=ordered, confirmatory=confirmatory
    )
    study = make_study(readings, seeds, expected, baseline_round, rounds)
    tables: dict[str, list[pd.DataFrame]] = {"drift": [], "distances": [], "tests": [], "coverage": []}
    for panel in make_panels(readings, study, categories):
        for group in study.groups:
            tables["drift"].append(drift_rows(study, panel, group, settings))
            tables["coverage"].append(coverage_rows(study, panel, group))
            tested, apart = paired_rows(study, panel, group, settings)
            tables["tests"].append(tested)
            tables["distances"].append(apart)
    return {
        "drift": adjust_drift(_stacked(tables["drift"], DRIFT)),
        "distances": _stacked(tables["distances"], DISTANCES),
        "tests": adjust_tests(_stacked(tables["tests"], TESTS)),
        "coverage": _stacked(tables["coverage"], COVERAGE),
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
        raise ValueError(f"no chain has baseline round {baseline_round}; rounds there are: {_some(chains['round'])}")
    axes = [pd.Index(sorted(chains[column].unique())) for column in KEY]
    shape = tuple(len(axis) for axis in axes)
    cells = _cells(chains, axes)
    if np.unique(cells).size < cells.size:
        raise ValueError(f"expected holds a chain-round twice: {_first(chains[chains.duplicated(KEY)])}")
    played = (chains["status"] == "ok").to_numpy()
    known = _seed_table(seeds, axes[0])
    cohorts = pd.factorize(known["cohort"], sort=True)[0] if "cohort" in known else None
    return Study(
        run=_only(readings, "run"),
        concept_kind=_only(known, "concept_kind"),
        seed_ids=axes[0],
        replicates=axes[1],
        rounds=axes[2],
        baseline=int(axes[2].get_loc(baseline_round)),
        expected=_marked(cells, shape),
        pictured=_marked(cells[played], shape),
        groups=concept_groups(known["concept"].tolist(), cohorts),
    )


def make_panels(
    readings: pd.DataFrame, study: Study, categories: Mapping[str, Mapping[str, Sequence[str]]]
) -> Iterable[Panel]:
    """One panel per classifier and attribute, in the order declared; readings nobody declared are refused."""
    named = readings.groupby(["classifier", "attribute"], observed=True).indices
    declared = {(classifier, attribute) for classifier in categories for attribute in categories[classifier]}
    if unknown := sorted(set(named) - declared):
        raise ValueError(f"readings of {unknown} are not declared; categories has {sorted(declared)}")
    later = _looked_at(readings["round"], int(study.rounds[study.baseline]), study.rounds).to_numpy()
    for classifier, attributes in categories.items():
        for attribute, names in attributes.items():
            rows = named.get((classifier, attribute), np.empty(0, np.intp))
            part = readings.iloc[rows[later[rows]]]
            yield make_panel(part, study, classifier, attribute, names)


def make_panel(
    readings: pd.DataFrame, study: Study, classifier: str, attribute: str, categories: Sequence[str]
) -> Panel:
    """The panel of one classifier and attribute; refuses missing, doubled and unexpected readings and unknown labels."""
    what = f"{classifier}/{attribute}"
    axes: list[pd.Index[Any]] = [study.seed_ids, study.replicates, study.rounds]
    cells = _cells(readings, axes, what)
    _check_complete(cells, study, what)
    seed, _, round_ = np.unravel_index(cells, study.expected.shape)
    status = _codes(readings["status"], STATUSES, what, "status")
    ok = status == STATUSES.index("ok")
    label = np.full(cells.size, -1)
    label[ok] = _codes(readings["label"][ok], categories, what, "label")
    n_seeds, _, n_rounds = study.expected.shape
    counts = tally(seed, round_, label, (n_seeds, n_rounds, len(categories)))
    statuses = tally(seed, round_, status, (n_seeds, n_rounds, len(STATUSES)))
    return Panel(classifier, attribute, categories, counts, statuses, seed_means(counts))


def _check_complete(cells: Ints, study: Study, what: str) -> None:
    counted = np.bincount(cells, minlength=study.expected.size).reshape(study.expected.shape)
    problems = {
        "doubled": counted > 1,
        "unexpected": (counted > 0) & ~study.expected,
        "missing (abstention and failure are rows with a status)": (counted == 0) & study.pictured,
    }
    for problem, where in problems.items():
        if where.any():
            seed, replicate, round_ = (int(axis[0]) for axis in np.nonzero(where))
            example = (study.seed_ids[seed], int(study.replicates[replicate]), int(study.rounds[round_]))
            raise ValueError(
                f"{what}: {int(where.sum())} readings {problem}, first (seed, replicate, round) = {example}"
            )


def _looked_at(round_: pd.Series[Any], baseline_round: int, rounds: Collection[int] | None) -> pd.Series[bool]:
    later = round_ >= baseline_round
    return later if rounds is None else later & round_.isin([*rounds, baseline_round])


def _cells(rows: pd.DataFrame, axes: Sequence[pd.Index[Any]], what: str = "expected") -> Ints:
    """The place of each row in the dense frame, flattened."""
    codes = [axis.get_indexer(pd.Index(rows[column])) for axis, column in zip(axes, KEY, strict=True)]
    outside = np.logical_or.reduce([code < 0 for code in codes])
    if outside.any():
        raise ValueError(f"{what}: {int(outside.sum())} readings of chains nobody expected: {_first(rows[outside])}")
    return np.ravel_multi_index(tuple(codes), tuple(len(axis) for axis in axes)).astype(np.intp)


def _marked(cells: Ints, shape: tuple[int, ...]) -> Bools:
    marked = np.zeros(shape, np.bool_)
    marked.reshape(-1)[cells] = True
    return marked


def _codes(values: pd.Series[Any], allowed: Sequence[str], what: str, noun: str) -> Ints:
    codes = pd.Index(allowed).get_indexer(pd.Index(values))
    if (codes < 0).any():
        raise ValueError(f"{what}: {noun} {_some(values[codes < 0])} is not one of {list(allowed)}")
    return codes


def _seed_table(seeds: pd.DataFrame, seed_ids: pd.Index[Any]) -> pd.DataFrame:
    """Rows of `seeds` in panel order."""
    known = seeds.set_index("seed_id")
    if not known.index.is_unique:
        raise ValueError(f"seeds holds a seed twice: {known.index[known.index.duplicated()][0]}")
    if len(lost := seed_ids.difference(known.index)):
        raise ValueError(f"{len(lost)} seeds were read that seeds does not hold, first: {lost[0]}")
    return known.loc[seed_ids]


def _only(table: pd.DataFrame, column: str) -> str:
    names = table[column].unique()
    if len(names) != 1:
        raise ValueError(f"one {column} at a time, got {_some(table[column])}")
    return str(names[0])


def _some(values: pd.Series[Any]) -> list[Any]:
    return sorted(map(str, values.unique()))[:10]


def _first(rows: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in rows.iloc[0][KEY].items()}


# Shares and shifts


def drift_rows(study: Study, panel: Panel, group: Group, settings: Settings) -> pd.DataFrame:
    """Share at every round and shift from the baseline, per category.

    `n_seeds` have at least one ok reading at the round, `n_pairs` at both rounds. At the baseline itself the shift is 0 by
    definition and has neither interval nor p-value. A share or shift over fewer than two seeds has no interval.
    """
    values = panel.values[group.members]
    share = _moments(values, group)
    shift = values - values[:, [study.baseline]]
    change = [_moments(part, group) for part in (np.maximum(shift, 0.0), np.maximum(-shift, 0.0), shift)]
    low, high = shift_limits(*change, settings.level)
    p_value = category_p_values(*change)
    at_baseline = np.repeat(np.arange(len(study.rounds)) == study.baseline, len(panel.categories))
    share_low, share_high = share_limits(share, settings.level)
    columns = {
        "n_seeds": share.n,
        "n_pairs": change[2].n,
        "coverage": np.repeat(_coverage(study, panel, group), len(panel.categories)),
        "share": share.mean,
        "share_low": share_low,
        "share_high": share_high,
        "shift": np.round(change[2].mean, 12) + 0.0,  # no -0.0 from rounding
        "shift_low": np.where(at_baseline, np.nan, low),
        "shift_high": np.where(at_baseline, np.nan, high),
        "p_value": np.where(at_baseline, np.nan, p_value),
    }
    axes = {"round": study.rounds, "category": panel.categories}
    return _rows(study, panel, group, axes, columns).assign(method="raw")


def category_p_values(up: Moments, down: Moments, shift: Moments) -> Floats:
    """Mid-p McNemar where every seed moved wholly or not at all; elsewhere the shift interval, inverted.

    Swapping the rounds of a seed is no substitute there: replicates share the picture of round 0, so a fraction late is
    compared with a 0 or 1 early, the differences are skew, and swapping rejected a true null in up to 27 % of trials
    (tests/statistics/test_calibration.py).
    """
    p = shift_p_value(up, down, shift)
    whole = np.isinf(shift.dof) & (shift.n > 1)
    rises, falls = (np.rint(np.nan_to_num(part.mean * part.n)) for part in (up, down))
    return np.where(whole, mcnemar(rises, falls), p)


def _moments(values: Floats, group: Group) -> Moments:
    """Of values [n, rounds, categories], flattened to [n, rounds x categories]."""
    return moments(values.reshape(len(values), -1), group)


def _coverage(study: Study, panel: Panel, group: Group) -> Floats:
    """ok readings / expected readings of the group at each round; NaN where none was expected."""
    ok = panel.counts[group.members].sum(axis=(0, 2))
    expected = study.expected[group.members].sum(axis=(0, 1))
    return np.divide(ok, expected, out=np.full(ok.shape, np.nan), where=expected > 0)


# Tests and distances


def paired_rows(study: Study, panel: Panel, group: Group, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Omnibus tests and distances of every later round against the baseline, on the seeds read at both."""
    values = panel.values[group.members]
    later = values[:, study.later]
    baseline = np.broadcast_to(values[:, [study.baseline]], later.shape)
    pairs = np.concatenate([baseline + 0 * later, later + 0 * baseline], axis=2)  # NaN in both unless read at both
    difference = later - baseline
    units = unit_differences(difference.reshape(len(values), -1), group)
    flipped = flipped_sums(units, settings.resamples, _draw(settings, "swap", group))
    flipped = flipped.reshape(settings.resamples, *later.shape[1:])
    results = omnibus_tests(difference, units.reshape(-1, *later.shape[1:]), flipped, group)
    tested = _test_rows(study, panel, group, difference, results, settings)
    bootstrapped = bootstrap_means(pairs, group, settings.resamples, _draw(settings, "bootstrap", group))
    measured = [
        _distance_rows(study, panel, group, distance, pairs, bootstrapped, flipped, tested, settings)
        for distance in (*dist.DISTANCES, *(dist.ORDERED_DISTANCES if panel.attribute in settings.ordered else ()))
    ]
    return tested, pd.concat(measured, ignore_index=True)


def omnibus_tests(difference: Floats, units: Floats, flipped: Floats, group: Group) -> list[TestResult]:
    """One test of equal margins per later round; `difference` [n, rounds, K], `units` and `flipped` see `resampling`."""
    n_rounds, n_categories = difference.shape[1:]
    flat = difference.reshape(len(difference), -1)
    parts = [moments(part, group) for part in (np.maximum(flat, 0.0), np.maximum(-flat, 0.0), flat)]
    p_values = category_p_values(*parts).reshape(n_rounds, n_categories)
    whole = np.isinf(parts[2].dof).reshape(n_rounds, n_categories).all(axis=1)
    enough = np.isfinite(parts[2].variance).reshape(n_rounds, n_categories).all(axis=1)
    return [
        margins_test(units[:, i], flipped[:, i], p_values[i], whole=bool(whole[i]), enough=bool(enough[i]))
        for i in range(n_rounds)
    ]


def _test_rows(
    study: Study, panel: Panel, group: Group, difference: Floats, results: list[TestResult], settings: Settings
) -> pd.DataFrame:
    columns = {
        "test": [result.name for result in results],
        "statistic": [result.statistic for result in results],
        "dof": [result.dof for result in results],
        "n_pairs": np.isfinite(difference[:, :, 0]).sum(axis=0),
        "n_discordant": (np.abs(np.nan_to_num(difference)).sum(axis=2) > 0).sum(axis=0),
        "p_value": [result.p_value for result in results],
    }
    rows = _rows(study, panel, group, {"round": study.rounds[study.later]}, columns)
    declared = panel.attribute in CONFIRMATORY_ATTRIBUTES and group.name == "all" and _as_declared(study, settings)
    last = rows["round"] == study.rounds[-1]
    return rows.assign(family=np.where(last & declared, "confirmatory", "exploratory"))


def _as_declared(study: Study, settings: Settings) -> bool:
    """True where what is analysed is exactly what was declared: looking earlier or again is optional stopping."""
    if settings.confirmatory is None:
        return False
    got = (int(study.rounds[-1]), len(study.replicates), len(study.seed_ids))
    declared = (settings.confirmatory.rounds, settings.confirmatory.replicates, settings.confirmatory.seeds)
    return all(wanted is None or wanted == found for wanted, found in zip(declared, got, strict=True))


def _distance_rows(
    study: Study,
    panel: Panel,
    group: Group,
    distance: dist.Distance,
    pairs: Floats,
    bootstrapped: Floats,
    flipped: Floats,
    tested: pd.DataFrame,
    settings: Settings,
) -> pd.DataFrame:
    """One distance at every later round with its interval and the band it would have had with rounds swapped at random.

    `null_low` to `null_high` is the central band of the null at the interval's level. The p-value is the share of
    swaps at least as far apart, and never below that of the omnibus test, which holds where swapping does not (fractions).
    An interval reaches down to 0 wherever that p-value is above 1 - level.
    """
    k = len(panel.categories)
    centre = _moments(pairs, group).mean.reshape(pairs.shape[1:])
    value = distance(centre[:, :k], centre[:, k:])
    null = dist.null_distances(distance, centre[:, :k], centre[:, k:], flipped)
    p_value = np.fmax(flip_p_value(value, null), tested["p_value"].to_numpy())
    low, high = _distance_limits(distance, pairs, bootstrapped, null, value, p_value, group, settings.level)
    tail = (1 - settings.level) / 2
    known = np.isfinite(tested["p_value"].to_numpy())
    band = np.quantile(null, [tail, 1 - tail], axis=0)
    columns = {"n_pairs": tested["n_pairs"].to_numpy(), "value": value}
    uncertain = {"low": low, "high": high, "null_mean": null.mean(axis=0), "null_low": band[0], "null_high": band[1]}
    columns |= {name: np.where(known, column, np.nan) for name, column in {**uncertain, "p_value": p_value}.items()}
    axes = {"round": study.rounds[study.later]}
    return _rows(study, panel, group, axes, columns).assign(distance=distance.__name__)


def _distance_limits(
    distance: dist.Distance,
    pairs: Floats,
    bootstrapped: Floats,
    null: Floats,
    value: Floats,
    p_value: Floats,
    group: Group,
    level: float,
) -> tuple[Floats, Floats]:
    """The interval of `distances.distance_limits`, widened to what coupling allows where fewer than RARE seeds moved."""
    if distance is dist.jensen_shannon:  # no metric, but the square of one
        root = _distance_limits(
            dist.jensen_shannon_root, pairs, bootstrapped, np.sqrt(null), np.sqrt(value), p_value, group, level
        )
        return root[0] ** 2, root[1] ** 2
    k = pairs.shape[2] // 2
    moved, moved_high = dist.moved_limit(pairs[:, :, k:] - pairs[:, :, :k], group, level)
    draws = distance(bootstrapped[:, :, :k], bootstrapped[:, :, k:])
    ceiling = dist.coupled(distance, np.ones_like(value), k)
    low, high = dist.distance_limits(value, draws, null, ceiling, level)
    possible = dist.coupled(distance, moved_high, k)
    high = np.where(moved < RARE, np.fmax(high, possible), high)
    return np.where(p_value > 1 - level, 0.0, low), high


def _draw(settings: Settings, purpose: str, group: Group) -> int:
    """The same draws for every attribute and classifier of a group, so that their estimates stay joined."""
    return rng.derive(settings.root_seed, "analyse", purpose, group.name)


# Coverage


def coverage_rows(study: Study, panel: Panel, group: Group) -> pd.DataFrame:
    """What became of every expected reading, and how far the unread ones could move each share (Manski bounds).

    Bounds weigh seeds as the share does: each seed's unread readings are all, or none, of the category.
    """
    expected = study.expected[group.members].sum(axis=1)
    statuses = panel.statuses[group.members].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sure = panel.counts[group.members] / expected[:, :, None].astype(np.float64)
    open_ = 1 - sure.sum(axis=2, keepdims=True)
    n_expected = expected.sum(axis=0)
    per_round = {
        "n_expected": n_expected,
        **{f"n_{status}": statuses[:, i] for i, status in enumerate(STATUSES)},
        "n_no_image": n_expected - statuses.sum(axis=1),
        "coverage": _coverage(study, panel, group),
    }
    columns = {name: np.repeat(column, len(panel.categories)) for name, column in per_round.items()}
    columns |= {
        "share_at_least": _moments(sure, group).mean,
        "share_at_most": _moments(np.minimum(sure + open_, 1.0), group).mean,
    }
    return _rows(study, panel, group, {"round": study.rounds, "category": panel.categories}, columns)


# Tables


def _rows(
    study: Study, panel: Panel, group: Group, axes: Mapping[str, Any], columns: Mapping[str, Any]
) -> pd.DataFrame:
    """A tidy table over the product of `axes`; `columns` hold one value per row, flattened in that order."""
    table = pd.MultiIndex.from_product([list(axis) for axis in axes.values()], names=list(axes)).to_frame(index=False)
    return table.assign(
        run=study.run,
        concept_kind=study.concept_kind,
        concept=group.name,
        attribute=panel.attribute,
        classifier=panel.classifier,
        baseline_round=study.rounds[study.baseline],
        **{name: np.ravel(column) for name, column in columns.items()},
    )


def _stacked(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    full = [table for table in tables if len(table)]
    return (pd.concat(full, ignore_index=True) if full else pd.DataFrame()).reindex(columns=columns)


def adjust_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """`p_adjusted` of omnibus tests, by name: Holm in the confirmatory family, Benjamini-Hochberg in the exploratory one.

    Takes the tests of one run, or of all runs of a study at once: the families then reach across arms and instruments.
    """
    adjusted = pd.Series(np.nan, index=tests.index, dtype=np.float64)
    for family, adjust in (("confirmatory", holm), ("exploratory", benjamini_hochberg)):
        rows = tests[tests["family"] == family]
        names = pd.MultiIndex.from_frame(rows[[*WHOSE, "classifier", "round"]])
        adjusted.loc[rows.index] = _adjusted(rows["p_value"], names, adjust)
    return tests.assign(p_adjusted=adjusted)


def adjust_drift(drift: pd.DataFrame) -> pd.DataFrame:
    """`p_adjusted` of the categories, by name: Benjamini-Hochberg over all of them; none of them is confirmatory."""
    names = pd.MultiIndex.from_frame(drift[[*WHOSE, "category", "classifier", "round"]])
    return drift.assign(p_adjusted=_adjusted(drift["p_value"], names, benjamini_hochberg))


def _adjusted(p_value: pd.Series[float], names: pd.MultiIndex, adjust: Any) -> Floats:
    if not names.is_unique:
        raise ValueError(f"two tests of one name cannot be told apart: {names[names.duplicated()][0]}")
    found = adjust(dict(zip(names, p_value, strict=True)))
    return np.array([found[name] for name in names], dtype=np.float64)


# The stage


def analyse(experiment: Experiment, store: Store, watch: Watch) -> dict[str, Any]:
    """Writes analysis/*.parquet for the declared extent, unless nothing it reads has changed; returns what was looked at."""
    inputs = _inputs(experiment, store)
    watch.start("analyse", 1, done=int(store.read_json("analysis/inputs.json") == inputs))
    rows = _within(experiment, store)
    looked = {"rounds": experiment.rounds, "replicates": experiment.replicates, "seeds": rows["seed_id"].nunique()}
    if store.read_json("analysis/inputs.json") == inputs:
        return looked
    for name, table in _tables(experiment, store, rows).items():
        store.write_table(f"analysis/{name}.parquet", table)
    store.write_json("analysis/inputs.json", inputs)
    watch.advance()
    return looked


def _within(experiment: Experiment, store: Store) -> pd.DataFrame:
    """The rows of rounds/ within the declared extent, so that the same command gives the same tables whatever else is there."""
    seeds = store.seeds()
    wanted = within(
        seeds["seed_id"], seeds.get("concept", seeds["seed_id"]), experiment.limit, experiment.limit_per_concept
    )
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
        tables["planted"] = pd.DataFrame(told).assign(run=store.run_id)
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
