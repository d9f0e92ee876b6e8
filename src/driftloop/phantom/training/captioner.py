"""The captioner: a tiny BLIP that names all four attributes in the plain phrasing.

BLIP's own loss smooths labels by 0.1, which would spoil sampled captions, so the cross-entropy is taken here, on the
logits. While it trains, heads on the pooled picture name the attributes too: the picture side learns from them first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import nn
from torch.nn import functional
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    PreTrainedTokenizerFast,
)

from driftloop.phantom.grammar import parse, plain, vocabulary
from driftloop.phantom.training.bank import COMBINATIONS, Bank
from driftloop.phantom.training.loop import Plan, fit, half_precision
from driftloop.phantom.training.readers import entropy, heads, roughened
from driftloop.phantom.world import CATEGORIES

CAPTIONER = Plan("captioner", steps=1700, batch=64, rate=1.2e-3, seed=31, ema=0.997, decay=0.05, warmup=200)
POLISH = Plan("captioner_polish", steps=500, batch=64, rate=3e-4, seed=32, ema=0.99, decay=0.05)
WIDTH = 128
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[DEC]", "sep_token": "[SEP]", "cls_token": "[CLS]"}


def new_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of the grammar."""
    words = [*SPECIAL.values(), *vocabulary()]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **SPECIAL)


def new_processor() -> BlipProcessor:
    """Pictures to 64 × 64 in -1..1, and the tokenizer."""
    images = BlipImageProcessorPil(size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return BlipProcessor(images, new_tokenizer())


def new_captioner(tokenizer: PreTrainedTokenizerFast) -> BlipForConditionalGeneration:
    """An untrained BLIP of a million weights."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "encoder_hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "projection_dim": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "label_smoothing": 0.0,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 3 * WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 8,
        "projection_dim": WIDTH,
    }
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=WIDTH, image_text_hidden_size=WIDTH)
    model = BlipForConditionalGeneration(config)
    model.generation_config.max_length = None
    model.generation_config.max_new_tokens = 16
    return model


class Lesson(nn.Module):
    """The captioner with its training-time heads."""

    def __init__(self, captioner: BlipForConditionalGeneration) -> None:
        super().__init__()
        self.captioner = captioner
        self.heads = heads(WIDTH)

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits of the next token (rows, length, vocabulary) and of every attribute."""
        seen = self.captioner.vision_model(pixel_values=pixels).last_hidden_state
        told = self.captioner.text_decoder(
            input_ids=tokens,
            attention_mask=(tokens != self.captioner.config.text_config.pad_token_id).long(),
            encoder_hidden_states=seen,
            return_dict=True,
        )
        pooled = seen[:, 1:].mean(1)
        return told.logits, {name: head(pooled) for name, head in self.heads.items()}


def caption_tokens(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Token numbers (420, length) of the plain caption of every combination, from [DEC] to [SEP], padded."""
    captions = [plain(dict(zip(CATEGORIES, combination, strict=True))) for combination in COMBINATIONS]
    texts = [f"[DEC] {caption} [SEP]" for caption in captions]
    return torch.as_tensor(tokenizer(texts, padding=True, add_special_tokens=False)["input_ids"])


def train_captioner(bank: Bank, folder: Path) -> Lesson:
    """Trains on roughened pictures of the bank; row i of the bank shows combination i % 420."""
    torch.manual_seed(CAPTIONER.seed)
    return _trained(Lesson(new_captioner(new_tokenizer())), CAPTIONER, bank.pixels, bank, folder)


def polish_captioner(lesson: Lesson, bank: Bank, redrawn: Bank, folder: Path) -> Lesson:
    """Trains further, every other picture one that the generator drew from the plain caption of row i % 420."""

    def pixels(rows: np.ndarray) -> torch.Tensor:
        half = len(rows) // 2
        return torch.cat([bank.pixels(rows[:half]), redrawn.pixels(rows[half:] % len(redrawn))])

    return _trained(lesson, POLISH, pixels, bank, folder)


def _trained(lesson: Lesson, plan: Plan, pixels: Callable[[np.ndarray], torch.Tensor], bank: Bank, folder: Path) -> Lesson:
    tokenizer = new_tokenizer()
    captions = caption_tokens(tokenizer)

    def loss(draw: np.random.Generator) -> torch.Tensor:
        rows = draw.integers(len(bank), size=plan.batch)
        tokens = captions[rows % len(COMBINATIONS)]
        with half_precision():
            logits, read = lesson(roughened(pixels(rows), draw), tokens[:, :-1])
        told = functional.cross_entropy(
            logits.float().flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=tokenizer.pad_token_id
        )
        return told + 0.1 * entropy(read, torch.from_numpy(bank.labels[rows]))

    fit(plan, lesson, loss, folder)
    return lesson


@torch.no_grad()
def described(model: BlipForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, pixels: torch.Tensor) -> list[str]:
    """Greedy captions of pictures (n, 3, 64, 64) in -1..1."""
    captions: list[str] = []
    for part in pixels.contiguous().split(128):
        tokens = model.generate(pixel_values=part, do_sample=False, num_beams=1)
        captions += tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return captions


def named_right(captions: list[str], labels: np.ndarray) -> dict[str, float]:
    """Share of captions that name the true category, per attribute; labels (n, 4)."""
    told = [parse(caption) for caption in captions]
    return {
        name: float(np.mean([t.get(name) == values[label] for t, label in zip(told, labels[:, column], strict=True)]))
        for column, (name, values) in enumerate(CATEGORIES.items())
    }
