"""Omnibus tests and distances between the baseline and every later round, each with its paired null."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from driftloop.analysis.study import WHOSE, Extent, Settings, View
from driftloop.core import rng
from driftloop.statistics.distances import DISTANCES, ORDERED_DISTANCES, Distance
from driftloop.statistics.pairs import Pairs, distance_estimate, make_pairs, omnibus_tests
from driftloop.statistics.panel import Floats

CONFIRMATORY_ATTRIBUTES = frozenset({"gender", "age"})
DISTANCE_COLUMNS = [
    *WHOSE, "classifier", "round", "baseline_round", "distance", "n_pairs", "value", "low", "high",
    "null_mean", "null_low", "null_high", "p_value",
]  # fmt: skip
TEST_COLUMNS = [
    *WHOSE, "classifier", "round", "baseline_round", "test", "statistic", "dof", "n_pairs", "n_discordant", "p_value",
    "p_adjusted", "family", "enough_seeds",
]  # fmt: skip


def paired_rows(view: View, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Omnibus tests, and distances with their nulls, of every later round against the baseline.

    Every attribute and classifier of a group has the same draws, so that their estimates stay joined.
    """
    pairs = pairs_of(view, settings)
    tests = _test_rows(view, pairs, settings)
    wanted = (*DISTANCES, *(ORDERED_DISTANCES if view.panel.attribute in settings.ordered else ()))
    rows = [distance_rows(view, pairs, distance, tests["p_value"].to_numpy(), settings.level) for distance in wanted]
    return tests, pd.concat(rows, ignore_index=True)


def pairs_of(view: View, settings: Settings) -> Pairs:
    """The later rounds beside the baseline, with the draws of the group."""
    baseline, later = view.means[:, [view.study.baseline]], view.means[:, view.study.later]
    seed = rng.derive(settings.root_seed, "analyse", view.group.name)
    return make_pairs(baseline, later, view.group, settings.resamples, seed)


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
    enough = rows["n_pairs"] >= settings.min_seeds
    confirmatory = _is_confirmatory(view, settings.confirmatory) & (rows["round"] == view.study.rounds[-1]) & enough
    return rows.assign(family=np.where(confirmatory, "confirmatory", "exploratory"), enough_seeds=enough)


def _is_confirmatory(view: View, declared: Extent | None) -> bool:
    """Gender and age over all seeds, at exactly the extent declared: to look earlier, or again, is optional stopping."""
    if declared is None or view.group.name != "all" or view.panel.attribute not in CONFIRMATORY_ATTRIBUTES:
        return False
    study = view.study
    got = (int(study.rounds[-1]), len(study.replicates), len(study.seed_ids))
    wanted = (declared.rounds, declared.replicates, declared.seeds)
    return all(number is None or number == found for number, found in zip(wanted, got, strict=True))


def distance_rows(view: View, pairs: Pairs, distance: Distance, omnibus_p: Floats, level: float) -> pd.DataFrame:
    """One distance at every later round, see `pairs.distance_estimate`."""
    estimate = distance_estimate(distance, pairs, omnibus_p, level)
    columns = asdict(estimate) | {"n_pairs": np.isfinite(pairs.difference[:, :, 0]).sum(axis=0)}
    rounds = view.study.rounds[view.study.later]
    return view.rows({"round": rounds}, columns).assign(distance=distance.__name__)
