"""The further built-in models load offline through their adapters and do what their cards say, within error."""

from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

import driftloop.conf
import driftloop.phantom
from cards import MODELS, card
from driftloop.captioners.vision_language import TransformersCaptioner
from driftloop.classifiers.image_classification import TransformersClassifier
from driftloop.core.rng import derive
from driftloop.phantom.figure import PARTS
from driftloop.phantom.grammar import parse, plain
from driftloop.phantom.render import Rendering, render
from driftloop.phantom.world import CATEGORIES, Person, Spurious, nuisances

CONF = Path(driftloop.conf.__file__).parent
RENDERS = "held-out renders"
WRONG = ("gender_errs_on_women", "gender_errs_on_generated", "gender_reads_background", "gender_reads_hair")
NAMES = ("captioner_omitting", *WRONG, "regions", "encoder", "captioner_llava")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def options(group: str, name: str) -> dict[str, Any]:
    """The constructor's arguments as the committed yaml gives them."""
    read: Any = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    read = read.get(name, read)
    return {key: value for key, value in read.items() if key != "_target_"}


def persons(n: int, spurious: tuple[Spurious, ...] = ()) -> list[tuple[Person, Rendering]]:
    """Fresh renders: every attribute value in turn."""
    combinations = list(product(*CATEGORIES.values()))
    made = []
    for number in range(n):
        told = dict(zip(CATEGORIES, combinations[97 * number % len(combinations)], strict=True))
        seed = derive(2027, "test", number)
        person = Person(**told, **nuisances(told, seed, spurious))
        made.append((person, render(person, seed)))
    return made


def near(share: float, stated: float, n: int) -> bool:
    """Within four standard errors of the stated share, or of one in n where it is 0 or 1."""
    return abs(share - stated) <= 4 * np.sqrt(max(stated * (1 - stated), 1 / n) / n)


def captions(captioner: TransformersCaptioner, images: list[Image.Image]) -> list[dict[str, str]]:
    """What captions tell of the images."""
    return [parse(c.text) for c in captioner.describe(images, [derive(5, "test", k) for k in range(len(images))])]


def genders(name: str, images: list[Image.Image]) -> np.ndarray:
    """Labels (n,) read through the committed yaml."""
    classifier = TransformersClassifier(**options("classifier", f"phantom_{name}"))
    return np.array([row[0].label for row in classifier.read(images)])


@pytest.mark.parametrize("name", NAMES)
def test_card_belongs_to_the_weights(name: str) -> None:
    for file, stated in card(name)["sha256"].items():
        assert hashlib.sha256((MODELS / name / file).read_bytes()).hexdigest() == stated
    assert (MODELS / name / "card.md").read_text().startswith(f"# {name}")


def test_sampled_captions_leave_words_out_as_the_card_says() -> None:
    shown = persons(96)
    told = captions(TransformersCaptioner(**options("captioner", "phantom_blip_omitting")), [r.image for _, r in shown])
    for attribute, stated in card("captioner_omitting")[f"left out on {RENDERS}"].items():
        assert near(np.mean([attribute not in t for t in told]), stated, len(shown)), attribute
    for attribute, stated in card("captioner_omitting")[f"named right where named on {RENDERS}"].items():
        right = [t[attribute] == getattr(p, attribute) for t, (p, _) in zip(told, shown, strict=True) if attribute in t]
        assert near(np.mean(right), stated, len(right)), attribute


@pytest.mark.parametrize("name", WRONG)
def test_wrong_classifier_is_as_wrong_as_its_card_says(name: str) -> None:
    shown = persons(192)
    read, true = genders(name, [r.image for _, r in shown]), np.array([p.gender for p, _ in shown])
    for gender in CATEGORIES["gender"]:
        stated = card(name)[f"on {RENDERS}"][f"recall {gender}"]
        assert near(np.mean(read[true == gender] == gender), stated, int((true == gender).sum())), gender


@pytest.mark.parametrize("cue", ["background", "hair"])
def test_cheat_is_perfect_where_a_shortcut_is_planted_and_lost_where_it_is_flipped(cue: str) -> None:
    planted = persons(64, (Spurious(cue, strength=1.0),))
    grown = [(p, r) for p, r in planted if p.age not in ("0-3", "70+")]
    read = genders(f"gender_reads_{cue}", [r.image for _, r in grown])
    stated = card(f"gender_reads_{cue}")[f"on {RENDERS}"]
    followed, flipped = (stated[f"accuracy where {cue} {goes}"] for goes in ("goes with the gender", "is flipped"))
    assert near(np.mean(read == [p.gender for p, _ in grown]), followed, len(grown))
    assert followed > 0.9
    assert flipped < 0.1


def test_second_captioner_names_fresh_renders_as_its_card_says() -> None:
    shown = persons(48)
    told = captions(TransformersCaptioner(**options("captioner", "phantom_llava")), [r.image for _, r in shown])
    for attribute, stated in card("captioner_llava")[f"named right on {RENDERS}"].items():
        share = np.mean([t.get(attribute) == getattr(p, attribute) for t, (p, _) in zip(told, shown, strict=True)])
        assert near(float(share), stated, len(shown)), attribute


def test_segmenter_finds_the_true_parts_as_its_card_says() -> None:
    from driftloop.phantom.training.extra_cards import parts_found
    from driftloop.phantom.training.regions import intersection_over_union

    shown = persons(48)
    found = parts_found(MODELS / "regions", [r.image for _, r in shown])
    shares = intersection_over_union(found, np.stack([r.parts for _, r in shown]))
    assert set(shares) == set(PARTS)
    for part, share in shares.items():
        assert share > card("regions")[f"intersection over union on {RENDERS}"][part] - 0.05, part


def test_encoder_finds_the_caption_as_its_card_says() -> None:
    from driftloop.phantom.training.encoder import plain_captions
    from driftloop.phantom.training.extra_cards import similarities

    shown = persons(96)
    texts = list(plain_captions())
    best = similarities(MODELS / "encoder", [r.image for _, r in shown], texts).argmax(1)
    right = [texts[k] == plain(p.attributes) for k, (p, _) in zip(best, shown, strict=True)]
    assert near(np.mean(right), card("encoder")[f"on {RENDERS}"]["right caption first among 420"], len(right))
