"""Pictures of the bank after a round trip through the autoencoder: what a perfect generator's pictures look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from driftloop.phantom.training.autoencoder import decoded
from driftloop.phantom.training.loop import half_precision


def load_round_trips(model: AutoencoderTiny, latents: torch.Tensor, path: Path) -> np.ndarray:
    """Decoded latents as pictures (n, 64, 64, 3) uint8, made on first use and mapped from disk."""
    if not path.exists():
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, _pictures(model, latents))
        temporary.rename(path)
    pictures: np.ndarray = np.load(path, mmap_mode="r")
    return pictures


def _pictures(model: AutoencoderTiny, latents: torch.Tensor) -> np.ndarray:
    with half_precision():
        pixels = decoded(model, latents.float())
    return ((pixels + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
