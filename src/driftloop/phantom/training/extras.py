"""The further models as stages after the first ones: what omits, what is wrong on purpose, regions, meaning, second families.

Each stage resumes from its checkpoint and does nothing when it is done, as the first ones do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from transformers import BlipForConditionalGeneration, CLIPModel, ViTImageProcessorPil

from driftloop.phantom.training import (
    autoencoder,
    biased,
    captioner,
    cards,
    dit,
    encoder,
    export,
    extra_cards,
    llava,
    omitting,
    readers,
    regions,
)
from driftloop.phantom.training.bank import COMBINATIONS
from driftloop.phantom.training.biased import BIASES, Mixed, bank_nuisances
from driftloop.phantom.training.loop import Plan
from driftloop.phantom.training.round_trips import load_round_trips
from driftloop.phantom.training.stages import COMMAND, STAGES, Workshop, train

MINUTES_FILE = "minutes-extras"
ROUND_TRIPS = 20 * len(COMBINATIONS)
PLANS: dict[str, tuple[Plan, ...]] = {
    "captioner_omitting": (omitting.OMITTING,),
    **{bias.name: (bias.plan,) for bias in BIASES},
    "regions": (regions.REGIONS,),
    "encoder": (encoder.ENCODER,),
    "captioner_llava": (encoder.ENCODER, llava.LLAVA),
    "generator_dit": (dit.DIT, dit.CALIBRATION),
}
"""Folder -> how it was trained, beside what the first models' cards say."""
MINUTES = {
    "captioner_omitting": ("omitting",),
    **{bias.name: ("biased",) for bias in BIASES},
    "regions": ("regions",),
    "encoder": ("encoder",),
    "captioner_llava": ("encoder", "llava"),
    "generator_dit": ("dit",),
}
"""Folder -> the stages whose minutes its card states."""


class Annex(Workshop):
    """The workshop of the further models; needs the first ones, trained and exported."""

    @cached_property
    def decoder_alone(self) -> AutoencoderTiny:
        """The finished autoencoder, from its checkpoints."""
        model = autoencoder.new_autoencoder()
        model.load_state_dict(_averaged(self.work / "autoencoder.pt"))
        model.decoder.load_state_dict(_averaged(self.work / "decoder.pt"))
        return model.to(memory_format=torch.channels_last).eval()

    @cached_property
    def mixed(self) -> Mixed:
        """Renders with their round trips, to train on."""
        round_trips = load_round_trips(self.decoder_alone, self._latents()[:ROUND_TRIPS], self.work / "round-trips.npy")
        return Mixed(self.bank, round_trips, bank_nuisances(1, ROUND_TRIPS))

    @cached_property
    def held_out_round_trips(self) -> np.ndarray:
        """Round trips of the held-out pictures."""
        latents = autoencoder.encoded(self.decoder_alone, self.held_out)
        return load_round_trips(self.decoder_alone, latents, self.work / "held-out-round-trips.npy")

    def omitting(self) -> None:
        """Stage: the captioner that leaves words out."""
        model = omitting.train_omitting(self._faithful(), self.mixed, self.work)
        export.save_half(model, self.models / "captioner_omitting")
        captioner.new_processor().save_pretrained(self.models / "captioner_omitting")

    def biased(self) -> None:
        """Stage: the classifiers that are wrong on purpose."""
        processor = ViTImageProcessorPil(size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        for bias in BIASES:
            export.save_half(biased.train_biased(bias, self.mixed, self.work), self.models / bias.name)
            processor.save_pretrained(self.models / bias.name)

    def regions(self) -> None:
        """Stage: the segmenter."""
        export.save_half(regions.train_segmenter(self.mixed, self.work), self.models / "regions")
        regions.new_processor().save_pretrained(self.models / "regions")

    def _faithful(self) -> BlipForConditionalGeneration:
        return BlipForConditionalGeneration.from_pretrained(self.models / "captioner")

    def _trained_encoder(self) -> CLIPModel:
        return encoder.train_encoder(self._faithful(), self.mixed, self.work)

    def encoder(self) -> None:
        """Stage: the image–text encoder."""
        export.save_half(self._trained_encoder(), self.models / "encoder")
        encoder.new_processor().save_pretrained(self.models / "encoder")

    def llava(self) -> None:
        """Stage: the second captioner, behind the encoder's picture side."""
        model = llava.train_llava(self._trained_encoder(), self.mixed, self.work)
        export.save_half(model, self.models / "captioner_llava")
        llava.new_processor().save_pretrained(self.models / "captioner_llava")

    def dit(self) -> None:
        """Stage: the second generator, on the first one's latents."""
        denoiser, critic = dit.train_dit(self._latents(), self.work), readers.trained_critic(self.bank, self.work)
        dit.calibrate_dit(denoiser, self.decoder_alone, critic, self.work)
        pipeline = dit.new_pipeline(denoiser, self.decoder_alone)
        pipeline.to(dtype=torch.float16).save_pretrained(self.models / "generator_dit", safe_serialization=True)
        export.state_single_precision(self.models / "generator_dit" / "text_encoder")

    def extra_cards(self, names: Sequence[str] = ()) -> None:
        """Stage: measures the exported models, or those of these names."""
        minutes, notes = self._record(MINUTES_FILE), self._record("notes-extras")
        for name in names or [name for name in PLANS if (self.models / name).is_dir()]:
            recipe = {
                "command": COMMAND,
                "plans": [asdict(plan) for plan in PLANS[name]],
                "minutes": {stage: minutes.get(stage) for stage in MINUTES[name]},
                "note": notes.get(name, ""),
            }
            cards.write_card(self.models / name, {**recipe, **self._figures(name)})

    def _figures(self, name: str) -> dict[str, Any]:
        pictures = (self.held_out, self.held_out_round_trips)
        wrong = {bias.name: bias for bias in BIASES}
        if name in wrong:
            nuisances = bank_nuisances(2, len(self.held_out))
            return extra_cards.bias_figures(wrong[name], self.models, *pictures, nuisances, self._redrawn())
        figures: dict[str, Callable[[], dict[str, Any]]] = {
            "captioner_omitting": lambda: extra_cards.omission_figures(self.models / name, *pictures),
            "captioner_llava": lambda: extra_cards.captioner_figures(self.models / name, llava.PROMPT, *pictures),
            "regions": lambda: extra_cards.region_figures(self.models / "regions", *pictures),
            "encoder": lambda: extra_cards.encoder_figures(self.models / "encoder", *pictures),
            "generator_dit": lambda: extra_cards.dit_figures(self.models),
        }
        return figures[name]()

    def run(self, stage: str) -> None:
        """One stage by name, with its minutes added to the record."""
        start = time.time()
        steps: dict[str, Callable[[], object]] = {name: getattr(self, name) for name in EXTRA_STAGES}
        steps[stage]()
        export.make_readable(self.models)
        minutes = self._record(MINUTES_FILE)
        minutes[stage] = round(minutes.get(stage, 0) + (time.time() - start) / 60, 1)
        (self.work / f"{MINUTES_FILE}.json").write_text(json.dumps(minutes))


def _averaged(path: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint."""
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["average"]
    return weights


EXTRA_STAGES = ("omitting", "biased", "regions", "encoder", "llava", "dit", "extra_cards")
"""In their order, after the first ones; all but llava, which needs the encoder, may run beside each other."""


def train_all(work: Path, models: Path, stages: Sequence[str] = (*STAGES, *EXTRA_STAGES), threads: int = 1) -> None:
    """Runs `stages` in order, those of the first models before those of the further ones."""
    if unknown := set(stages) - {*STAGES, *EXTRA_STAGES}:
        raise ValueError(f"stages must be among {', '.join((*STAGES, *EXTRA_STAGES))}; got {sorted(unknown)}")
    train(work, models, [stage for stage in stages if stage in STAGES], threads)
    for stage in stages:
        if stage in EXTRA_STAGES:
            Annex(work, models).run(stage)
