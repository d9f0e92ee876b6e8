"""Table `trend`: the straight-line change of every share, and of the age in years, per round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from driftloop.analysis.families import adjust_drift
from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import WHOSE, View, make_panels, stacked
from driftloop.analysis.years import Aged, aged
from driftloop.statistics.panel import Floats
from driftloop.statistics.trend import Trend, trend
from driftloop.statistics.years import year_trend

TREND_COLUMNS = [
    *WHOSE, "category", "classifier", "round", "baseline_round", "n_seeds", "slope", "slope_low", "slope_high", "p_value",
    "p_adjusted",
]  # fmt: skip
YEARS = "years"


class TrendMetric:
    """Slope per round from the baseline round to the last, within seeds (`statistics.trend`).

    `slope` is in shares per round; in the rows of category `years` it is in years per round. `round` is the last round
    looked at. A run of fewer than two rounds has no rows.
    """

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        found = [rows for instrument in material.instruments for rows in _rows(material, instrument)]
        return {"trend": adjust_drift(stacked(found, TREND_COLUMNS))}


def _rows(material: Material, instrument: Instrument) -> list[pd.DataFrame]:
    readings, study, level = material.readings_of(instrument), material.study, material.settings.level
    if not study.later:
        return []
    found = []
    for panel in make_panels(readings, study, {instrument.name: instrument.categories}):
        views = [View(study, panel, group) for group in study.groups]
        found += [_share_rows(view, level) for view in views]
        in_years = aged(readings, study, panel)
        found += [_year_rows(view, in_years, level) for view in views if in_years is not None]
    return found


def _share_rows(view: View, level: float) -> pd.DataFrame:
    found = trend(view.means, _numbers(view), view.group, level)
    return _tidy(view, found, list(view.panel.categories))


def _year_rows(view: View, in_years: Aged, level: float) -> pd.DataFrame:
    years = in_years.means[view.group.members][:, :, None]
    return _tidy(view, year_trend(years, _numbers(view), view.group, level), [YEARS])


def _numbers(view: View) -> Floats:
    return np.asarray(view.study.rounds, np.float64)


def _tidy(view: View, found: Trend, categories: Sequence[str]) -> pd.DataFrame:
    columns = {
        "n_seeds": found.n,
        "slope": found.slope,
        "slope_low": found.low,
        "slope_high": found.high,
        "p_value": found.p_value,
    }
    return view.rows({"round": view.study.rounds[-1:], "category": categories}, columns)
