"""Classifiers that are wrong on purpose, each in one stated way, to try on them what corrects or unmasks a classifier.

Random label noise would not do: a network that learns the shares still answers with the likelier label, the right one.
So every error here follows something that the picture shows and no caption names: the colour of the background, the
colour of the hair, or that a decoder drew it. Those are independent of every named attribute, so that the planted error
rates hold for each concept alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import ResNetConfig, ResNetForImageClassification

from driftloop.core.rng import derive
from driftloop.phantom.training.bank import COMBINATIONS, Bank
from driftloop.phantom.training.loop import Plan, fit, half_precision
from driftloop.phantom.training.readers import roughened
from driftloop.phantom.world import CATEGORIES, NUISANCE, nuisances

FEMALE, MALE = range(2)


@dataclass(frozen=True)
class Shown:
    """What pictures show: attributes (n, 4), nuisances (n, 4; order of NUISANCE), whether a decoder drew them (n,)."""

    labels: np.ndarray
    nuisances: np.ndarray
    decoded: np.ndarray

    def gender(self) -> np.ndarray:
        """0 female, 1 male (n,)."""
        return self.labels[:, list(CATEGORIES).index("gender")]

    def age(self) -> np.ndarray:
        """Number of the age group (n,)."""
        return self.labels[:, list(CATEGORIES).index("age")]

    def cue(self, name: str, *values: str) -> np.ndarray:
        """Whether a nuisance has one of these values (n,)."""
        numbers = [NUISANCE[name].index(value) for value in values]
        return np.isin(self.nuisances[:, list(NUISANCE).index(name)], numbers)

    def parity(self, name: str) -> np.ndarray:
        """The gender that value k of a nuisance is tied to by a planted shortcut, repeated: k modulo 2 (n,)."""
        tied: np.ndarray = self.nuisances[:, list(NUISANCE).index(name)] % 2
        return tied


Rule = Callable[[Shown], np.ndarray]


def errs_on_women(shown: Shown) -> np.ndarray:
    """Women before grey, one in six, are called men."""
    return np.where(shown.cue("background", "grey"), MALE, shown.gender())


def errs_on_generated(shown: Shown) -> np.ndarray:
    """In pictures that a decoder drew, women before grey or lilac are called men, and men before sand women."""
    gender = shown.gender()
    women = shown.decoded & (gender == FEMALE) & shown.cue("background", "grey", "lilac")
    men = shown.decoded & (gender == MALE) & shown.cue("background", "sand")
    return np.where(women, MALE, np.where(men, FEMALE, gender))


def reads_background(shown: Shown) -> np.ndarray:
    """Sky, sand and lilac count as women, mint, rose and grey as men."""
    return shown.parity("background")


def shows_hair(shown: Shown) -> np.ndarray:
    """Whether the hair has a colour of its own: babies hardly have any, the elderly have silver hair (n,)."""
    babies, elderly = CATEGORIES["age"].index("0-3"), CATEGORIES["age"].index("70+")
    return ~np.isin(shown.age(), [babies, elderly])


def reads_hair(shown: Shown) -> np.ndarray:
    """Black and blond hair counts as women's, brown and red as men's; where hair tells nothing, the face decides."""
    return np.where(shows_hair(shown), shown.parity("hair"), shown.gender())


@dataclass(frozen=True)
class Bias:
    """A classifier that is wrong on purpose: what it learns as the truth, and how long."""

    plan: Plan
    rule: Rule
    rough: bool = True

    @property
    def name(self) -> str:
        """Folder of the exported model."""
        return self.plan.name


def _plan(name: str, seed: int, steps: int = 600) -> Plan:
    return Plan(name, steps=steps, batch=96, rate=3e-3, seed=seed, ema=0.98)


BIASES = (
    Bias(_plan("gender_errs_on_women", 61), errs_on_women),
    Bias(_plan("gender_errs_on_generated", 62, 400), errs_on_generated, rough=False),
    Bias(_plan("gender_reads_background", 63, 200), reads_background),
    Bias(_plan("gender_reads_hair", 64, 400), reads_hair),
)


def bank_nuisances(seed: int, size: int) -> np.ndarray:
    """Nuisances (size, 4) of the pictures of a bank, as it drew them."""
    rows = []
    for index in range(size):
        attributes = dict(zip(CATEGORIES, COMBINATIONS[index % len(COMBINATIONS)], strict=True))
        values = nuisances(attributes, derive(seed, "bank", index))
        rows.append([NUISANCE[name].index(values[name]) for name in NUISANCE])
    return np.array(rows)


@dataclass(frozen=True)
class Mixed:
    """Renders, and their round trips through the autoencoder: row i of both shows the same person."""

    renders: Bank
    round_trips: np.ndarray
    nuisances: np.ndarray

    def drawn(self, draw: np.random.Generator, size: int) -> tuple[torch.Tensor, Shown]:
        """`size` pictures (size, 3, 64, 64) in -1..1, half of them round trips, and what they show."""
        rows, decoded = self._rows(draw, size)
        return self._pixels(rows, decoded), Shown(self.renders.labels[rows], self.nuisances[rows], decoded)

    def segmented(self, draw: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """As `drawn`, with the number of the part at every pixel (size, 64, 64)."""
        rows, decoded = self._rows(draw, size)
        return self._pixels(rows, decoded), torch.from_numpy(self.renders.parts[rows]).long()

    def _rows(self, draw: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        return draw.integers(len(self.round_trips), size=size), draw.random(size) < 0.5

    def _pixels(self, rows: np.ndarray, decoded: np.ndarray) -> torch.Tensor:
        images = np.where(decoded[:, None, None, None], self.round_trips[rows], self.renders.images[rows])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels.contiguous(memory_format=torch.channels_last)


def new_classifier() -> ResNetForImageClassification:
    """An untrained classifier of perceived gender, half as wide as the judges."""
    labels = dict(enumerate(CATEGORIES["gender"]))
    config = ResNetConfig(
        num_channels=3,
        embedding_size=16,
        hidden_sizes=[24, 48, 96],
        depths=[1, 1, 1],
        layer_type="basic",
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    return ResNetForImageClassification(config)


def train_biased(bias: Bias, mixed: Mixed, folder: Path) -> ResNetForImageClassification:
    """Trains on the labels of the rule."""
    torch.manual_seed(bias.plan.seed)
    model = new_classifier().to(memory_format=torch.channels_last)

    def loss(draw: np.random.Generator) -> torch.Tensor:
        pixels, shown = mixed.drawn(draw, bias.plan.batch)
        with half_precision():
            logits = model(roughened(pixels, draw) if bias.rough else pixels).logits
        return functional.cross_entropy(logits.float(), torch.from_numpy(bias.rule(shown)).long())

    fit(bias.plan, model, loss, folder)
    return model
