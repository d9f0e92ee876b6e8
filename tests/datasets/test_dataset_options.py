"""The config files of these data sets mirror their constructors."""

from __future__ import annotations

import inspect
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

LIMITS = {"limit", "limit_per_concept"}
NAMES = {path.name.removesuffix(".yaml") for path in (files("driftloop") / "conf/dataset").iterdir()} - {"phantom"}


def config(name: str) -> dict[str, Any]:
    text = (files("driftloop") / "conf" / "dataset" / f"{name}.yaml").read_text("utf-8")
    assert text.startswith("# ")
    assert f"dataset={name}" in text.splitlines()[0]
    loaded = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items()}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_config_is_the_constructor_call(name: str) -> None:
    keys = config(name)
    assert {key: keys.pop(key) for key in LIMITS} == dict.fromkeys(LIMITS)
    parameters = inspect.signature(get_class(keys.pop("_target_"))).parameters
    assert list(keys) == list(parameters)
    for key, value in keys.items():
        default = parameters[key].default
        assert value == ("???" if default is inspect.Parameter.empty else default)


def test_hydra_makes_the_data_sets(raf_trees: Path, tmp_path: Path) -> None:
    raf = {key: value for key, value in config("raf_db").items() if key not in LIMITS}
    assert len(instantiate({**raf, "root": str(raf_trees / "basic")}).load()) == 20
    prompts = {key: value for key, value in config("prompts").items() if key not in LIMITS}
    assert len(instantiate({**prompts, "prompts": ["a", "b"]}).load()) == 2
    folder = {key: value for key, value in config("folder").items() if key not in LIMITS}
    columns = {"mood": "concept"}
    assert instantiate({**folder, "root": str(tmp_path), "label_columns": columns}).concept_kind == "concept"
