"""One small run of the exact world, and copies of it to change."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from markupsafe import Markup
from omegaconf import OmegaConf, open_dict

from driftloop.cli import CONF, plain
from driftloop.core.experiment import Experiment, experiment
from driftloop.core.store import Store
from driftloop.core.watch import Watch
from driftloop.report import figures
from driftloop.report import page as pages
from driftloop.report.parts import Drawn
from driftloop.run import run
from driftloop.stages.report import report

Edit = Callable[[pd.DataFrame], pd.DataFrame]
ORIGINAL = ("experiment=phantom_exact", "dataset.limit=72", "rounds=3", "filmstrips=3")
UNREPORTED = shutil.ignore_patterns("report", "figures")


@dataclass
class Played:
    """A run folder with the experiment that belongs to it."""

    experiment: Experiment

    @property
    def store(self) -> Store:
        return self.experiment.store()

    @property
    def page(self) -> str:
        return (self.store.folder / "report/index.html").read_text()

    def report(self, **changes: Any) -> str:
        """Makes the page, with other settings of the experiment where given."""
        report(dataclasses.replace(self.experiment, **changes), self.store, Watch())
        return self.page

    def edit(self, name: str, change: Edit) -> None:
        """Rewrites the tables whose path matches."""
        for path in sorted(self.store.folder.glob(f"{name}.parquet")):
            self.store.write_table(str(path.relative_to(self.store.folder)), change(pd.read_parquet(path)))

    def edit_json(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        body = json.loads((self.store.folder / name).read_text())
        change(body)
        self.store.write_json(name, body)

    def drop(self, pattern: str) -> None:
        for path in self.store.folder.glob(pattern):
            path.unlink()


def composed(*words: str) -> Experiment:
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("config", list(words), return_hydra_config=True)
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    return experiment(plain(config), choices, OmegaConf.to_yaml(config))


def played(folder: Path, *words: str) -> Played:
    """Plays, measures and analyses; the report is left to the test."""
    asked = composed(f"results_dir={folder}", "analysis.resamples=100", "stages=[play,measure,analyse]", *words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftloop.run.show", lambda *_: None)
        run(asked, Watch(), command=["driftloop", *words])
    return Played(asked)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """60 seeds × 3 rounds, with a planted truth."""
    folder = tmp_path_factory.mktemp("exact")
    return played(folder, *ORIGINAL)


@pytest.fixture(scope="session")
def measured(original: Played, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The same run with the tables of some metrics."""
    folder = tmp_path_factory.mktemp("measured")
    shutil.copytree(original.store.folder, folder / original.store.run_id, ignore=UNREPORTED)
    return played(folder, *ORIGINAL, "metric=[mention,decomposition,trend,correction]")


def unmade(name: str, caption: str, _: tuple[Any, Any], __: Callable[[Any], Any]) -> Drawn:
    """A figure that is only named."""
    return Drawn(name, caption, Markup("<svg></svg>"), Markup("<svg></svg>"), 100, "", b"")


def sketched(name: str, caption: str, layouts: tuple[Any, Any], make: Callable[[Any], Any]) -> Drawn:
    """A figure that is made but not written out, which is what takes long."""
    with figures.style(name):
        make(layouts[1])
    return unmade(name, caption, layouts, make)


def copied(run_: Played, folder: Path) -> Played:
    shutil.copytree(run_.store.folder, folder / run_.store.run_id, ignore=UNREPORTED)
    return Played(dataclasses.replace(run_.experiment, results_dir=folder))


@pytest.fixture
def a_run(original: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A copy of the small run that a test may change; its figures are not drawn."""
    monkeypatch.setattr(pages, "draw", unmade)
    return copied(original, tmp_path)


@pytest.fixture
def a_drawn_run(a_run: Played, monkeypatch: pytest.MonkeyPatch) -> Played:
    """The same, its figures sketched."""
    monkeypatch.setattr(pages, "draw", sketched)
    return a_run


@pytest.fixture
def a_measured_run(measured: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A copy of the run with the tables of metrics; its figures sketched."""
    monkeypatch.setattr(pages, "draw", sketched)
    return copied(measured, tmp_path)
