"""Table `by_seed`: what a metric knows of every seed, so that two runs can be compared in it.

A metric that returns such rows beside its other tables is comparable, and nothing else has to know of it: the analyse stage
signs them with the metric's name (column `metric`), and `analysis.comparison` pairs them by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.study import Study
from driftloop.statistics.panel import Floats

BY_SEED = "by_seed"
BY_SEED_COLUMNS = [
    "run", "metric", "quantity", "instrument", "attribute", "category", "seed_id", "round", "scale", "value",
]  # fmt: skip


def seed_rows(
    study: Study,
    values: Floats,
    *,
    quantity: str,
    scale: float,
    rounds: Sequence[int] | None = None,
    instrument: str = "",
    attribute: str = "",
    categories: Sequence[str] = ("",),
) -> pd.DataFrame:
    """Rows of `by_seed` of one quantity, whose mean over seeds is what the metric reports.

    `values` [n_seeds, n_rounds, n_categories] are means over the replicates of a seed, NaN where it has none (those get no
    row); they follow the study's seeds, and its rounds or the positions `rounds` of them. `scale` is how far a seed that was
    not drawn might differ between two runs, in the unit of the values (1 for shares): intervals allow for one. `instrument` is
    the folder of the readings they depend on, "" for none: runs read otherwise are then not compared in them.
    """
    numbers = study.rounds if rounds is None else study.rounds[list(rounds)]
    axes: list[list[Any]] = [list(study.seed_ids), list(numbers), list(categories)]
    rows: pd.DataFrame = pd.MultiIndex.from_product(axes, names=["seed_id", "round", "category"]).to_frame(index=False)
    rows = rows.assign(
        run=study.run,
        metric="",
        quantity=quantity,
        instrument=instrument,
        attribute=attribute,
        scale=float(scale),
        value=np.ravel(values),
    )
    return rows[rows["value"].notna()][BY_SEED_COLUMNS]


def signed(metric: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of a metric; its rows of `by_seed` say whose they are."""
    return {name: rows.assign(metric=metric) if name == BY_SEED else rows for name, rows in tables.items()}
