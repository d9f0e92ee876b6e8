"""What the generators learn from: captions that leave attributes out, noised latents that complete them, what to predict.

A caption leaves each attribute out with a stated probability; the picture shown with it is completed from the planted
prior. So a generator learns the prior of silent captions, and nothing else ties attributes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler

from driftloop.phantom.grammar import plain, write
from driftloop.phantom.training.bank import COMBINATIONS
from driftloop.phantom.world import CATEGORIES, Prior

SILENCE = (0.1, 0.1, 0.5, 0.8)
"""How often a training caption leaves an attribute out, one of these per caption: half tell nearly all, some nearly nothing."""
EMPTY = 0.08
"""Probability of an empty caption: what guidance points away from."""
LENGTH = 32
STEPS = 6
"""Of the sampler, as the generators ship."""
CANDIDATES = 48
"""Pictures of the same caption whose mean, weighted by their posterior, a row is to predict."""
FACE = (slice(2, 5), slice(2, 6))
FACE_WEIGHT = 4.0
"""Rows and columns of the 8 × 8 latents where expressions are drawn, and what their error weighs: emotion comes last."""


@dataclass(frozen=True)
class Lessons:
    """Token numbers of training captions (captions, LENGTH), what they tell (captions, 4; -1 where silent), empty tokens."""

    tokens: torch.Tensor
    told: np.ndarray
    empty: torch.Tensor


@dataclass(frozen=True)
class Course:
    """What examples are drawn from, `size` at a time: lessons, and latents of a bank whose row i shows combination i % 420."""

    size: int
    lessons: Lessons
    latents: torch.Tensor


@dataclass(frozen=True)
class Examples:
    """Training rows: noisy latents (rows, 16, 8, 8), their noise steps and tokens, what is told, the velocity to predict."""

    noisy: torch.Tensor
    steps: torch.Tensor
    tokens: torch.Tensor
    told: np.ndarray
    velocity: torch.Tensor


def new_lessons(tokenizer: Any, count: int = 40000, seed: int = 5) -> Lessons:
    """Captions over all phrasings; half in the plain phrasing that the captioner speaks."""
    draw = np.random.Generator(np.random.PCG64(seed))
    told = np.stack([draw.integers(len(values), size=count) for values in CATEGORIES.values()], 1)
    told[draw.random((count, 4)) < draw.choice(SILENCE, (count, 1))] = -1
    texts = [_text(row, index) for index, row in enumerate(told)]
    return Lessons(tokenized(tokenizer, texts), told, tokenized(tokenizer, [""])[0])


def _text(row: np.ndarray, index: int) -> str:
    named = {name: values[n] for (name, values), n in zip(CATEGORIES.items(), row, strict=True) if n >= 0}
    return plain(named) if index % 2 else write(named, index)


def tokenized(tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Token numbers (texts, LENGTH)."""
    return torch.as_tensor(tokenizer(list(texts), padding="max_length", truncation=True, max_length=LENGTH)["input_ids"])


def completions(told: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Combination numbers (rows, count) that complete what captions tell (rows, 4; -1 where silent) from the planted prior."""
    shape = (len(told), count)
    emotion, activity = (
        np.where(told[:, [column]] < 0, draw.integers(size, size=shape), told[:, [column]]) for column, size in ((2, 7), (3, 6))
    )
    given = {"gender": activity, "age": emotion}
    first = []
    for column, (attribute, concept) in enumerate(given.items()):
        table = np.array(list(getattr(Prior(), attribute).values())).cumsum(1)
        drawn = (draw.random(shape)[..., None] >= table[concept][..., :-1]).sum(-1)
        first.append(np.where(told[:, [column]] < 0, drawn, told[:, [column]]))
    sizes = tuple(len(values) for values in CATEGORIES.values())
    return np.ravel_multi_index((*first, emotion, activity), sizes)


@lru_cache
def _levels() -> torch.Tensor:
    """Products of alphas, a noise step each."""
    levels: torch.Tensor = new_scheduler().alphas_cumprod
    return levels


def new_scheduler() -> DPMSolverMultistepScheduler:
    """v-prediction down to pure noise on the linear schedule, solved to second order.

    Of six trailing steps four lie above a noise-to-signal ratio of 3, where it is settled what a silent caption shows.
    On the squared-cosine schedule one step crosses that range, and minorities of the prior are lost: 30 % came out as 20.
    """
    return DPMSolverMultistepScheduler(
        beta_start=0.0001,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
        rescale_betas_zero_snr=True,
    )


def draw_examples(draw: np.random.Generator, course: Course) -> Examples:
    """Rows of a course.

    The target is the mean of candidate pictures of the same caption, weighted by their posterior given the noisy latents
    (stable target field, Xu, Tong & Jaakkola 2023, arXiv 2302.00670, eq. 7), the row's own picture among them: at high
    noise a plain target is one draw from the whole prior, and its variance hides the mean that has to be learned.
    """
    size, lessons = course.size, course.lessons
    captions = draw.integers(len(lessons.told), size=size)
    tokens, told = lessons.tokens[captions].clone(), lessons.told[captions].copy()
    emptied = draw.random(size) < EMPTY
    tokens[emptied], told[emptied] = lessons.empty, -1
    shown = completions(told, CANDIDATES, draw)
    copies = draw.integers(len(course.latents) // len(COMBINATIONS), size=shown.shape)
    pictures = course.latents[torch.from_numpy(shown + len(COMBINATIONS) * copies)].float()
    steps = torch.from_numpy(draw.integers(len(_levels()), size=size))
    noise = torch.from_numpy(draw.standard_normal(pictures[:, 0].shape, dtype=np.float32))
    level = _levels()[steps]
    signal, spread = (part.sqrt()[:, None, None, None] for part in (level, 1 - level))
    clean = pictures[:, 0]
    noisy = signal * clean + spread * noise
    drawn_to = posterior_mean(noisy, pictures, signal, spread)
    return Examples(noisy, steps, tokens, told, signal * noise - spread * clean + (clean - drawn_to) / spread)


def posterior_mean(noisy: torch.Tensor, pictures: torch.Tensor, signal: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """Mean of `pictures` (rows, candidates, …), weighted by how likely each became `noisy` (rows, …)."""
    distance = (noisy[:, None] - signal[:, None] * pictures).flatten(2).square().sum(2)
    weights = (-distance / (2 * spread.flatten(1).square())).softmax(1)
    return (weights[:, :, None, None, None] * pictures).sum(1)


def velocity_loss(predicted: torch.Tensor, examples: Examples) -> torch.Tensor:
    """Mean squared error of the velocity, the face weighing more."""
    weight = torch.ones(predicted.shape[-2:])
    weight[FACE] = FACE_WEIGHT
    error: torch.Tensor = (weight / weight.mean() * (predicted.float() - examples.velocity).square()).mean()
    return error
