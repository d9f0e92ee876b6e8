"""The shipped models load from their folders alone and do what their cards say, within error."""

from __future__ import annotations

import hashlib
import os
from itertools import product

import numpy as np
import pytest
from PIL import Image

from cards import MODELS, card
from driftloop.core.batches import batches, padded
from driftloop.core.rng import derive
from driftloop.phantom.grammar import parse, plain
from driftloop.phantom.render import render
from driftloop.phantom.training.cards import load_artist, silent_captions
from driftloop.phantom.world import CATEGORIES, CONDITION, Person, Prior, nuisances

NAMES = ("generator", "captioner", *CATEGORIES)
MEGABYTE = 1_000_000
WITHIN = 0.05
"""Of the planted prior, silent captions at guidance 1 have to be."""
SILENT = {True: "guidance 1", False: "guidance 1, concept alone named"}
"""Whether all else is named -> what a card calls it."""

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def sample(n: int, start: int = 0) -> list[tuple[dict[str, str], Image.Image]]:
    """Fresh renders: every attribute value in turn."""
    combinations = list(product(*CATEGORIES.values()))
    told = [dict(zip(CATEGORIES, combinations[(start + 97 * i) % len(combinations)], strict=True)) for i in range(n)]
    seeds = [derive(2026, "test", i) for i in range(n)]
    return [(t, render(Person(**t, **nuisances(t, s)), s).image) for t, s in zip(told, seeds, strict=True)]


def enough(right: int, n: int, stated: float) -> bool:
    """Not below the stated share by more than four standard errors."""
    return right / n >= stated - 4 * np.sqrt(max(stated * (1 - stated), 1 / n) / n)


def labels(attribute: str, images: list[Image.Image], size: int = 64) -> list[str]:
    """Read by the exported classifier, rows padded to a multiple of 8."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    processor = AutoImageProcessor.from_pretrained(MODELS / attribute)
    model = AutoModelForImageClassification.from_pretrained(MODELS / attribute).eval()
    assert model.dtype == torch.float32
    read: list[str] = []
    for batch in batches(images, size):
        pixels = processor(images=padded(batch, 8), return_tensors="pt")
        with torch.no_grad():
            numbers = model(**pixels).logits.argmax(1).tolist()
        read += [model.config.id2label[number] for number in numbers[: len(batch)]]
    return read


def captions(images: list[Image.Image], size: int = 64) -> list[str]:
    """Greedy captions of the exported captioner, rows padded to a multiple of 8."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(MODELS / "captioner")
    model = AutoModelForImageTextToText.from_pretrained(MODELS / "captioner").eval()
    told: list[str] = []
    for batch in batches(images, size):
        with torch.no_grad():
            tokens = model.generate(**processor(images=padded(batch, 8), return_tensors="pt"), max_new_tokens=16)
        told += processor.batch_decode(tokens[: len(batch)], skip_special_tokens=True)
    return told


def test_folders_hold_safetensors_a_card_and_little_else() -> None:
    assert {path.name for path in MODELS.iterdir()} >= set(NAMES)
    suffixes = {path.suffix for path in MODELS.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".md", ".txt", ".jinja"}
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 30 * MEGABYTE


@pytest.mark.parametrize("name", NAMES)
def test_card_belongs_to_the_weights(name: str) -> None:
    for file, stated in card(name)["sha256"].items():
        path = MODELS / name / file
        assert os.access(path, os.R_OK)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == stated


@pytest.mark.parametrize("attribute", CATEGORIES)
def test_classifier_reads_fresh_renders_as_its_card_says(attribute: str) -> None:
    pairs = sample(48)
    read = labels(attribute, [image for _, image in pairs])
    right = sum(r == told[attribute] for r, (told, _) in zip(read, pairs, strict=True))
    assert enough(right, len(pairs), card(attribute)["accuracy on held-out renders"])


def test_captioner_names_fresh_renders_as_its_card_says_at_any_batch_size() -> None:
    pairs = sample(48)
    images = [image for _, image in pairs]
    told = captions(images)
    for attribute, stated in card("captioner")["named right on held-out renders"].items():
        right = sum(parse(text).get(attribute) == truth[attribute] for text, (truth, _) in zip(told, pairs, strict=True))
        assert enough(right, len(pairs), stated), attribute
    assert captions(images[:10], size=1) == captions(images[:10], size=5) == told[:10]


@pytest.mark.slow
def test_generator_shows_what_captions_say_as_its_card_says_at_any_batch_size() -> None:
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(MODELS / "generator")
    pipeline.set_progress_bar_config(disable=True)
    told = [truth for truth, _ in sample(64, start=5)]

    def drawn(rows: range, size: int) -> list[Image.Image]:
        images: list[Image.Image] = []
        for batch in batches(list(rows), size):
            filled = padded(batch, 8)
            draws = [torch.Generator().manual_seed(row) for row in filled]
            texts = [plain(told[row]) for row in filled]
            made = pipeline(texts, num_inference_steps=card("generator")["steps"], guidance_scale=1.5, generator=draws)
            images += made.images[: len(batch)]
        return images

    images = drawn(range(64), 64)
    for attribute, stated in card("generator")["fidelity"]["guidance 1.5"].items():
        right = sum(r == truth[attribute] for r, truth in zip(labels(attribute, images), told, strict=True))
        assert enough(right, len(told), stated), attribute
    for size in (1, 5):
        assert [np.asarray(a).tobytes() for a in drawn(range(6), size)] == [np.asarray(a).tobytes() for a in images[:6]]


@pytest.mark.parametrize("attribute", CONDITION)
@pytest.mark.parametrize("shown", SILENT.values())
def test_the_card_holds_silent_captions_to_the_planted_prior(attribute: str, shown: str) -> None:
    shares = card("generator")["silent captions"][attribute][shown]
    gaps = {concept: np.abs(np.subtract(shares[concept], row)).max() for concept, row in getattr(Prior(), attribute).items()}
    assert max(gaps.values()) <= WITHIN, gaps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attribute", "concept", "rest"), [("gender", "cooking", False), ("gender", "repairing", True), ("age", "sadness", True)]
)
def test_silent_captions_show_what_the_card_says_in_fresh_pictures(attribute: str, concept: str, *, rest: bool) -> None:
    fresh, categories = 320, CATEGORIES[attribute]
    texts = silent_captions(attribute, {CONDITION[attribute]: concept}, fresh, rest=rest)
    read = labels(attribute, load_artist(MODELS).draw(texts, 1.0, name="test"))
    stated = card("generator")["silent captions"][attribute][SILENT[rest]][concept]
    n = 1 / (1 / fresh + 1 / card("generator")["n_silent"]["guidance 1"])  # both shares are counts
    for category, share in zip(categories, stated, strict=True):
        assert abs(read.count(category) / fresh - share) <= 4 * np.sqrt(max(share * (1 - share), 1 / n) / n), category
