"""Plays an experiment in this process, part by part, so that a benchmark can time the parts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from driftloop.cli import CONF, plain
from driftloop.core.experiment import Experiment, experiment
from driftloop.core.watch import Watch
from driftloop.engines.local import Shard, chains_of
from driftloop.stages.intake import intake
from driftloop.stages.play import Play, Players


def composed(results: Path, words: Sequence[str]) -> Experiment:
    """What `driftloop experiment=none <words>` would play below the folder `results`."""
    with initialize_config_dir(CONF, version_base="1.3"):
        everything = compose("config", ["experiment=none", f"results_dir={results}", *words], return_hydra_config=True)
    ours = OmegaConf.masked_copy(everything, [key for key in everything if key != "hydra"])
    return experiment(plain(ours), everything.hydra.runtime.choices)


class Stopwatch(Watch):
    """Says nothing, and remembers when each stage began."""

    def __init__(self) -> None:
        super().__init__()
        self.began: dict[str, float] = {}

    def start(self, stage: str, total: int, done: int = 0) -> None:  # noqa: ARG002 (the watch's signature)
        self.began.setdefault(stage, time.perf_counter())


def take_in(asked: Experiment) -> float:
    """Seconds to load the data set and take its seeds into the run."""
    started = time.perf_counter()
    intake(asked.store(), asked.seeds, Watch())
    return time.perf_counter() - started


def play(asked: Experiment, models: Players) -> float:
    """Seconds of the play stage over all chains with models that are loaded: what the local engine does with one shard."""
    started = time.perf_counter()
    store = asked.store()
    chains = chains_of(asked, store, Shard())
    stage = Play(store=store, players=models, root_seed=asked.root_seed, retries=asked.retries)
    stage.run(chains, asked.rounds, asked.wave)
    return time.perf_counter() - started
