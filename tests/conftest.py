"""Plays in this process (quick) or through the installed command (what a person types)."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import doubles
import driftloop.run
import playing
from driftloop.core.experiment import Experiment
from driftloop.core.watch import Watch
from driftloop.runs import Run

hypothesis.settings.register_profile("driftloop", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("driftloop")

Ask = Callable[..., Experiment]
Play = Callable[..., Run]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def _surroundings_once() -> Iterator[None]:
    """Asking git and the installed packages takes longer than a toy run, and the answer is the same all along."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftloop.run.surroundings", cache(driftloop.run.surroundings))
        yield


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Composes experiment=toy with overrides; results go below the test's own folder."""

    def asked(*words: str, base: str = "toy") -> Experiment:
        return playing.composed_toy(tmp_path / "results", f"experiment={base}", *words)

    return asked


@pytest.fixture
def play(ask: Ask) -> Play:
    """Composes experiment=toy with overrides and runs it in this process."""

    def played(*words: str, base: str = "toy", watch: Watch | None = None) -> Run:
        return playing.played(ask(*words, base=base), watch)

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


@pytest.fixture
def run_command(tmp_path: Path) -> Command:
    """The installed command in a folder of its own."""

    def ran(*words: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        given = {"capture_output": True, "text": True, "timeout": 300, "cwd": tmp_path, **options}
        return subprocess.run([playing.COMMAND, *words], check=False, env=playing.environment(**(env or {})), **given)

    return ran


@pytest.fixture
def toy_command(run_command: Command) -> Command:
    """`run_command` with the doubles chosen the way a user's own options are."""
    return lambda *words, **options: run_command(*playing.TOY, *words, **options)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One finished toy run to read from: 6 seeds × 2 replicates × 3 rounds, measured and analysed."""
    words = ("replicates=2", "rounds=3", "stages=[play,measure,analyse]")
    return playing.played(playing.composed_toy(tmp_path_factory.mktemp("small"), *words))


@pytest.fixture
def browser() -> Any:
    """Chromium, driven by playwright; the test is skipped where either is missing."""
    sync = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync.sync_playwright() as player:
        found = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()
