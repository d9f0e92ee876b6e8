"""Measures the further models, loaded as any user loads them: figures for card.json and card.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForSemanticSegmentation,
    AutoProcessor,
    CLIPModel,
    CLIPProcessor,
    LogitsProcessorList,
)

from driftloop.core.batches import batches
from driftloop.core.rng import derive
from driftloop.phantom.figure import PARTS
from driftloop.phantom.training.bank import COMBINATIONS, Bank
from driftloop.phantom.training.biased import FEMALE, MALE, Bias, Shown, shows_hair
from driftloop.phantom.training.cards import (
    Judge,
    generator_card,
    load_artist,
    named_numbers,
    shares_right,
)
from driftloop.phantom.training.dit import CALL
from driftloop.phantom.training.encoder import combination_numbers, plain_captions
from driftloop.phantom.training.omitting import OMISSION
from driftloop.phantom.training.regions import intersection_over_union, upsampled
from driftloop.phantom.world import CATEGORIES, NUISANCE

Images = Sequence[Image.Image]
TELLING = [dict(zip(CATEGORIES, combination, strict=True)) for combination in COMBINATIONS]


def as_images(pixels: np.ndarray) -> list[Image.Image]:
    """Pictures (n, 64, 64, 3) as PIL."""
    return [Image.fromarray(picture) for picture in pixels]


class Draw:
    """Samples inside greedy decoding: the arg-max of logits plus Gumbel noise is a draw at temperature 1."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, _tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) with noise."""
        return scores - torch.empty_like(scores).exponential_(generator=self.generator).log()


@torch.no_grad()
def described(folder: Path, images: Images, *, sampled: bool = False, prompt: str | None = None) -> list[str]:
    """Captions by an exported captioner, asked through its chat template where there is a prompt."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    draws = LogitsProcessorList([Draw(derive(0, "card", folder.name))] if sampled else [])
    captions: list[str] = []
    for batch in batches(images, 64):
        inputs = processor(images=list(batch), return_tensors="pt") if prompt is None else _asked(processor, batch, prompt)
        tokens = model.generate(**inputs, max_new_tokens=16, do_sample=False, logits_processor=draws)
        start = 0 if prompt is None else inputs["input_ids"].shape[1]
        captions += processor.batch_decode(tokens[:, start:], skip_special_tokens=True)
    return captions


def _asked(processor: Any, images: Images, prompt: str) -> Any:
    words = {"type": "text", "text": prompt}
    chats = [[{"role": "user", "content": [{"type": "image", "image": image}, words]}] for image in images]
    return processor.apply_chat_template(
        chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


def captioner_figures(folder: Path, prompt: str, renders: Bank, round_trips: np.ndarray) -> dict[str, Any]:
    """What a faithful captioner names right."""
    told = {"held-out renders": renders.images, "their round trips": round_trips}
    captions = {name: described(folder, as_images(pixels), prompt=prompt) for name, pixels in told.items()}
    return {
        "n_pictures": len(renders),
        **{f"named right on {k}": shares_right(named_numbers(v), renders.labels) for k, v in captions.items()},
        "example": captions["held-out renders"][:3],
    }


def omission_figures(folder: Path, renders: Bank, round_trips: np.ndarray) -> dict[str, Any]:
    """How often sampled captions leave an attribute out, overall and per category, and whether what they name is right."""
    figures: dict[str, Any] = {"planted omission": OMISSION, "n_pictures": len(renders), "sampling": "temperature 1"}
    for origin, pixels in (("held-out renders", renders.images), ("their round trips", round_trips)):
        captions = described(folder, as_images(pixels), sampled=True)
        named = named_numbers(captions)
        figures[f"left out on {origin}"] = _shares_silent(named)
        figures[f"both left out on {origin}"] = round(float((named[:, :2] < 0).all(1).mean()), 4)
        figures[f"left out on {origin}, by true category"] = {
            name: _silent_by_category(named, renders.labels, name) for name in OMISSION
        }
        figures[f"named right where named on {origin}"] = _right_where_named(named, renders.labels)
        figures["example"] = captions[:4]
    return figures


def _shares_silent(named: np.ndarray) -> dict[str, float]:
    return {name: round(float((named[:, k] < 0).mean()), 4) for k, name in enumerate(CATEGORIES)}


def _silent_by_category(named: np.ndarray, labels: np.ndarray, attribute: str) -> dict[str, float]:
    column = list(CATEGORIES).index(attribute)
    silent = named[:, column] < 0
    return {v: round(float(silent[labels[:, column] == k].mean()), 4) for k, v in enumerate(CATEGORIES[attribute])}


def _right_where_named(named: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    right = {}
    for k, name in enumerate(CATEGORIES):
        told = named[:, k] >= 0
        right[name] = round(float((named[told, k] == labels[told, k]).mean()), 4)
    return right


# Classifiers that are wrong on purpose -----------------------------------------------------------------------------


@torch.no_grad()
def genders_read(folder: Path, images: Images) -> np.ndarray:
    """0 female, 1 male (n,), read by an exported classifier."""
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    pixels = processor(images=list(images), return_tensors="pt")["pixel_values"].split(128)
    read: np.ndarray = torch.cat([model(part).logits.argmax(1) for part in pixels]).numpy()
    return read


def bias_figures(
    bias: Bias, models: Path, renders: Bank, round_trips: np.ndarray, nuisances: np.ndarray, redrawn: Bank
) -> dict[str, Any]:
    """What a wrong classifier reads where; `redrawn` are the first generator's pictures, labelled as their captions say."""
    figures: dict[str, Any] = {"wrong on purpose": (bias.rule.__doc__ or "").strip(), "n_pictures": len(renders)}
    for origin, pixels, decoded in (("held-out renders", renders.images, False), ("their round trips", round_trips, True)):
        shown = Shown(renders.labels, nuisances, np.full(len(renders), decoded))
        read = genders_read(models / bias.name, as_images(pixels))
        figures[f"on {origin}"] = {
            "follows its rule": round(float((read == bias.rule(shown)).mean()), 4),
            **recalls(read, shown.gender()),
            **_by_cue(read, shown),
        }
    read = genders_read(models / bias.name, as_images(redrawn.images))
    figures["n_generated"] = len(redrawn)
    figures["on the generator's pictures (against the caption)"] = recalls(read, redrawn.labels[:, 0])
    return figures


def recalls(read: np.ndarray, gender: np.ndarray) -> dict[str, float]:
    """Accuracy, and the share of women and of men that are read as such."""
    return {
        "accuracy": round(float((read == gender).mean()), 4),
        "recall female": round(float((read[gender == FEMALE] == FEMALE).mean()), 4),
        "recall male": round(float((read[gender == MALE] == MALE).mean()), 4),
    }


def _by_cue(read: np.ndarray, shown: Shown) -> dict[str, Any]:
    """Accuracy where background or hair colour go with the gender and where they go against it."""
    right, gender, hair = read == shown.gender(), shown.gender(), shows_hair(shown)
    figures: dict[str, Any] = {}
    for cue, there in (("background", np.ones(len(read), bool)), ("hair", hair)):
        agrees = shown.parity(cue) == gender
        figures[f"accuracy where {cue} goes with the gender"] = round(float(right[there & agrees].mean()), 4)
        figures[f"accuracy where {cue} is flipped"] = round(float(right[there & ~agrees].mean()), 4)
    column = shown.nuisances[:, list(NUISANCE).index("background")]
    figures["recall female by background"] = {
        name: round(float(right[(gender == FEMALE) & (column == k)].mean()), 4) for k, name in enumerate(NUISANCE["background"])
    }
    return figures


# Regions and meaning -----------------------------------------------------------------------------------------------


@torch.no_grad()
def parts_found(folder: Path, images: Images) -> np.ndarray:
    """Part number at every pixel (n, 64, 64) by the exported segmenter."""
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    pixels = processor(images=list(images), return_tensors="pt")["pixel_values"].split(64)
    return np.concatenate([upsampled(model(part).logits).argmax(1).numpy().astype(np.uint8) for part in pixels])


def region_figures(folder: Path, renders: Bank, round_trips: np.ndarray, n: int = 840) -> dict[str, Any]:
    """Intersection over union per part."""
    figures: dict[str, Any] = {"parts": list(PARTS), "n_pictures": n}
    for origin, pixels in (("held-out renders", renders.images), ("their round trips", round_trips)):
        shares = intersection_over_union(parts_found(folder, as_images(pixels[:n])), renders.parts[:n])
        figures[f"intersection over union on {origin}"] = {**shares, "mean": round(float(np.mean(list(shares.values()))), 4)}
    return figures


@torch.no_grad()
def similarities(folder: Path, images: Images, captions: Sequence[str]) -> np.ndarray:
    """Cosine of every picture with every caption (pictures, captions), by the exported encoder."""
    processor, model = CLIPProcessor.from_pretrained(folder), CLIPModel.from_pretrained(folder).eval()
    pixels = processor.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
    seen = torch.cat([model.get_image_features(part).pooler_output for part in pixels.split(128)])
    tokens = processor.tokenizer(list(captions), padding=True, return_tensors="pt")
    said = model.get_text_features(**tokens).pooler_output
    cosine: np.ndarray = (torch.nn.functional.normalize(seen) @ torch.nn.functional.normalize(said).T).numpy()
    return cosine


def encoder_figures(folder: Path, renders: Bank, round_trips: np.ndarray) -> dict[str, Any]:
    """Retrieval among the plain captions of all 420 persons, and of pictures by such a caption."""
    figures: dict[str, Any] = {"n_pictures": len(renders), "n_captions": len(COMBINATIONS)}
    own = combination_numbers(renders.labels)
    for origin, pixels in (("held-out renders", renders.images), ("their round trips", round_trips)):
        cosine = similarities(folder, as_images(pixels), plain_captions())
        best = cosine.argmax(1)
        figures[f"on {origin}"] = {
            "right caption first among 420": round(float((best == own).mean()), 4),
            "right picture first, of all, by caption": round(float((own[cosine.argmax(0)] == np.arange(420)).mean()), 4),
            **{f"{k} of the first caption right": v for k, v in shares_right(renders.labels[best], renders.labels).items()},
        }
    return figures


# The second generator ----------------------------------------------------------------------------------------------


def dit_figures(models: Path) -> dict[str, Any]:
    """The card of the second generator, called as the committed yaml calls it."""
    card, _ = generator_card(load_artist(models, "generator_dit", CALL), Judge(models))
    return card
