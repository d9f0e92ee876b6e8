"""Toy encoders in standard formats: real architectures at toy width with random weights, as `save_pretrained` wrote them."""

# ruff: noqa: C408 (settings written as the keyword arguments they become)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toys import saved

WORDS = "a photo of woman man child old young person sad happy".split()  # noqa: SIM905
SHARED: dict[str, Any] = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Twenty different images of 32 pixels: patches of colour."""
    draw = np.random.default_rng(5)
    patches = [draw.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(20)]
    return [Image.fromarray(patch.repeat(8, axis=0).repeat(8, axis=1)) for patch in patches]


@pytest.fixture(scope="session")
def captions() -> list[str]:
    """Twenty captions of 1 to 14 words: the longest are longer than any toy takes."""
    choose = np.random.default_rng(6)
    return [" ".join(choose.choice(WORDS, size=1 + number % 14)) for number in range(20)]


def word_tokenizer(before: str | None, after: str, longest: int) -> Any:
    """Whole words between two marks, `before` None for none."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<unk>", after, *([before] if before else []), *WORDS]
    tokens = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(name, names.index(name)) for name in (before, after) if name]
    tokens.post_processor = processors.TemplateProcessing(single=f"{before or ''} $A {after}".strip(), special_tokens=marks)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token=before,
        eos_token=after,
        model_max_length=longest,
    )


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = word_tokenizer("<s>", "</s>", 10)
    ids = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=0)
    text = dict(**SHARED, vocab_size=len(tokenizer), max_position_embeddings=10, **ids)
    config = CLIPConfig(text_config=text, vision_config=dict(**SHARED, image_size=32, patch_size=8), projection_dim=32)
    size = {"height": 32, "width": 32}
    processor = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    return saved(tmp_path_factory.mktemp("clip"), lambda: CLIPModel(config), processor, tokenizer, widen=4.0)


@pytest.fixture(scope="session")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    tokenizer = word_tokenizer(None, "</s>", 12)
    config = SiglipConfig(
        text_config=dict(**SHARED, vocab_size=len(tokenizer), max_position_embeddings=12, pad_token_id=0),
        vision_config=dict(**SHARED, image_size=32, patch_size=8),
    )
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return saved(tmp_path_factory.mktemp("siglip"), lambda: SiglipModel(config), processor, tokenizer, widen=4.0)


@pytest.fixture(scope="session")
def siglip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of any shape, as patches with a mask."""
    from transformers import Siglip2Config, Siglip2ImageProcessorPil, Siglip2Model

    tokenizer = word_tokenizer(None, "</s>", 12)
    config = Siglip2Config(
        text_config=dict(**SHARED, vocab_size=len(tokenizer), max_position_embeddings=12, pad_token_id=0),
        vision_config=dict(**SHARED, num_patches=16, patch_size=8),
    )
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return saved(tmp_path_factory.mktemp("siglip2"), lambda: Siglip2Model(config), processor, tokenizer, widen=4.0)


@pytest.fixture(scope="session")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=32, patch_size=8)
    size = {"height": 32, "width": 32}
    processor = BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)
    return saved(tmp_path_factory.mktemp("dinov2"), lambda: Dinov2Model(config), processor, widen=4.0)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a pooler, as sentence encoders are often shipped."""
    from transformers import BertConfig, BertModel

    tokenizer = word_tokenizer("<s>", "</s>", 64)
    config = BertConfig(**SHARED, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=0)
    folder = tmp_path_factory.mktemp("bert")
    return saved(folder, lambda: BertModel(config, add_pooling_layer=False), tokenizer, widen=4.0)
