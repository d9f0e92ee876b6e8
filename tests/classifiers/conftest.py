"""Toy readers in standard formats: real architectures at toy width with random weights, as `save_pretrained` wrote them."""

# ruff: noqa: C408 (settings written as the keyword arguments they become)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toys import saved

WORDS = "a photo of woman man child old young person".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Eight different images of 32 pixels: patches of colour."""
    draw = np.random.default_rng(5)
    patches = [draw.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(8)]
    return [Image.fromarray(patch.repeat(8, axis=0).repeat(8, axis=1)) for patch in patches]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({name: index for index, name in enumerate(names)}, [], model_max_length=48)
    shared = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4)
    text = dict(
        **shared, vocab_size=len(names), max_position_embeddings=48, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=dict(**shared, image_size=32, patch_size=8), projection_dim=32)
    size = {"height": 32, "width": 32}
    processor = CLIPProcessor(CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False), tokenizer)
    return saved(tmp_path_factory.mktemp("clip"), lambda: CLIPModel(config), processor, widen=4.0)


@pytest.fixture(scope="session")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessorPil, SiglipModel

    specials = ["<pad>", "<unk>", "</s>"]
    tokens = Tokenizer(models.WordLevel({word: index for index, word in enumerate([*specials, *WORDS])}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=16
    )
    shared = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4)
    config = SiglipConfig(
        text_config=dict(**shared, vocab_size=len(tokens.get_vocab()), max_position_embeddings=16, pad_token_id=0),
        vision_config=dict(**shared, image_size=32, patch_size=8),
    )
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return saved(tmp_path_factory.mktemp("siglip"), lambda: SiglipModel(config), processor, tokenizer, widen=4.0)


@pytest.fixture(scope="session")
def in_years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output: years, between 0 and 100 or so."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig(
        hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
        num_labels=1, problem_type="regression",
    )  # fmt: skip

    def build() -> Any:
        import torch

        model = ViTForImageClassification(config)
        with torch.no_grad():
            model.classifier.weight.mul_(8)
            model.classifier.bias.fill_(45)
        return model

    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    return saved(tmp_path_factory.mktemp("in_years"), build, processor, widen=6.0)
