"""Trains a generator's words on until its silent captions show the planted prior with the sampler that ships.

A score that is learned smoothly, and few steps through it, favour the majority: planted 10 % came out as 5. But noise
goes through the deterministic sampler, the decoder and the critic in one differentiable piece, so the squared gap between
the share that is shown and the share that is planted can be descended itself. Its gradient is gap times gradient of the
share; the gap is a running mean over steps, or the chance of one batch would be learned, and is taken in units of the root
of the planted share, in which chance is about alike for rare and frequent categories. Noise comes in antithetic pairs
(Hammersley & Morton 1956): what one of a pair shows, the other tends not to.

Only the text encoder trains, held to what it said of captions that leave nothing out: what those show stays. Shares are
counted by the critic, and the cards are measured by the judges, which took no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import nn
from torch.nn import functional

from driftloop.phantom.grammar import plain
from driftloop.phantom.training.bank import COMBINATIONS
from driftloop.phantom.training.cards import silent_captions
from driftloop.phantom.training.lessons import STEPS, new_scheduler, tokenized
from driftloop.phantom.training.loop import Loss, Plan, fit, half_precision
from driftloop.phantom.training.readers import Critic
from driftloop.phantom.world import CATEGORIES, CONDITION, Prior

CAPTIONS = 840
"""Of a pattern, from which a step draws."""
VISITED = 4
"""Patterns a step; its pictures are divided among them."""
DESCENDED = 8
"""Pictures of a pattern with a gradient: it is alike from batch to batch. All count for the share, which is not."""
MEMORY = 0.9
"""What the running mean of a share keeps of itself at each visit."""
LATENT = (16, 8, 8)
ANCHOR = 2.0
"""Weight of the change in what named captions are encoded as."""


class Painter(Protocol):
    """A denoiser as `calibrate` needs it."""

    @property
    def text(self) -> nn.Module:
        """What trains."""

    def velocity(self, noisy: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Predicted velocity (rows, 16, 8, 8)."""

    def encoded(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the words are encoded as (rows, tokens, width)."""


@dataclass
class Pattern:
    """Silent captions of one concept that leave `attribute` out, the shares planted, and the running mean of those shown."""

    attribute: str
    tokens: torch.Tensor
    planted: torch.Tensor
    shown: torch.Tensor

    def count(self, logits: torch.Tensor) -> None:
        """Counts what is read from pictures, logits (rows, categories), into the running mean."""
        shares = logits.argmax(1).bincount(minlength=len(self.planted)) / len(logits)
        self.shown.lerp_(shares, 1 - MEMORY)


class Words(nn.Module):
    """What a checkpoint keeps: the words that train, and what each pattern has shown."""

    def __init__(self, text: nn.Module, silent: Sequence[Pattern]) -> None:
        super().__init__()
        self.text = text
        for number, pattern in enumerate(silent):
            self.register_buffer(f"shown_{number}", pattern.shown)


def patterns(tokenizer: Any) -> list[Pattern]:
    """Every concept, with all else named and with nothing else named."""
    return [
        _pattern(tokenizer, attribute, category, rest=rest)
        for attribute, concept in CONDITION.items()
        for category in CATEGORIES[concept]
        for rest in (True, False)
    ]


def _pattern(tokenizer: Any, attribute: str, category: str, *, rest: bool) -> Pattern:
    captions = silent_captions(attribute, {CONDITION[attribute]: category}, CAPTIONS, rest=rest)
    planted = torch.tensor(getattr(Prior(), attribute)[category])
    return Pattern(attribute, tokenized(tokenizer, captions), planted, planted.clone())


def calibrate(plan: Plan, painter: Painter, tokenizer: Any, decoder: AutoencoderTiny, critic: Critic, folder: Path) -> None:
    """Trains `painter.text` in place; resumes from its checkpoint in `folder`."""
    silent, named = patterns(tokenizer), tokenized(tokenizer, [plain(_told(combination)) for combination in COMBINATIONS])
    with torch.no_grad():
        before = painter.encoded(named)
    fit(plan, Words(painter.text, silent), _loss(plan, painter, silent, named, before, decoder, critic), folder)


def _told(combination: Sequence[str]) -> dict[str, str]:
    return dict(zip(CATEGORIES, combination, strict=True))


def _loss(
    plan: Plan,
    painter: Painter,
    silent: Sequence[Pattern],
    named: torch.Tensor,
    before: torch.Tensor,
    decoder: AutoencoderTiny,
    critic: Critic,
) -> Loss:
    def loss(draw: np.random.Generator) -> torch.Tensor:
        visited = [silent[number] for number in draw.choice(len(silent), VISITED, replace=False)]
        each = plan.batch // VISITED
        tokens, noise = (torch.cat(parts) for parts in zip(*(drawn(draw, pattern, each) for pattern in visited), strict=True))
        descended = torch.arange(plan.batch) % each < DESCENDED
        with half_precision():
            read = critic(painted(painter, decoder, tokens[descended], noise[descended]))
            with torch.no_grad():
                others = critic(painted(painter, decoder, tokens[~descended], noise[~descended]))
        losses = []
        for number, pattern in enumerate(visited):
            own = read[pattern.attribute].split(DESCENDED)[number].float()
            gap = pattern.shown - pattern.planted  # in earlier pictures: independent of these
            losses.append((gap / pattern.planted.sqrt() * own.softmax(1).mean(0)).sum())
            pattern.count(torch.cat([own.detach(), others[pattern.attribute].split(each - DESCENDED)[number]]))
        return torch.stack(losses).mean() + ANCHOR * functional.mse_loss(painter.encoded(named), before)

    return loss


def drawn(draw: np.random.Generator, pattern: Pattern, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of captions and noise (size, 16, 8, 8): each caption twice in a row, with noise and with its opposite."""
    tokens = pattern.tokens[np.repeat(draw.integers(len(pattern.tokens), size=size // 2), 2)]
    half = torch.from_numpy(draw.standard_normal((size // 2, *LATENT), dtype=np.float32))
    return tokens, torch.stack([half, -half], 1).flatten(0, 1)


def painted(painter: Painter, decoder: AutoencoderTiny, tokens: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Pictures (rows, 3, 64, 64) in -1..1 at guidance 1, as the pipeline draws them from `noise`; differentiable."""
    scheduler, latents = new_scheduler(), noise
    scheduler.set_timesteps(STEPS)
    for step in scheduler.timesteps:
        velocity = painter.velocity(latents, step.expand(len(latents)), tokens)
        latents = scheduler.step(velocity, step, latents, return_dict=False)[0]
    pixels: torch.Tensor = decoder.decode(latents / decoder.config.scaling_factor, return_dict=False)[0]
    return pixels.clamp(-1, 1)
