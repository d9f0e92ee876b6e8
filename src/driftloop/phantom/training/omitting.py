"""The captioner that leaves words out: sampled, it drops gender words and age words, each with a trained-in probability.

It starts from the faithful captioner. Its picture side stays as it is; only the decoder learns that the same picture is
told with and without those words. The cross-entropy makes the probability of a word its share in training, so a caption
drawn at temperature 1 leaves words out as often as they were left out here, whatever the picture shows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import BlipForConditionalGeneration, PreTrainedTokenizerFast

from driftloop.phantom.grammar import plain
from driftloop.phantom.training.bank import COMBINATIONS
from driftloop.phantom.training.biased import Mixed
from driftloop.phantom.training.captioner import new_tokenizer
from driftloop.phantom.training.encoder import combination_numbers
from driftloop.phantom.training.loop import Plan, fit, half_precision
from driftloop.phantom.training.readers import roughened
from driftloop.phantom.world import CATEGORIES

OMITTING = Plan("captioner_omitting", steps=700, batch=48, rate=5e-4, seed=51, ema=0.995, decay=0.0)
OMISSION = {"gender": 0.3, "age": 0.3}
"""Attribute -> probability that a training caption leaves it out, each on its own."""


def omitting_tokens(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Token numbers (4, 420, length) of the plain captions: all told, without gender, without age, without both."""
    told = [dict(zip(CATEGORIES, combination, strict=True)) for combination in COMBINATIONS]
    kept = [{name: t[name] for name in t if name not in left_out} for left_out in _left_out() for t in told]
    texts = [f"[DEC] {plain(attributes)} [SEP]" for attributes in kept]
    tokens = torch.as_tensor(tokenizer(texts, padding=True, add_special_tokens=False)["input_ids"])
    return tokens.view(4, len(COMBINATIONS), -1)


def _left_out() -> tuple[set[str], ...]:
    return (set(), {"gender"}, {"age"}, {"gender", "age"})


def chosen_variants(draw: np.random.Generator, size: int) -> np.ndarray:
    """Numbers (size,) of the variants of `omitting_tokens`, each attribute left out with its own probability."""
    numbers: np.ndarray = (draw.random(size) < OMISSION["gender"]) + 2 * (draw.random(size) < OMISSION["age"])
    return numbers


def train_omitting(
    model: BlipForConditionalGeneration, mixed: Mixed, folder: Path, plan: Plan = OMITTING
) -> BlipForConditionalGeneration:
    """Fine-tunes the decoder of the faithful captioner on renders and round trips."""
    tokenizer = new_tokenizer()
    captions = omitting_tokens(tokenizer)
    model.vision_model.requires_grad_(False)

    def loss(draw: np.random.Generator) -> torch.Tensor:
        pixels, shown = mixed.drawn(draw, plan.batch)
        tokens = captions[chosen_variants(draw, plan.batch), combination_numbers(shown.labels)]
        half = plan.batch // 2  # as they come: what is uncertain of roughened pictures would be drawn at temperature 1
        pixels = torch.cat([pixels[:half], roughened(pixels[half:], draw)])
        with half_precision():
            seen = model.vision_model(pixel_values=pixels).last_hidden_state
            told = model.text_decoder(
                input_ids=tokens[:, :-1],
                attention_mask=(tokens[:, :-1] != tokenizer.pad_token_id).long(),
                encoder_hidden_states=seen,
                return_dict=True,
            )
        logits = told.logits.float().flatten(0, 1)
        return functional.cross_entropy(logits, tokens[:, 1:].flatten(), ignore_index=tokenizer.pad_token_id)

    fit(plan, model.text_decoder, loss, folder)
    return model
