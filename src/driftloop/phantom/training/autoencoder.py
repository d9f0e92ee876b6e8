"""The autoencoder of the generator: 64 × 64 pictures to 8 × 8 × 16 latents.

Pixel loss alone keeps gender and age and loses the face's expression, so from the first step the loss has three parts:
pixels (eyes, brows and mouth weigh most), features of the critic, and what the critic reads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn import functional

from driftloop.phantom.figure import PARTS
from driftloop.phantom.training.bank import Bank
from driftloop.phantom.training.loop import Plan, fit, half_precision
from driftloop.phantom.training.readers import Critic

AUTOENCODER = Plan("autoencoder", steps=2600, batch=16, rate=2e-3, seed=21, ema=0.995, decay=0.0)
REFINEMENT = Plan("decoder", steps=3000, batch=16, rate=1.5e-3, seed=22, ema=0.995, decay=0.0)
LATENT_NOISE = 0.12
FEATURE_WEIGHT = 0.25
READING_WEIGHT = 0.02
PART_WEIGHTS = {"face_skin": 2.0, "eyes_brows": 4.0, "mouth": 4.0}


def new_autoencoder(width: int = 32, latent_channels: int = 16) -> AutoencoderTiny:
    """An untrained autoencoder; few layers at full resolution, where they are dear."""
    return AutoencoderTiny(
        latent_channels=latent_channels,
        encoder_block_out_channels=(width,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(0, 1, 3, 3),
        num_decoder_blocks=(3, 3, 1, 0),
    )


def train_autoencoder(bank: Bank, critic: Critic, folder: Path, plan: Plan = AUTOENCODER) -> AutoencoderTiny:
    """Trains encoder and decoder together, latents noised a little so that the decoder forgives the diffusion model."""
    torch.manual_seed(plan.seed)
    model = new_autoencoder().to(memory_format=torch.channels_last)
    critic.requires_grad_(False)
    weights = torch.tensor([PART_WEIGHTS.get(part, 1.0) for part in PARTS])

    def loss(draw: np.random.Generator) -> torch.Tensor:
        rows = np.sort(draw.integers(len(bank), size=plan.batch))
        pixels = bank.pixels(rows)
        weight = weights[torch.from_numpy(bank.parts[rows]).long()][:, None]
        with half_precision():
            latents = model.encode(pixels).latents.float()
            noise = torch.from_numpy(draw.standard_normal(latents.shape, dtype=np.float32))
            decoded = model.decode(latents + LATENT_NOISE * noise).sample.float()
        return pixel_loss(decoded, pixels, weight) + perceptual_loss(critic, decoded, pixels) + 0.02 * spread_loss(latents)

    fit(plan, model, loss, folder)
    return model


def refine_decoder(
    model: AutoencoderTiny, bank: Bank, critic: Critic, folder: Path, plan: Plan = REFINEMENT
) -> AutoencoderTiny:
    """Trains the decoder alone on a fixed encoder, so that a generator trained on its latents stays valid."""
    model.encoder.requires_grad_(False)
    critic.requires_grad_(False)
    weights = torch.tensor([PART_WEIGHTS.get(part, 1.0) for part in PARTS])

    def loss(draw: np.random.Generator) -> torch.Tensor:
        rows = np.sort(draw.integers(len(bank), size=plan.batch))
        pixels = bank.pixels(rows)
        weight = weights[torch.from_numpy(bank.parts[rows]).long()][:, None]
        with half_precision():
            with torch.no_grad():
                latents = model.encode(pixels).latents.float()
            noise = torch.from_numpy(draw.standard_normal(latents.shape, dtype=np.float32))
            decoded = model.decode(latents + LATENT_NOISE * noise).sample.float()
        return pixel_loss(decoded, pixels, weight) + perceptual_loss(critic, decoded, pixels)

    fit(plan, model.decoder, loss, folder)
    return model.eval()


def pixel_loss(decoded: torch.Tensor, pixels: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean absolute error weighted by part, all (rows, ·, 64, 64)."""
    return ((decoded - pixels).abs() * weight).mean()


def perceptual_loss(critic: Critic, decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Distance of the critic's features, each map scaled to its own size, and of what the critic reads."""
    with half_precision():
        with torch.no_grad():
            wanted = critic.features(pixels)
            targets = critic.read(wanted[-1])
        got = critic.features(decoded)
        read = critic.read(got[-1])
    distances = [functional.l1_loss(g.float(), w.float()) / w.float().abs().mean() for g, w in zip(got, wanted, strict=True)]
    readings = [
        functional.kl_div(read[name].float().log_softmax(1), targets[name].float().softmax(1), reduction="batchmean")
        for name in read
    ]
    return FEATURE_WEIGHT * torch.stack(distances).mean() + READING_WEIGHT * torch.stack(readings).sum()


def spread_loss(latents: torch.Tensor) -> torch.Tensor:
    """Pulls every latent channel to mean 0 and variance 1 over the batch, so that the diffusion starts from its own scale."""
    flat = latents.transpose(0, 1).flatten(1)
    return (flat.mean(1).square() + (flat.std(1) - 1).square()).mean()


@torch.no_grad()
def encoded(model: AutoencoderTiny, bank: Bank, batch: int = 128) -> torch.Tensor:
    """Latents (n, 16, 8, 8) of a whole bank, fp32."""
    parts = [model.encode(bank.pixels(np.arange(s, min(s + batch, len(bank))))).latents for s in range(0, len(bank), batch)]
    return torch.cat(parts).contiguous()


@torch.no_grad()
def decoded(model: AutoencoderTiny, latents: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, 64, 64) in -1..1 as they are saved: rounded to 8 bits."""
    pixels = torch.cat([model.decode(part).sample for part in latents.split(128)]).clamp(-1, 1)
    return ((pixels + 1) * 127.5).round() / 127.5 - 1
