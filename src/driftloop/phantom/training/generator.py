"""The generator: a StableDiffusionPipeline in small, trained on the latents of the autoencoder with v-prediction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from driftloop.phantom.grammar import vocabulary
from driftloop.phantom.training.calibration import calibrate
from driftloop.phantom.training.lessons import (
    LENGTH,
    Course,
    draw_examples,
    new_lessons,
    new_scheduler,
    velocity_loss,
)
from driftloop.phantom.training.loop import Loss, Plan, fit, half_precision
from driftloop.phantom.training.readers import Critic
from driftloop.phantom.training.settling import Settlement, settle

GENERATOR = Plan("generator", steps=6000, batch=48, rate=1.5e-3, seed=41, ema=0.999, decay=0.01, warmup=200)
CALIBRATION = Plan("calibration", steps=1600, batch=64, rate=5e-4, seed=43, ema=0.995, decay=0.0)
SETTLEMENT = Settlement("settlement", seed=45)


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that make one token of every word: the most frequent pair first, ties by alphabet."""
    spelled = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(word) > 1 for word in spelled):
        counts: dict[tuple[str, str], int] = {}
        for word in spelled:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        spelled = [_merged(word, best) for word in spelled]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def new_tokenizer() -> CLIPTokenizer:
    """A byte-pair tokenizer in CLIP's form over lower-case letters, digits and the grammar's words."""
    letters = [chr(code) for code in range(33, 127)]
    words = sorted({part for word in vocabulary() for part in word.split("-")})
    merges = learn_merges(words)
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *dict.fromkeys(a + b for a, b in merges)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *dict.fromkeys(pieces)]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=merges, model_max_length=LENGTH)


def new_text_encoder(tokenizer: CLIPTokenizer, width: int = 128) -> CLIPTextModel:
    """An untrained CLIP text encoder of two layers."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def new_unet(channels: int = 16, text_width: int = 128) -> UNet2DConditionModel:
    """An untrained UNet on 8 × 8 latents: convolutions at 8 × 8, attention to the words at 4 × 4 and in the time embedding."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(96, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=16,
        cross_attention_dim=text_width,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        encoder_hid_dim=None,
    )


class Denoiser(nn.Module):
    """UNet and text encoder, trained together."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet, self.text = new_unet(), new_text_encoder(tokenizer)

    def velocity(self, noisy: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Predicted velocity (rows, 16, 8, 8)."""
        velocity: torch.Tensor = self.unet(noisy, steps, encoder_hidden_states=self.encoded(tokens)).sample
        return velocity

    def encoded(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the words are encoded as (rows, tokens, width)."""
        words: torch.Tensor = self.text(tokens).last_hidden_state
        return words


def train_generator(latents: torch.Tensor, folder: Path, plan: Plan = GENERATOR) -> Denoiser:
    """Trains on the latents of a bank; row i of the bank shows combination i % 420."""
    torch.manual_seed(plan.seed)
    denoiser = Denoiser(new_tokenizer())
    denoiser.unet.to(memory_format=torch.channels_last)
    fit(plan, denoiser, _loss(denoiser, Course(plan.batch, new_lessons(new_tokenizer()), latents)), folder)
    return denoiser


def calibrate_generator(denoiser: Denoiser, decoder: AutoencoderTiny, critic: Critic, folder: Path) -> Denoiser:
    """Trains the words further until silent captions show the planted prior at guidance 1: `calibration`, `settling`."""
    denoiser.unet.requires_grad_(False)
    calibrate(CALIBRATION, denoiser, new_tokenizer(), decoder, critic, folder)
    settle(SETTLEMENT, denoiser, new_tokenizer(), decoder, critic, folder)
    return denoiser


def _loss(denoiser: Denoiser, course: Course) -> Loss:
    def loss(draw: np.random.Generator) -> torch.Tensor:
        examples = draw_examples(draw, course)
        with half_precision():
            velocity = denoiser.velocity(examples.noisy, examples.steps, examples.tokens)
        return velocity_loss(velocity, examples)

    return loss


def new_pipeline(denoiser: Denoiser, autoencoder: AutoencoderTiny) -> StableDiffusionPipeline:
    """The pipeline, in evaluation mode."""
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.eval(),
        text_encoder=denoiser.text.eval(),
        tokenizer=new_tokenizer(),
        unet=denoiser.unet.eval(),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
