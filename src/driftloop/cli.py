"""The command: Hydra composes, this module hands over plain data. Below it nothing knows Hydra."""

from __future__ import annotations

import shlex
import sys
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from driftloop.core.errors import ConfigError, DriftloopError, Interrupted, nearest
from driftloop.core.weights import MissingModelError

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
    return run(asked, terminal.watch(), command=["driftloop", *sys.argv[1:]], overrides=list(given.overrides.task))


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
