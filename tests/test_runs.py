"""Runs in a notebook: every table of analysis/, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from driftloop.core.errors import StoreError
from driftloop.runs import Run, load_runs


def test_tables_are_found_by_file_name(play: Any) -> None:
    one = play("stages=[play,measure,analyse]", "metric=[trend]")
    play("stages=[play]", "arm=unmeasured")
    one.store.write_table("analysis/my_own.parquet", pd.DataFrame({"run": [one.run_id], "value": [1.5]}))
    runs = load_runs(one.store.folder.parent)
    assert len(runs) == 2
    files = {path.stem for path in (one.store.folder / "analysis").glob("*.parquet")}
    assert set(runs.tables) == set(Run(one.store.folder).tables) == files >= {"drift", "trend", "my_own"}
    assert len(runs.tables["trend"]) == len(one.table("trend")) > 0
    pd.testing.assert_frame_equal(runs.tables["drift"], runs.drift)
    found = runs.tables["my_own"]
    assert (found["value"].tolist(), found["generator"].tolist()) == ([1.5], ["toy"])  # with the config joined


def test_a_table_that_nobody_wrote_is_told_with_those_there_are(play: Any) -> None:
    run = play("stages=[play,measure,analyse]")
    runs = load_runs(run.store.folder.parent)
    assert "published" not in runs.tables
    with pytest.raises(KeyError, match=r"no table 'published' in analysis/; there is .*coverage.*drift"):
        runs.tables["published"]
    with pytest.raises(StoreError, match=r"none of 1 runs has analysis/published.parquet; tables: .*coverage, .*drift"):
        runs.table("published")
