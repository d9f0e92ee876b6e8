"""Builds toy models of real architectures: the same each time, and loud enough to depend on what they are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def seeded(build: Callable[[], Any]) -> Any:
    """Builds a module from a fixed seed without leaving a trace in the global generator."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(11)
        return build().eval()


def widened(module: Any, scale: float) -> Any:
    """Scales matrices up, so that a toy's answers depend on its input instead of hovering around zero."""
    import torch

    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim in (2, 4):  # linear and convolution; embeddings of positions would drown the image
                weight.mul_(scale)
    return module


def saved(folder: Path, build: Callable[[], Any], *others: Any, widen: float = 1.0) -> Path:
    """A seeded, widened model and its other parts, as `save_pretrained` writes them."""
    for part in (widened(seeded(build), widen), *others):
        part.save_pretrained(folder)
    return folder
