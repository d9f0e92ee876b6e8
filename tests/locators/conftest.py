"""Toy detectors in standard formats: real architectures at toy width with random weights, as `save_pretrained` wrote them."""

# ruff: noqa: C408 (settings written as the keyword arguments they become)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toys import saved

LABELS = {0: "person", 1: "bicycle", 2: "dog"}
WORDS = "a photo of human face person the .".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Nine different images of three sizes: patches of colour."""
    draw = np.random.default_rng(5)
    sizes = [(32, 32), (48, 32), (32, 48)]
    patches = [draw.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(9)]
    return [Image.fromarray(patch).resize(sizes[number % 3], 0) for number, patch in enumerate(patches)]


@pytest.fixture(scope="session")
def rt_detr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessorPil, RTDetrResNetConfig

    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone, encoder_in_channels=[16, 24, 32], feat_strides=[8, 16, 32], encoder_hidden_dim=32,
        encoder_layers=1, encoder_ffn_dim=64, encoder_attention_heads=2, d_model=32, num_queries=10,
        decoder_in_channels=[32, 32, 32], decoder_ffn_dim=32, decoder_layers=2, decoder_attention_heads=2, num_denoising=0,
        decoder_n_points=2, id2label=LABELS, label2id={name: number for number, name in LABELS.items()},
        anchor_image_size=None, hidden_expansion=0.5,
    )  # fmt: skip
    processor = RTDetrImageProcessorPil(size={"height": 64, "width": 64})
    return saved(tmp_path_factory.mktemp("rt_detr"), lambda: RTDetrForObjectDetection(config), processor, widen=3.0)


@pytest.fixture(scope="session")
def yolos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Resizes by the shorter side and pads to the largest of a batch: what its neighbours are matters to it."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

    config = YolosConfig(
        hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=[64, 64], patch_size=8,
        num_detection_tokens=8, id2label=LABELS, label2id={name: number for number, name in LABELS.items()},
    )  # fmt: skip
    processor = YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64})
    return saved(tmp_path_factory.mktemp("yolos"), lambda: YolosForObjectDetection(config), processor, widen=6.0)


@pytest.fixture(scope="session")
def owlv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessorPil, Owlv2Processor

    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({name: index for index, name in enumerate(names)}, [], model_max_length=48)
    shared = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4)
    text = dict(
        **shared, vocab_size=len(names), max_position_embeddings=48, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    config = Owlv2Config(text_config=text, vision_config=dict(**shared, image_size=32, patch_size=8), projection_dim=32)
    processor = Owlv2Processor(Owlv2ImageProcessorPil(size={"height": 32, "width": 32}), tokenizer)
    return saved(tmp_path_factory.mktemp("owlv2"), lambda: Owlv2ForObjectDetection(config), processor, widen=3.0)


@pytest.fixture(scope="session")
def grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
        SwinConfig,
    )

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizer({name: index for index, name in enumerate(names)})
    backbone = SwinConfig(
        window_size=4, image_size=32, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=BertConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=len(names)
        ),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=5, num_feature_levels=3, encoder_n_points=2, decoder_n_points=2,
        max_text_len=32,
    )  # fmt: skip
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128}), tokenizer
    )
    folder = tmp_path_factory.mktemp("grounding_dino")
    return saved(folder, lambda: GroundingDinoForObjectDetection(config), processor, widen=3.0)
