"""Two runs on the same seeds: how far one arm's shares, shifts, ages and metrics are above the other's, paired by seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.by_seed import BY_SEED_COLUMNS
from driftloop.analysis.families import adjust_differences
from driftloop.analysis.material import Instrument
from driftloop.analysis.paired import CONFIRMATORY_ATTRIBUTES
from driftloop.analysis.study import groups_of, stacked
from driftloop.analysis.years import OLDEST
from driftloop.core import rng
from driftloop.core.errors import ConfigError
from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes
from driftloop.statistics.pairs import make_pairs, omnibus_tests
from driftloop.statistics.panel import Bools, Floats, Group, seed_means, tally
from driftloop.statistics.tests import category_p_values
from driftloop.statistics.years import year_change

DIFFERENCE_COLUMNS = [
    "run", "reference", "concept_kind", "concept", "attribute", "category", "round", "baseline_round", "classifier",
    "instrument", "metric", "quantity", "n_seeds", "value", "low", "high", "p_value", "p_adjusted", "test", "test_p_value",
    "test_p_adjusted", "family",
]  # fmt: skip
SAME_SEED = ["dataset", "seed_id", "image_sha256", "concept_kind", "concept"]
SHARE, SHIFT, YEARS, YEARS_SHIFT = "share", "shift", "years", "years_shift"
WHOSE_VALUE = ["metric", "quantity", "instrument", "attribute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBy:
    """What one instrument read in one run; `identity` is equal where the instrument is the same."""

    instrument: Instrument
    identity: str
    readings: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One run to compare. `seeds`: rows of seeds.parquet. `declared`: (classifier, attribute, round) of the tests that
    its own analysis found confirmatory. `by_seed`: the table of that name; `metrics`: of every metric in it, what is equal
    where its settings are; `code`: what is equal where the same code made the table."""

    run: str
    seeds: pd.DataFrame
    read_by: Sequence[ReadBy]
    declared: Collection[tuple[str, str, int]] = frozenset()
    by_seed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=BY_SEED_COLUMNS))
    metrics: Mapping[str, str] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`level` of every interval; `resamples` swaps of the two arms within a seed, for the omnibus tests; over fewer than
    `min_seeds` nothing is confirmatory."""

    level: float = 0.95
    resamples: int = 2000
    min_seeds: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Two arms as one instrument read one attribute. `first` and `second` [seeds, rounds, categories] are seed means over
    the replicates of each, NaN where unread; the baseline is the first round. `years` are ages [seeds, rounds, 1] in either
    arm, if the instrument gives them. `known` are the seeds, in that order."""

    arms: tuple[Arm, Arm]
    instrument: Instrument
    attribute: str
    known: pd.DataFrame
    rounds: Sequence[int]
    first: Floats
    second: Floats
    years: tuple[Floats, Floats] | None

    @property
    def categories(self) -> Sequence[str]:
        return self.instrument.categories[self.attribute]

    @property
    def whose(self) -> dict[str, str]:
        names = {"classifier": self.instrument.name, "instrument": self.instrument.folder}
        return {"metric": "", "attribute": self.attribute, **names}

    @property
    def moved(self) -> tuple[Floats, Floats]:
        """Shifts from the baseline in either arm."""
        return self.first - self.first[:, :1], self.second - self.second[:, :1]

    @property
    def most(self) -> float:
        """How far two shifts of a seed can differ: as far as shares, 1, where the baseline is read alike in both; else 2."""
        difference: Bools = np.nan_to_num(self.first[:, 0] - self.second[:, 0]) != 0
        return 2.0 if difference.any() else 1.0


def compared(arm: Arm, reference: Arm, rules: Rules) -> pd.DataFrame:
    """Tidy rows of `arm` minus `reference`, adjusted as one family, see `differences` and `adjust_differences`."""
    return adjust_differences(differences(arm, reference, rules))


def differences(arm: Arm, reference: Arm, rules: Rules) -> pd.DataFrame:
    """Per concept group, attribute, category and round that both read: the difference of shares (`quantity` share) and of
    shifts from the baseline (`shift`), `arm` minus `reference`; where the instrument gives years, of the mean age and its
    shift (`years`, `years_shift`; category years); and of every quantity that a `metric` of both offers by seed.

    The seed is the pair, with the mean of its replicates in each arm; `n_seeds` were read in both arms at the round, for a
    shift at the baseline too. Intervals and p-values are those of a shift between rounds (`intervals.shift_limits`,
    `tests.category_p_values`; `years.year_change`), `test` is the omnibus test over the categories of a difference of shifts
    (`pairs.omnibus_tests`). Over fewer than two seeds there is neither. The p-values still need adjusting.

    ConfigError where the two have no seed, no instrument or no baseline in common; what else they do not share is told by
    `remarks`.
    """
    known = common_seeds(arm, reference)
    pairs = list(_pairs(arm, reference, known))
    columns = _joined([*(each for both in pairs for each in _share_columns(both)), *_offered(arm, reference, known)])
    tables = [rows for group in groups_of(known) for rows in _rows(columns, pairs, group, rules)]
    return stacked(tables, DIFFERENCE_COLUMNS).assign(
        run=arm.run,
        reference=reference.run,
        concept_kind=known["concept_kind"].iloc[0],
        baseline_round=pairs[0].rounds[0],
    )


def remarks(arm: Arm, reference: Arm) -> list[str]:
    """What of two runs that can be compared is not, and why, for whoever misses it; and what to beware of."""
    return [*_other_instruments(arm, reference), *_other_rounds(arm, reference), *_other_metrics(arm, reference)]


def _other_instruments(arm: Arm, reference: Arm) -> Iterator[str]:
    for mine, other in ((arm, reference), (reference, arm)):
        there = {each.identity for each in other.read_by}
        for each in mine.read_by:
            if each.identity not in there:
                there_not = f"read {mine.run} and not, with the same settings and locator, {other.run}"
                yield f"{each.instrument.folder} is not compared: it {there_not}"


def _other_rounds(arm: Arm, reference: Arm) -> Iterator[str]:
    for mine, other in _same_instrument(arm, reference):
        last = [int(each.readings["round"].max()) for each in (mine, other) if len(each.readings)]
        if len(set(last)) == 2:
            ends = f"{arm.run} to round {last[0]} and {reference.run} to round {last[1]}"
            yield f"later rounds are not compared: {mine.instrument.name} read {ends}"


def _other_metrics(arm: Arm, reference: Arm) -> Iterator[str]:
    for name in sorted({*arm.metrics, *reference.metrics}):
        lacking = [each.run for each in (arm, reference) if name not in each.metrics]
        if lacking:
            yield f"metric {name} is not compared: {lacking[0]} was analysed without it"
        elif arm.metrics[name] != reference.metrics[name]:
            yield f"metric {name} is not compared: its settings were not the same in {arm.run} and {reference.run}"
    if set(arm.metrics) & set(reference.metrics) and arm.code != reference.code:
        yield f"{arm.run} and {reference.run} were analysed by different versions of the code: analyse both again"


def common_seeds(arm: Arm, reference: Arm) -> pd.DataFrame:
    """The seeds of both: of the same data set, name, picture and concept. `cohort` where either arm couples seeds."""
    here, there = (_named(each.seeds) for each in (arm, reference))
    known = here.merge(there, on=SAME_SEED, suffixes=("", "_reference")).sort_values("seed_id", ignore_index=True)
    if known.empty:
        raise ConfigError(
            f"{arm.run} and {reference.run} have no seed in common: of the same data set, name, picture and concept "
            f"({len(here)} and {len(there)} seeds)"
        )
    if {"cohort", "cohort_reference"} <= set(known) and (known["cohort"] != known["cohort_reference"]).any():
        raise ConfigError(f"{arm.run} and {reference.run} couple seeds in different cohorts: there is no unit to pair by")
    return known


def _named(seeds: pd.DataFrame) -> pd.DataFrame:
    return seeds.reindex(columns=[*SAME_SEED, *(["cohort"] if "cohort" in seeds else [])])


def _same_instrument(arm: Arm, reference: Arm) -> list[tuple[ReadBy, ReadBy]]:
    there = {each.identity: each for each in reference.read_by}
    return [(each, there[each.identity]) for each in arm.read_by if each.identity in there]


def _pairs(arm: Arm, reference: Arm, known: pd.DataFrame) -> Iterator[Both]:
    shared = _same_instrument(arm, reference)
    if not shared:
        told = "; ".join(f"{each.run} by {_instruments(each)}" for each in (arm, reference))
        raise ConfigError(f"no instrument read both runs with the same settings and locator: {told}")
    for mine, other in shared:
        rounds = _rounds(arm, reference, (mine, other))
        for attribute in mine.instrument.categories:
            means = [_means(each, attribute, known["seed_id"], rounds) for each in (mine, other)]
            yield Both(
                arms=(arm, reference),
                instrument=mine.instrument,
                attribute=attribute,
                known=known,
                rounds=rounds,
                first=means[0],
                second=means[1],
                years=_years((mine, other), attribute, known["seed_id"], rounds),
            )


def _instruments(arm: Arm) -> str:
    return ", ".join(each.instrument.folder for each in arm.read_by) or "nothing"


def _rounds(arm: Arm, reference: Arm, pair: Sequence[ReadBy]) -> list[int]:
    """Rounds read in both, from the baseline on."""
    found = [sorted({int(number) for number in each.readings["round"]}) for each in pair]
    if not all(found) or found[0][0] != found[1][0]:
        first = [str(numbers[0]) if numbers else "none" for numbers in found]
        raise ConfigError(
            f"{arm.run} and {reference.run} have no baseline in common: {pair[0].instrument.name} read them first at round "
            f"{' and round '.join(first)}"
        )
    return sorted(set(found[0]) & set(found[1]))


def _means(read: ReadBy, attribute: str, seed_ids: pd.Series[Any], rounds: Sequence[int]) -> Floats:
    """Mean reading of each seed [seeds, rounds, categories]."""
    rows = read.readings
    rows = rows[(rows["attribute"] == attribute) & (rows["status"] == "ok")]
    rows = rows[rows["seed_id"].isin(seed_ids) & rows["round"].isin(rounds)]
    axes = {"seed_id": list(seed_ids), "round": list(rounds), "label": list(read.instrument.categories[attribute])}
    places = [pd.Index(names).get_indexer(pd.Index(rows[column])) for column, names in axes.items()]
    if (places[2] < 0).any():
        strange = sorted(set(rows["label"][places[2] < 0].astype(str)))[:10]
        raise ConfigError(f"{read.instrument.folder}: {attribute} {strange} is not one of {axes['label']}")
    return seed_means(tally(places[0], places[1], places[2], (len(seed_ids), len(rounds), len(axes["label"]))))


def _years(
    pair: Sequence[ReadBy], attribute: str, seed_ids: pd.Series[Any], rounds: Sequence[int]
) -> tuple[Floats, Floats] | None:
    """Mean age of each seed in either arm [seeds, rounds, 1]; None where one of them has no years."""
    found = []
    for read in pair:
        rows = read.readings
        if "years" not in rows:
            return None
        rows = rows[(rows["attribute"] == attribute) & (rows["status"] == "ok") & rows["years"].notna()]
        found.append(_dense(rows.assign(value=rows["years"].clip(0, OLDEST), category=""), seed_ids, rounds, [""]))
    return (found[0], found[1]) if all(np.isfinite(each).any() for each in found) else None


def _dense(rows: pd.DataFrame, seed_ids: pd.Series[Any], rounds: Sequence[int], categories: Sequence[str]) -> Floats:
    """Means of `value` in [seeds, rounds, categories], NaN where there is none; other seeds and rounds are left out."""
    cells = pd.MultiIndex.from_product([list(seed_ids), list(rounds), list(categories)])
    means = rows.groupby(["seed_id", "round", "category"], observed=True)["value"].mean()
    return means.reindex(cells).to_numpy(np.float64).reshape(len(seed_ids), len(rounds), len(categories))


# Estimates -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """All that is compared but ages. `told` [m rows] says what each column is, `difference` [seeds, m] is arm minus
    reference, NaN where either has nothing, and `scale` [m] how far a seed that was not drawn might differ."""

    told: pd.DataFrame
    difference: Floats
    scale: Floats


def _column(rounds: Sequence[int], categories: Sequence[str], difference: Floats, scale: float, **whose: str) -> Columns:
    """Of one quantity, `difference` [seeds, rounds, categories]."""
    axes: list[list[Any]] = [list(rounds), list(categories)]
    told = pd.MultiIndex.from_product(axes, names=["round", "category"]).to_frame(index=False).assign(**whose)
    return Columns(told=told, difference=difference.reshape(len(difference), -1), scale=np.full(len(told), scale))


def _joined(parts: Sequence[Columns]) -> Columns:
    return Columns(
        told=pd.concat([part.told for part in parts], ignore_index=True),
        difference=np.concatenate([part.difference for part in parts], axis=1),
        scale=np.concatenate([part.scale for part in parts]),
    )


def _share_columns(both: Both) -> Iterator[Columns]:
    first, second = both.moved
    yield _column(both.rounds, both.categories, both.first - both.second, 1.0, quantity=SHARE, **both.whose)
    yield _column(both.rounds, both.categories, first - second, both.most, quantity=SHIFT, **both.whose)


def _rows(columns: Columns, pairs: Sequence[Both], group: Group, rules: Rules) -> Iterator[pd.DataFrame]:
    """Everything over one group of seeds."""
    found = _estimates(columns, group, rules.level)
    first = (found["metric"] == "") & (found["quantity"] == SHIFT) & (found["round"] == pairs[0].rounds[0])
    found.loc[first, ["low", "high", "p_value"]] = np.nan  # the shift of the baseline is 0 by definition
    tested = [_tested(both, group, rules) for both in pairs if len(both.rounds) > 1]
    if tested:
        key = ["metric", "quantity", "instrument", "attribute", "round"]
        found = found.merge(pd.concat(tested).assign(metric="", quantity=SHIFT), on=key, how="left", validate="m:1")
    for rows in (found, *(rows for both in pairs for rows in _year_rows(both, group, rules.level))):
        yield rows.assign(concept=group.name)


def _estimates(columns: Columns, group: Group, level: float) -> pd.DataFrame:
    """One row a column. The unit of the interval is the largest difference seen, at least the scale."""
    difference = columns.difference[group.members]
    unit = np.maximum(np.abs(np.nan_to_num(difference)).max(axis=0), columns.scale)
    up, down, mean = changes(difference / unit, group)
    low, high = shift_limits(up, down, mean, level)
    return columns.told.assign(
        n_seeds=mean.n, value=unit * mean.mean, low=unit * low, high=unit * high, p_value=category_p_values(up, down, mean)
    )


def _year_rows(both: Both, group: Group, level: float) -> Iterator[pd.DataFrame]:
    """Mean ages and their shifts, in years."""
    if both.years is None:
        return
    first, second = (each[group.members, :, 0] for each in both.years)
    for quantity, value in ((YEARS, first - second), (YEARS_SHIFT, first - first[:, :1] - (second - second[:, :1]))):
        found = year_change(value, group, level)
        known = np.where((quantity == YEARS) | (np.array(both.rounds) != both.rounds[0]), 1.0, np.nan)
        rows = pd.DataFrame({"round": both.rounds, "n_seeds": found.n, "value": found.mean})
        limits = {"low": found.low * known, "high": found.high * known, "p_value": found.p_value * known}
        yield rows.assign(quantity=quantity, category="years", **limits, **both.whose)


def _tested(both: Both, group: Group, rules: Rules) -> pd.DataFrame:
    """The omnibus test of every round after the baseline: do the two arms shift alike?"""
    arm, reference = (each[group.members, 1:] / both.most for each in both.moved)
    pairs = make_pairs(reference, arm, group, rules.resamples, rng.derive(0, "compare", group.name))
    counts = np.isfinite(pairs.difference[:, :, 0]).sum(axis=0)
    rows = [
        (number, test.name, test.p_value, _family(both, group, number, int(n), rules))
        for number, test, n in zip(both.rounds[1:], omnibus_tests(pairs), counts, strict=True)
    ]
    found = pd.DataFrame(rows, columns=["round", "test", "test_p_value", "family"])
    return found.assign(instrument=both.instrument.folder, attribute=both.attribute)


def _family(both: Both, group: Group, number: int, n: int, rules: Rules) -> str:
    """Confirmatory: perceived gender and age over all seeds at the last round, where both arms' own tests are too."""
    name = (both.instrument.name, both.attribute, number)
    declared = all(name in arm.declared for arm in both.arms) and both.instrument.kind == "labels"
    last = group.name == "all" and number == both.rounds[-1] and n >= rules.min_seeds
    return "confirmatory" if declared and last and both.attribute in CONFIRMATORY_ATTRIBUTES else "exploratory"


# What metrics offer by seed ------------------------------------------------------------------------------------------


def _offered(arm: Arm, reference: Arm, known: pd.DataFrame) -> Iterator[Columns]:
    """What both have of the same metric, and where it depends on an instrument, of the same one."""
    here, there = _offers(arm, reference)
    for names, mine in here.groupby([*WHOSE_VALUE, "identity"], sort=False, observed=True):
        key = tuple(str(name) for name in names)
        other = there.get(key[:2] + key[3:])
        rounds = [] if other is None else sorted(set(mine["round"]) & set(other["round"]))
        if other is not None and rounds:
            whose = dict(zip(WHOSE_VALUE, key[:4], strict=True))
            yield _offer(whose, (mine, other), known["seed_id"], rounds, arm)


def _offers(arm: Arm, reference: Arm) -> tuple[pd.DataFrame, dict[Any, pd.DataFrame]]:
    """Rows of metrics that are the same in both; those of the reference by all of WHOSE_VALUE, its folder named otherwise."""
    alike = [name for name in arm.metrics if arm.metrics[name] == reference.metrics.get(name)]
    here, there = (_identified(each, alike) for each in (arm, reference))
    keys = [name for name in [*WHOSE_VALUE, "identity"] if name != "instrument"]
    return here, dict(iter(there.groupby(keys, sort=False, observed=True)))


def _identified(arm: Arm, metrics: Collection[str]) -> pd.DataFrame:
    """Rows of these metrics, with the identity of the instrument they depend on ("" for none)."""
    identity = {each.instrument.folder: each.identity for each in arm.read_by} | {"": ""}
    rows = arm.by_seed[arm.by_seed["metric"].isin(metrics)]
    return rows.assign(identity=rows["instrument"].map(identity))


def _offer(
    whose: Mapping[str, str], pair: Sequence[pd.DataFrame], seed_ids: pd.Series[Any], rounds: Sequence[int], arm: Arm
) -> Columns:
    categories = [name for name in dict.fromkeys(pair[0]["category"]) if name in set(pair[1]["category"])]
    first, second = (_dense(rows, seed_ids, rounds, categories) for rows in pair)
    names = {each.instrument.folder: each.instrument.name for each in arm.read_by}
    scale = float(max(rows["scale"].max() for rows in pair))
    return _column(rounds, categories, first - second, scale, **whose, classifier=names.get(whose["instrument"], ""))
