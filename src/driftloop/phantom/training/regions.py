"""The segmenter: a tiny SegFormer that finds the parts of a drawn person in pictures that carry no true masks.

Its first stage keeps every second pixel instead of every fourth: brows and mouths are a few pixels high.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

from driftloop.phantom.figure import PARTS
from driftloop.phantom.training.biased import Mixed
from driftloop.phantom.training.loop import Plan, fit, half_precision

REGIONS = Plan("regions", steps=500, batch=12, rate=3e-3, seed=91, ema=0.99, decay=0.01, warmup=50)
RARE = {"eyes_brows": 2.0, "mouth": 2.0, "body": 2.0}
"""What an error on small parts weighs."""


def new_segmenter() -> SegformerForSemanticSegmentation:
    """An untrained SegFormer of four stages, one layer each."""
    labels = dict(enumerate(PARTS))
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[24, 32, 48, 64],
        num_attention_heads=[1, 2, 3, 4],
        patch_sizes=[5, 3, 3, 3],
        strides=[2, 2, 2, 2],
        sr_ratios=[8, 4, 2, 1],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=48,
        classifier_dropout_prob=0.0,
        drop_path_rate=0.0,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    return SegformerForSemanticSegmentation(config)


def new_processor() -> SegformerImageProcessorPil:
    """Pictures to 64 × 64 in -1..1."""
    return SegformerImageProcessorPil(
        size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_reduce_labels=False
    )


def upsampled(logits: torch.Tensor) -> torch.Tensor:
    """Logits (rows, parts, 32, 32) at the 64 × 64 pixels of the picture."""
    return functional.interpolate(logits.float(), size=(64, 64), mode="bilinear")


def train_segmenter(mixed: Mixed, folder: Path, plan: Plan = REGIONS) -> SegformerForSemanticSegmentation:
    """Trains on renders and round trips, lighter, darker and noisy, against the true masks of the renders."""
    torch.manual_seed(plan.seed)
    model = new_segmenter()
    weight = torch.tensor([RARE.get(part, 1.0) for part in PARTS])

    def loss(draw: np.random.Generator) -> torch.Tensor:
        pixels, parts = mixed.segmented(draw, plan.batch)
        with half_precision():
            logits = model(pixel_values=_relit(pixels, draw)).logits
        return functional.cross_entropy(upsampled(logits), parts, weight=weight)

    fit(plan, model, loss, folder)
    return model


def _relit(pixels: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    """Lighter, darker, noisy."""
    light = torch.from_numpy(draw.uniform(0.85, 1.1, (len(pixels), 1, 1, 1)).astype(np.float32))
    grain = torch.from_numpy(draw.uniform(0, 0.1, (len(pixels), 1, 1, 1)).astype(np.float32))
    return (pixels * light + grain * torch.from_numpy(draw.standard_normal(pixels.shape, dtype=np.float32))).clamp(-1, 1)


def intersection_over_union(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Part -> intersection over union of all pixels of all pictures, part numbers (n, 64, 64) both."""
    counts = np.bincount(true.ravel().astype(np.int64) * len(PARTS) + found.ravel(), minlength=len(PARTS) ** 2)
    table = counts.reshape(len(PARTS), len(PARTS))
    union = table.sum(0) + table.sum(1) - table.diagonal()
    return {part: round(float(table[k, k] / union[k]), 4) for k, part in enumerate(PARTS)}
