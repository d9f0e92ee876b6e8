"""Trains a generator on until its silent captions show the planted prior with the sampler that ships.

A score that is learned smoothly, and few steps through it, favour the majority: planted 10 % came out as 2. So the prior
that training captions are completed from is moved against what is shown, category by category in log-odds, and training
goes on; three times. What is shown is read by the critic, and the cards are measured by the judges, which took no part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from driftloop.phantom.training.cards import silent_captions
from driftloop.phantom.training.lessons import Priors
from driftloop.phantom.training.loop import Loss, Plan, fit
from driftloop.phantom.training.readers import Critic
from driftloop.phantom.world import CATEGORIES, CONDITION, Prior, Row

TIMES = ((240, 1.0), (240, 1.0), (480, 0.25))
"""Of each correction: silent pictures per concept and pattern it is measured on, and the share of the plan's learning rate."""
DAMPING = 0.8
Draw = Callable[[Sequence[str], int], torch.Tensor]
"""Captions and a seed -> pictures (n, 3, 64, 64) in -1..1."""


def calibrate(plan: Plan, model: nn.Module, loss: Callable[[Priors], Loss], draw: Draw, critic: Critic, folder: Path) -> None:
    """Trains `model` in place, `plan` once per correction; resumes from its checkpoints and measurements in `folder`."""
    trained = (Prior(), Prior())
    for time, (pictures, pace) in enumerate(TIMES):
        shown = _measured(folder / f"{plan.name}-{time}.json", draw, critic, pictures, seed=time)
        few, many = (corrected(before, found) for before, found in zip(trained, shown, strict=True))
        trained = (few, many)
        part = replace(plan, name=f"{plan.name}-{time}", rate=pace * plan.rate, seed=plan.seed + time)
        fit(part, model, loss(trained), folder)


def corrected(trained: Prior, shown: Prior) -> Prior:
    """The prior to train on next: moved by how far what is shown is from what is planted, in log-odds, damped."""
    tables = {name: _corrected(getattr(trained, name), getattr(shown, name), getattr(Prior(), name)) for name in CONDITION}
    return Prior(**tables)


def _corrected(trained: Mapping[str, Row], shown: Mapping[str, Row], planted: Mapping[str, Row]) -> dict[str, Row]:
    rows = {}
    for concept, row in trained.items():
        weights = np.array(row) * (np.array(planted[concept]) / np.array(shown[concept])) ** DAMPING
        rows[concept] = tuple((weights / weights.sum()).tolist())
    return rows


def _measured(path: Path, draw: Draw, critic: Critic, pictures: int, seed: int) -> Priors:
    """What captions show that leave out one attribute, and all but the concept; kept in `path`."""
    if not path.exists():
        found = [{name: _shown(name, draw, critic, pictures, seed, rest=rest) for name in CONDITION} for rest in (True, False)]
        print(path.stem, found, flush=True)
        path.write_text(json.dumps(found))
    few, many = (Prior(**tables) for tables in json.loads(path.read_text()))
    return few, many


@torch.no_grad()
def _shown(attribute: str, draw: Draw, critic: Critic, count: int, seed: int, *, rest: bool) -> dict[str, list[float]]:
    """Concept -> shares read, each category counted half a time more, so that none is 0."""
    concept, size = CONDITION[attribute], len(CATEGORIES[attribute])
    shares = {}
    for number, category in enumerate(CATEGORIES[concept]):
        captions = silent_captions(attribute, {concept: category}, count, rest=rest)
        pixels = draw(captions, (2 * seed + rest) * 10_000_019 + number * 100_003)
        read = torch.cat([critic(part)[attribute].argmax(1) for part in pixels.split(128)]).numpy()
        shares[category] = ((np.bincount(read, minlength=size) + 0.5) / (len(read) + 0.5 * size)).tolist()
    return shares
