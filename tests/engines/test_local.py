"""One process or several, here or elsewhere: the same results, and nobody plays the same chain twice."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from comparing import answers, check_whole
from driftloop.core.errors import ConfigError, DriftloopError, Interrupted, StoreError
from driftloop.core.watch import Watch
from driftloop.engines.local import Local, Shard, see_own_gpus, visible_gpus

WORDS = ("dataset.n=9", "generator.black_share=0.1", "on_failure.max_share=1")


class Told(Watch):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.totals: dict[str, list[int]] = {}
        self.done = 0

    def start(self, stage: str, total: int, done: int = 0) -> None:
        now = self.totals.setdefault(stage, [0, 0])
        now[0], now[1] = now[0] + total, now[1] + done

    def advance(self, count: int = 1) -> None:
        self.done += count


def test_two_processes_do_what_one_does(play: Any, tmp_path: Path) -> None:
    one = play(*WORDS, f"results_dir={tmp_path / 'one'}")
    watch = Told()
    two = play(*WORDS, "engine.processes=2", watch=watch)
    assert one.run_id == two.run_id
    assert answers(one) == answers(two)
    check_whole(two, 9, 2)
    assert watch.totals["play"] == [27, 0]
    assert watch.done == 9 + 27 + len(two.readings) // 2


def test_a_worker_that_cannot_go_on_stops_all_with_its_message(play: Any) -> None:
    with pytest.raises(DriftloopError, match="chains failed, more than"):
        play("generator.black_share=1", "engine.processes=2")


def test_two_on_the_same_run_are_refused(play: Any, ask: Any) -> None:
    run = play("rounds=1")
    with run.store.lock("play"), pytest.raises(StoreError, match=r"another driftloop is at work in .*play"):
        play("rounds=2")
    with run.store.lock("measure"), pytest.raises(StoreError, match=r"another driftloop is at work in .*measure"):
        play("rounds=2")
    with run.store.lock("play-0-2"), pytest.raises(StoreError, match="play-0-2"):
        play("rounds=3", "engine.shard=0/2")


def test_a_shard_and_a_whole_run_exclude_each_other(play: Any) -> None:
    run = play("rounds=1")
    with run.store.lock("play", shared=True):
        with pytest.raises(StoreError, match="another driftloop is at work"):
            play("rounds=2")
        play("rounds=2", "engine.shard=0/2", "stages=[play]")


def test_shards_that_start_together_both_play(ask: Any, tmp_path: Path) -> None:
    """Both take the seeds in; neither is refused for the other's doing so."""
    errors: list[BaseException] = []
    whole = ask("dataset.n=40", "rounds=1")
    store = whole.store()
    store.claim(whole.identity, whole.names, whole.config)

    def shard(index: int) -> None:
        try:
            Local(shard=f"{index}/2").play(whole, store, Watch())
        except BaseException as error:  # noqa: BLE001 (told to the test, whatever it is)
            errors.append(error)

    threads = [threading.Thread(target=shard, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.rounds()) == 80


@pytest.mark.parametrize("shard", ["2/2", "1", "a/b", "-1/2", "0/0", "1/2/3"])
def test_a_shard_that_is_none_is_refused(ask: Any, shard: str) -> None:
    with pytest.raises(ConfigError, match=r'engine.shard must look like "0/2"'):
        ask(f"engine.shard='{shard}'").engine.build()


@pytest.mark.parametrize("words", [("engine.processes=0",), ("engine.processes=2", "engine.shard=0/2")])
def test_processes_and_shards_do_not_go_together(ask: Any, words: Any) -> None:
    with pytest.raises(ConfigError, match="must be at least 1, and 1 with"):
        ask(*words).engine.build()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_seed_is_in_exactly_one_shard(count: int) -> None:
    shards = [Shard(index, count) for index in range(count)]
    found = [sum(shard.has(f"s{n}") for shard in shards) for n in range(500)]
    assert set(found) == {1}
    assert min(sum(shard.has(f"s{n}") for n in range(500)) for shard in shards) > 500 / count / 2


# GPUs and launchers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visible", "count", "seen"),
    [("0,1,2,3", 2, ["0,2", "1,3"]), ("5,7", 2, ["5", "7"]), ("GPU-a,GPU-b,GPU-c", 2, ["GPU-a,GPU-c", "GPU-b"]),
     ("0", 3, ["0", "0", "0"]), ("", 2, ["", ""]), ("0,1", 1, ["0,1"])],
)  # fmt: skip
def test_every_process_sees_its_own_gpus(visible: str, count: int, seen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(count):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        see_own_gpus.cache_clear()
        see_own_gpus(index, count)
        see_own_gpus(index, count)  # playing, then measuring
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen[index]


def test_gpus_are_those_that_the_driver_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 0\necho 1\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert visible_gpus() == ["0", "1"]


def rank(monkeypatch: pytest.MonkeyPatch, index: int, count: int) -> None:
    for name, value in {"RANK": index, "WORLD_SIZE": count, "LOCAL_RANK": index, "LOCAL_WORLD_SIZE": count}.items():
        monkeypatch.setenv(name, str(value))


def test_a_launched_process_plays_the_shard_of_its_rank(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(monkeypatch, 1, 2)
    assert (Local().shards, Local().leads) == ([Shard(1, 2)], False)
    rank(monkeypatch, 0, 2)
    assert (Local().shards, Local().leads) == ([Shard(0, 2)], True)
    with pytest.raises(ConfigError, match="each rank is a shard"):
        ask("engine.processes=2").engine.build()
    rank(monkeypatch, 0, 1)
    assert Local().shards == [Shard(0, 1)]


def test_the_first_rank_waits_for_the_others_and_only_it_analyses(
    play: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ranks one after the other in this process, the last first; were it waiting for nothing, the table would be half."""
    words = ("dataset.n=9", "stages=[play,measure,analyse]")
    whole = play(*words, f"results_dir={tmp_path / 'whole'}")
    capsys.readouterr()
    rank(monkeypatch, 1, 2)
    half = play(*words)
    assert 0 < len(half.rounds) < 27
    assert not (half.store.folder / "analysis").exists()
    assert capsys.readouterr().out == ""
    rank(monkeypatch, 0, 2)
    run = play(*words)
    assert answers(run) == answers(whole)
    assert run.table("drift").drop(columns="run").equals(whole.table("drift").drop(columns="run"))


@pytest.mark.slow
def test_a_first_rank_alone_waits_until_it_is_told_to_stop(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(monkeypatch, 0, 2)
    monkeypatch.setattr("driftloop.engines.local.WAITING_SECONDS", 0.01)

    class Impatient(Watch):
        asked = 0

        def stop_if_asked(self) -> None:
            self.asked += 1
            self.stopping = self.asked > 200
            super().stop_if_asked()

    with pytest.raises(Interrupted):
        play("dataset.n=9", "stages=[play,measure,analyse]", watch=Impatient())


def test_a_part_that_another_merges_away_is_listed_as_what_it_became(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process lists the parts while another renames them: the listing is that of before or after, not an error."""
    store = play("stages=[play]").store
    parts = sorted((store.folder / "rounds").glob("part-*.parquet"))
    before, seen = Path.stat, list[Path]()

    def stat(path: Path, **options: Any) -> Any:
        if path == parts[-1] and not seen:
            seen.append(path)
            path.rename(path.with_name("part-zz.parquet"))
        return before(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert set(store.listing("rounds")) == {*(path.name for path in parts[:-1]), "part-zz.parquet"}
