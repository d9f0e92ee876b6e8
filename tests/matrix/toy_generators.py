"""Every family of text-to-image pipelines at toy width: real classes, random weights, vocabularies fixed in this file.

A builder makes a pipeline; `saved` writes it the way a hub folder is written. Weights are scaled up where a toy would
otherwise hardly listen to its prompt.
"""

# ruff: noqa: C408 (settings written as the keyword arguments they become)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = "a an the of and in photo woman man elderly young girl boy person reading dancing room happy sad".split()  # noqa: SIM905
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %} the{% endif %}"


def saved(name: str, folder: Path) -> Path:
    """The folder of a family's toy, written once."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(11)
        pipe = BUILDERS[name]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipe.save_pretrained(folder)
    return folder


def loud(module: torch.nn.Module, scale: float = 3.0) -> Any:
    """Scales matrices up, and gives what is created empty or zero (gates, padding tokens) something to say."""
    with torch.no_grad():
        for weight in module.parameters():
            if not weight.isfinite().all() or not weight.any() or weight.numel() < 128:
                weight.normal_(std=0.3)
            elif weight.ndim == 2:
                weight.mul_(scale)
    return module


# Tokenizers ----------------------------------------------------------------------------------------------------------


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    names = [*LETTERS, *[f"{letter}</w>" for letter in LETTERS], "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({name: index for index, name in enumerate(names)}, [], model_max_length=77)


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(f"▁{word}", -2.0) for word in WORDS] + [(letter, -4.0) for letter in LETTERS if f"▁{letter}" not in WORDS]
    return T5Tokenizer(pieces, extra_ids=0, model_max_length=512)


def bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *[f"##{letter}" for letter in LETTERS], *LETTERS[26:]]
    return BertTokenizer({name: index for index, name in enumerate(names)}, model_max_length=77)


def word_tokenizer(padding_side: str = "right") -> Any:
    """What stands for the tokenizers of language models (Qwen, Gemma, GLM): words and digits, and a chat template."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", "<pad>", *WORDS, *[letter for letter in LETTERS if letter not in WORDS]]
    tokenizer = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|\w+|[^\w\s]"), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        chat_template=CHAT, padding_side=padding_side, model_max_length=1024,
    )  # fmt: skip


# Text encoders -------------------------------------------------------------------------------------------------------


def clip(tokenizer: Any, *, projection: bool = False, hidden: int = 32) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=hidden, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def t5(tokenizer: Any, kind: str = "T5") -> Any:
    import transformers

    config = getattr(transformers, f"{kind}Config")
    model = getattr(transformers, f"{kind}EncoderModel")
    return model(config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def language(kind: str, tokenizer: Any, **options: Any) -> Any:
    """A small language model whose hidden states are the prompt."""
    import transformers

    settings = dict(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=2048, pad_token_id=3, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = getattr(transformers, kind.removesuffix("Model").removesuffix("ForCausalLM") + "Config")
    return loud(getattr(transformers, kind)(config(**(settings | options))))


# Autoencoders and schedulers -----------------------------------------------------------------------------------------


def autoencoder(latents: int = 4, halvings: int = 1, kind: str = "AutoencoderKL", **options: Any) -> Any:
    import diffusers

    blocks = halvings + 1
    settings = dict(
        block_out_channels=[8] * blocks, latent_channels=latents, norm_num_groups=4, layers_per_block=1, sample_size=32,
        down_block_types=["DownEncoderBlock2D"] * blocks, up_block_types=["UpDecoderBlock2D"] * blocks,
    )  # fmt: skip
    return getattr(diffusers, kind)(**(settings | options))


def flow(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def ddim(**options: Any) -> Any:
    from diffusers import DDIMScheduler

    settings = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False)
    return DDIMScheduler(**(settings | options))


# Pipelines -----------------------------------------------------------------------------------------------------------

UNET = dict(
    block_out_channels=(8, 16), layers_per_block=1, sample_size=16, attention_head_dim=4, norm_num_groups=4,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
)  # fmt: skip
FLUX = dict(num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, axes_dims_rope=[4, 4, 8])


def stable_diffusion(**scheduler: Any) -> Any:
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    tokenizer = clip_tokenizer()
    return StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=clip(tokenizer), tokenizer=tokenizer,
        unet=loud(UNet2DConditionModel(**UNET, cross_attention_dim=32)), scheduler=ddim(**scheduler), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        **UNET, cross_attention_dim=64, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2), projection_class_embeddings_input_dim=6 * 8 + 32,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=clip(tokenizer), text_encoder_2=clip(tokenizer, projection=True), tokenizer=tokenizer,
        tokenizer_2=tokenizer, unet=loud(unet), scheduler=EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
    )  # fmt: skip


def stable_diffusion_3() -> Any:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    tokenizer, long = clip_tokenizer(), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=1, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=64,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        vae=autoencoder(shift_factor=0.06, scaling_factor=1.5), text_encoder=clip(tokenizer, projection=True),
        text_encoder_2=clip(tokenizer, projection=True), text_encoder_3=t5(long), tokenizer=tokenizer, tokenizer_2=tokenizer,
        tokenizer_3=long, transformer=loud(transformer), scheduler=flow(shift=3.0),
    )  # fmt: skip


def flux(**options: Any) -> Any:
    from diffusers import FluxPipeline, FluxTransformer2DModel

    tokenizer, long = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, joint_attention_dim=32, pooled_projection_dim=32, **FLUX, **options
    )
    return FluxPipeline(
        vae=autoencoder(shift_factor=0.06, scaling_factor=1.5), text_encoder=clip(tokenizer), tokenizer=tokenizer,
        text_encoder_2=t5(long), tokenizer_2=long, transformer=loud(transformer), scheduler=flow(),
    )  # fmt: skip


def flux2_klein() -> Any:
    """Its prompt is the hidden states of layers 9, 18 and 27."""
    from diffusers import Flux2KleinPipeline, Flux2Transformer2DModel

    tokenizer = word_tokenizer()
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, joint_attention_dim=48, timestep_guidance_channels=8,
        **(FLUX | dict(axes_dims_rope=[4, 4, 4, 4])), guidance_embeds=False,
    )  # fmt: skip
    return Flux2KleinPipeline(
        vae=autoencoder(kind="AutoencoderKLFlux2"), text_encoder=language("Qwen3ForCausalLM", tokenizer, num_hidden_layers=28),
        tokenizer=tokenizer, transformer=loud(transformer), scheduler=flow(use_dynamic_shifting=True), is_distilled=True,
    )  # fmt: skip


def sana() -> Any:
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    tokenizer = word_tokenizer()
    vae = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), downsample_block_type="conv",
        upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu",
    )  # fmt: skip
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=16, sample_size=32,
    )  # fmt: skip
    return SanaPipeline(
        tokenizer=tokenizer, text_encoder=language("Gemma2Model", tokenizer), vae=vae, transformer=loud(transformer),
        scheduler=flow(shift=7.0),
    )  # fmt: skip


def pixart_sigma() -> Any:
    from diffusers import PixArtSigmaPipeline, PixArtTransformer2DModel

    tokenizer = t5_tokenizer()
    transformer = PixArtTransformer2DModel(
        sample_size=32, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, cross_attention_dim=24, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    )  # fmt: skip
    return PixArtSigmaPipeline(
        vae=autoencoder(), text_encoder=t5(tokenizer), tokenizer=tokenizer, transformer=loud(transformer), scheduler=ddim()
    )


def z_image() -> Any:
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    tokenizer = word_tokenizer()
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4], axes_lens=[1024, 32, 32],
    )  # fmt: skip
    return ZImagePipeline(
        vae=autoencoder(shift_factor=0.06), text_encoder=language("Qwen3Model", tokenizer), tokenizer=tokenizer,
        transformer=loud(transformer), scheduler=flow(),
    )  # fmt: skip


def qwen_image() -> Any:
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = word_tokenizer()
    text = dict(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, pad_token_id=3,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    )  # fmt: skip
    vision = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, patch_size=14, out_hidden_size=16)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False], latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )  # fmt: skip
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    return QwenImagePipeline(
        scheduler=flow(), vae=vae, text_encoder=loud(Qwen2_5_VLForConditionalGeneration(config)), tokenizer=tokenizer,
        transformer=loud(transformer),
    )  # fmt: skip


def aura_flow() -> Any:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    tokenizer = t5_tokenizer()
    transformer = AuraFlowTransformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, out_channels=4, pos_embed_max_size=256,
    )  # fmt: skip
    return AuraFlowPipeline(
        tokenizer=tokenizer, text_encoder=t5(tokenizer, "UMT5"), vae=autoencoder(), transformer=loud(transformer),
        scheduler=flow(),
    )  # fmt: skip


def lumina2() -> Any:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    tokenizer = word_tokenizer()
    transformer = Lumina2Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, hidden_size=24, num_layers=1, num_refiner_layers=1, num_attention_heads=3,
        num_kv_heads=1, multiple_of=2, axes_dim_rope=(4, 2, 2), axes_lens=(512, 64, 64), cap_feat_dim=16,
    )  # fmt: skip
    return Lumina2Pipeline(
        vae=autoencoder(halvings=3, shift_factor=0.06), text_encoder=language("Gemma2Model", tokenizer), tokenizer=tokenizer,
        transformer=loud(transformer), scheduler=flow(),
    )  # fmt: skip


def cogview4() -> Any:
    from diffusers import CogView4Pipeline, CogView4Transformer2DModel

    tokenizer = word_tokenizer("left")
    transformer = CogView4Transformer2DModel(
        patch_size=2, in_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=4, out_channels=4,
        text_embed_dim=16, time_embed_dim=8, condition_dim=4,
    )  # fmt: skip
    return CogView4Pipeline(
        tokenizer=tokenizer, text_encoder=language("GlmModel", tokenizer), vae=autoencoder(halvings=3),
        transformer=loud(transformer), scheduler=flow(use_dynamic_shifting=True),
    )  # fmt: skip


def hunyuan_dit() -> Any:
    from diffusers import DDPMScheduler, HunyuanDiT2DModel, HunyuanDiTPipeline
    from transformers import BertConfig, BertModel

    tokenizer, long = bert_tokenizer(), t5_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37
    )
    transformer = HunyuanDiT2DModel(
        sample_size=16, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, in_channels=4,
        cross_attention_dim=32, cross_attention_dim_t5=32, pooled_projection_dim=16, hidden_size=24,
        activation_fn="gelu-approximate",
    )  # fmt: skip
    return HunyuanDiTPipeline(
        vae=autoencoder(halvings=3), text_encoder=BertModel(config), tokenizer=tokenizer, text_encoder_2=t5(long),
        tokenizer_2=long, transformer=loud(transformer), scheduler=DDPMScheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def chroma() -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    tokenizer = t5_tokenizer()
    transformer = ChromaTransformer2DModel(
        patch_size=1, in_channels=16, joint_attention_dim=32, approximator_hidden_dim=32, approximator_layers=1,
        approximator_num_channels=16, **FLUX,
    )  # fmt: skip
    return ChromaPipeline(
        vae=autoencoder(shift_factor=0.06), text_encoder=t5(tokenizer), tokenizer=tokenizer, transformer=loud(transformer),
        scheduler=flow(),
    )  # fmt: skip


def kandinsky22() -> Any:
    """Two pipelines in one: a prior that turns the prompt into an image embedding, and a decoder."""
    from diffusers import (
        DDPMScheduler,
        KandinskyV22CombinedPipeline,
        PriorTransformer,
        UnCLIPScheduler,
        UNet2DConditionModel,
        VQModel,
    )
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        in_channels=4, out_channels=8, addition_embed_type="image", encoder_hid_dim=32, encoder_hid_dim_type="image_proj",
        block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=32, attention_head_dim=4,
        resnet_time_scale_shift="scale_shift", mid_block_type="UNetMidBlock2DSimpleCrossAttn", class_embed_type=None,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    )  # fmt: skip
    movq = VQModel(
        block_out_channels=[32, 32, 32, 64], layers_per_block=1, latent_channels=4, num_vq_embeddings=12, vq_embed_dim=4,
        down_block_types=["DownEncoderBlock2D"] * 3 + ["AttnDownEncoderBlock2D"], norm_type="spatial",
        up_block_types=["AttnUpDecoderBlock2D"] + ["UpDecoderBlock2D"] * 3,
    )  # fmt: skip
    prior = PriorTransformer(num_attention_heads=2, attention_head_dim=12, embedding_dim=32, num_layers=1)
    prior.clip_std.data.fill_(1.0)
    vision = CLIPVisionConfig(
        hidden_size=32, image_size=224, projection_dim=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=1,
        patch_size=14,
    )  # fmt: skip
    return KandinskyV22CombinedPipeline(
        unet=loud(unet), scheduler=DDPMScheduler(beta_start=0.00085, beta_end=0.012), movq=movq, prior_prior=prior,
        prior_image_encoder=CLIPVisionModelWithProjection(vision), prior_text_encoder=clip(tokenizer, projection=True),
        prior_tokenizer=tokenizer, prior_scheduler=UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="sample"),
        prior_image_processor=CLIPImageProcessorPil(),
    )  # fmt: skip


def ovis_image() -> Any:
    """A family that no yaml and no page of ours names."""
    from diffusers import OvisImagePipeline, OvisImageTransformer2DModel

    tokenizer = word_tokenizer()
    transformer = OvisImageTransformer2DModel(patch_size=1, in_channels=16, out_channels=16, joint_attention_dim=16, **FLUX)
    return OvisImagePipeline(
        vae=autoencoder(shift_factor=0.06), text_encoder=language("Qwen3Model", tokenizer), tokenizer=tokenizer,
        transformer=loud(transformer), scheduler=flow(use_dynamic_shifting=True),
    )  # fmt: skip


def bria() -> Any:
    """Another, which even the library's automatic choice does not list."""
    from diffusers import BriaPipeline, BriaTransformer2DModel

    tokenizer = t5_tokenizer()
    transformer = BriaTransformer2DModel(
        patch_size=1, in_channels=16, joint_attention_dim=32, pooled_projection_dim=None, **FLUX
    )
    return BriaPipeline(
        vae=autoencoder(shift_factor=0.0), text_encoder=t5(tokenizer), tokenizer=tokenizer, transformer=loud(transformer),
        scheduler=flow(),
    )  # fmt: skip


BUILDERS: dict[str, Callable[[], Any]] = {
    "sd15": stable_diffusion,
    "sd21": lambda: stable_diffusion(prediction_type="v_prediction"),
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "flux_schnell": flux,
    "flux_dev": lambda: flux(guidance_embeds=True),
    "flux2_klein": flux2_klein,
    "sana": sana,
    "pixart_sigma": pixart_sigma,
    "z_image": z_image,
    "qwen_image": qwen_image,
    "aura_flow": aura_flow,
    "lumina2": lumina2,
    "cogview4": cogview4,
    "hunyuan_dit": hunyuan_dit,
    "chroma": chroma,
    "kandinsky22": kandinsky22,
    "ovis_image": ovis_image,
    "bria": bria,
}


def saved_autoencoder(kind: str, folder: Path) -> Path:
    """An autoencoder that is a model of its own."""
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(12)
        blocks = dict(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
                      num_decoder_blocks=(1, 1))  # fmt: skip
        model = diffusers.AutoencoderTiny(**blocks) if kind == "AutoencoderTiny" else autoencoder(kind=kind)
    model.eval().save_pretrained(folder)
    return folder
