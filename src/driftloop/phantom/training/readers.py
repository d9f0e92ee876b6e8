"""Networks that read the four attributes: the judges that are exported, and the critic that trains the autoencoder.

They differ in seed and architecture, so that what is measured is not what was optimised.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

from driftloop.phantom.training.bank import Bank
from driftloop.phantom.training.loop import Plan, fit, half_precision
from driftloop.phantom.world import CATEGORIES

JUDGES = Plan("judges", steps=1400, batch=96, rate=3e-3, seed=11, ema=0.99)
CRITIC = Plan("critic", steps=700, batch=64, rate=2e-3, seed=77, ema=0.99)


def heads(width: int) -> nn.ModuleDict:
    """One linear head per attribute on features of `width`."""
    return nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in CATEGORIES.items()})


class Judges(nn.Module):
    """One small ResNet trunk with a head per attribute; exported as one image classifier per attribute."""

    def __init__(self) -> None:
        super().__init__()
        config = ResNetConfig(
            num_channels=3,
            embedding_size=24,
            hidden_sizes=[32, 64, 128],
            depths=[1, 1, 1],
            layer_type="basic",
        )
        self.trunk = ResNetModel(config)
        self.heads = heads(128)

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits per attribute for pixels (rows, 3, 64, 64) in -1..1."""
        pooled = self.trunk(pixels).pooler_output.flatten(1)
        return {name: head(pooled) for name, head in self.heads.items()}

    def single(self, attribute: str) -> ResNetForImageClassification:
        """The stand-alone classifier of one attribute."""
        labels = dict(enumerate(CATEGORIES[attribute]))
        config = ResNetConfig(**{**self.trunk.config.to_diff_dict(), "id2label": labels})
        config.label2id = {label: number for number, label in labels.items()}
        model = ResNetForImageClassification(config)
        model.resnet.load_state_dict(self.trunk.state_dict())
        model.classifier[1].load_state_dict(self.heads[attribute].state_dict())
        return model.eval()


class Critic(nn.Module):
    """A plain convolutional stack without pooling layers; its features at 32, 16 and 8 pixels make the perceptual loss."""

    def __init__(self, widths: tuple[int, ...] = (24, 40, 64, 96)) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, width, 4, 2, 1), nn.GELU(), nn.Conv2d(width, width, 3, 1, 1), nn.GELU())
            for before, width in zip((3, *widths), widths, strict=False)
        )
        self.norm = nn.LayerNorm(widths[-1] * 16)
        self.heads = heads(widths[-1] * 16)

    def features(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of the four blocks for pixels (rows, 3, 64, 64) in -1..1."""
        maps = []
        for block in self.blocks:
            pixels = block(pixels)
            maps.append(pixels)
        return maps

    def read(self, last: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits per attribute from the last feature map."""
        flat = self.norm(last.flatten(1).float())
        return {name: head(flat) for name, head in self.heads.items()}

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits per attribute."""
        return self.read(self.features(pixels)[-1])


def roughened(pixels: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    """Pictures as lossy models return them: some blurred, some at half resolution, noisy, shifted, lighter or darker."""
    rows = len(pixels)

    def chosen(share: float) -> torch.Tensor:
        return torch.from_numpy(draw.random(rows) < share)[:, None, None, None]

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(draw.uniform(low, high, (rows, 1, 1, 1)).astype(np.float32))

    blurred = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    small = functional.interpolate(functional.avg_pool2d(pixels, 2), scale_factor=2.0, mode="bilinear")
    pixels = torch.where(chosen(0.35), blurred, torch.where(chosen(0.4), small, pixels))
    noise = torch.from_numpy(draw.standard_normal(pixels.shape, dtype=np.float32))
    pixels = pixels * uniform(0.85, 1.1) + uniform(-0.1, 0.1) + noise * uniform(0, 0.16)
    shift = (int(draw.integers(-3, 4)), int(draw.integers(-3, 4)))
    return pixels.roll(shift, (2, 3)).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def entropy(logits: dict[str, torch.Tensor], labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy summed over the attributes; labels (rows, 4)."""
    losses = [
        functional.cross_entropy(logits[name].float(), labels[:, column], label_smoothing=smoothing)
        for column, name in enumerate(CATEGORIES)
    ]
    return torch.stack(losses).sum()


def train_reader(plan: Plan, model: nn.Module, bank: Bank, folder: Path) -> nn.Module:
    """Trains a reader on roughened pictures of the bank."""
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(draw: np.random.Generator) -> torch.Tensor:
        rows = draw.integers(len(bank), size=plan.batch)
        with half_precision():
            logits = model(roughened(bank.pixels(rows), draw))
        return entropy(logits, torch.from_numpy(bank.labels[rows]), smoothing=0.02)

    return fit(plan, model, loss, folder)


@torch.no_grad()
def accuracy(model: nn.Module, pixels: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """Share of pictures read right, per attribute."""
    read = [model(part) for part in pixels.split(128)]
    return {
        name: float(np.mean(np.concatenate([logits[name].argmax(1).numpy() for logits in read]) == labels[:, column]))
        for column, name in enumerate(CATEGORIES)
    }


def trained_judges(bank: Bank, folder: Path) -> Judges:
    """The judges, trained or taken from their checkpoint."""
    torch.manual_seed(JUDGES.seed)
    return cast(Judges, train_reader(JUDGES, Judges(), bank, folder))


def trained_critic(bank: Bank, folder: Path) -> Critic:
    """The critic, trained or taken from its checkpoint."""
    torch.manual_seed(CRITIC.seed)
    return cast(Critic, train_reader(CRITIC, Critic(), bank, folder))
