"""One script trains everything that is shipped, from nothing and in one go: rehearsed with two steps a stage."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image
from safetensors import safe_open

from cards import MODELS
from driftloop.phantom import training
from driftloop.phantom.training import cards as measured
from driftloop.phantom.training import encoder, extras, generator, stages
from driftloop.phantom.training.loop import Plan
from driftloop.phantom.training.settling import Step

FEW = {"BANK_SIZE": 840, "LATENT_BANK": 840, "REDRAWN": 1, "HELD_OUT": 420}
DRAWN = 16


def plans() -> list[Plan]:
    """Every plan of the training, wherever it stands."""
    found = {}
    for module in pkgutil.iter_modules(training.__path__):
        for value in vars(importlib.import_module(f"{training.__name__}.{module.name}")).values():
            for part in value if isinstance(value, tuple) else (value,):
                plan = getattr(part, "plan", part)
                if isinstance(plan, Plan):
                    found[id(plan)] = plan
    return list(found.values())


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All plans of two steps, few pictures, and few of those really drawn for the cards."""
    before = [(plan, plan.steps) for plan in plans()]
    settled = generator.SETTLEMENT.steps
    draw = measured.Artist.draw

    def few(artist: measured.Artist, captions: list[str], *more: Any, **named: Any) -> list[Image]:
        made = draw(artist, captions[:DRAWN], *more, **named)
        return [made[number % len(made)] for number in range(len(captions))]

    monkeypatch.setattr(measured.Artist, "draw", few)
    monkeypatch.setattr(measured, "SILENT", dict.fromkeys(measured.SILENT, 4))
    monkeypatch.setattr(extras, "ROUND_TRIPS", 420)
    monkeypatch.setattr(encoder, "LESSONS", 500)
    for name, number in FEW.items():
        monkeypatch.setattr(stages, name, number)
    for plan, _ in before:
        object.__setattr__(plan, "steps", 2)
    object.__setattr__(generator.SETTLEMENT, "steps", (Step(4, 0.1), Step(4, 0.1, weighings=2)))
    yield
    for plan, steps in before:
        object.__setattr__(plan, "steps", steps)
    object.__setattr__(generator.SETTLEMENT, "steps", settled)


def contents(models: Path) -> dict[str, Any]:
    """Of every model: names and shapes of its weights, what its card tells of, and its other files."""
    weights = {path: _shapes(path) for path in models.rglob("*.safetensors")}
    told = {path: set(json.loads(path.read_text())) for path in models.glob("*/card.json")}
    others = {path: None for path in models.rglob("*") if path.is_file()}
    return {str(path.relative_to(models)): what for path, what in (others | weights | told).items()}


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(path, "pt") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 - it is no mapping


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.usefixtures("rehearsal")
def test_everything_that_is_shipped_comes_of_one_run_from_nothing(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    extras.train_all(tmp_path / "work", tmp_path / "models")
    assert contents(tmp_path / "models") == contents(MODELS)
    weights = {path: path.read_bytes() for path in (tmp_path / "models").rglob("*.safetensors")}
    trained = tuple(stage for stage in (*stages.STAGES, *extras.EXTRA_STAGES) if "cards" not in stage)
    extras.train_all(tmp_path / "work", tmp_path / "models", trained)  # again: all is there, nothing is trained further
    assert weights == {path: path.read_bytes() for path in weights}
