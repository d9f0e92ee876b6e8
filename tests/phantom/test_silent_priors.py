"""Calibration moves the shares that silent captions show to those that are planted: by descent, then by joint steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from scipy.optimize import NonlinearConstraint, minimize
from torch import nn

from driftloop.phantom.training.autoencoder import new_autoencoder
from driftloop.phantom.training.calibration import calibrate, painted, patterns
from driftloop.phantom.training.generator import Denoiser, new_pipeline, new_tokenizer
from driftloop.phantom.training.lessons import STEPS, new_scheduler, tokenized
from driftloop.phantom.training.loop import Plan
from driftloop.phantom.training.readers import Critic
from driftloop.phantom.training.settling import Settlement, Step, joint_step, settle

CAPTIONS = ["a photo of a person reading a book", "a photo of a sad woman"]


@pytest.fixture(scope="module")
def decoder() -> AutoencoderTiny:
    torch.manual_seed(3)
    return new_autoencoder().eval()


def test_painted_pictures_are_those_of_the_pipeline(decoder: AutoencoderTiny) -> None:
    torch.manual_seed(1)
    denoiser = Denoiser(new_tokenizer()).eval()
    draws: Sequence[torch.Generator] = [torch.Generator().manual_seed(seed) for seed in range(2)]
    noise = torch.stack([torch.randn(16, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(2)])
    pipeline = new_pipeline(denoiser, decoder)
    drawn = pipeline(CAPTIONS, num_inference_steps=STEPS, guidance_scale=1.0, generator=list(draws), output_type="pt").images
    with torch.no_grad():
        own = painted(denoiser, decoder, tokenized(new_tokenizer(), CAPTIONS), noise)
    torch.testing.assert_close(own, drawn * 2 - 1, atol=1e-4, rtol=0)


class Normal(nn.Module):
    """A painter whose latents are normal around one number a caption; what captions say is nothing to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.text: nn.Module = nn.Embedding(4099, 1)

    def encoded(self, tokens: torch.Tensor) -> torch.Tensor:
        words: torch.Tensor = self.text((tokens * torch.arange(1, tokens.shape[1] + 1)).sum(1, keepdim=True) % 4099)
        return words

    def velocity(self, noisy: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        level = new_scheduler().alphas_cumprod[steps][:, None, None, None]
        signal, spread = level.sqrt(), (1 - level).sqrt()
        mean = self.encoded(tokens).mean(1)[:, :, None, None]
        velocity: torch.Tensor = (signal * noisy - (mean + signal * (noisy - signal * mean))) / spread
        return velocity


class Shown:
    """Decodes nothing: a latent is its own picture."""

    config = SimpleNamespace(scaling_factor=1.0)

    def decode(self, latents: torch.Tensor, **_: bool) -> tuple[torch.Tensor]:
        return (latents,)


def brightness(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gender is read from one cell, age from its order among five."""
    cell = pixels[:, 0, 0, 0]
    return {"gender": torch.stack([8 * cell, -8 * cell], 1), "age": torch.stack([(k - 2) * 4 * cell for k in range(5)], 1)}


def trained(folder: Path, plan: Plan, critic: Callable[[torch.Tensor], dict[str, torch.Tensor]]) -> Normal:
    """The painter, calibrated; it resumes from `folder`."""
    torch.manual_seed(2)
    painter = Normal()
    calibrate(plan, painter, new_tokenizer(), cast(AutoencoderTiny, Shown()), cast(Critic, critic), folder)
    return painter


def gap(painter: Normal, attribute: str) -> float:
    """Sum of squared differences of shown and planted shares."""
    noise = torch.randn(64, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    own = [pattern for pattern in patterns(new_tokenizer()) if pattern.attribute == attribute]
    decoder = cast(AutoencoderTiny, Shown())
    with torch.no_grad():
        pictures = [painted(painter, decoder, part.tokens[:64], noise) for part in own]
    shown = [brightness(pixels)[attribute].softmax(1).mean(0) for pixels in pictures]
    return float(sum((part.planted - share).square().sum() for part, share in zip(own, shown, strict=True)))


@pytest.mark.slow
def test_shares_are_moved_to_the_planted_ones(tmp_path: Path) -> None:
    torch.manual_seed(2)
    before = gap(Normal(), "gender")
    painter = trained(tmp_path, Plan("trial", 150, 64, 0.1, seed=1, warmup=1), brightness)
    assert gap(painter, "gender") < before / 2


@pytest.mark.slow
def test_a_resumed_calibration_remembers_what_was_shown(tmp_path: Path) -> None:
    calls = count()

    def killed(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        if next(calls) > 204:  # two a step, and a checkpoint after 100 steps
            raise KeyboardInterrupt
        return brightness(pixels)

    plan = Plan("trial", 105, 64, 0.1, seed=1)
    whole = trained(tmp_path / "whole", plan, brightness)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "resumed", plan, killed)
    resumed = trained(tmp_path / "resumed", plan, brightness)
    torch.testing.assert_close(resumed.text.state_dict(), whole.text.state_dict(), atol=0, rtol=0)


# Joint steps ---------------------------------------------------------------------------------------------------------


def left_after(steps: int, noise: float) -> float:
    """Share of the gaps that joint steps leave, by the true slopes, where they see slopes anew and through noise."""
    draw = torch.Generator().manual_seed(4)
    true, start = torch.randn(20, 200, generator=draw), torch.randn(20, generator=draw)
    gaps = start.clone()
    for _ in range(steps):
        seen = true + noise * torch.randn(true.shape, generator=draw)
        gaps += true @ joint_step(gaps, seen, torch.ones(20), Step(2, length=0.1))
    return float(gaps.norm() / start.norm())


def test_joint_steps_close_all_gaps_whether_slopes_are_exact_or_noisy() -> None:
    assert left_after(10, noise=0.0) < 0.05
    assert left_after(10, noise=1.0) < 0.3


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gaps, slopes and planted shares of six rows that twelve weights move, two of them along much the same slopes."""
    draw = torch.Generator().manual_seed(6)
    slopes, gaps = torch.randn(6, 12, generator=draw), torch.tensor([0.3, 0.1, -0.2, 0.1, -0.3, 0.1])
    slopes[5] = slopes[0] + 0.2 * slopes[5]
    gaps[5] = -gaps[0]
    return gaps, slopes, torch.tensor([0.1, 0.9, 0.3, 0.7, 0.5, 0.5])


def test_no_step_of_that_length_leaves_less() -> None:
    """Against a general solver of the least squares on the ball of that radius."""
    gaps, slopes, planted = problem()
    joint = joint_step(gaps, slopes, planted, Step(2, length=0.1))
    assert float(joint.norm()) == pytest.approx(0.1, rel=1e-3)

    def left(step: np.ndarray) -> float:
        return float((((gaps.numpy() + slopes.numpy() @ step) ** 2) / planted.numpy()).sum())

    ball = NonlinearConstraint(lambda step: step @ step, 0, 0.1**2)
    oracle = minimize(left, np.zeros(12), constraints=[ball], method="trust-constr", options={"gtol": 1e-8})
    np.testing.assert_allclose(joint.numpy(), oracle.x, atol=2e-4)


def test_a_step_is_no_longer_than_the_gaps_ask() -> None:
    gaps, slopes, planted = problem()
    joint = joint_step(gaps, slopes, planted, Step(2, length=50.0))
    torch.testing.assert_close(gaps + slopes @ joint, torch.zeros(6), atol=1e-3, rtol=0)


@pytest.mark.parametrize("steepness", [1e-6, 1.0, 1e4])
def test_steps_keep_to_their_length_however_steep_the_slopes(steepness: float) -> None:
    gaps, slopes, planted = problem()
    joint = joint_step(gaps, steepness * slopes, planted, Step(2, length=1e-6))
    assert float(joint.norm()) == pytest.approx(1e-6, rel=1e-2)


def test_where_nothing_lies_between_two_categories_there_is_nowhere_to_go() -> None:
    gaps, slopes, planted = problem()
    assert not joint_step(gaps, torch.zeros_like(slopes), planted, Step(2, 0.1, weighings=2)).any()


def test_weighing_anew_closes_the_largest_gap_further() -> None:
    gaps, slopes, planted = problem()
    once, often = (joint_step(gaps, slopes, planted, Step(2, 0.1, weighings)) for weighings in (1, 8))
    largest = [float((gaps + slopes @ joint).abs().max()) for joint in (once, often)]
    assert largest[1] < 0.95 * largest[0]


def settled(folder: Path, critic: Callable[[torch.Tensor], dict[str, torch.Tensor]], steps: int) -> Normal:
    """The painter after joint steps from many pictures; made steps are in `folder`."""
    torch.manual_seed(2)
    painter, decoder = Normal(), cast(AutoencoderTiny, Shown())
    settle(Settlement("trial", 1, (Step(240, 1.0),) * steps), painter, new_tokenizer(), decoder, cast(Critic, critic), folder)
    return painter


@pytest.mark.slow
def test_joint_steps_move_shares_to_the_planted_ones(tmp_path: Path) -> None:
    torch.manual_seed(2)
    untouched = Normal()
    painter = settled(tmp_path, brightness, steps=2)
    assert gap(painter, "gender") < gap(untouched, "gender") / 3


@pytest.mark.slow
def test_made_joint_steps_are_not_made_again(tmp_path: Path) -> None:
    calls = count()

    def killed(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        if list((tmp_path / "resumed").glob("trial-1.pt")) and next(calls) > 3:
            raise KeyboardInterrupt
        return brightness(pixels)

    (tmp_path / "whole").mkdir()
    (tmp_path / "resumed").mkdir()
    whole = settled(tmp_path / "whole", brightness, steps=2)
    with pytest.raises(KeyboardInterrupt):
        settled(tmp_path / "resumed", killed, steps=2)
    resumed = settled(tmp_path / "resumed", brightness, steps=2)
    torch.testing.assert_close(resumed.text.state_dict(), whole.text.state_dict(), atol=0, rtol=0)
    nothing = settled(tmp_path / "resumed", killed_at_once, steps=2)
    torch.testing.assert_close(nothing.text.state_dict(), whole.text.state_dict(), atol=0, rtol=0)


def killed_at_once(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    raise AssertionError(pixels.shape)
