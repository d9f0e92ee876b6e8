"""Toy models in standard formats: real architectures at toy width, random weights, vocabularies fixed in this file.

Each fixture is the folder that `save_pretrained` wrote, once per session.
"""

# ruff: noqa: C408 (settings written as the keyword arguments they become)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toys import seeded, widened

WORDS = (  # noqa: SIM905 (as a list it would fill a page)
    "a the of and in on with photo picture woman man girl boy person child old young sad happy angry neutral running "
    "reading cooking eating sitting book dog hat red blue green describe image this what is who user assistant one two"
).split()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def untouched_global_rng() -> Any:
    """Fails the test if it moves torch's, numpy's or Python's global generator."""
    import random

    import torch

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    yield
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist()  # noqa: NPY002


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Sixteen different images of 32 pixels: patches of colour."""
    draw = np.random.default_rng(5)
    patches = [draw.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(16)]
    return [Image.fromarray(patch.repeat(8, axis=0).repeat(8, axis=1)) for patch in patches]


@pytest.fixture(scope="session")
def captions() -> list[str]:
    choose = np.random.default_rng(6)
    return [" ".join(choose.choice(WORDS, size=6)) for _ in range(16)]


def _word_tokenizer(specials: list[str], **options: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=specials[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=specials[0], **options)


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({name: index for index, name in enumerate(names)}, [], model_max_length=77)


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *[(f"▁{word}", -2.0) for word in WORDS]]
    return T5Tokenizer(pieces, extra_ids=0, model_max_length=512)


def _bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return BertTokenizer({name: index for index, name in enumerate(names)})


# Generators ----------------------------------------------------------------------------------------------------------


def _autoencoder(**options: Any) -> Any:
    from diffusers import AutoencoderKL

    blocks = dict(down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
    return AutoencoderKL(block_out_channels=[16, 16], latent_channels=4, norm_num_groups=4, **blocks, **options)


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = _clip_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=1,
    )  # fmt: skip
    unet = dict(
        block_out_channels=(16, 32), layers_per_block=1, sample_size=16, cross_attention_dim=32, attention_head_dim=4,
        norm_num_groups=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=seeded(_autoencoder),
        text_encoder=seeded(lambda: CLIPTextModel(text)),
        tokenizer=tokenizer,
        unet=seeded(lambda: UNet2DConditionModel(**unet)),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _saved(pipe, tmp_path_factory, "stable_diffusion")


@pytest.fixture(scope="session")
def pixart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import DDIMScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    tokenizer = _t5_tokenizer()
    text = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    transformer = dict(
        sample_size=32, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, cross_attention_dim=24, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    )  # fmt: skip
    pipe = PixArtSigmaPipeline(
        vae=seeded(_autoencoder),
        text_encoder=seeded(lambda: T5EncoderModel(text)),
        tokenizer=tokenizer,
        transformer=widened(seeded(lambda: PixArtTransformer2DModel(**transformer)), 3.0),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
    )
    return _saved(pipe, tmp_path_factory, "pixart")


@pytest.fixture(scope="session")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 3: two CLIP encoders that see 77 tokens, a T5 that sees more."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

    clip, t5 = _clip_tokenizer(), _t5_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(clip), hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=32, hidden_act="gelu", eos_token_id=clip.eos_token_id, bos_token_id=clip.bos_token_id,
    )  # fmt: skip
    long = T5Config(vocab_size=len(t5), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    transformer = dict(
        sample_size=16, patch_size=1, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=64,
    )  # fmt: skip
    pipe = StableDiffusion3Pipeline(
        vae=seeded(lambda: _autoencoder(shift_factor=0.06, scaling_factor=1.5)),
        text_encoder=seeded(lambda: CLIPTextModelWithProjection(text)),
        text_encoder_2=seeded(lambda: CLIPTextModelWithProjection(text)),
        text_encoder_3=seeded(lambda: T5EncoderModel(long)),
        tokenizer=clip,
        tokenizer_2=clip,
        tokenizer_3=t5,
        transformer=widened(seeded(lambda: SD3Transformer2DModel(**transformer)), 3.0),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    return _saved(pipe, tmp_path_factory, "sd3")


# Captioners ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    tokenizer = _bert_tokenizer()
    config = BlipConfig(
        text_config=dict(
            vocab_size=len(tokenizer), hidden_size=32, encoder_hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=64, bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id, sep_token_id=tokenizer.sep_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        vision_config=dict(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
            initializer_range=0.02,
        ),
        projection_dim=32,
    )  # fmt: skip
    model = widened(seeded(lambda: BlipForConditionalGeneration(config)), 12.0)
    size = {"height": 32, "width": 32}
    processor = BlipProcessor(BlipImageProcessorPil(size=size), tokenizer)
    return _saved(model, tmp_path_factory, "blip", processor)


@pytest.fixture(scope="session")
def git(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPImageProcessorPil, GitConfig, GitForCausalLM, GitProcessor

    tokenizer = _bert_tokenizer()
    config = GitConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
        vision_config=dict(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
            initializer_range=0.02,
        ),
    )  # fmt: skip
    model = widened(seeded(lambda: GitForCausalLM(config)), 12.0)
    size = {"height": 32, "width": 32}
    processor = GitProcessor(CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False), tokenizer)
    return _saved(model, tmp_path_factory, "git", processor)


CHAT = (
    "{% for message in messages %}{{ message['role'] }} {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-NeXT: images of different shapes become prompts of different lengths, so padding matters."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
        LlavaNextProcessor,
    )

    tokenizer = _word_tokenizer(["<unk>", "<s>", "</s>", "<pad>", "<image>"], bos_token="<s>", eos_token="</s>",
                                pad_token="<pad>", additional_special_tokens=["<image>"])  # fmt: skip
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=16, patch_size=8,
        projection_dim=32,
    )  # fmt: skip
    grid = [[16, 32], [32, 16], [32, 32]]
    config = LlavaNextConfig(
        vision_config=vision, text_config=text, image_token_index=image_token, image_grid_pinpoints=grid,
        vision_feature_select_strategy="default",
    )  # fmt: skip
    model = widened(seeded(lambda: LlavaNextForConditionalGeneration(config)), 12.0)
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, image_grid_pinpoints=grid
    )
    processor = LlavaNextProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=CHAT,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return _saved(model, tmp_path_factory, "llava", processor)


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5-VL, whose processor also names a video processor that needs torchvision."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessorPil,
    )

    specials = ["<unk>", "<s>", "</s>", "<pad>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = _word_tokenizer(specials, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                additional_special_tokens=specials[4:])  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=3,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
        ),
        vision_config=dict(
            depth=2, hidden_size=32, intermediate_size=64, num_heads=4, patch_size=4, spatial_merge_size=2,
            temporal_patch_size=2, out_hidden_size=32, window_size=16, fullatt_block_indexes=[1],
        ),
        image_token_id=4, video_token_id=5, vision_start_token_id=6, vision_end_token_id=7,
    )  # fmt: skip
    model = widened(seeded(lambda: Qwen2_5_VLForConditionalGeneration(config)), 12.0)
    images = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 64, "longest_edge": 4096}
    )
    folder = _saved(model, tmp_path_factory, "qwen", images, tokenizer)
    (folder / "processor_config.json").write_text('{"processor_class": "Qwen2_5_VLProcessor"}')
    template = CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    (folder / "chat_template.jinja").write_text(template)
    assert "video_processor" in Qwen2_5_VLProcessor.get_attributes()
    return folder


# Classifiers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig(
        hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
        id2label={0: "0-2", 1: "3-9", 2: "10-19", 3: "more than 19"},
        label2id={"0-2": 0, "3-9": 1, "10-19": 2, "more than 19": 3},
    )  # fmt: skip
    model = widened(seeded(lambda: ViTForImageClassification(config)), 6.0)
    size = {"height": 32, "width": 32}
    return _saved(model, tmp_path_factory, "vit", ViTImageProcessorPil(size=size))


@pytest.fixture(scope="session")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic",
        id2label={0: "Male", 1: "Female"}, label2id={"Male": 0, "Female": 1},
    )  # fmt: skip
    model = widened(seeded(lambda: ResNetForImageClassification(config)), 2.0)
    size = {"height": 32, "width": 32}
    return _saved(model, tmp_path_factory, "resnet", ViTImageProcessorPil(size=size))


def _saved(model: Any, factory: pytest.TempPathFactory, name: str, *others: Any) -> Path:
    folder = factory.mktemp(name)
    for part in (model, *others):
        part.save_pretrained(folder)
    return folder
