"""Compare: the runs of a sweep against the first of them, as tables and one page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from driftloop.analysis.comparison import DIFFERENCE_COLUMNS, Arm, Rules, differences, remarks
from driftloop.analysis.families import adjust_differences
from driftloop.analysis.study import stacked
from driftloop.core.errors import ConfigError
from driftloop.core.store import write_bytes, write_parquet
from driftloop.report.comparison import ArmShown, Comparison, comparison_page
from driftloop.runs import Run, arm_of, load_runs

PAGE = "index.html"


@dataclass(frozen=True)
class Pair:
    """One arm against the reference; `refused`: why they cannot be compared; `remarks`: what else is to be said."""

    run: Run
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    refused: str = ""
    remarks: Sequence[str] = ()


def compare_all(
    results_dir: Path | str, experiment: str, *, level: float = 0.95, resamples: int = 2000, min_seeds: int = 10
) -> Path:
    """Compares every run below a folder that an experiment of this name asked for, oldest first; returns the page.

    ConfigError where there are not two that can be compared.
    """
    asked = [(start, run) for run in load_runs(results_dir).runs if (start := _first_asked(run, experiment))]
    runs = [run for _, run in sorted(asked, key=lambda one: (one[0], one[1].run_id))]
    rules = Rules(level=level, resamples=resamples, min_seeds=min_seeds)
    return compare_runs(runs, Path(results_dir), experiment, rules)


def _first_asked(run: Run, experiment: str) -> str:
    """When a run was first asked for by an experiment; "" if never."""
    return min((str(told["start"]) for told in run.store.provenance() if told.get("experiment") == experiment), default="")


def compare_runs(runs: Sequence[Run], results_dir: Path, experiment: str, rules: Rules) -> Path:
    """All runs minus the first: writes comparisons/<experiment>/ {index.html, differences.parquet, runs.csv}."""
    if len(runs) < 2:
        found = ", ".join(run.run_id for run in runs) or "none"
        raise ConfigError(f"a comparison needs two runs of experiment {experiment} below {results_dir}; found: {found}")
    pairs = list(_pairs(runs, rules))
    if all(pair.refused for pair in pairs):
        raise ConfigError(f"nothing can be compared with {runs[0].run_id}: {'; '.join(pair.refused for pair in pairs)}")
    table = adjust_differences(stacked([pair.differences for pair in pairs], DIFFERENCE_COLUMNS))
    folder = results_dir / "comparisons" / re.sub(r"[^\w.+-]", "_", experiment)
    shown = [_shown(pair, folder) for pair in (Pair(runs[0]), *pairs)]
    page = comparison_page(Comparison(experiment=experiment, arms=shown, differences=table, level=rules.level))
    write_parquet(folder / "differences.parquet", pa.Table.from_pandas(table, preserve_index=False))
    write_bytes(folder / "runs.csv", pd.DataFrame([_columns(arm) for arm in shown]).to_csv(index=False).encode())
    write_bytes(folder / PAGE, page.encode())
    return folder / PAGE


def _pairs(runs: Sequence[Run], rules: Rules) -> Iterable[Pair]:
    reference = arm_of(runs[0])
    for run in runs[1:]:
        yield _pair(run, reference, rules)


def _pair(run: Run, reference: Arm, rules: Rules) -> Pair:
    try:
        arm = arm_of(run)
        return Pair(run, differences(arm, reference, rules), remarks=remarks(arm, reference))
    except ConfigError as error:
        return Pair(run, refused=str(error))


def _shown(pair: Pair, folder: Path) -> ArmShown:
    run, report = pair.run, pair.run.store.folder / "report" / PAGE
    there = os.path.relpath(report, folder) if report.exists() else ""
    return ArmShown(run=run.run_id, config=run.config, report=there, refused=pair.refused, remarks=pair.remarks)


def _columns(arm: ArmShown) -> dict[str, object]:
    not_compared = "; ".join([arm.refused] if arm.refused else arm.remarks)
    return {"run": arm.run, **arm.config, "report": arm.report, "not_compared": not_compared}
