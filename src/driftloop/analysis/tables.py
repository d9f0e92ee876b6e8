"""The core tables of one run: drift, distances, tests, coverage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from driftloop.analysis.drift import COVERAGE_COLUMNS, DRIFT_COLUMNS, coverage_rows, drift_rows
from driftloop.analysis.families import adjust_drift, adjust_tests
from driftloop.analysis.material import Material
from driftloop.analysis.paired import DISTANCE_COLUMNS, TEST_COLUMNS, paired_rows
from driftloop.analysis.study import Extent, Settings, Study, View, make_panels, make_study, stacked


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
    return tables_of(make_study(readings, seeds, expected, baseline_round, rounds), readings, categories, settings)


def core_tables(material: Material) -> dict[str, pd.DataFrame]:
    """The same of the material of one run."""
    categories = {instrument.name: instrument.categories for instrument in material.instruments}
    return tables_of(material.study, material.readings, categories, material.settings)


def tables_of(
    study: Study, readings: pd.DataFrame, categories: Mapping[str, Mapping[str, Sequence[str]]], settings: Settings
) -> dict[str, pd.DataFrame]:
    """The same of readings already framed by a study."""
    views = [View(study, panel, group) for panel in make_panels(readings, study, categories) for group in study.groups]
    paired = [paired_rows(view, settings) for view in views if study.later]
    return {
        "drift": adjust_drift(stacked([drift_rows(view, settings.level) for view in views], DRIFT_COLUMNS)),
        "distances": stacked([distances for _, distances in paired], DISTANCE_COLUMNS),
        "tests": adjust_tests(stacked([tests for tests, _ in paired], TEST_COLUMNS)),
        "coverage": stacked([coverage_rows(view) for view in views], COVERAGE_COLUMNS),
    }
