"""The last steps of a calibration: what gaps its descent leaves are closed together, by least squares.

Descent follows the steepest patterns, and those with few pictures between two categories are flat. So the shares that
all patterns show are counted in many pictures, with their slopes in the weights of the words, and one Gauss-Newton step
of a given length (Levenberg 1944) is made for all. Slopes are those of the softened shares, to which only pictures between
two categories have something to say. A mean over patterns leaves the stubborn ones, so a step may be weighed anew, by what
it would leave (iterative reweighting, towards the least largest gap; Lawson 1961).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from scipy.optimize import brentq
from torch import nn

from driftloop.core.rng import derive, generator
from driftloop.phantom.training.calibration import Painter, Pattern, drawn, painted, patterns
from driftloop.phantom.training.loop import half_precision, place, summed
from driftloop.phantom.training.readers import Critic

SURE = 0.97
"""Chance of the likeliest category from which a picture is only counted: its own part of a slope is about 0."""
CHANCE = 0.01
"""About what chance makes of a share: gaps well below it are weighed alike."""
LEAST_DAMPING = 1e-5
"""In units of the mean squared slope of a share."""
CHUNK = 32


@dataclass(frozen=True)
class Step:
    """One joint step: from so many `pictures` of every pattern (even), so far, weighed so many times.

    420 pictures bear a `length` of .2, measured in the weights of the words; from 1,680 on, longer ones go where they should.
    """

    pictures: int
    length: float
    weighings: int = 1


@dataclass(frozen=True)
class Settlement:
    """Joint steps: few pictures first, more for what is left."""

    name: str
    seed: int
    steps: tuple[Step, ...] = (Step(420, 0.15), Step(840, 0.21), Step(1680, 0.12), Step(1680, 0.3, weighings=4))


@dataclass(frozen=True)
class Looker:
    """What is looked at, and by whom."""

    painter: Painter
    decoder: AutoencoderTiny
    critic: Critic

    def logits(self, attribute: str, tokens: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """What the critic reads (rows, categories) from pictures of `tokens`; differentiable."""
        with half_precision():
            read: dict[str, torch.Tensor] = self.critic(painted(self.painter, self.decoder, tokens, noise))
        return read[attribute].float()

    def look(self, pattern: Pattern, pictures: int, draw: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares shown (categories,), and their slopes (categories, weights)."""
        tokens, noise = drawn(draw, pattern, pictures)
        with torch.no_grad():
            parts = zip(tokens.split(CHUNK), noise.split(CHUNK), strict=True)
            logits = torch.cat([self.logits(pattern.attribute, *part) for part in parts])
        unsure = logits.softmax(1).amax(1) < SURE
        shares = logits.argmax(1).bincount(minlength=len(pattern.planted)) / pictures
        return shares, self._slopes(pattern, tokens[unsure], noise[unsure]) / pictures

    def _slopes(self, pattern: Pattern, tokens: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Slopes of the softened count of every category (categories, weights)."""
        weights = list(self.painter.text.parameters())
        slopes = torch.zeros(len(pattern.planted), sum(weight.numel() for weight in weights))
        for part in zip(tokens.split(CHUNK), noise.split(CHUNK), strict=True):
            counts = self.logits(pattern.attribute, *part).softmax(1).sum(0)
            for category, count in enumerate(counts):
                own = torch.autograd.grad(count, weights, retain_graph=True, materialize_grads=True)
                slopes[category] += nn.utils.parameters_to_vector(own)
        return slopes


def settle(plan: Settlement, painter: Painter, tokenizer: Any, decoder: AutoencoderTiny, critic: Critic, folder: Path) -> None:
    """Steps `painter.text` in place; made steps are read from `folder`. Processes of a group divide the patterns."""
    silent, looker, (rank, processes) = patterns(tokenizer), Looker(painter, decoder, critic), place()
    planted = torch.cat([pattern.planted for pattern in silent])
    rows = torch.arange(len(planted)).split([len(pattern.planted) for pattern in silent])
    for number, step in enumerate(plan.steps):
        path = folder / f"{plan.name}-{number + 1}.pt"
        if path.exists():
            _set(painter.text, torch.load(path, weights_only=True))
            continue
        before = nn.utils.parameters_to_vector(painter.text.parameters()).detach()
        shown, slopes = torch.zeros_like(planted), torch.zeros(len(planted), len(before))
        for index in range(rank, len(silent), processes):
            draw = generator(derive(plan.seed, plan.name, number, index))
            shown[rows[index]], slopes[rows[index]] = looker.look(silent[index], step.pictures, draw)
        gaps = summed(shown) - planted
        _report(plan, number, gaps, silent)
        after = before + joint_step(gaps, summed(slopes), planted, step)
        _set(painter.text, after)
        _save(path, after)


def joint_step(gaps: torch.Tensor, slopes: torch.Tensor, planted: torch.Tensor, step: Step) -> torch.Tensor:
    """The least-squares step (weights,) against `gaps` (rows,) of shares `planted` along `slopes` (rows, weights).

    A gap weighs 1 / √planted; every further weighing multiplies that by the root of the gap that the step so far would leave.
    """
    gaps, gram, row_weights = gaps.double(), (slopes @ slopes.T).double(), 1 / planted.double().sqrt()
    for _ in range(step.weighings):
        along = _damped(gaps, gram, row_weights, step.length)
        row_weights = row_weights * ((gaps + gram @ along).abs() + CHANCE).sqrt()
    joint: torch.Tensor = slopes.T @ along.float()
    return joint


def _damped(gaps: torch.Tensor, gram: torch.Tensor, row_weights: torch.Tensor, length: float) -> torch.Tensor:
    """How far to go along every slope (rows,): the weighted least squares, damped until the step has `length` or less."""
    weighted, wanted = row_weights[:, None] * gram * row_weights, -gaps * row_weights
    slope = weighted.trace().sqrt()
    if slope == 0 or not gaps.any():
        return torch.zeros_like(gaps)

    def along(log_damping: float) -> torch.Tensor:
        way: torch.Tensor = row_weights * torch.linalg.solve(weighted + math.exp(log_damping) * torch.eye(len(gram)), wanted)
        return way

    def excess(log_damping: float) -> float:
        way = along(log_damping)
        return float(way @ gram @ way) - length**2

    least = math.log(LEAST_DAMPING * slope**2 / len(gram))
    most = math.log(slope * wanted.norm() / length)  # no step of this damping is longer than `length`
    return along(least if excess(least) <= 0 else brentq(excess, least, most))


@torch.no_grad()
def _set(module: nn.Module, weights: torch.Tensor) -> None:
    """Copies, because weights that are views of one vector cannot be exported."""
    own = list(module.parameters())
    for weight, part in zip(own, weights.split([weight.numel() for weight in own]), strict=True):
        weight.copy_(part.view_as(weight))


def _report(plan: Settlement, number: int, gaps: torch.Tensor, silent: Sequence[Pattern]) -> None:
    if place()[0] > 0:
        return
    parts = gaps.split([len(pattern.planted) for pattern in silent])
    for attribute in dict.fromkeys(pattern.attribute for pattern in silent):
        own = torch.cat([part for part, pattern in zip(parts, silent, strict=True) if pattern.attribute == attribute])
        print(f"{plan.name} {number + 1}/{len(plan.steps)}: largest gap of {attribute} is {own.abs().max():.3f}", flush=True)


def _save(path: Path, weights: torch.Tensor) -> None:
    if place()[0] == 0:
        torch.save(weights, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)
