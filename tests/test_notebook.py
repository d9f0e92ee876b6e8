"""Every notebook runs from the first cell to the last on small runs, and is committed without outputs."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient

from driftloop.phantom.annotator import write_labels
from driftloop.runs import load_runs
from notebooks import shown
from playing import composed, played

NOTEBOOKS = sorted((Path(__file__).parents[1] / "results" / "notebooks").glob("*.ipynb"))
EXACT = ("experiment=phantom_exact", "truth=exact_shown", "classifier=[exact_errs_on_generated]", "dataset.limit=36",
         "rounds=2", "metric=[mention,decomposition,correction]", "analysis.resamples=100", "audit.n=30")  # fmt: skip


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions that leave little out and such that leave out half, read by an instrument that errs, labelled by one person."""
    folder = tmp_path_factory.mktemp("notebooks") / "results"
    for omission in ("0.1", "0.5"):
        words = (*EXACT, f"captioner.omission={omission}", f"results_dir={folder}")
        run = played(composed(*words, "stages=[play,measure,audit]"))
        write_labels(run.store, "ada", error=0.02)
        played(composed(*words, "stages=[analyse]"))
    return folder


@cache
def shown_of(path: Path, folder: Path) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLOOP_RESULTS", str(folder))
        return shown(path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_says_its_question_and_how_to_get_runs_for_it(path: Path) -> None:
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# .*\?\n", first.source)
    commands = [line for line in first.source.splitlines() if line.startswith("driftloop ")]
    assert commands
    for command in commands:
        words = command.replace("'", "").replace("-m ", "").replace("0.1,0.5", "0.1").rstrip(" \\").split()[1:]
        composed(*words)  # the options exist and fit


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_run_and_show_tables_and_figures(path: Path, two_runs: Path) -> None:
    values = shown_of(path, two_runs)
    tables = [value for value in values if isinstance(value, pd.DataFrame)]
    assert sum(len(table) > 0 for table in tables) >= 2
    assert any(isinstance(value, Figure) for value in values)


def test_the_comparison_shows_what_was_planted(two_runs: Path) -> None:
    """.9 against .5 of the captions name the attribute."""
    [path] = [path for path in NOTEBOOKS if path.stem == "compare"]
    tables = [value for value in shown_of(path, two_runs) if isinstance(value, pd.DataFrame)]
    further = next(table for table in tables if "quantity" in table.index.names)
    named = further.xs("named", level="quantity")
    first, second = (run.config["captioner.omission"] for run in load_runs(two_runs).runs)
    assert (named["low"] <= second - first).all()
    assert (named["high"] >= second - first).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what kernels and their sockets say at the end is none of ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_in_a_kernel(path: Path, two_runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRIFTLOOP_RESULTS", str(two_runs))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
