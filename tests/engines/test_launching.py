"""Several processes as people start them: Ctrl-C in a terminal, and launchers that know only ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comparing import answers, check_whole
from driftloop.runs import load_runs
from playing import COMMAND, TOY, environment
from test_command import wait_for

BIN = Path(sys.executable).parent
LAUNCHERS = {
    "accelerate": (BIN / "accelerate", "launch", "--num_processes", "2", "--multi_gpu", "--no_python"),
    "accelerate on a processor": (BIN / "accelerate", "launch", "--num_processes", "2", "--cpu", "--no_python"),
    "torchrun": (BIN / "torchrun", "--nproc-per-node", "2", "--no-python"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_starts_shards_that_make_one_run(name: str, play: Any, tmp_path: Path) -> None:
    """Without GPUs accelerate starts two ranks only when told that there are; with --cpu and no MPI it is one process."""
    log = tmp_path / "calls"
    words = (*TOY, "dataset.n=9", "rounds=3", "stages=[play,measure,analyse]")
    done = subprocess.run(
        [*map(str, LAUNCHERS[name]), COMMAND, *words], env=environment(DOUBLES_LOG=str(log)), cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [launched] = load_runs(tmp_path / "results").runs
    check_whole(launched, 9, 3)
    alone = play("dataset.n=9", "rounds=3", "stages=[play,measure,analyse]", f"results_dir={tmp_path / 'alone'}")
    assert answers(launched) == answers(alone)
    assert launched.table("drift").drop(columns="run").equals(alone.table("drift").drop(columns="run"))
    assert len(launched.store.provenance()) == (1 if "processor" in name else 2)
    made = [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("generate")]
    assert sum(made) == 27  # nobody played the part of another


@pytest.mark.slow
@pytest.mark.parametrize("early", [False, True])
def test_ctrl_c_ends_all_processes_and_the_same_command_goes_on(play: Any, tmp_path: Path, early: bool) -> None:
    """Ctrl-C reaches every process of a terminal at once, also those that are only starting."""
    log = tmp_path / "calls"
    words = (COMMAND, *TOY, "dataset.n=9", "rounds=8", "engine.processes=2", "stages=[play]", "flush_seconds=3600")
    process = subprocess.Popen(
        words, env=environment(DOUBLES_LOG=str(log), DOUBLES_SLOW="0.3"), cwd=tmp_path, start_new_session=True,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    begun = (lambda: len(_children(process.pid)) >= 2) if early else (lambda: _count(log, "describe") >= 4)
    wait_for(begun)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "The same command continues." in told
    assert "Traceback" not in told
    assert "KeyboardInterrupt" not in told
    run = play("dataset.n=9", "rounds=8", "stages=[play]", "engine.processes=2")
    check_whole(run, 9, 8)
    assert answers(run) == answers(play("dataset.n=9", "rounds=8", "stages=[play]", f"results_dir={tmp_path / 'whole'}"))
    assert _count(log, "generate") <= 9 * 8  # in calls, whatever their size: the first half was not made again


def _children(pid: int) -> list[str]:
    """The workers of a process, as the system lists them; the helper that cleans up behind them is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
            command = (path.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(text.rsplit(")", 1)[1].split()[1]) == pid and "spawn_main" in command:
            found.append(path.parent.name)
    return found


def _count(log: Path, event: str) -> int:
    return log.read_text().count(event) if log.exists() else 0
