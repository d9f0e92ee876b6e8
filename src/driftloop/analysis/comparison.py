"""Two runs on the same seeds: how far one arm's shares, and its shifts, are above the other's, paired by seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.families import adjust_differences
from driftloop.analysis.material import Instrument
from driftloop.analysis.paired import CONFIRMATORY_ATTRIBUTES
from driftloop.analysis.study import stacked
from driftloop.core import rng
from driftloop.core.errors import ConfigError
from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes
from driftloop.statistics.pairs import make_pairs, omnibus_tests
from driftloop.statistics.panel import Bools, Floats, Group, concept_groups, seed_means, tally
from driftloop.statistics.tests import category_p_values

DIFFERENCE_COLUMNS = [
    "run", "reference", "concept_kind", "concept", "attribute", "category", "round", "baseline_round", "classifier",
    "instrument", "quantity", "n_seeds", "value", "low", "high", "p_value", "p_adjusted", "test", "test_p_value",
    "test_p_adjusted", "family",
]  # fmt: skip
SAME_SEED = ["dataset", "seed_id", "image_sha256", "concept_kind", "concept"]
SHARE, SHIFT = "share", "shift"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBy:
    """What one instrument read in one run; `identity` is equal where the instrument is the same."""

    instrument: Instrument
    identity: str
    readings: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One run to compare. `seeds`: rows of seeds.parquet. `declared`: (classifier, attribute, round) of the tests that
    its own analysis found confirmatory."""

    run: str
    seeds: pd.DataFrame
    read_by: Sequence[ReadBy]
    declared: Collection[tuple[str, str, int]] = frozenset()


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
    the replicates of each, NaN where unread; the baseline is the first round. `known` are the seeds, in that order."""

    arms: tuple[Arm, Arm]
    instrument: Instrument
    attribute: str
    known: pd.DataFrame
    rounds: Sequence[int]
    first: Floats
    second: Floats

    @property
    def categories(self) -> Sequence[str]:
        return self.instrument.categories[self.attribute]

    @property
    def groups(self) -> list[Group]:
        cohorts = pd.factorize(self.known["cohort"], sort=True)[0].astype(np.intp) if "cohort" in self.known else None
        return concept_groups(self.known["concept"].tolist(), cohorts)


def compared(arm: Arm, reference: Arm, rules: Rules) -> pd.DataFrame:
    """Tidy rows of `arm` minus `reference`, adjusted as one family, see `differences` and `adjust_differences`."""
    return adjust_differences(differences(arm, reference, rules))


def differences(arm: Arm, reference: Arm, rules: Rules) -> pd.DataFrame:
    """Per concept group, attribute, category and round that both read: the difference of shares (`quantity` share) and of
    shifts from the baseline (`shift`), `arm` minus `reference`.

    The seed is the pair, with the mean of its replicates in each arm; `n_seeds` were read in both arms at the round, for a
    shift at the baseline too. Intervals and p-values are those of a shift between rounds (`intervals.shift_limits`,
    `tests.category_p_values`), `test` is the omnibus test over the categories of a difference of shifts
    (`pairs.omnibus_tests`). Over fewer than two seeds there is neither. The p-values still need adjusting.

    ConfigError where the two have no seed, no instrument or no baseline in common.
    """
    known = common_seeds(arm, reference)
    tables = [_rows(both, group, rules) for both in _pairs(arm, reference, known) for group in both.groups]
    return stacked(tables, DIFFERENCE_COLUMNS)


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


def _pairs(arm: Arm, reference: Arm, known: pd.DataFrame) -> Iterator[Both]:
    there = {each.identity: each for each in reference.read_by}
    shared = [(each, there[each.identity]) for each in arm.read_by if each.identity in there]
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


def _rows(both: Both, group: Group, rules: Rules) -> pd.DataFrame:
    first, second = both.first[group.members], both.second[group.members]
    moved, moved_there = first - first[:, :1], second - second[:, :1]
    unit = 1.0 if _same(both.first[:, 0], both.second[:, 0]) else 2.0
    shares = _estimates(both, first - second, group, rules.level, unit=1.0)
    shifts = _estimates(both, moved - moved_there, group, rules.level, unit=unit)
    later = shifts["round"] != both.rounds[0]
    shifts[["low", "high", "p_value"]] = shifts[["low", "high", "p_value"]].where(later)
    shifts = shifts.merge(_tested(both, group, rules, moved_there / unit, moved / unit), on="round", how="left")
    return pd.concat([shares.assign(quantity=SHARE), shifts.assign(quantity=SHIFT)], ignore_index=True).assign(
        run=both.arms[0].run,
        reference=both.arms[1].run,
        concept_kind=both.known["concept_kind"].iloc[0],
        concept=group.name,
        attribute=both.attribute,
        baseline_round=both.rounds[0],
        classifier=both.instrument.name,
        instrument=both.instrument.folder,
    )


def _same(first: Floats, second: Floats) -> bool:
    """Whether every seed read in both is read alike: then a shift differs by no more than a share can, 1 and not 2."""
    difference: Bools = np.nan_to_num(first - second) != 0
    return not difference.any()


def _estimates(both: Both, difference: Floats, group: Group, level: float, *, unit: float) -> pd.DataFrame:
    """Means of differences [seeds, rounds, categories] in [-unit, unit], one row a round and category."""
    up, down, mean = changes(difference / unit, group)
    low, high = shift_limits(up, down, mean, level)
    index = pd.MultiIndex.from_product([both.rounds, both.categories], names=["round", "category"])
    return index.to_frame(index=False).assign(
        n_seeds=mean.n, value=unit * mean.mean, low=unit * low, high=unit * high, p_value=category_p_values(up, down, mean)
    )


def _tested(both: Both, group: Group, rules: Rules, reference: Floats, arm: Floats) -> pd.DataFrame:
    """The omnibus test of every round after the baseline: do the two arms shift alike?"""
    later = list(both.rounds[1:])
    columns = ["round", "test", "test_p_value", "family"]
    if not later:
        return pd.DataFrame(columns=columns).astype({"round": np.int64})
    pairs = make_pairs(reference[:, 1:], arm[:, 1:], group, rules.resamples, rng.derive(0, "compare", group.name))
    counts = np.isfinite(pairs.difference[:, :, 0]).sum(axis=0)
    return pd.DataFrame(
        [
            (number, test.name, test.p_value, _family(both, group, number, int(n), rules))
            for number, test, n in zip(later, omnibus_tests(pairs), counts, strict=True)
        ],
        columns=columns,
    )


def _family(both: Both, group: Group, number: int, n: int, rules: Rules) -> str:
    """Confirmatory: perceived gender and age over all seeds at the last round, where both arms' own tests are too."""
    name = (both.instrument.name, both.attribute, number)
    declared = all(name in arm.declared for arm in both.arms) and both.instrument.kind == "labels"
    last = group.name == "all" and number == both.rounds[-1] and n >= rules.min_seeds
    return "confirmatory" if declared and last and both.attribute in CONFIRMATORY_ATTRIBUTES else "exploratory"
