"""Shares and shifts of every category, and what became of every expected reading."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftloop.analysis.study import STATUSES, WHOSE, View, coverage, group_moments
from driftloop.statistics.intervals import share_limits, shift_limits
from driftloop.statistics.moments import changes
from driftloop.statistics.tests import category_p_values

DRIFT_COLUMNS = [
    *WHOSE, "category", "round", "baseline_round", "classifier", "method", "n_seeds", "n_pairs", "coverage",
    "share", "share_low", "share_high", "shift", "shift_low", "shift_high", "p_value", "p_adjusted",
]  # fmt: skip
COVERAGE_COLUMNS = [
    *WHOSE, "category", "classifier", "round", "n_expected", *(f"n_{status}" for status in STATUSES), "n_no_image",
    "coverage", "share_at_least", "share_at_most",
]  # fmt: skip


def drift_rows(view: View, level: float) -> pd.DataFrame:
    """Share at every round and shift from the baseline, per category.

    `n_seeds` have at least one ok reading at the round, `n_pairs` at both rounds. At the baseline itself the shift is 0
    by definition and has neither interval nor p-value. Over fewer than two seeds there is no interval.
    """
    study, k = view.study, len(view.panel.categories)
    share = group_moments(view.means, view.group)
    share_low, share_high = share_limits(share, level)
    up, down, shift = changes(view.means - view.means[:, [study.baseline]], view.group)
    low, high = shift_limits(up, down, shift, level)
    at_baseline = np.repeat(np.arange(len(study.rounds)) == study.baseline, k)
    columns = {
        "n_seeds": share.n,
        "n_pairs": shift.n,
        "coverage": np.repeat(coverage(view), k),
        "share": share.mean,
        "share_low": share_low,
        "share_high": share_high,
        "shift": shift.mean,
        "shift_low": np.where(at_baseline, np.nan, low),
        "shift_high": np.where(at_baseline, np.nan, high),
        "p_value": np.where(at_baseline, np.nan, category_p_values(up, down, shift)),
    }
    return view.rows({"round": study.rounds, "category": view.panel.categories}, columns).assign(method="raw")


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
        "coverage": coverage(view),
    }
    columns = {name: np.repeat(column, len(view.panel.categories)) for name, column in per_round.items()}
    columns["share_at_least"] = group_moments(sure, view.group).mean
    columns["share_at_most"] = group_moments(np.minimum(sure + unread, 1.0), view.group).mean
    return view.rows({"round": view.study.rounds, "category": view.panel.categories}, columns)
