"""The second generator: a diffusion transformer in PixArt's form, on the latents of the first one's autoencoder.

Lessons, silence and schedule are those of the first generator; the network, the text encoder (T5) and the tokens are
not. Heads on the encoded words name what a caption tells while it trains: the words learn from them first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, PixArtSigmaPipeline, PixArtTransformer2DModel
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

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
from driftloop.phantom.world import CATEGORIES

DIT = Plan("generator_dit", steps=12000, batch=48, rate=1.2e-3, seed=71, ema=0.998, decay=0.01, warmup=200)
CALIBRATION = Plan("calibration_dit", steps=1600, batch=64, rate=5e-4, seed=73, ema=0.995, decay=0.0)
TEXT_WIDTH = 128
HEADS, HEAD_WIDTH, LAYERS = 5, 32, 6
TELLING_WEIGHT = 0.05
CALL = {"height": 64, "width": 64, "max_sequence_length": LENGTH, "use_resolution_binning": False, "clean_caption": False}
"""What the pipeline is called with besides captions, steps, guidance and random generators, as the committed yaml does."""


def new_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of the grammar; marks between words count for nothing."""
    words = ["<pad>", "</s>", "<unk>", *vocabulary()]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[a-z]+(?:-[a-z]+)*"), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=LENGTH
    )


def new_text_encoder(tokenizer: PreTrainedTokenizerFast) -> T5EncoderModel:
    """An untrained T5 encoder of two layers."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=32,
        d_ff=2 * TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return T5EncoderModel(config)


def new_transformer(channels: int = 16) -> PixArtTransformer2DModel:
    """An untrained diffusion transformer over 2 × 2 patches of the latents, residual branches open from the start."""
    width = HEADS * HEAD_WIDTH
    model = PixArtTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=channels,
        out_channels=channels,
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        cross_attention_dim=width,
        caption_channels=TEXT_WIDTH,
        use_additional_conditions=False,
    )
    nn.init.zeros_(model.proj_out.weight)
    nn.init.normal_(model.adaln_single.linear.weight, std=0.02)
    for block in model.transformer_blocks:
        block.scale_shift_table.data.mul_(0.1)
        block.scale_shift_table.data[[2, 5]] += 1  # the gates
    return model


class Denoiser(nn.Module):
    """Transformer and text encoder, trained together, with the training-time heads."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.transformer, self.text = new_transformer(), new_text_encoder(tokenizer)
        self.heads = nn.ModuleDict({name: nn.Linear(TEXT_WIDTH, len(values) + 1) for name, values in CATEGORIES.items()})
        self.pad = tokenizer.pad_token_id

    def forward(
        self, noisy: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Predicted velocity (rows, 16, 8, 8), and per attribute the logits of what the words tell, the last: nothing."""
        mask, words = self._mask(tokens), self.encoded(tokens)
        pooled = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self._velocity(noisy, steps, words, mask), {name: head(pooled) for name, head in self.heads.items()}

    def velocity(self, noisy: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Predicted velocity (rows, 16, 8, 8)."""
        return self._velocity(noisy, steps, self.encoded(tokens), self._mask(tokens))

    def encoded(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the words are encoded as (rows, tokens, width)."""
        words: torch.Tensor = self.text(tokens, attention_mask=self._mask(tokens)).last_hidden_state
        return words

    def _mask(self, tokens: torch.Tensor) -> torch.Tensor:
        mask: torch.Tensor = tokens != self.pad
        return mask.long()

    def _velocity(self, noisy: torch.Tensor, steps: torch.Tensor, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        velocity: torch.Tensor = self.transformer(
            noisy,
            encoder_hidden_states=words,
            encoder_attention_mask=mask,
            timestep=steps,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ).sample
        return velocity


def telling_loss(read: dict[str, torch.Tensor], told: np.ndarray) -> torch.Tensor:
    """Cross-entropy of what the words tell, summed over the attributes; told (rows, 4), -1 where silent."""
    losses = []
    for column, logits in enumerate(read.values()):
        wanted = np.where(told[:, column] < 0, logits.shape[1] - 1, told[:, column])
        losses.append(functional.cross_entropy(logits.float(), torch.from_numpy(wanted)))
    return torch.stack(losses).sum()


def train_dit(latents: torch.Tensor, folder: Path, plan: Plan = DIT) -> Denoiser:
    """Trains on the latents of a bank; row i of the bank shows combination i % 420."""
    torch.manual_seed(plan.seed)
    tokenizer = new_tokenizer()
    denoiser, course = Denoiser(tokenizer), Course(plan.batch, new_lessons(tokenizer), latents)
    fit(plan, denoiser, _loss(denoiser, course), folder)
    return denoiser


def calibrate_dit(denoiser: Denoiser, decoder: AutoencoderTiny, critic: Critic, folder: Path) -> Denoiser:
    """Trains the words further until silent captions show the planted prior at guidance 1, see `calibration`."""
    denoiser.transformer.requires_grad_(False)
    calibrate(CALIBRATION, denoiser, new_tokenizer(), decoder, critic, folder)
    return denoiser


def _loss(denoiser: Denoiser, course: Course) -> Loss:
    def loss(draw: np.random.Generator) -> torch.Tensor:
        examples = draw_examples(draw, course)
        with half_precision():
            velocity, read = denoiser(examples.noisy, examples.steps, examples.tokens)
        return velocity_loss(velocity, examples) + TELLING_WEIGHT * telling_loss(read, examples.told)

    return loss


def new_pipeline(denoiser: Denoiser, autoencoder: AutoencoderTiny) -> PixArtSigmaPipeline:
    """The pipeline, in evaluation mode."""
    pipeline = PixArtSigmaPipeline(
        vae=autoencoder.eval(),
        text_encoder=denoiser.text.eval(),
        tokenizer=new_tokenizer(),
        transformer=denoiser.transformer.eval(),
        scheduler=new_scheduler(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
