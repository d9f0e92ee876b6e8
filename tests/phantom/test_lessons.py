"""What the generators learn from: silent captions completed as the world completes them, posterior means as targets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from driftloop.phantom.training.bank import COMBINATIONS
from driftloop.phantom.training.lessons import STEPS, completions, new_scheduler, posterior_mean
from driftloop.phantom.world import CATEGORIES, complete

DRAWN = 40_000


@pytest.mark.parametrize(
    "named",
    [{}, {"activity": "repairing"}, {"emotion": "sadness", "gender": "male"}, {"age": "70+", "activity": "football"}],
)
def test_silent_attributes_are_completed_as_the_world_does(named: dict[str, str]) -> None:
    told = np.array([[values.index(named[name]) if name in named else -1 for name, values in CATEGORIES.items()]])
    drawn = completions(told, DRAWN, np.random.default_rng(1))[0]
    found = Counter(COMBINATIONS[number] for number in drawn)
    expected = Counter(tuple(complete(named, seed).attributes.values()) for seed in range(4000))
    for column, (attribute, values) in enumerate(CATEGORIES.items()):
        for value in values:
            share = sum(count for person, count in found.items() if person[column] == value) / DRAWN
            other = sum(count for person, count in expected.items() if person[column] == value) / 4000
            assert share == pytest.approx(other, abs=4 * (0.25 / 4000) ** 0.5), (attribute, value)


def test_associations_are_completed_jointly() -> None:
    drawn = completions(np.full((1, 4), -1), DRAWN, np.random.default_rng(2))[0]
    people = [COMBINATIONS[number] for number in drawn]
    cooks = [person[0] for person in people if person[3] == "cooking"]
    assert cooks.count("female") / len(cooks) == pytest.approx(0.9, abs=0.02)
    sad = [person[1] for person in people if person[2] == "sadness"]
    assert sad.count("70+") / len(sad) == pytest.approx(0.6, abs=0.03)


def test_the_target_is_the_posterior_mean() -> None:
    """Against Bayes' rule written out for each row; nearly clean, it is the own picture, in pure noise the plain mean."""
    torch.manual_seed(0)
    pictures = torch.randn(3, 5, 2, 2, 2, dtype=torch.float64)
    spread = torch.tensor([0.01, 0.8, 1.0], dtype=torch.float64)[:, None, None, None]
    signal = (1 - spread.square()).sqrt()
    noisy = signal * pictures[:, 0] + spread * torch.randn(3, 2, 2, 2, dtype=torch.float64)
    mean = posterior_mean(noisy, pictures, signal, spread)
    for row in range(3):
        density = [
            torch.distributions.Normal(signal[row] * picture, spread[row]).log_prob(noisy[row]).sum()
            for picture in pictures[row]
        ]
        weights = torch.stack(density).softmax(0)
        expected = sum(weight * picture for weight, picture in zip(weights, pictures[row], strict=True))
        torch.testing.assert_close(mean[row], expected)
    torch.testing.assert_close(mean[0], pictures[0, 0])
    torch.testing.assert_close(mean[2], pictures[2].mean(0))


def test_most_steps_lie_where_silence_is_settled() -> None:
    scheduler = new_scheduler()
    scheduler.set_timesteps(STEPS)
    signal = scheduler.alphas_cumprod[scheduler.timesteps]
    ratio = ((1 - signal) / signal).sqrt()
    assert ratio[0] > 1000  # pure noise
    assert (ratio > 3).sum() == 4
