"""Composes experiments and calls the command, for fixtures and for tests that need more than a fixture gives."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from driftloop.cli import CONF, plain
from driftloop.core.experiment import Experiment, experiment
from driftloop.core.watch import Watch
from driftloop.run import run
from driftloop.runs import Run

TESTS = Path(__file__).parent
TOY = ("--config-dir", str(TESTS / "conf"), "experiment=toy", "allow_targets=[doubles]", "results_dir=results")
COMMAND = str(Path(sys.executable).with_name("driftloop"))


def composed(*words: str) -> Experiment:
    """The experiment that a command line with these overrides asks for; own options of tests/conf can be chosen."""
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("config", [f"hydra.searchpath=[file://{TESTS / 'conf'}]", *words], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    return experiment(plain(config), choices, OmegaConf.to_yaml(config))


def composed_toy(results_dir: Path, *words: str) -> Experiment:
    return composed("experiment=toy", f"results_dir={results_dir}", "allow_targets=[doubles]", *words)


def played(asked: Experiment, watch: Watch | None = None) -> Run:
    """Runs it in this process, as the command does."""
    run(asked, watch or Watch(), command=["driftloop"])
    return Run(asked.store().folder)


def environment(**more: str) -> dict[str, str]:
    """What a subprocess gets: the doubles can be imported, one thread, nothing from a hub."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}
