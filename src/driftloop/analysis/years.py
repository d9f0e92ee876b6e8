"""Ages in years, where an instrument gives them: mean and shift per round, and how far the distribution moved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from driftloop.analysis.paired import distance_rows, pairs_of
from driftloop.analysis.study import WHOSE, Panel, Settings, Study, View, make_panel
from driftloop.statistics.distances import wasserstein_years
from driftloop.statistics.pairs import omnibus_tests
from driftloop.statistics.panel import Floats
from driftloop.statistics.years import year_change, year_mean

YEARS_COLUMNS = [
    *WHOSE, "round", "baseline_round", "classifier", "n_seeds", "n_pairs", "mean", "mean_low", "mean_high",
    "shift", "shift_low", "shift_high", "p_value", "p_adjusted",
]  # fmt: skip
OLDEST = 100
WHOLE_YEARS = [str(year) for year in range(OLDEST + 1)]


@dataclass(frozen=True, slots=True)
class Aged:
    """One attribute that an instrument gives in years: `means` [n_seeds, n_rounds] over replicates, NaN where unread;
    `panel` holds the same readings to the whole year, one category a year."""

    means: Floats
    panel: Panel


def aged(readings: pd.DataFrame, study: Study, panel: Panel) -> Aged | None:
    """The years beside the labels of a panel, from all readings of a run; None where its instrument gives none.

    A reading that is ok and has no years is unread here. Years beyond `OLDEST` count as that.
    """
    if "years" not in readings:
        return None
    mine = (readings["classifier"] == panel.classifier) & (readings["attribute"] == panel.attribute)
    there = mine & (readings["status"] == "ok") & readings["years"].notna() & readings["round"].isin(study.rounds)
    if not there.any():
        return None
    rows = readings[there]
    rows = rows.assign(years=rows["years"].clip(0, OLDEST))
    whole = rows.assign(label=np.rint(rows["years"]).astype(int).astype(str))
    anyone = replace(study, played=np.zeros_like(study.played))
    return Aged(_seed_means(rows, study), make_panel(whole, anyone, panel.classifier, panel.attribute, WHOLE_YEARS))


def _seed_means(rows: pd.DataFrame, study: Study) -> Floats:
    by_cell = rows.pivot_table(index="seed_id", columns="round", values="years", observed=True)
    return by_cell.reindex(index=study.seed_ids, columns=study.rounds).to_numpy(np.float64)


def year_rows(view: View, found: Aged, level: float) -> pd.DataFrame:
    """Mean age at every round, and its shift from the baseline on seeds read at both, in years."""
    study = view.study
    years = found.means[view.group.members]
    mean = year_mean(years, view.group, level)
    shift = year_change(years - years[:, [study.baseline]], view.group, level)
    later = np.where(np.arange(len(study.rounds)) == study.baseline, np.nan, 1.0)
    columns = {
        "n_seeds": mean.n,
        "n_pairs": shift.n,
        "mean": mean.mean,
        "mean_low": mean.low,
        "mean_high": mean.high,
        "shift": shift.mean,
        "shift_low": shift.low * later,
        "shift_high": shift.high * later,
        "p_value": shift.p_value * later,
    }
    return view.rows({"round": study.rounds}, columns)


def year_distances(view: View, found: Aged, settings: Settings) -> pd.DataFrame:
    """Wasserstein-1 in years from the baseline at every later round, of ages to the whole year.

    Where replicates make fractions, swapping rounds does not hold (`tests.category_p_values`) and the p-value is no
    smaller than that of the age groups' omnibus test.
    """
    pairs = pairs_of(replace(view, panel=found.panel), settings)
    tests = omnibus_tests(pairs_of(view, settings))
    known = np.array([test.p_value for test in tests])
    whole = np.array([test.name != "bonferroni" for test in tests])
    return distance_rows(view, pairs, wasserstein_years, np.where(whole, 0 * known, known), settings.level)
