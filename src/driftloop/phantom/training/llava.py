"""The second captioner: a tiny LLaVA, the encoder's picture side before a tiny Llama, asked through a chat template."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import nn
from torch.nn import functional
from transformers import (
    CLIPModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from driftloop.phantom.grammar import vocabulary
from driftloop.phantom.training.biased import Mixed
from driftloop.phantom.training.encoder import combination_numbers, image_processor, plain_captions
from driftloop.phantom.training.loop import Plan, fit, half_precision
from driftloop.phantom.training.readers import entropy, heads, roughened

LLAVA = Plan("captioner_llava", steps=600, batch=32, rate=1e-3, seed=101, ema=0.995, decay=0.02, warmup=100)
WIDTH = 128
PATCHES = 64
PROMPT = "describe the person"
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ message['role'] + ': ' }}"
    "{% for part in message['content'] %}{{ '<image> ' if part['type'] == 'image' else part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""One turn: "<s>user: <image> describe the person assistant:"; nothing is added to it when it is tokenised."""
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")


def new_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of the grammar and of the chat; pads on the left."""
    words = [*SPECIAL, "user:", "assistant:", *dict.fromkeys([*PROMPT.split(), *vocabulary()])]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=256,
        padding_side="left",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def new_processor() -> LlavaProcessor:
    """The encoder's image processor, the tokenizer and the chat template."""
    return LlavaProcessor(
        image_processor(),
        new_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def new_captioner(encoder: CLIPModel, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """An untrained Llama of three layers behind the encoder's picture side."""
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        vision_config=deepcopy(encoder.config.vision_config),
        text_config=text,
        image_token_index=image_token,
        image_seq_length=PATCHES,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(_picture_side(encoder, model.model.vision_tower))
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))
    return model


def _picture_side(encoder: CLIPModel, tower: nn.Module) -> dict[str, torch.Tensor]:
    """The encoder's weights under the names of the tower, which may nest them one level deeper."""
    weights = encoder.vision_model.state_dict()
    nested = any(name.startswith("vision_model.") for name in tower.state_dict())
    return {f"vision_model.{name}" if nested else name: value for name, value in weights.items()}


class Lesson(nn.Module):
    """The captioner with heads on the projected patches that name the attributes while it trains."""

    def __init__(self, captioner: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.captioner, self.heads = captioner, heads(WIDTH)

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits of the token after each (rows, length, vocabulary), and of every attribute."""
        model = self.captioner.model
        seen = model.vision_tower(pixels).last_hidden_state[:, 1:]
        patches = model.multi_modal_projector(seen)
        embedded = model.get_input_embeddings()(tokens)
        places = (tokens == self.captioner.config.image_token_id)[..., None].expand_as(embedded)
        embedded = embedded.masked_scatter(places, patches.to(embedded.dtype))
        told = model.language_model(inputs_embeds=embedded).last_hidden_state
        return self.captioner.lm_head(told), {name: head(patches.mean(1)) for name, head in self.heads.items()}


def chat_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[torch.Tensor, int]:
    """Token numbers (420, length) of the chat with the plain caption of every combination as answer; where answers begin."""
    question = "<s>user: " + "<image>" * PATCHES + f" {PROMPT} assistant:"
    start = len(tokenizer(question, add_special_tokens=False)["input_ids"])
    texts = [f"{question} {caption}</s>" for caption in plain_captions()]
    rows = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="right")["input_ids"]
    return torch.as_tensor(rows), start


def train_llava(encoder: CLIPModel, mixed: Mixed, folder: Path, plan: Plan = LLAVA) -> LlavaForConditionalGeneration:
    """Trains everything, picture side included, on renders and round trips, roughened."""
    torch.manual_seed(plan.seed)
    tokenizer = new_tokenizer()
    lesson = Lesson(new_captioner(encoder, tokenizer))
    chats, start = chat_tokens(tokenizer)

    def loss(draw: np.random.Generator) -> torch.Tensor:
        pixels, shown = mixed.drawn(draw, plan.batch)
        tokens = chats[combination_numbers(shown.labels)]
        with half_precision():
            logits, read = lesson(roughened(pixels, draw), tokens[:, :-1])
        answers = tokens[:, start:].flatten()
        told = functional.cross_entropy(
            logits[:, start - 1 :].float().flatten(0, 1), answers, ignore_index=tokenizer.pad_token_id
        )
        return told + 0.1 * entropy(read, torch.from_numpy(shown.labels))

    fit(plan, lesson, loss, folder)
    return lesson.captioner
