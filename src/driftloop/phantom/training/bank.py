"""A bank of rendered pictures: every combination of attributes equally often, drawn once and mapped from disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch

from driftloop.core.rng import derive
from driftloop.phantom.render import SIZE, render
from driftloop.phantom.world import CATEGORIES, Person, nuisances

COMBINATIONS: tuple[tuple[str, ...], ...] = tuple(product(*CATEGORIES.values()))
"""All (gender, age, emotion, activity), 420 of them; picture i of a bank shows combination i % 420."""


@dataclass(frozen=True)
class Bank:
    """Pictures (n, 64, 64, 3) uint8, part numbers (n, 64, 64) uint8, attribute numbers (n, 4) in the order of CATEGORIES."""

    images: np.ndarray
    parts: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, rows: np.ndarray) -> torch.Tensor:
        """The pictures of these rows as floats in -1..1, (rows, 3, 64, 64), channels last in memory."""
        floats = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2).float()
        return (floats / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def bank_person(seed: int, index: int) -> Person:
    """The person of picture `index`."""
    attributes = dict(zip(CATEGORIES, COMBINATIONS[index % len(COMBINATIONS)], strict=True))
    return Person(**attributes, **nuisances(attributes, derive(seed, "bank", index)))


def load_bank(folder: Path, seed: int, size: int) -> Bank:
    """The bank of this seed and size, rendered on first use."""
    target = folder / f"bank-{seed}-{size}"
    if not target.exists():
        _write_bank(target, seed, size)
    return Bank(*(np.load(target / f"{name}.npy", mmap_mode="r") for name in ("images", "parts", "labels")))


def _write_bank(target: Path, seed: int, size: int) -> None:
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    images = np.zeros((size, SIZE, SIZE, 3), np.uint8)
    parts = np.zeros((size, SIZE, SIZE), np.uint8)
    for index in range(size):
        rendering = render(bank_person(seed, index), derive(seed, "bank", index))
        images[index], parts[index] = np.asarray(rendering.image), rendering.parts
    numbers = [[CATEGORIES[name].index(value) for name, value in zip(CATEGORIES, c, strict=True)] for c in COMBINATIONS]
    labels = np.resize(np.array(numbers, np.int64), (size, len(CATEGORIES)))
    for name, array in (("images", images), ("parts", parts), ("labels", labels)):
        np.save(temporary / f"{name}.npy", array)
    temporary.rename(target)
