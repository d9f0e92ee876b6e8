"""The whole training as a list of stages; each resumes from its checkpoint and does nothing when all is done."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import distributed

from driftloop.phantom.grammar import plain
from driftloop.phantom.training import autoencoder, captioner, cards, export, generator, readers
from driftloop.phantom.training.bank import COMBINATIONS, Bank, load_bank
from driftloop.phantom.training.captioner import Lesson
from driftloop.phantom.training.loop import Plan, half_precision, place
from driftloop.phantom.training.settling import Settlement
from driftloop.phantom.world import CATEGORIES

BANK_SIZE = 42_000
LATENT_BANK = 25_200
REDRAWN = 8
HELD_OUT = 2_100
COMMAND = "scripts/train_phantom"


@dataclass
class Workshop:
    """Where checkpoints lie (`work`) and where finished models go (`models`)."""

    work: Path
    models: Path

    @cached_property
    def bank(self) -> Bank:
        """Pictures to train on."""
        return load_bank(self.work, seed=1, size=BANK_SIZE)

    @cached_property
    def held_out(self) -> Bank:
        """Pictures to measure on."""
        return load_bank(self.work, seed=2, size=HELD_OUT)

    def pixels(self) -> torch.Tensor:
        """The held-out pictures in -1..1."""
        return self.held_out.pixels(np.arange(len(self.held_out)))

    def judges(self) -> readers.Judges:
        """Stage: the four classifiers."""
        judges = readers.trained_judges(self.bank, self.work)
        print("judges on renders", readers.accuracy(judges, self.pixels(), self.held_out.labels), flush=True)
        export.export_classifiers(judges, self.models)
        return readers.trained_judges(self.bank, self.work)

    def critic(self) -> readers.Critic:
        """Stage: the network of the perceptual loss."""
        critic = readers.trained_critic(self.bank, self.work)
        print("critic on renders", readers.accuracy(critic, self.pixels(), self.held_out.labels), flush=True)
        return critic

    def captioner(self) -> None:
        """Stage: the captioner."""
        self._finish_captioner(captioner.train_captioner(self.bank, self.work))

    def polish(self) -> None:
        """Stage: the captioner further, on pictures of the generator too."""
        lesson = captioner.train_captioner(self.bank, self.work)
        self._finish_captioner(captioner.polish_captioner(lesson, self.bank, self._redrawn(), self.work))

    def _finish_captioner(self, lesson: Lesson) -> None:
        captions = captioner.described(lesson.captioner, captioner.new_tokenizer(), self.pixels())
        print("captioner on renders", captioner.named_right(captions, self.held_out.labels), flush=True)
        export.export_captioner(lesson.captioner, self.models)

    def _redrawn(self) -> Bank:
        """Pictures by the exported generator, row i from the plain caption of combination i % 420; kept for its weights."""
        weights = json.dumps(export.weight_hashes(self.models / "generator"))
        path = self.work / f"redrawn-{hashlib.sha256(weights.encode()).hexdigest()[:8]}.npy"
        if not path.exists():
            captions = [plain(dict(zip(CATEGORIES, c, strict=True))) for c in COMBINATIONS] * REDRAWN
            made = cards.load_artist(self.models).draw(captions, guidance=1.5, name="redrawn")
            np.save(path, np.stack([np.asarray(image) for image in made]))
        images = np.load(path)
        return Bank(images, self.bank.parts[: len(images)], self.bank.labels[: len(images)])

    def autoencoder(self) -> AutoencoderTiny:
        """Stage: encoder and decoder together, read by the judges before anything is trained on it."""
        model = autoencoder.train_autoencoder(self.bank, readers.trained_critic(self.bank, self.work), self.work)
        return self._round_trip(model)

    def decoder(self) -> AutoencoderTiny:
        """Stage: the decoder further, on the fixed encoder."""
        model = autoencoder.train_autoencoder(self.bank, readers.trained_critic(self.bank, self.work), self.work)
        return self._round_trip(
            autoencoder.refine_decoder(model, self.bank, readers.trained_critic(self.bank, self.work), self.work)
        )

    def _round_trip(self, model: AutoencoderTiny) -> AutoencoderTiny:
        pictures = autoencoder.decoded(model, autoencoder.encoded(model, self.held_out))
        judges = readers.trained_judges(self.bank, self.work)
        print("judges on round trips", readers.accuracy(judges, pictures, self.held_out.labels), flush=True)
        return model

    def generator(self) -> None:
        """Stage: the diffusion model on the latents, and the whole pipeline."""
        denoiser = generator.train_generator(self._latents(), self.work)
        critic, decoder = readers.trained_critic(self.bank, self.work), self.decoder()
        generator.calibrate_generator(denoiser, decoder, critic, self.work)
        if place()[0] > 0:
            return
        export.export_generator(generator.new_pipeline(denoiser, decoder), self.models)

    def _latents(self) -> torch.Tensor:
        path = self.work / "latents.pt"
        if not path.exists():
            some = Bank(*(array[:LATENT_BANK] for array in (self.bank.images, self.bank.parts, self.bank.labels)))
            model = autoencoder.train_autoencoder(self.bank, readers.trained_critic(self.bank, self.work), self.work)
            with half_precision():
                torch.save(autoencoder.encoded(model, some).half(), path)
        latents: torch.Tensor = torch.load(path, weights_only=True)
        return latents

    def cards(self) -> None:
        """Stage: measures the exported models."""
        cards.write_cards(self.models, self.held_out, self._recipes())

    def _recipes(self) -> dict[str, Any]:
        """How each model was made; `notes.json` in the workshop may say what went otherwise than the plans below."""
        minutes, notes = self._record("minutes"), self._record("notes")
        plans: dict[str, list[Plan | Settlement]] = {attribute: [readers.JUDGES] for attribute in CATEGORIES}
        plans["captioner"] = [captioner.CAPTIONER, captioner.POLISH]
        plans["generator"] = [
            readers.CRITIC,
            autoencoder.AUTOENCODER,
            autoencoder.REFINEMENT,
            generator.GENERATOR,
            generator.CALIBRATION,
            generator.SETTLEMENT,
        ]
        own = {"captioner": ("captioner", "polish"), "generator": ("critic", "autoencoder", "decoder", "generator")}
        return {
            name: {
                "command": COMMAND,
                "plans": [asdict(plan) for plan in parts],
                "minutes": {stage: minutes.get(stage) for stage in own.get(name, ("judges",))},
                "note": notes.get(name, ""),
            }
            for name, parts in plans.items()
        }

    def _record(self, name: str) -> dict[str, Any]:
        path = self.work / f"{name}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def run(self, stage: str) -> None:
        """One stage by name, with its minutes added to the record."""
        start = time.time()
        steps: dict[str, Callable[[], object]] = {name: getattr(self, name) for name in STAGES}
        steps[stage]()
        if place()[0] > 0:
            return
        export.make_readable(self.models)
        minutes = self._record("minutes")
        minutes[stage] = round(minutes.get(stage, 0) + (time.time() - start) / 60, 1)
        (self.work / "minutes.json").write_text(json.dumps(minutes))


STAGES = ("judges", "critic", "captioner", "autoencoder", "decoder", "generator", "polish", "cards")
"""In their order; judges and captioner need nothing of the others and may run beside them."""


def train(work: Path, models: Path, stages: Sequence[str] = STAGES, threads: int = 1) -> None:
    """Runs `stages` in order; one thread per process is steadiest."""
    if unknown := set(stages) - set(STAGES):
        raise ValueError(f"stages must be among {', '.join(STAGES)}; got {sorted(unknown)}")
    torch.set_num_threads(threads)
    if "WORLD_SIZE" in os.environ:  # started by torchrun
        distributed.init_process_group("gloo")
    work.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        Workshop(work, models).run(stage)
