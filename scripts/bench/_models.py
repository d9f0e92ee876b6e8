"""The models of an experiment as diffusers and transformers offer them: no adapter, no padding, no driftloop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image
from PIL.Image import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from driftloop.core.experiment import Experiment
from driftloop.core.weights import locate
from driftloop.engines.local import players
from driftloop.stages.play import Players

BUILT_IN = ("dataset=phantom", "generator=phantom_diffusion", "captioner=phantom_blip")


class Bare:
    """Both models, called as their libraries' documentation does."""

    def __init__(self, asked: Experiment) -> None:
        generator, captioner = asked.generator.call, asked.captioner.call
        self._pipe = AutoPipelineForText2Image.from_pretrained(locate(generator["model"])[0])
        self._pipe.set_progress_bar_config(disable=True)
        self._arguments = _arguments(generator)
        folder = locate(captioner["model"])[0]
        self._network = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self._processor = AutoProcessor.from_pretrained(folder)
        self._most = captioner["max_new_tokens"]

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        images: list[Image] = self._pipe(list(captions), generator=noise, **self._arguments).images
        return images

    def describe(self, images: Sequence[Image]) -> list[str]:
        inputs = self._processor(images=list(images), return_tensors="pt")
        with torch.inference_mode():
            tokens = self._network.generate(**inputs, max_new_tokens=self._most, do_sample=False)
        return [" ".join(text.split()) for text in self._processor.batch_decode(tokens, skip_special_tokens=True)]


def warm_players(asked: Experiment) -> tuple[Players, float]:
    """driftloop's own models, and the seconds that loading them and a first call took."""
    started = time.perf_counter()
    models = players(asked)
    (picture,) = models.generator.generate(["a photo"], [0])
    models.captioner.describe([picture.image], [0])
    return models, time.perf_counter() - started


def warm_bare(asked: Experiment) -> Bare:
    bare = Bare(asked)
    bare.describe(bare.generate(["a photo"], [0]))
    return bare


def asked_for(overrides: Sequence[str], chains: int, rounds: int) -> list[str]:
    """The words of the command: the built-in models, unless the overrides choose others."""
    return [*BUILT_IN, f"rounds={rounds}", f"dataset.limit={chains}", *overrides]


def twins(words: Sequence[str], count: int) -> Iterator[list[str]]:
    """`count` commands that play the same pictures anew, each in a run folder of its own."""
    for number in range(count):
        yield [*words, f"arm=twin{number}"]


def _arguments(generator: Any) -> dict[str, Any]:
    size = generator.get("size")
    wanted = {
        "num_inference_steps": generator.get("steps"),
        "guidance_scale": generator.get("guidance"),
        "width": size,
        "height": size,
    }
    return {name: value for name, value in wanted.items() if value is not None}
