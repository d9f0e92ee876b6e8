"""The same promises with models that draw, name and read pictures: the exact ones, and the trained ones by their adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import driftloop
from comparing import answers, check_whole
from driftloop.core.watch import Watch
from driftloop.runs import Run

EXACT = ("dataset.limit=12", "replicates=2", "stages=[play,measure]", "classifier.exact.abstention=0.1")
TRAINED = ("dataset.limit=5", "rounds=2", "stages=[play,measure]")
MODELS = Path(driftloop.__file__).parent / "phantom/models"
trained = pytest.mark.skipif(not (MODELS / "generator").is_dir(), reason="the built-in models are not trained yet")


@pytest.fixture
def exact(play: Any) -> Any:
    return lambda *words: play(*EXACT, *words, base="phantom_exact")


@pytest.mark.slow
def test_exact_models_do_not_depend_on_waves_shards_or_parts(exact: Any, tmp_path: Path) -> None:
    whole = exact("wave=5", "rounds=3", f"results_dir={tmp_path / 'whole'}")
    exact("rounds=1", "engine.shard=1/2")
    exact("rounds=2", "engine.shard=0/2", "flush_seconds=0")
    parts = exact("rounds=3")
    assert parts.run_id == whole.run_id
    assert answers(parts) == answers(whole)
    check_whole(parts, 24, 3)


def test_what_exact_models_read_is_what_they_drew_after_all_the_saving(exact: Any) -> None:
    """Readings agree with the captions of the same pictures: no stage in between is lossy."""
    from driftloop.phantom.grammar import parse

    run = exact("rounds=2", "classifier.exact.abstention=null", "captioner.omission=0")
    named = run.rounds.assign(gender=run.rounds["caption"].map(lambda text: parse(text)["gender"]))
    read = run.readings.query("attribute == 'gender'").merge(named, on=["chain", "round"])
    assert len(read) == len(named)
    assert (read["label"] == read["gender"]).all()


@trained
@pytest.mark.slow
def test_trained_models_do_not_depend_on_batches_shards_or_parts(play: Any, tmp_path: Path) -> None:
    def run(*words: str) -> Run:
        return play(*TRAINED, *words, base="phantom")

    whole = run(f"results_dir={tmp_path / 'whole'}")
    singly = run("generator.batch_size=1", "captioner.batch_size=1", "classifier.phantom_cnn.batch_size=1",
                 f"results_dir={tmp_path / 'singly'}")  # fmt: skip
    run("rounds=1", "engine.shard=1/2", "generator.batch_size=3", "captioner.batch_size=2")
    parts = run("wave=2")
    assert answers(singly) == answers(whole)
    assert answers(parts) == answers(whole)
    check_whole(parts, 5, 2)


@trained
@pytest.mark.slow
def test_trained_models_in_two_processes(play: Any, tmp_path: Path) -> None:
    one = play(*TRAINED, f"results_dir={tmp_path / 'one'}", base="phantom")
    two = play(*TRAINED, "engine.processes=2", base="phantom", watch=Watch())
    assert answers(one) == answers(two)
