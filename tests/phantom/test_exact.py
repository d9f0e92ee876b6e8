"""Exact models plant what they were told to plant, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from driftloop.datasets.phantom import PhantomDataset
from driftloop.phantom.exact import ExactCaptioner, ExactClassifier, ExactGenerator
from driftloop.phantom.grammar import parse
from driftloop.phantom.render import read_stamp, render
from driftloop.phantom.world import CATEGORIES, PRIOR_AGE, PRIOR_GENDER, Person

N = 240
TOLD = "a happy young woman dancing"


def close(share: float, expected: float, n: int = N) -> bool:
    """Within four binomial standard errors."""
    return abs(share - expected) <= 4 * np.sqrt(max(expected * (1 - expected), 1 / n) / n)


def shown(caption: str, attribute: str, generator: ExactGenerator, n: int = N) -> Counter[str]:
    stamps = [read_stamp(picture.image) for picture in generator.generate([caption] * n, range(n))]
    return Counter(found.attributes[attribute] for found in stamps if found)


def seed_images(n: int = N, **options: Any) -> tuple[list[Image.Image], list[Any]]:
    seeds = PhantomDataset(n=n, **options).load()
    return [seed.picture() for seed in seeds if seed.picture], [seed.labels for seed in seeds]


def test_told_attributes_are_drawn_as_told() -> None:
    for attribute, value in parse(TOLD).items():
        assert shown(TOLD, attribute, ExactGenerator(), 20) == {value: 20}


def test_silent_attributes_follow_the_planted_prior() -> None:
    assert close(shown("a person cooking an egg", "gender", ExactGenerator())["female"] / N, PRIOR_GENDER["cooking"])
    ages = shown("a sad person", "age", ExactGenerator())
    assert all(close(ages[age] / N, share) for age, share in zip(CATEGORIES["age"], PRIOR_AGE["sadness"], strict=True))


def test_prior_can_be_overridden_for_one_concept() -> None:
    generator = ExactGenerator(prior={"gender": {"cooking": 0.0}})
    assert shown("a person cooking an egg", "gender", generator, 40) == {"male": 40}
    assert close(shown("a person holding a hammer", "gender", generator)["female"] / N, PRIOR_GENDER["repairing"])


def test_naming_one_attribute_changes_no_other() -> None:
    generator = ExactGenerator()
    free, named = (generator.generate([text] * 30, range(30)) for text in ("a sad person", "a sad female person"))
    ages = [[read_stamp(p.image).attributes["age"] for p in pictures] for pictures in (free, named)]  # type: ignore[union-attr]
    assert ages[0] == ages[1]


def test_spurious_cue_follows_its_attribute() -> None:
    seeds = PhantomDataset(n=60, spurious=[{"cue": "background", "strength": 1.0}]).load()
    people = [seed.picture.args[0] for seed in seeds if seed.picture]  # type: ignore[attr-defined]
    assert {(p.gender, p.background) for p in people} == {("female", "sky"), ("male", "mint")}


def test_larger_pictures_keep_their_stamp() -> None:
    picture = ExactGenerator(size=128).generate([TOLD], [0])[0].image
    assert picture.size == (128, 128)
    assert ExactCaptioner().describe([picture], [1])[0].tokens > 0


def test_silent_captioner_names_everything() -> None:
    images, labels = seed_images(50)
    assert [parse(c.text) for c in ExactCaptioner().describe(images, range(50))] == labels


def test_omission_is_planted_per_attribute_origin_and_group() -> None:
    images, labels = seed_images()
    rates = {"seed": {"female": 0.5, "male": 0.1}, "generated": 0.0}
    captions = ExactCaptioner(omission={"gender": rates, "activity": 0.25}).describe(images, range(N))
    told = [parse(caption.text) for caption in captions]
    for gender, rate in (("female", 0.5), ("male", 0.1)):
        own = [t for t, label in zip(told, labels, strict=True) if label["gender"] == gender]
        assert close(np.mean(["gender" not in t for t in own]), rate, len(own))
    assert close(np.mean(["activity" not in t for t in told]), 0.25)
    assert all("age" in t and "emotion" in t for t in told)
    made = [picture.image for picture in ExactGenerator().generate([TOLD] * 50, range(50))]
    assert all("gender" in parse(c.text) for c in ExactCaptioner(omission={"gender": rates}).describe(made, range(50)))


def test_captioner_confuses_as_planted() -> None:
    images, labels = seed_images()
    captioner = ExactCaptioner(confusion={"gender": [[0.7, 0.3], [0.1, 0.9]]})
    told = [parse(caption.text) for caption in captioner.describe(images, range(N))]
    women = [t["gender"] for t, label in zip(told, labels, strict=True) if label["gender"] == "female"]
    assert close(np.mean([gender == "male" for gender in women]), 0.3, len(women))
    assert all(t["age"] == label["age"] for t, label in zip(told, labels, strict=True))


def test_classifier_errs_and_abstains_as_planted_and_always_alike() -> None:
    images, labels = seed_images()
    options: dict[str, Any] = {"confusion": {"gender": [[0.8, 0.2], [0.0, 1.0]]}, "abstention": {"age": 0.3}}
    readings = ExactClassifier(**options).read(images)
    assert readings == ExactClassifier(**options).read(images[::-1])[::-1]
    assert readings != ExactClassifier(**options, name="twin").read(images)
    women = [r[0].label for r, label in zip(readings, labels, strict=True) if label["gender"] == "female"]
    assert close(women.count("male") / len(women), 0.2, len(women))
    assert close(np.mean([r[1].status == "low_confidence" and r[1].label is None for r in readings]), 0.3)
    sure = next(r[0] for r in readings if r[0].label == "female")
    assert sure.probabilities == pytest.approx((1.0, 0.0))
    assert sure.probability == pytest.approx(1.0)


def test_classifier_is_as_sure_of_generated_pictures_as_of_seeds() -> None:
    """Its probabilities are those of its errors on seeds, also where it errs otherwise."""
    confusion = {"gender": {"seed": [[0.9, 0.1], [0.2, 0.8]], "generated": [[0.5, 0.5], [0.5, 0.5]]}}
    made = [picture.image for picture in ExactGenerator().generate([TOLD] * 100, range(100))]
    images = seed_images()[0]
    for readings in (ExactClassifier(["gender"], confusion).read(some) for some in (images, made)):
        sure = {reading.label: reading.probabilities for [reading] in readings}
        assert sure["female"] == pytest.approx((0.9 / 1.1, 0.2 / 1.1))
        assert sure["male"] == pytest.approx((0.1 / 0.9, 0.8 / 0.9))


def test_what_is_never_read_of_a_seed_tells_nothing_of_a_generated_picture() -> None:
    never = {"gender": {"seed": [[0, 1], [0, 1]], "generated": [[1, 0], [1, 0]]}}
    [[reading]] = ExactClassifier(["gender"], never).read([ExactGenerator().generate([TOLD], [0])[0].image])
    assert (reading.label, reading.probabilities) == ("female", (0.5, 0.5))


def test_classifier_without_options_reads_the_truth() -> None:
    images, labels = seed_images(40)
    classifier = ExactClassifier(attributes=tuple(CATEGORIES))
    assert [{r.attribute: r.label for r in row} for row in classifier.read(images)] == labels


@pytest.mark.parametrize("act", [lambda i: ExactCaptioner().describe(i, [0, 1]), lambda i: ExactClassifier().read(i)])
def test_a_lossy_step_is_an_error_that_names_the_item(act: Any) -> None:
    images, _ = seed_images(1)
    with pytest.raises(ValueError, match="item 1: the stamp is damaged"):
        act([images[0], render(Person("male", "0-3", "fear", "reading"), 0).image])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ExactCaptioner(omission=1.5), "1.5"),
        (lambda: ExactCaptioner(omission={"hair": 0.5}), "hair"),
        (lambda: ExactCaptioner(omission={"gender": {"seed": 0.5}}), "seed and generated"),
        (lambda: ExactCaptioner(confusion={"gender": [[0.9, 0.2], [0, 1]]}), "sum to 1"),
        (lambda: ExactCaptioner(confusion={"age": [[1.0]]}), "5 rows"),
        (lambda: ExactCaptioner(phrasing="loud"), "varied or plain"),  # type: ignore[arg-type]
        (lambda: ExactGenerator(prior={"gender": {"sleeping": 0.5}}), "reading"),
        (lambda: ExactGenerator(prior={"race": {}}), "race"),
        (lambda: ExactGenerator(size=8), "at least 32"),
        (lambda: ExactGenerator(spurious=[{"cue": "hat"}]), "hat"),
        (lambda: ExactClassifier(attributes=("race",)), "race"),
        (lambda: ExactClassifier(abstention=-0.1), "-0.1"),
        (lambda: PhantomDataset(n=0), "at least 1"),
        (lambda: PhantomDataset(concept_kind="hair"), "emotion"),  # type: ignore[arg-type]
        (lambda: PhantomDataset(gender={"sleeping": 0.5}), "sleeping"),
        (lambda: PhantomDataset(age=(1.0,)), "5 probabilities"),
    ],
)
def test_wrong_options_say_what_is_allowed(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
