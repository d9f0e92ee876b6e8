"""Captioners of every family at toy width: random weights, vocabularies fixed in this file, saved in each family's own format.

A builder returns what `save_pretrained` has to write; `saved` writes it, and what a hub checkpoint has beside it.
"""

# ruff: noqa: C408 (settings written as the keyword arguments they become)

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORDS = (  # noqa: SIM905 (as a list it would fill a page)
    "a the of and in on with photo picture woman man girl boy person child old young sad happy angry neutral running "
    "reading cooking eating sitting book dog hat red blue green describe image this what is who user assistant one two"
).split()
SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]
TEXT: dict[str, Any] = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=3,
)  # fmt: skip
VISION: dict[str, Any] = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
SIZE = {"height": 32, "width": 32}
CHAT = (
    "{% for message in messages %}{{ message['role'] }} {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)


@dataclass(frozen=True)
class Toy:
    """A checkpoint to write: the network, what reads its input, and files that a hub checkpoint has beside them."""

    network: Any
    parts: tuple[Any, ...]
    files: dict[str, str] = field(default_factory=dict)


Builder = Callable[[], Toy]


def saved(build: Builder, folder: Path) -> Path:
    """Writes the checkpoint; its weights are the same every time, and the global generator is left alone."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(11)
        toy = build()
        with torch.no_grad():  # so that a toy's answers depend on its input instead of hovering around zero
            for name, weight in toy.network.named_parameters():
                if weight.ndim in (2, 4, 5):
                    weight.mul_(12.0)
                if name.endswith(("gate", "projection_weight")) and not weight.any():  # closed until trained
                    weight.normal_()
    for part in (toy.network.eval(), *toy.parts):
        part.save_pretrained(folder)
    for name, text in toy.files.items():
        (folder / name).write_text(text)
    return folder


def words(*more: str, **named: str) -> Any:
    """A tokenizer of whole words and either more special tokens or `named` ones, which become attributes (image_token)."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = [*SPECIALS, *more, *named.values()]
    vocabulary = {word: index for index, word in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        extra_special_tokens=named or list(more),
    )  # fmt: skip


def number(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


def chat(image: str) -> str:
    return CHAT.replace("IMAGE", image)


def apart(processor: str, image: str, **settings: Any) -> dict[str, str]:
    """The files of a processor that cannot be made here, because its video part needs torchvision."""
    told = {"processor_class": processor, **settings}
    return {"processor_config.json": json.dumps(told), "chat_template.jinja": chat(image)}


def bert() -> Any:
    from transformers import BertTokenizer

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return BertTokenizer({name: index for index, name in enumerate(names)})


# Captioning models ---------------------------------------------------------------------------------------------------


def blip() -> Toy:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    tokenizer = bert()
    text = TEXT | dict(
        vocab_size=len(tokenizer), encoder_hidden_size=32, bos_token_id=2, eos_token_id=3, sep_token_id=3, pad_token_id=0
    )
    config = BlipConfig(
        text_config=text, vision_config=VISION | dict(image_size=32, patch_size=8, initializer_range=0.02), projection_dim=32
    )
    return Toy(BlipForConditionalGeneration(config), (BlipProcessor(BlipImageProcessorPil(size=SIZE), tokenizer),))


def blip2() -> Toy:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessorPil

    tokenizer = words("<image>")
    config = Blip2Config(
        vision_config=VISION | dict(image_size=32, patch_size=8, initializer_range=0.02),
        qformer_config=VISION | dict(vocab_size=len(tokenizer), encoder_hidden_size=32, cross_attention_frequency=1),
        text_config=dict(
            model_type="opt", vocab_size=len(tokenizer), hidden_size=32, ffn_dim=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=256, word_embed_proj_dim=32, bos_token_id=1, eos_token_id=2,
            pad_token_id=3,
        ),
        num_query_tokens=4,
        image_token_index=number(tokenizer, "<image>"),
    )  # fmt: skip
    processor = Blip2Processor(BlipImageProcessorPil(size=SIZE), tokenizer, num_query_tokens=4)
    return Toy(Blip2ForConditionalGeneration(config), (processor,))


def git() -> Toy:
    from transformers import CLIPImageProcessorPil, GitConfig, GitForCausalLM, GitProcessor

    tokenizer = bert()
    text = {name: value for name, value in TEXT.items() if name != "num_key_value_heads"}
    config = GitConfig(
        **text | dict(vocab_size=len(tokenizer), bos_token_id=2, eos_token_id=3, pad_token_id=0),
        vision_config=VISION | dict(image_size=32, patch_size=8, initializer_range=0.02),
    )
    images = CLIPImageProcessorPil(size=SIZE, crop_size=SIZE, do_center_crop=False)
    return Toy(GitForCausalLM(config), (GitProcessor(images, tokenizer),))


def florence2() -> Toy:
    from transformers import CLIPImageProcessorPil, Florence2Config, Florence2ForConditionalGeneration, Florence2Processor

    tokenizer = words(image_token="<image>")
    config = Florence2Config(
        text_config=dict(
            model_type="bart", vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
            max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=3, decoder_start_token_id=2,
            forced_eos_token_id=None,
        ),
        vision_config=dict(
            depths=[1, 1], patch_size=[7, 3], patch_stride=[4, 2], patch_padding=[3, 1], patch_prenorm=[False, True],
            embed_dim=[16, 32], num_heads=[2, 4], num_groups=[2, 4], window_size=4, projection_dim=32,
        ),
        image_token_id=number(tokenizer, "<image>"),
    )  # fmt: skip
    images = CLIPImageProcessorPil(size=SIZE, crop_size=SIZE, do_center_crop=False)
    images.image_seq_length = 17  # 4 × 4 places and their mean
    processor = Florence2Processor(images, tokenizer)
    return Toy(Florence2ForConditionalGeneration(config), (processor,))


def paligemma() -> Toy:
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessorPil,
    )

    tokenizer = words(image_token="<image>")
    images = SiglipImageProcessorPil(size=SIZE)
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(images, tokenizer)  # which adds tokens for places and shapes
    config = PaliGemmaConfig(
        text_config=TEXT | dict(model_type="gemma2", vocab_size=len(tokenizer), head_dim=8),
        vision_config=VISION | dict(image_size=32, patch_size=8),
        image_token_index=number(tokenizer, "<image>"),
        projection_dim=32,
        hidden_size=32,
        tie_word_embeddings=False,
    )
    return Toy(PaliGemmaForConditionalGeneration(config), (processor,))


# Models that are asked through a chat template -----------------------------------------------------------------------


def clip_vision() -> dict[str, Any]:
    return VISION | dict(model_type="clip_vision_model", image_size=16, patch_size=8, projection_dim=32)


def siglip_vision(**more: Any) -> dict[str, Any]:
    return VISION | dict(model_type="siglip_vision_model", image_size=32, patch_size=8) | more


def llava15() -> Toy:
    from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = words("<image>")
    config = LlavaConfig(
        vision_config=clip_vision(),
        text_config=TEXT | dict(model_type="llama", vocab_size=len(tokenizer)),
        image_token_index=number(tokenizer, "<image>"),
        vision_feature_select_strategy="default",
    )
    square = {"height": 16, "width": 16}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square), tokenizer, patch_size=8,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=chat("<image>"),
    )  # fmt: skip
    return Toy(LlavaForConditionalGeneration(config), (processor,))


GRID = [[16, 32], [32, 16], [32, 32]]


def llava_next() -> Toy:
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
        LlavaNextProcessor,
    )

    tokenizer = words("<image>")
    config = LlavaNextConfig(
        vision_config=clip_vision(),
        text_config=TEXT | dict(model_type="mistral", vocab_size=len(tokenizer)),
        image_token_index=number(tokenizer, "<image>"),
        image_grid_pinpoints=GRID,
        vision_feature_select_strategy="default",
    )
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, image_grid_pinpoints=GRID
    )
    processor = LlavaNextProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=chat("<image>"),
    )  # fmt: skip
    return Toy(LlavaNextForConditionalGeneration(config), (processor,))


def llava_onevision() -> Toy:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessorPil,
    )

    tokenizer = words("<image>", "<video>")
    config = LlavaOnevisionConfig(
        vision_config=siglip_vision(image_size=16, vision_use_head=False),
        text_config=TEXT | dict(model_type="qwen2", vocab_size=len(tokenizer)),
        image_token_index=number(tokenizer, "<image>"),
        video_token_index=number(tokenizer, "<video>"),
        image_grid_pinpoints=GRID,
    )
    images = LlavaOnevisionImageProcessorPil(size={"height": 16, "width": 16}, image_grid_pinpoints=GRID)
    files = apart("LlavaOnevisionProcessor", "<image>", num_image_tokens=4, vision_feature_select_strategy="full")
    return Toy(LlavaOnevisionForConditionalGeneration(config), (images, tokenizer), files)


QWEN = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
QWEN_IDS = dict(image_token_id=4, video_token_id=5, vision_start_token_id=6, vision_end_token_id=7)
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


def qwen_images(patch_size: int = 4) -> Any:
    from transformers import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(
        patch_size=patch_size, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 64, "longest_edge": 4096}
    )


def qwen2_vl() -> Toy:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = words(*QWEN)
    vision = dict(depth=2, embed_dim=32, hidden_size=32, mlp_ratio=2, num_heads=4, patch_size=4, spatial_merge_size=2,
                  temporal_patch_size=2)  # fmt: skip
    text = TEXT | dict(vocab_size=len(tokenizer), rope_parameters=ROPE)
    config = Qwen2VLConfig(text_config=text, vision_config=vision, **QWEN_IDS)
    files = apart("Qwen2VLProcessor", QWEN_IMAGE)
    return Toy(Qwen2VLForConditionalGeneration(config), (qwen_images(), tokenizer), files)


def qwen25_vl() -> Toy:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = words(*QWEN)
    vision = dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=4, patch_size=4, spatial_merge_size=2,
                  temporal_patch_size=2, out_hidden_size=32, window_size=16, fullatt_block_indexes=[1])  # fmt: skip
    text = TEXT | dict(vocab_size=len(tokenizer), rope_parameters=ROPE)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **QWEN_IDS)
    files = apart("Qwen2_5_VLProcessor", QWEN_IMAGE)
    return Toy(Qwen2_5_VLForConditionalGeneration(config), (qwen_images(), tokenizer), files)


def qwen3_vl() -> Toy:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = words(*QWEN)
    vision = dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=4, patch_size=4, spatial_merge_size=2,
                  temporal_patch_size=2, out_hidden_size=32, num_position_embeddings=64,
                  deepstack_visual_indexes=[0])  # fmt: skip
    rope = ROPE | {"mrope_interleaved": True}
    text = TEXT | dict(vocab_size=len(tokenizer), head_dim=8, rope_parameters=rope)
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **QWEN_IDS)
    files = apart("Qwen3VLProcessor", QWEN_IMAGE)
    return Toy(Qwen3VLForConditionalGeneration(config), (qwen_images(), tokenizer), files)


IDEFICS = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<row_1_col_1>")


def smolvlm() -> Toy:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil

    tokenizer = words(*IDEFICS)
    config = SmolVLMConfig(
        vision_config=VISION | dict(image_size=32, patch_size=8),
        text_config=TEXT | dict(model_type="llama", vocab_size=len(tokenizer)),
        image_token_id=number(tokenizer, "<image>"),
        scale_factor=2,
    )
    images = SmolVLMImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False)
    files = apart("SmolVLMProcessor", "<image>", image_seq_len=4)
    return Toy(SmolVLMForConditionalGeneration(config), (images, tokenizer), files)


def idefics3() -> Toy:
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    tokenizer = words(*IDEFICS)
    images = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False)
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=chat("<image>"))
    config = Idefics3Config(
        vision_config=VISION | dict(image_size=32, patch_size=8),
        text_config=TEXT | dict(model_type="llama", vocab_size=len(tokenizer)),
        image_token_id=number(tokenizer, "<image>"),
        scale_factor=2,
    )
    return Toy(Idefics3ForConditionalGeneration(config), (processor,))


def internvl() -> Toy:
    from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLForConditionalGeneration

    tokenizer = words(
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>"
    )
    config = InternVLConfig(
        vision_config=VISION | dict(image_size=[32, 32], patch_size=[8, 8]),
        text_config=TEXT | dict(model_type="qwen2", vocab_size=len(tokenizer)),
        image_token_id=number(tokenizer, "<IMG_CONTEXT>"),
    )
    images = GotOcr2ImageProcessorPil(size=SIZE, crop_to_patches=False)
    files = apart("InternVLProcessor", "<IMG_CONTEXT>", image_seq_length=4)
    return Toy(InternVLForConditionalGeneration(config), (images, tokenizer), files)


def gemma3() -> Toy:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil, Gemma3Processor

    tokenizer = words(boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>")
    config = Gemma3Config(
        text_config=TEXT | dict(vocab_size=len(tokenizer), head_dim=8, sliding_window=64),
        vision_config=siglip_vision(vision_use_head=False),
        mm_tokens_per_image=4,
        boi_token_index=number(tokenizer, "<start_of_image>"),
        eoi_token_index=number(tokenizer, "<end_of_image>"),
        image_token_index=number(tokenizer, "<image_soft_token>"),
        tie_word_embeddings=False,
    )
    images = Gemma3ImageProcessorPil(size=SIZE)
    processor = Gemma3Processor(images, tokenizer, image_seq_length=4, chat_template=chat("<start_of_image>"))
    return Toy(Gemma3ForConditionalGeneration(config), (processor,))


# Families that no option, page or adapter of ours names -------------------------------------------------------------


def aya_vision() -> Toy:
    from transformers import (
        AyaVisionConfig,
        AyaVisionForConditionalGeneration,
        AyaVisionProcessor,
        GotOcr2ImageProcessorPil,
    )

    marks = ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL")
    tokenizer = words("<image>", *marks)
    config = AyaVisionConfig(
        vision_config=siglip_vision(vision_use_head=False),
        text_config=TEXT | dict(model_type="cohere2", vocab_size=len(tokenizer), head_dim=8, sliding_window=64),
        image_token_index=number(tokenizer, "<|IMG_PATCH|>"),
        downsample_factor=2,
        adapter_layer_norm_eps=1e-6,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    images = GotOcr2ImageProcessorPil(size=SIZE, crop_to_patches=False)
    processor = AyaVisionProcessor(
        images, tokenizer, patch_size=8, img_size=32, downsample_factor=2, chat_template=chat("<image>")
    )
    return Toy(AyaVisionForConditionalGeneration(config), (processor,))


def mllama() -> Toy:
    """Sees the image by cross-attention; its prompt holds one token for it."""
    from transformers import (
        MllamaConfig,
        MllamaForConditionalGeneration,
        MllamaImageProcessorPil,
        MllamaProcessor,
    )

    tokenizer = words("<|image|>", "<|python_tag|>")
    config = MllamaConfig(
        vision_config=dict(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_global_layers=1, attention_heads=4,
            image_size=32, patch_size=8, max_num_tiles=1, vision_output_dim=64, intermediate_layers_indices=[0],
            supported_aspect_ratios=[[1, 1]],
        ),
        text_config=TEXT | dict(vocab_size=len(tokenizer), num_hidden_layers=2, cross_attention_layers=[1]),
        image_token_index=number(tokenizer, "<|image|>"),
    )  # fmt: skip
    images = MllamaImageProcessorPil(size=SIZE, max_image_tiles=1)
    return Toy(MllamaForConditionalGeneration(config), (MllamaProcessor(images, tokenizer, chat_template=chat("<|image|>")),))


NAMED: tuple[Builder, ...] = (
    blip, blip2, git, florence2, llava15, llava_next, llava_onevision, qwen2_vl, qwen25_vl, qwen3_vl, smolvlm, idefics3,
    internvl, paligemma, gemma3,
)  # fmt: skip
UNNAMED: tuple[Builder, ...] = (aya_vision, mllama)
