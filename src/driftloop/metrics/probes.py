"""Table `probes`: what one changed word causes in a generator, and one changed attribute of a picture in a captioner.

Unlike any correlation over rounds this is a causal statement about the model: two versions of a seed share everything but
the probed attribute, the random number included, and the effect is the mean over seeds of what differs between them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import groups_of, stacked
from driftloop.core.counterfactuals import AS_IS, REMOVED, VALUES, probe_folder
from driftloop.core.errors import DriftloopError
from driftloop.core.limits import taken
from driftloop.core.mentions import mention, readable
from driftloop.core.words import TABLES
from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.multiplicity import benjamini_hochberg
from driftloop.statistics.panel import Bools, Floats, Group, Ints, seed_means, tally
from driftloop.statistics.tests import category_p_values
from driftloop.statistics.years import YearEstimate, year_change, year_mean

NAMES = [
    "run", "concept_kind", "concept", "model", "probed", "captions", "version", "versus", "attribute", "category", "classifier",
]  # fmt: skip
PROBE_COLUMNS = [
    *NAMES, "n_probed", "n_seeds", "mean", "mean_versus", "effect", "low", "high", "p_value", "p_adjusted",
]  # fmt: skip
FAMILY = ["concept", "model", "probed"]
SILENT, UNCLEAR, WORDS = "silent", "unclear", "words"
KEPT, YEARS = "kept", "years"
log = logging.getLogger("driftloop")


class ProbesMetric:
    """Per pair of versions, over the first `n` seeds in hash order and their first `replicates` draws.

    `effect` is the mean over seeds of what `version` gives less what `versus` gives: a share of draws (or captions) that are
    read as `category`, or years. For a generator, `captions` says what its captions named before: of those that name the
    attribute, `removed` is set against `as_is` and each value against `removed`; of silent ones, to name a value is set
    against `as_is`; and any two values against each other. Captions that name two things are told apart from both, and of
    those that are unclear nothing is compared. `category` `kept` is the seed's own concept.

    For a captioner, `version` and `versus` are values shown, `category` what its caption names, `silent` or `unclear` (it
    names several), and `classifier` is `words`.

    Intervals and p-values are those of a shift between rounds; `p_adjusted` is Benjamini-Hochberg over the rows of one
    concept, model and probed attribute.
    `n_probed` seeds have both versions, `n_seeds` of them were read in both. `mean` and `mean_versus` are over the latter.
    """

    def __init__(self, *, attributes: Sequence[str], n: int, replicates: int) -> None:
        self.attributes, self.n, self.replicates = tuple(attributes), n, replicates

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        folder = probe_folder(self.attributes)
        rows = self._extent(material, material.store.probes(folder))
        if rows.empty:
            log.warning("table probes is empty: no probe of %s was made; ask for the stage probe", ", ".join(self.attributes))
        seeds = material.seeds.set_index("seed_id")
        found = [
            probe_effects(rows[rows["model"] == outcome.model], seeds, outcome, material.settings.level)
            for outcome in outcomes(material, rows, folder)
        ]
        return {"probes": adjusted(stacked(found, PROBE_COLUMNS).assign(run=material.store.run_id))}

    def _extent(self, material: Material, rows: pd.DataFrame) -> pd.DataFrame:
        first = taken(material.seeds, None, None)[: self.n]
        return rows[rows["seed_id"].isin(first) & (rows["replicate"] < self.replicates)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found of one attribute in what a model made: a `label` by chain, one of `categories`, where there is one;
    `years` likewise, where the instrument gives them. `order` of the versions that are compared."""

    model: str
    classifier: str
    attribute: str
    categories: Sequence[str]
    labels: pd.Series[Any]
    years: pd.Series[Any]
    order: Sequence[str]


def outcomes(material: Material, rows: pd.DataFrame, folder: str) -> Iterator[Outcome]:
    """One for each attribute of each instrument, and one for each attribute that captions may name."""
    order = _order(material.instruments)
    for instrument in material.instruments:
        readings = material.store.readings(f"{folder}/{instrument.folder}")
        for attribute, categories in instrument.categories.items():
            read = readings[(readings["attribute"] == attribute) & (readings["status"] == "ok")].set_index("chain")
            yield Outcome(
                model="generator",
                classifier=instrument.name,
                attribute=attribute,
                categories=categories,
                labels=read["label"].astype(object),
                years=read["years"].dropna(),
                order=order,
            )
    said = rows[(rows["model"] == "captioner") & (rows["status"] == "ok")].set_index("chain")["caption"]
    for attribute in TABLES:
        categories = _named_as(material.instruments, attribute)
        yield Outcome(
            model="captioner",
            classifier=WORDS,
            attribute=attribute,
            categories=(*categories, SILENT, UNCLEAR),
            labels=said.map(lambda text, a=attribute, c=categories: named_in(text, a, c)).astype(object),
            years=pd.Series(dtype=np.float64),
            order=order,
        )


def named_in(text: str, attribute: str, categories: Sequence[str]) -> str:
    """The one category that a caption names, `silent`, or `unclear` where it names several or none of them."""
    said = mention(text, attribute, categories)
    if said.kind == "silent":
        return SILENT
    return next(iter(said.categories)) if len(said.categories) == 1 else UNCLEAR


def pairs(versions: Sequence[str]) -> list[tuple[str, str]]:
    """(version, versus): removed against as it is, each value against none, any two values."""
    values = [version for version in versions if version not in (AS_IS, REMOVED)]
    without = [base for base in (REMOVED, AS_IS) if base in versions][:1]
    removed = [(REMOVED, AS_IS)] if REMOVED in versions else []
    return [*removed, *((value, base) for base in without for value in values), *combinations(values, 2)]


def probe_effects(rows: pd.DataFrame, seeds: pd.DataFrame, outcome: Outcome, level: float) -> pd.DataFrame:
    """Tidy rows of one outcome. `rows` are the probes of its model: seed_id, replicate, chain, probed, version, says.
    `seeds` by seed_id: concept, concept_kind, `cohort` where a mitigation couples them."""
    tables = [
        part_effects(part, seeds, outcome, level).assign(probed=str(probed), captions=str(says))
        for (probed, says), part in rows.groupby(["probed", "says"], observed=True)
    ]
    about = {"model": outcome.model, "attribute": outcome.attribute, "classifier": outcome.classifier}
    return stacked(tables, PROBE_COLUMNS).assign(**about)


def part_effects(rows: pd.DataFrame, seeds: pd.DataFrame, outcome: Outcome, level: float) -> pd.DataFrame:
    """Of the probes of one attribute whose captions say alike."""
    versions = sorted(set(rows["version"]), key=lambda name: (_place(name, outcome.order), name))
    named = pairs(versions)
    if not named:
        return pd.DataFrame()
    first, second = (np.array([versions.index(pair[side]) for pair in named]) for side in (0, 1))
    dense = _dense(rows, versions, outcome)
    known = seeds.loc[dense.seed_ids]
    values, categories = _with_kept(dense.means, known, outcome)
    found = []
    for group in groups_of(known):
        one, other = (values[group.members][:, side] for side in (first, second))
        probed = (dense.made[:, first] & dense.made[:, second])[group.members].sum(axis=0)
        found.append(_tidy(named, categories, _shares(one, other, group, level), probed, group.name))
        if np.isfinite(dense.years).any():
            ages = [dense.years[group.members][:, side] for side in (first, second)]
            found.append(_tidy(named, [YEARS], _in_years(ages[0], ages[1], group, level), probed, group.name))
    return pd.concat(found, ignore_index=True).assign(concept_kind=known["concept_kind"].iloc[0])


def adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """`p_adjusted`: Benjamini-Hochberg over all that was asked of one group of seeds by probing one attribute of one model;
    none of it is confirmatory."""
    found = pd.Series(np.nan, index=table.index, dtype=np.float64)
    for _, rows in table.groupby(FAMILY):
        names = [tuple(row) for row in rows[NAMES].itertuples(index=False)]
        by_name = benjamini_hochberg(dict(zip(names, rows["p_value"].tolist(), strict=True)))
        found.loc[rows.index] = np.array([by_name[name] for name in names], dtype=np.float64)
    return table.assign(p_adjusted=found)


@dataclass(frozen=True, slots=True)
class _Dense:
    """`means` [n_seeds, n_versions, n_categories] over replicates and `years` [n_seeds, n_versions], NaN where unread;
    `made` [n_seeds, n_versions] marks versions there are, read or not."""

    seed_ids: pd.Index[Any]
    means: Floats
    years: Floats
    made: Bools


def _dense(rows: pd.DataFrame, versions: Sequence[str], outcome: Outcome) -> _Dense:
    seed_ids = pd.Index(sorted(set(rows["seed_id"])))
    seed = seed_ids.get_indexer(pd.Index(rows["seed_id"]))
    version = pd.Index(versions).get_indexer(pd.Index(rows["version"]))
    shape = (len(seed_ids), len(versions))
    made = np.zeros(shape, np.bool_)
    made[seed, version] = True
    label = _codes(outcome.labels.reindex(rows["chain"]), outcome)
    means = seed_means(tally(seed, version, label, (*shape, len(outcome.categories))))
    return _Dense(seed_ids, means, _mean_years(outcome.years.reindex(rows["chain"]), seed, version, shape), made)


def _codes(labels: pd.Series[Any], outcome: Outcome) -> Ints:
    codes = pd.Index(outcome.categories).get_indexer(pd.Index(labels))
    if strange := sorted({str(label) for label in labels[(codes < 0) & labels.notna()]}):
        raise DriftloopError(
            f"{outcome.classifier}: {outcome.attribute} {strange[:10]} is not one of {list(outcome.categories)}"
        )
    return np.asarray(codes, dtype=np.intp)


def _mean_years(years: pd.Series[Any], seed: Ints, version: Ints, shape: tuple[int, int]) -> Floats:
    there = years.notna().to_numpy()
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (seed[there], version[there]), years.to_numpy(np.float64)[there])
    np.add.at(count, (seed[there], version[there]), 1.0)
    return np.asarray(np.divide(total, count, out=np.full(shape, np.nan), where=count > 0))


def _with_kept(means: Floats, known: pd.DataFrame, outcome: Outcome) -> tuple[Floats, list[str]]:
    """The means with a category more, `kept`, where the attribute is the concept of the seeds."""
    categories = list(outcome.categories)
    if outcome.attribute != known["concept_kind"].iloc[0]:
        return means, categories
    own = pd.Index(categories).get_indexer(pd.Index(known["concept"]))
    kept = np.where((own >= 0)[:, None], means[np.arange(len(means)), :, own], np.nan)
    return np.concatenate([means, kept[:, :, None]], axis=2), [*categories, KEPT]


def _shares(one: Floats, other: Floats, group: Group, level: float) -> dict[str, Any]:
    """Of means [n, pairs, categories]; every column [pairs × categories]."""
    difference = one - other
    up, down, effect = changes(difference, group)
    low, high = shift_limits(up, down, effect, level)
    both = (_means(side + 0 * difference, group) for side in (one, other))
    return {
        "n_seeds": effect.n,
        **dict(zip(("mean", "mean_versus"), both, strict=True)),
        "effect": effect.mean,
        "low": low,
        "high": high,
        "p_value": category_p_values(up, down, effect),
    }


def _means(values: Floats, group: Group) -> Floats:
    return moments(values.reshape(len(values), -1), group).mean


def _in_years(one: Floats, other: Floats, group: Group, level: float) -> dict[str, Any]:
    """Of ages [n, pairs] in years; every column [pairs]."""
    difference = one - other
    effect: YearEstimate = year_change(difference, group, level)
    means = [year_mean(side + 0 * difference, group, level).mean for side in (one, other)]
    columns = {"n_seeds": effect.n, "mean": means[0], "mean_versus": means[1], "effect": effect.mean}
    return columns | {"low": effect.low, "high": effect.high, "p_value": effect.p_value}


def _tidy(
    named: Sequence[tuple[str, str]], categories: Sequence[str], columns: Mapping[str, Any], probed: Ints, concept: str
) -> pd.DataFrame:
    index = [(*pair, category) for pair in named for category in categories]
    rows = pd.DataFrame(index, columns=["version", "versus", "category"])
    return rows.assign(**columns, n_probed=np.repeat(probed, len(categories)), concept=concept)


def _order(instruments: Sequence[Instrument]) -> list[str]:
    """Of versions: those of captions, then the values shown in the order of whichever instrument declares them."""
    declared = (name for each in instruments for categories in each.categories.values() for name in categories)
    return list(dict.fromkeys([AS_IS, REMOVED, *(value for values in VALUES.values() for value in values), *declared]))


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _named_as(instruments: Sequence[Instrument], attribute: str) -> tuple[str, ...]:
    """The categories by which captions are told apart: those of the first instrument that has words for them."""
    declared = (each.categories[attribute] for each in instruments if attribute in each.categories)
    return next((tuple(names) for names in declared if readable(attribute, names)), VALUES[attribute])
