"""Measures the exported models, loaded as any user loads them, and writes card.json and card.md beside each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoModelForImageTextToText, AutoProcessor

from driftloop.core.batches import batches
from driftloop.core.rng import derive
from driftloop.phantom.grammar import parse, plain
from driftloop.phantom.training.bank import COMBINATIONS, Bank
from driftloop.phantom.training.export import weight_hashes
from driftloop.phantom.training.lessons import STEPS
from driftloop.phantom.world import CATEGORIES, CONDITION, Prior

GUIDANCES = (1.0, 1.5, 2.0)
SILENT = {1.0: 1680, 1.5: 140, 2.0: 140}
"""Guidance -> pictures of silent captions per concept: most where a share has to be known to within .05."""
Told = Mapping[str, str]


class Judge:
    """The exported classifiers, reading as their adapters do: PIL pictures through the processor."""

    def __init__(self, models: Path) -> None:
        self.processor = AutoImageProcessor.from_pretrained(models / "gender")
        self.networks = {name: AutoModelForImageClassification.from_pretrained(models / name).eval() for name in CATEGORIES}

    @torch.no_grad()
    def numbers(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Category numbers read (n, 4)."""
        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"].split(128)
        read = [torch.cat([network(part).logits.argmax(1) for part in pixels]) for network in self.networks.values()]
        return torch.stack(read, 1).numpy()


def true_numbers(told: Sequence[Told]) -> np.ndarray:
    """Category numbers of fully named persons (n, 4)."""
    return np.array([[values.index(t[name]) for name, values in CATEGORIES.items()] for t in told])


def shares_right(read: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Share of rows read right, per attribute."""
    return {name: round(float(np.mean(read[:, k] == true[:, k])), 4) for k, name in enumerate(CATEGORIES)}


def confusion(read: np.ndarray, true: np.ndarray, attribute: str) -> list[list[float]]:
    """P(read | true), rows and columns in the order of CATEGORIES."""
    column, size = list(CATEGORIES).index(attribute), len(CATEGORIES[attribute])
    counts = np.zeros((size, size))
    np.add.at(counts, (true[:, column], read[:, column]), 1)
    return [[round(float(v), 4) for v in row] for row in counts / counts.sum(1, keepdims=True).clip(1)]


@dataclass(frozen=True)
class Artist:
    """An exported generator; `extra` is what its pipeline takes besides captions, steps, guidance and random generators."""

    pipeline: DiffusionPipeline
    extra: Mapping[str, Any] = field(default_factory=dict)

    def draw(self, captions: Sequence[str], guidance: float, name: str = "card") -> list[Image.Image]:
        """One picture a caption, in batches of 64, each from its own random generator."""
        images: list[Image.Image] = []
        for rows in batches(range(len(captions)), 64):
            draws = [torch.Generator().manual_seed(derive(0, name, row)) for row in rows]
            settings = {"guidance_scale": guidance, "num_inference_steps": STEPS, "generator": draws, **self.extra}
            images += self.pipeline([captions[row] for row in rows], **settings).images
        return images


def load_artist(models: Path, name: str = "generator", extra: Mapping[str, Any] | None = None) -> Artist:
    """An exported generator, silent."""
    pipeline = DiffusionPipeline.from_pretrained(models / name)
    pipeline.set_progress_bar_config(disable=True)
    return Artist(pipeline, extra or {})


def captions_of(images: Sequence[Image.Image], models: Path) -> list[str]:
    """Greedy captions from the exported captioner."""
    processor = AutoProcessor.from_pretrained(models / "captioner")
    model = AutoModelForImageTextToText.from_pretrained(models / "captioner").eval()
    captions: list[str] = []
    for start in range(0, len(images), 64):
        inputs = processor(images=list(images[start : start + 64]), return_tensors="pt")
        captions += processor.batch_decode(model.generate(**inputs, max_new_tokens=16), skip_special_tokens=True)
    return captions


def named_numbers(captions: Sequence[str]) -> np.ndarray:
    """Category numbers that captions name (n, 4); -1 where silent."""
    told = [parse(caption) for caption in captions]
    return np.array([[v.index(t[name]) if name in t else -1 for name, v in CATEGORIES.items()] for t in told])


def silent_captions(attribute: str, concept: Told, n: int, *, rest: bool) -> list[str]:
    """`n` captions that name `concept` and not `attribute`; the rest is named too (every combination in turn) or silent."""
    if not rest:
        return [plain(concept)] * n
    told = [dict(zip(CATEGORIES, combination, strict=True)) for combination in COMBINATIONS]
    fitting = [t for t in told if t[attribute] == CATEGORIES[attribute][0] and concept.items() <= t.items()]
    return [plain({k: v for k, v in fitting[i % len(fitting)].items() if k != attribute}) for i in range(n)]


def silent_prior(
    artist: Artist, judge: Judge, attribute: str, guidance: float, n: int, *, rest: bool
) -> dict[str, list[float]]:
    """Concept -> shares read from `n` pictures of captions that are silent about the attribute."""
    concept = CONDITION[attribute]
    column, size = list(CATEGORIES).index(attribute), len(CATEGORIES[attribute])
    shares = {}
    for category in CATEGORIES[concept]:
        captions = silent_captions(attribute, {concept: category}, n, rest=rest)
        read = judge.numbers(artist.draw(captions, guidance, f"silent/{category}"))[:, column]
        shares[category] = [round(float(s), 3) for s in np.bincount(read, minlength=size) / n]
    return shares


def silent_card(artist: Artist, judge: Judge, attribute: str, counts: Mapping[float, int]) -> dict[str, Any]:
    """The planted prior of an attribute and what captions show that leave it out: all else named, or only the concept."""
    planted = {concept: [round(share, 3) for share in row] for concept, row in getattr(Prior(), attribute).items()}
    shown = {f"guidance {g:g}": silent_prior(artist, judge, attribute, g, n, rest=True) for g, n in counts.items()}
    alone = silent_prior(artist, judge, attribute, 1.0, counts[1.0], rest=False)
    return {"planted": planted, **shown, "guidance 1, concept alone named": alone}


def largest_gap(card: Mapping[str, Any], shown: str) -> float:
    """Largest distance of a share shown by silent captions from the planted one, over all concepts and categories."""
    return round(max(float(np.abs(np.subtract(card[shown][c], card["planted"][c])).max()) for c in card["planted"]), 3)


def generator_card(artist: Artist, judge: Judge, copies: int = 2) -> tuple[dict[str, Any], list[Image.Image]]:
    """What the generator's pictures show, and its pictures of all combinations at guidance 1.5."""
    told = [dict(zip(CATEGORIES, c, strict=True)) for c in COMBINATIONS] * copies
    images = {g: artist.draw([plain(t) for t in told], g) for g in GUIDANCES}
    read, true = {g: judge.numbers(images[g]) for g in GUIDANCES}, true_numbers(told)
    silent = {attribute: silent_card(artist, judge, attribute, SILENT) for attribute in CONDITION}
    card = {
        "steps": STEPS,
        "n_fidelity": len(told),
        "fidelity": {f"guidance {g:g}": shares_right(read[g], true) for g in GUIDANCES},
        **{f"confusion at guidance {g:g}": {a: confusion(read[g], true, a) for a in CATEGORIES} for g in GUIDANCES},
        "n_silent": {f"guidance {g:g}": n for g, n in SILENT.items()},
        "largest gap of silent captions": {
            attribute: {shown: largest_gap(figures, shown) for shown in ("guidance 1", "guidance 1, concept alone named")}
            for attribute, figures in silent.items()
        },
        "silent captions": silent,
    }
    return card, images[1.5]


def write_cards(models: Path, held_out: Bank, recipes: Mapping[str, Any]) -> None:
    """Measures everything and writes all cards; `recipes` maps a model's folder name to how it was made."""
    judge = Judge(models)
    renders = [Image.fromarray(pixels) for pixels in held_out.images]
    read = judge.numbers(renders)
    card, made = generator_card(load_artist(models), judge)
    write_card(models / "generator", {**recipes["generator"], **card})
    true = np.resize(true_numbers([dict(zip(CATEGORIES, c, strict=True)) for c in COMBINATIONS]), (len(made), 4))
    own = judge.numbers(made)
    for attribute in CATEGORIES:
        figures = {
            "categories": list(CATEGORIES[attribute]),
            "n_renders": len(renders),
            "accuracy on held-out renders": shares_right(read, held_out.labels)[attribute],
            "confusion on held-out renders": confusion(read, held_out.labels, attribute),
            "accuracy on the generator's pictures (against the caption)": shares_right(own, true)[attribute],
        }
        write_card(models / attribute, {**recipes[attribute], **figures})
    figures = {
        "n_renders": len(renders),
        "named right on held-out renders": shares_right(named_numbers(captions_of(renders, models)), held_out.labels),
        "n_generated": len(made),
        "named as the classifiers read, on the generator's pictures": shares_right(
            named_numbers(captions_of(made, models)), own
        ),
        "example": captions_of(renders[:3], models),
    }
    write_card(models / "captioner", {**recipes["captioner"], **figures})


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """card.json and card.md of one model, with the hashes of its weights."""
    card = {"name": folder.name, **card, "sha256": weight_hashes(folder)}
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    (folder / "card.md").write_text(f"# {folder.name}\n\n{INTRODUCTION}\n\n" + "\n".join(_lines(card)) + "\n")


INTRODUCTION = (
    "A tiny model of driftloop's built-in world, trained from nothing on its own cartoons. It calibrates the instrument "
    "and says nothing about people: gender and age are what a drawing shows. All figures were read from these very files."
)


def _lines(value: Any, depth: int = 0) -> list[str]:
    """Nested figures as an indented list."""
    lines = []
    for key, item in value.items():
        pad = "  " * depth
        lines += [f"{pad}- {key}:", *_lines(item, depth + 1)] if isinstance(item, Mapping) else [f"{pad}- {key}: {item}"]
    return lines
