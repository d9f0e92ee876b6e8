"""Writes the trained models in the standard formats: half-precision safetensors that compute in single precision."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from transformers import BlipForConditionalGeneration, ViTImageProcessorPil

from driftloop.phantom.training.captioner import new_processor
from driftloop.phantom.training.readers import Judges
from driftloop.phantom.world import CATEGORIES


def export_classifiers(judges: Judges, models: Path) -> None:
    """One image classifier per attribute."""
    processor = ViTImageProcessorPil(size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    for attribute in CATEGORIES:
        save_half(judges.single(attribute), models / attribute)
        processor.save_pretrained(models / attribute)


def export_captioner(captioner: BlipForConditionalGeneration, models: Path) -> None:
    """The captioner with its processor."""
    save_half(captioner, models / "captioner")
    new_processor().save_pretrained(models / "captioner")


def export_generator(pipeline: StableDiffusionPipeline, models: Path) -> None:
    """The pipeline."""
    pipeline.to(dtype=torch.float16).save_pretrained(models / "generator", safe_serialization=True)
    state_single_precision(models / "generator" / "text_encoder")


def make_readable(models: Path) -> None:
    """Weights are written readable by their owner alone; a package is for everybody."""
    for path in models.rglob("*.safetensors"):
        path.chmod(0o644)


def weight_hashes(folder: Path) -> dict[str, str]:
    """File below `folder` -> sha256 of every safetensors file."""
    paths = sorted(folder.rglob("*.safetensors"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def save_half(model: nn.Module, folder: Path) -> None:
    """A transformers model, without its processor."""
    model.half().save_pretrained(folder, safe_serialization=True)  # type: ignore[operator]
    state_single_precision(folder)


def state_single_precision(folder: Path) -> None:
    """Has the config say float32: transformers loads in the precision that the config states."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(_single(config), indent=2, sort_keys=True) + "\n")


def _single(config: dict[str, object]) -> dict[str, object]:
    """`config` with every stated dtype, nested ones too, set to float32."""
    stated = {key: _single(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {**stated, **{key: "float32" for key in ("dtype", "torch_dtype") if key in stated}}
