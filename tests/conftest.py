"""Plays in this process (quick) or through the installed command (what a person types)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doubles
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from driftloop.cli import CONF, plain
from driftloop.core.experiment import Experiment, experiment
from driftloop.core.watch import Watch
from driftloop.run import run
from driftloop.runs import Run

TESTS = Path(__file__).parent
OWN = f"hydra.searchpath=[file://{TESTS / 'conf'}]"
Play = Callable[..., Run]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def composed(*words: str) -> Experiment:
    """The experiment that a command line with these overrides asks for; own options of tests/conf can be chosen."""
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("config", [OWN, *words], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    return experiment(plain(config), choices, OmegaConf.to_yaml(config))


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Experiment]:
    """Composes experiment=toy with overrides; results go below the test's own folder."""

    def asked(*words: str, base: str = "toy") -> Experiment:
        return composed(f"experiment={base}", f"results_dir={tmp_path / 'results'}", "allow_targets=[doubles]", *words)

    return asked


@pytest.fixture
def play(ask: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> Play:
    """Composes and runs in this process; what was played, and in `calls` how many items each model was called with."""

    def played(*words: str, base: str = "toy", watch: Watch | None = None) -> Run:
        monkeypatch.setattr("driftloop.run.show", lambda *_: None)
        asked = ask(*words, base=base)
        run(asked, watch or Watch(), command=["driftloop", *words])
        return Run(asked.store().folder)

    return played


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """How many items went into generate, describe and read, and how many models were built, since it was last asked."""
    log = tmp_path / "calls.log"
    monkeypatch.setenv("DOUBLES_LOG", str(log))
    doubles.EVENTS.clear()

    def counted() -> Counter[str]:
        found = Counter[str]()
        for line in log.read_text().splitlines() if log.exists() else []:
            event, what = line.split(" ", 1)
            found[event] += int(what) if what.isdigit() else 1
        log.unlink(missing_ok=True)
        return found

    return counted


def environment(**more: str) -> dict[str, str]:
    """What a subprocess gets: the doubles can be imported, one thread, nothing from a hub."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


@pytest.fixture
def run_command(tmp_path: Path) -> Command:
    """The installed command in a folder of its own."""

    def ran(*words: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        given = {"capture_output": True, "text": True, "check": False, "timeout": 120, "cwd": tmp_path, **options}
        return subprocess.run([command_path(), *words], env=environment(**(env or {})), **given)

    return ran


def command_path() -> str:
    return str(Path(sys.executable).with_name("driftloop"))


TOY = ("--config-dir", str(TESTS / "conf"), "experiment=toy", "allow_targets=[doubles]", "results_dir=results")


@pytest.fixture
def toy_command(run_command: Command) -> Command:
    """`run_command` with the doubles chosen the way a user's own options are."""
    return lambda *words, **options: run_command(*TOY, *words, **options)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One finished toy run to read from: 6 seeds × 2 replicates × 3 rounds, measured and analysed."""
    folder = tmp_path_factory.mktemp("small")
    words = [f"results_dir={folder}", "replicates=2", "rounds=3", "stages=[play,measure,analyse]"]
    asked = composed("experiment=toy", "allow_targets=[doubles]", *words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftloop.run.show", lambda *_: None)
        run(asked, Watch(), command=[])
    return Run(asked.store().folder)
