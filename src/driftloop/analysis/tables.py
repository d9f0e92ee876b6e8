"""The core tables of one run: drift, distances, tests, coverage, and years."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from driftloop.analysis.drift import COVERAGE_COLUMNS, DRIFT_COLUMNS, coverage_rows, drift_rows
from driftloop.analysis.families import adjust_drift, adjust_tests
from driftloop.analysis.material import Material
from driftloop.analysis.paired import DISTANCE_COLUMNS, TEST_COLUMNS, paired_rows
from driftloop.analysis.study import Extent, Panel, Settings, Study, View, make_panels, make_study, stacked
from driftloop.analysis.years import YEARS_COLUMNS, aged, year_distances, year_rows


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
    min_seeds: int = 1,
) -> dict[str, pd.DataFrame]:
    """Tables `drift`, `distances`, `tests`, `coverage` of one run, and `years` where an instrument gives them.

    `readings`: run, seed_id, replicate, round, classifier, attribute, status, label, and years if any; a row for every
    image, whatever its status. `seeds`: seed_id, concept_kind, concept, and `cohort` where a mitigation couples seeds:
    then that is the unit. `categories`: classifier -> attribute -> its categories in order, so that empty ones are kept.
    `expected`: seed_id, replicate, round, status of every chain-round that should have an image; where the status is not
    ok there may be no reading, which counts as not read. Left out, it is what any classifier read. `rounds` limits the
    rounds looked at; those before the baseline never are. `resamples` bootstrap samples, and as many swaps; `level` of
    every interval; `ordered` attributes have Wasserstein-1; `confirmatory` is the declared extent, None = nothing was
    declared, so everything is exploratory; over fewer than `min_seeds` pairs everything is, too.
    """
    settings = Settings(
        root_seed=root_seed,
        resamples=resamples,
        level=level,
        ordered=ordered,
        confirmatory=confirmatory,
        min_seeds=min_seeds,
    )
    return tables_of(make_study(readings, seeds, expected, baseline_round, rounds), readings, categories, settings)


def core_tables(material: Material) -> dict[str, pd.DataFrame]:
    """The same of the material of one run."""
    categories = {instrument.name: instrument.categories for instrument in material.instruments}
    return tables_of(material.study, material.readings, categories, material.settings)


def tables_of(
    study: Study, readings: pd.DataFrame, categories: Mapping[str, Mapping[str, Sequence[str]]], settings: Settings
) -> dict[str, pd.DataFrame]:
    """The same of readings already framed by a study."""
    panels = list(make_panels(readings, study, categories))
    views = [View(study, panel, group) for panel in panels for group in study.groups]
    paired = [paired_rows(view, settings) for view in views if study.later]
    in_years = year_tables(study, readings, panels, settings)
    tables = {
        "drift": adjust_drift(stacked([drift_rows(view, settings.level) for view in views], DRIFT_COLUMNS)),
        "distances": stacked([*(distances for _, distances in paired), *in_years["distances"]], DISTANCE_COLUMNS),
        "tests": adjust_tests(stacked([tests for tests, _ in paired], TEST_COLUMNS)),
        "coverage": stacked([coverage_rows(view) for view in views], COVERAGE_COLUMNS),
    }
    if in_years["years"]:
        tables["years"] = adjust_drift(stacked(in_years["years"], YEARS_COLUMNS))
    return tables


def year_tables(
    study: Study, readings: pd.DataFrame, panels: Sequence[Panel], settings: Settings
) -> dict[str, list[pd.DataFrame]]:
    """Rows of `years`, and of `distances` in years; both empty where no instrument gives years."""
    found = [(panel, in_years) for panel in panels if (in_years := aged(readings, study, panel)) is not None]
    views = [(View(study, panel, group), in_years) for panel, in_years in found for group in study.groups]
    return {
        "years": [year_rows(view, in_years, settings.level) for view, in_years in views],
        "distances": [year_distances(view, in_years, settings) for view, in_years in views if study.later],
    }
