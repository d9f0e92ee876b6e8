"""Tables are made anew when what they come from has changed, the statistics' own code too; what no longer comes out goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftloop.stages import analyse as stage
from driftloop.stages.analyse import CODE, INPUTS, code_hash

WORDS = ("stages=[play,measure,analyse]", "metric=none")


def tables(run: Any) -> set[str]:
    return {path.stem for path in (run.store.folder / "analysis").glob("*.parquet")}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every time that the tables were computed."""
    times: list[int] = []
    before = stage._tables

    def counted(*words: Any) -> dict[str, pd.DataFrame]:
        times.append(1)
        return before(*words)

    monkeypatch.setattr(stage, "_tables", counted)
    return times


def test_a_table_that_no_longer_comes_out_is_removed(play: Any) -> None:
    assert {"drift", "trend"} <= tables(play("stages=[play,measure,analyse]", "metric=[trend]"))
    run = play("stages=[analyse]", "metric=none")
    assert "drift" in tables(run)
    assert "trend" not in tables(run)


def test_other_statistics_analyse_again(play: Any, made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    play(*WORDS)
    play(*WORDS)
    assert len(made) == 1
    monkeypatch.setattr(stage, "code_hash", lambda _: "other code")
    play(*WORDS)
    play(*WORDS)
    assert len(made) == 2
    monkeypatch.setattr(stage, "version", lambda _: "99.0")
    play(*WORDS)
    assert len(made) == 3


def test_tables_of_two_minds_are_made_again(play: Any, made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two tables, with other settings: the first settings then find nothing finished."""
    run = play(*WORDS)
    before = json.loads((run.store.folder / INPUTS).read_text())
    with monkeypatch.context() as patch:
        patch.setattr("driftloop.core.store.Store.write_table", full)
        with pytest.raises(OSError, match="no more"):
            play(*WORDS, "analysis.resamples=120")
    assert run.store.read_json(INPUTS) == {}
    play(*WORDS)
    assert len(made) == 3
    assert run.store.read_json(INPUTS) == before


def full(*_: Any) -> None:
    raise OSError("no more")


@pytest.mark.parametrize("folder", CODE)
def test_the_hash_is_of_every_file_that_computes_and_of_nothing_else(folder: str, tmp_path: Path) -> None:
    package = Path(stage.__file__).parents[1]
    copy = tmp_path / "driftloop"
    for name in CODE:
        shutil.copytree(package / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert code_hash(copy) == code_hash(package)  # wherever it lies, compiled or not
    (copy / "elsewhere.py").write_text("1")
    assert code_hash(copy) == code_hash(package)
    changed = next(path for path in sorted((copy / folder).glob("*.py")) if path.stat().st_size)
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert code_hash(copy) != code_hash(package)
