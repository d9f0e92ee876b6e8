"""The command: Hydra composes, this module hands over plain data. Below it nothing knows Hydra."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from driftloop.core.errors import ConfigError, DriftloopError, Interrupted, nearest
from driftloop.core.weights import MissingModelError

if TYPE_CHECKING:
    from driftloop.core.experiment import Experiment

JOB = "job.json"
CONF = str(files("driftloop") / "conf")


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def command(config: DictConfig) -> None:
    warnings.formatwarning = lambda message, *_: f"driftloop: {message}\n"
    try:
        play(config)
    except Interrupted as stop:
        sys.exit(_told(stop, 130))
    except MissingModelError as error:
        sys.exit(_told(DriftloopError(f"{error}\n  {_fetching(sys.argv[1:])}"), 2))
    except DriftloopError as error:
        sys.exit(_told(error, 2))


def _fetching(words: list[str]) -> str:
    kept = [word for word in words if not word.startswith(("stages=", "plan="))]
    return shlex.join(["driftloop", *kept, "stages=[fetch]"])


def play(config: DictConfig) -> None:
    """Runs, plans or shows the status of one composed config."""
    from driftloop import terminal
    from driftloop.core.experiment import experiment
    from driftloop.core.weights import use_hub_cache
    from driftloop.plan import plan
    from driftloop.run import run, status

    if config.status:
        return status(Path(config.results_dir))
    given = HydraConfig.get()
    _only_on_the_command_line(config, list(given.overrides.task))
    asked = experiment(plain(config), given.runtime.choices, OmegaConf.to_yaml(config, resolve=True))
    if asked.fetch_into is not None:
        use_hub_cache(asked.fetch_into)
    if config.plan:
        return plan(asked)
    swept = given.mode is RunMode.MULTIRUN
    if swept:  # the comparison waits for the last run
        asked = replace(asked, stages=[stage for stage in asked.stages if stage != "compare"])
    run(asked, terminal.watch(), command=["driftloop", *sys.argv[1:]], overrides=list(given.overrides.task))
    if swept and asked.stages != ["fetch"]:
        _note(asked, Path(given.runtime.output_dir), given.job.num)
    return None


def _note(asked: Experiment, folder: Path, number: int) -> None:
    """Tells the end of the sweep which run this job plays: a launcher may start it on another machine."""
    from driftloop.core.store import write_bytes

    job = {"number": number, "run": asked.run_id, "experiment": asked.name}
    write_bytes(folder / JOB, json.dumps(job).encode())


class SweepEnd(Callback):  # type: ignore[misc] # Hydra's callbacks have no types
    """Hydra calls it when all runs of a sweep have ended; it sets them against the first of them."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        notes = [json.loads(path.read_text()) for path in Path(config.hydra.sweep.dir).glob(f"*/{JOB}")]
        jobs = sorted(notes, key=lambda job: job["number"])
        if len({job["run"] for job in jobs}) > 1:
            _compare(jobs, config)


def _compare(jobs: list[dict[str, Any]], config: DictConfig) -> None:
    """A sweep whose runs cannot be compared, as without readings, has ended well all the same."""
    from driftloop.analysis.comparison import Rules
    from driftloop.run import console
    from driftloop.runs import Run
    from driftloop.stages.compare import compare_runs

    folders = [Path(config.results_dir) / run for run in dict.fromkeys(job["run"] for job in jobs)]
    experiment = "+".join(dict.fromkeys(job["experiment"] for job in jobs))
    settings = config.analysis
    rules = Rules(level=settings.level, resamples=settings.resamples, min_seeds=settings.min_seeds)
    try:
        page = compare_runs([Run(folder) for folder in folders], Path(config.results_dir), experiment, rules)
        console().print(f"comparison: {page}", soft_wrap=True)
    except DriftloopError as error:
        _told(DriftloopError(f"no comparison: {error}"), 0)


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as dicts and lists, interpolations resolved; values still missing stay '???' for a clear message."""
    try:
        return {str(key): value for key, value in OmegaConf.to_container(config, resolve=True).items()}  # type: ignore[union-attr]
    except OmegaConfBaseException as error:
        raise ConfigError(f"the config does not resolve: {error}") from error


def _only_on_the_command_line(config: DictConfig, overrides: list[str]) -> None:
    if config.allow_targets and not any(word.lstrip("+").startswith("allow_targets=") for word in overrides):
        raise ConfigError("allow_targets may be given on the command line only, not in a config file")


def _told(error: DriftloopError, code: int) -> int:
    print(f"driftloop: {error}", file=sys.stderr)  # noqa: T201
    return code


def _mistake(words: list[str]) -> str | None:
    """What is wrong with the words that were typed; "" where Hydra has said it, None when they compose.

    Hydra names a key that it does not know; this adds the nearest one that exists.
    """
    from hydra import initialize_config_dir
    from hydra._internal.utils import get_args_parser

    typed = get_args_parser().parse_args(words)
    own = [f"hydra.searchpath=[file://{Path(typed.config_dir).absolute()}]"] if typed.config_dir else []
    with initialize_config_dir(CONF, version_base="1.3"):
        wrong = _wrong_key(typed.overrides, own)
        if wrong or typed.multirun:
            return wrong
        return "" if _composed([*own, *typed.overrides]) is None else None


def _wrong_key(words: list[str], own: list[str]) -> str | None:
    groups = [path.name for path in Path(CONF).iterdir() if path.is_dir()]
    chosen = _composed([*own, *(word for word in words if word.split("=")[0] in groups)])
    known = [] if chosen is None else [*_paths(chosen), *groups]
    for word in words:
        key = word.split("=")[0]
        if known and "=" in word and not key.startswith(("+", "~", "hydra")) and key not in known:
            return f"driftloop: there is no key {key!r}.{nearest(key, known)}"
    return None


def _composed(words: list[str]) -> DictConfig | None:
    from hydra import compose
    from hydra.errors import HydraException

    try:
        found: DictConfig = compose("config", words)
        return found
    except (HydraException, OmegaConfBaseException):
        return None


def _paths(node: Any, path: str = "") -> list[str]:
    if not isinstance(node, DictConfig):
        return [path]
    below = [f"{path}.{key!s}" if path else str(key) for key in node]
    deeper = [_paths(node._get_node(key), name) for key, name in zip(node, below, strict=True)]
    return [path, *(name for names in deeper for name in names)]


def main() -> None:
    """The console script."""
    try:
        command()
    except SystemExit as end:
        if end.code == 1 and (told := _mistake(sys.argv[1:])) is not None:
            print(told, file=sys.stderr)  # noqa: T201
            sys.exit(2)
        raise
    except KeyboardInterrupt:  # before work started, or asked a second time
        sys.exit(_told(Interrupted("stopped at once; what was finished is written. The same command continues."), 130))
