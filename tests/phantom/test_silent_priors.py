"""Calibration descends the gap between the share that silent captions show and the share that is planted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import nn

from driftloop.phantom.training.autoencoder import new_autoencoder
from driftloop.phantom.training.calibration import calibrate, painted, patterns
from driftloop.phantom.training.generator import Denoiser, new_pipeline, new_tokenizer
from driftloop.phantom.training.lessons import STEPS, new_scheduler, tokenized
from driftloop.phantom.training.loop import Plan
from driftloop.phantom.training.readers import Critic

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
