"""Killed at any moment, a run loses seconds of work and nothing else: the same command finishes it to the same bits."""

from __future__ import annotations

import multiprocessing as mp
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import doubles
from comparing import answers, check_whole, extent, leftovers
from driftloop.core.errors import Interrupted
from driftloop.core.watch import Watch, listening
from driftloop.runs import Run
from playing import composed_toy, played

pytestmark = pytest.mark.slow

WORDS = ("replicates=2", "rounds=3", "generator.batch_size=5", "captioner.batch_size=4", "classifier.toy.batch_size=7",
         "wave=8", "generator.black_share=0.1", "on_failure.max_share=1")  # fmt: skip
MOMENTS = {"generate": 13, "describe": 17, "read": 7, "write": 70, "rename": 70, "unlink": 20}
"""How often each happens in this run with flush_seconds=0, roughly: a moment beyond it kills nobody."""

PLAYING = [("generate", 4), ("describe", 6), ("write", 9), ("rename", 21), ("unlink", 3)]
MEASURING = [("read", 3)]


def _played(words: list[str], folder: str, variables: dict[str, str]) -> None:
    """In a process of its own: plays the toy experiment as the command does, until the double kills it."""
    os.environ.update(variables)
    os.chdir(folder)
    doubles.watch_the_disk()
    try:
        played(composed_toy(Path("results"), *words))
    except Interrupted:
        sys.exit(130)


@pytest.fixture(scope="module")
def server() -> Any:
    """Forks clean processes that have everything imported: a hundredth of the time of starting Python."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["playing", "doubles", "pyarrow.dataset"])
    return context


@pytest.fixture
def killed(server: Any, tmp_path: Path) -> Any:
    def ended(event: str, number: int, *words: str, variable: str = "DOUBLES_KILL", number_of: str = "") -> int:
        given = [*WORDS, "flush_seconds=0", *words]
        plan = {variable: f"{event}:{number}{number_of}", "DOUBLES_LOG": os.environ.get("DOUBLES_LOG", "")}
        process = server.Process(target=_played, args=(given, str(tmp_path), plan))
        process.start()
        process.join(120)
        return int(process.exitcode)

    return ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return answers(played(composed_toy(tmp_path_factory.mktemp("whole"), *WORDS)))


@pytest.mark.parametrize(("event", "number"), PLAYING + MEASURING, ids=str)
def test_after_a_kill_the_same_command_finishes_to_the_same_bits(
    killed: Any, play: Any, ask: Any, undisturbed: Any, event: str, number: int
) -> None:
    assert killed(event, number) == -signal.SIGKILL
    _check_finished(play, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_killed_again_and_again_at_random_moments(killed: Any, play: Any, undisturbed: Any, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 4)):
        event = draw.choice(list(MOMENTS))
        killed(event, draw.randint(1, MOMENTS[event]))
    _check_finished(play, undisturbed)


def _check_finished(play: Any, undisturbed: Any) -> None:
    run = play(*WORDS)
    check_whole(run, 12, 3)
    assert answers(run) == undisturbed
    assert leftovers(run) == []


def test_a_kill_loses_only_what_was_not_flushed(killed: Any, ask: Any, play: Any, calls: Any) -> None:
    """With everything flushed at once, at most the batch at work is done again."""
    assert killed("generate", 5) == -signal.SIGKILL
    before = calls()["generate"]
    play(*WORDS)
    whole = before + calls()["generate"]
    retried = 8  # fresh draws for black pictures
    assert whole <= 12 * 3 + retried + 2 * 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("event", "moment"), [("generate", 5), ("describe", 4), ("read", 2)])
def test_a_stop_signal_finishes_the_batch_and_writes_everything(
    killed: Any, ask: Any, play: Any, calls: Any, undisturbed: Any, number: int, event: str, moment: int
) -> None:
    code = killed(event, moment, "flush_seconds=3600", variable="DOUBLES_SIGNAL", number_of=f":{int(number)}")
    assert code == 130
    done = calls()
    run = play(*WORDS)
    after = calls()
    assert answers(run) == undisturbed
    assert done["describe"] + after["describe"] == (run.rounds["caption"].notna()).sum()  # nothing twice
    assert leftovers(run) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler of SIGINT, which a shell's background jobs are started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_stops_at_once() -> None:
    watch = Watch()

    def twice() -> None:
        with listening(watch):
            signal.raise_signal(signal.SIGINT)
            assert watch.stopping
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_shards_killed_and_finished_by_others(killed: Any, play: Any, undisturbed: Any) -> None:
    assert killed("describe", 3, "engine.shard=0/2") == -signal.SIGKILL
    assert killed("rename", 17, "engine.shard=1/2") == -signal.SIGKILL
    run = play(*WORDS)
    assert answers(run) == undisturbed


def test_what_a_killed_run_shows_is_whole_so_far(killed: Any, ask: Any, undisturbed: Any) -> None:
    assert killed("describe", 9) == -signal.SIGKILL
    run = Run(ask(*WORDS).store().folder)
    seen = set(answers(run)["rounds"])
    assert 0 < len(seen) < len(undisturbed["rounds"])
    assert seen <= set(undisturbed["rounds"])
    for key in run.rounds.loc[run.rounds["image"] != "", "image"]:
        run.image(key)
    assert extent(run)
