"""The image–text encoder: a tiny CLIP that places pictures and captions of the built-in world in one space.

A caption may leave attributes out and then fits many pictures of a batch; all that fit share the target equally, in
both directions, which is CLIP's loss with several right answers. Heads on the pooled picture name the attributes while
it trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
)

from driftloop.phantom.grammar import plain
from driftloop.phantom.training.bank import COMBINATIONS
from driftloop.phantom.training.biased import Mixed
from driftloop.phantom.training.generator import new_tokenizer
from driftloop.phantom.training.lessons import LENGTH, Lessons, new_lessons, tokenized
from driftloop.phantom.training.loop import Plan, fit, half_precision
from driftloop.phantom.training.readers import entropy, heads, roughened
from driftloop.phantom.world import CATEGORIES

ENCODER = Plan("encoder", steps=450, batch=64, rate=8e-4, seed=82, ema=0.995, decay=0.05, warmup=100)
WIDTH = 128
LESSONS = 12_000


def new_encoder(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP: four layers for pictures, two for captions."""
    shared = {"hidden_size": WIDTH, "num_attention_heads": 4, "projection_dim": 64, "hidden_act": "gelu"}
    text = {
        **shared,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**shared, "intermediate_size": 3 * WIDTH, "num_hidden_layers": 4, "image_size": 64, "patch_size": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64, initializer_factor=1.0))


@torch.no_grad()
def adopt_picture_side(model: CLIPModel, captioner: BlipForConditionalGeneration) -> None:
    """Copies the captioner's vision transformer, which differs in form only: joined projections, a bias of the patches.

    CLIP normalises before the first layer and BLIP does not; scaled to the captioner's own spread, that changes little.
    """
    ours: Any = model.vision_model
    theirs: Any = captioner.vision_model
    places = theirs.embeddings.position_embedding[0].clone()
    places[1:] += theirs.embeddings.patch_embedding.bias
    ours.embeddings.position_embedding.weight.copy_(places)
    ours.embeddings.class_embedding.copy_(theirs.embeddings.class_embedding.flatten())
    ours.embeddings.patch_embedding.weight.copy_(theirs.embeddings.patch_embedding.weight)
    for layer, other in zip(ours.encoder.layers, theirs.encoder.layers, strict=True):
        _adopt_layer(layer, other)
    ours.post_layernorm.load_state_dict(theirs.post_layernorm.state_dict())
    grey = torch.linspace(-1, 1, 8)[:, None, None, None].expand(8, 3, 64, 64)
    ours.pre_layrnorm.weight.fill_(float(theirs.embeddings(grey).std(-1).mean()))


def _adopt_layer(layer: Any, other: Any) -> None:
    attention = layer.self_attn
    weights, biases = (part.chunk(3) for part in (other.self_attn.qkv.weight, other.self_attn.qkv.bias))
    for projection, weight, bias in zip((attention.q_proj, attention.k_proj, attention.v_proj), weights, biases, strict=True):
        projection.weight.copy_(weight)
        projection.bias.copy_(bias)
    attention.out_proj.load_state_dict(other.self_attn.projection.state_dict())
    for name in ("layer_norm1", "layer_norm2", "mlp"):
        getattr(layer, name).load_state_dict(getattr(other, name).state_dict())


def image_processor() -> CLIPImageProcessorPil:
    """Pictures to 64 × 64 in -1..1, as every model of the built-in world takes them."""
    size = {"height": 64, "width": 64}
    return CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def new_processor() -> CLIPProcessor:
    """The image processor, and the generator's tokenizer."""
    return CLIPProcessor(image_processor(), new_tokenizer())


class Lesson(nn.Module):
    """The encoder with its training-time heads."""

    def __init__(self, encoder: CLIPModel) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, heads(WIDTH)

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Similarities picture × caption, scaled, (rows, rows), and logits of every attribute."""
        seen = self.encoder.vision_model(pixel_values=pixels)
        said = self.encoder.text_model(input_ids=tokens)
        pictures = functional.normalize(self.encoder.visual_projection(seen.pooler_output).float(), dim=-1)
        captions = functional.normalize(self.encoder.text_projection(said.pooler_output).float(), dim=-1)
        similarity = pictures @ captions.T * self.encoder.logit_scale.exp().clamp(max=100)
        pooled = seen.last_hidden_state[:, 1:].mean(1)
        return similarity, {name: head(pooled) for name, head in self.heads.items()}


def fits(told: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    """Whether picture i (row) shows all that caption j (column) tells; told (n, 4), -1 where silent, labels (n, 4)."""
    return torch.from_numpy(((told[None] == -1) | (told[None] == labels[:, None])).all(2))


def contrastive_loss(similarity: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Mean of both directions; every row and column has at least one right answer, all of which share the target."""
    losses = []
    for logits, targets in ((similarity, right.float()), (similarity.T, right.T.float())):
        losses.append(-(targets / targets.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean())
    return torch.stack(losses).mean()


def _caption_of(lessons: Lessons, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """For each picture the number of a caption that fits it, drawn among 256 or the fully telling ones (rows,)."""
    candidates = draw.integers(len(lessons.told), size=256)
    right = fits(lessons.told[candidates], labels).numpy()
    scores = np.where(right, draw.random(right.shape), -1.0)
    chosen: np.ndarray = candidates[scores.argmax(1)]
    return chosen


def train_encoder(captioner: BlipForConditionalGeneration, mixed: Mixed, folder: Path, plan: Plan = ENCODER) -> CLIPModel:
    """Trains on renders and round trips, roughened."""
    torch.manual_seed(plan.seed)
    tokenizer = new_tokenizer()
    lesson, full = Lesson(new_encoder(tokenizer)), plain_tokens(tokenizer)
    adopt_picture_side(lesson.encoder, captioner)
    lessons = new_lessons(tokenizer, LESSONS)

    def loss(draw: np.random.Generator) -> torch.Tensor:
        pixels, shown = mixed.drawn(draw, plan.batch)
        chosen = _caption_of(lessons, shown.labels, draw)
        told, tokens = lessons.told[chosen], lessons.tokens[chosen].clone()
        whole = draw.random(plan.batch) < 0.5
        whole |= ~fits(told, shown.labels).diagonal().numpy()
        told = np.where(whole[:, None], shown.labels, told)
        tokens[whole] = full[combination_numbers(shown.labels[whole])]
        with half_precision():
            similarity, read = lesson(roughened(pixels, draw), tokens)
        return contrastive_loss(similarity, fits(told, shown.labels)) + 0.1 * entropy(read, torch.from_numpy(shown.labels))

    fit(plan, lesson, loss, folder)
    return lesson.encoder


def combination_numbers(labels: np.ndarray) -> np.ndarray:
    """The number in COMBINATIONS of fully named persons, labels (n, 4)."""
    numbers: np.ndarray = np.ravel_multi_index(labels.T, [len(values) for values in CATEGORIES.values()])
    return numbers


def plain_tokens(tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Token numbers (420, LENGTH) of the plain caption of every combination."""
    return tokenized(tokenizer, plain_captions())


def plain_captions() -> Sequence[str]:
    """The plain caption of every combination."""
    return [plain(dict(zip(CATEGORIES, combination, strict=True))) for combination in COMBINATIONS]
