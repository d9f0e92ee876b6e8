"""The judge against a naive loop over the library, and what shuffling its options is for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cards import MODELS
from driftloop.captioners.scoring import TransformersScorer
from driftloop.classifiers.vlm_judge import VlmJudge, pixel_seed, turns
from driftloop.core.weights import ModelError
from driftloop.phantom.render import render
from driftloop.phantom.world import Person, nuisances

EMOTIONS = {
    "surprise": "a surprised", "fear": "a scared", "disgust": "a disgusted", "happiness": "a happy", "sadness": "a sad",
    "anger": "an angry", "neutral": "a calm",
}  # fmt: skip
ASK = "describe the person"  # the only question that the built-in model was taught


@pytest.fixture(scope="module")
def scorer() -> TransformersScorer:
    return TransformersScorer(model="builtin:captioner_llava", device="cpu")


@pytest.fixture(scope="module")
def people() -> list[tuple[str, Image.Image]]:
    """(emotion, picture), each emotion once."""
    shown = []
    for number, emotion in enumerate(EMOTIONS):
        told = {"gender": ("female", "male")[number % 2], "age": "20-39", "emotion": emotion, "activity": "reading"}
        shown.append((emotion, render(Person(**told, **nuisances(told, number, ())), number).image))
    return shown


@cache
def loaded() -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = MODELS / "captioner_llava"
    return AutoModelForImageTextToText.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


def naive(image: Image.Image, question: str, answer: str) -> float:
    """log P(answer | image, question), one forward pass a token, without padding or batches."""
    import torch

    model, processor = loaded()
    begun = f"<s>user: <image> {question} assistant:"
    total = 0.0
    for word in answer.split():
        inputs = processor(images=image, text=begun, return_tensors="pt", add_special_tokens=False)
        (number,) = processor.tokenizer(word, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            total += float(model(**inputs).logits[0, -1].double().log_softmax(-1)[number])
        begun += f" {word}"
    return total


def test_scores_are_those_of_a_naive_loop(scorer: TransformersScorer, people: list[tuple[str, Image.Image]]) -> None:
    answers = ["a surprised baby girl", "a happy man", "an elderly woman reading a book"]
    for question in (ASK, "reading or cooking"):
        found = scorer.score(people[0][1], question, answers)
        assert found == pytest.approx([naive(people[0][1], question, answer) for answer in answers], abs=1e-3)


def test_it_reads_what_the_captioner_would_say(scorer: TransformersScorer, people: list[tuple[str, Image.Image]]) -> None:
    judge = VlmJudge(scorer=scorer, questions={"emotion": {"ask": ASK, "options": EMOTIONS}}, orders=1)
    readings = judge.read([image for _, image in people])
    assert [row[0].label for row in readings] == [emotion for emotion, _ in people]
    assert judge.read([people[3][1]]) == [readings[3]]
    assert judge.read([image for _, image in people[::-1]]) == readings[::-1]


def test_an_answer_that_begins_another_is_refused(scorer: TransformersScorer, people: list[tuple[str, Image.Image]]) -> None:
    with pytest.raises(ModelError, match='"a young" begins another'):
        scorer.score(people[0][1], ASK, ["a young", "a young woman"])


def test_a_model_without_a_chat_template_is_refused(people: list[tuple[str, Image.Image]]) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        TransformersScorer(model="builtin:captioner", device="cpu").score(people[0][1], "who", ["a man", "a woman"])


class FirstOption:
    """Prefers what is told first, by a logit, whatever the picture shows; keeps what it was asked."""

    def __init__(self, strength: float) -> None:
        self.strength, self.asked = strength, list[str]()

    def score(self, image: Image.Image, question: str, answers: Sequence[str]) -> list[float]:
        self.asked.append(question)
        told = question.split(": ")[1].split(", ")
        return [self.strength * (answer == told[0]) for answer in answers]


CHOICE: dict[str, Any] = {"size": {"ask": "which: {options}", "options": {"s": "small", "m": "middling", "l": "large"}}}


def plain(number: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (number, 0, 0))


def test_a_preference_for_a_place_cancels_over_all_orders() -> None:
    fooled = VlmJudge(scorer=FirstOption(5.0), questions=CHOICE, orders=1).read([plain(number) for number in range(60)])
    labels = [row[0].label for row in fooled]
    assert all(labels.count(option) > 8 for option in "sml")  # by chance, not by the order in the yaml
    fair = VlmJudge(scorer=FirstOption(5.0), questions=CHOICE, orders=3).read([plain(1)])[0][0]
    assert fair.probabilities == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_the_order_belongs_to_the_picture_and_the_attribute() -> None:
    scorer = FirstOption(1.0)
    judge = VlmJudge(scorer=scorer, questions=CHOICE, orders=2)
    judge.read([plain(1), plain(2), plain(3)])
    together, scorer.asked = scorer.asked, []
    for number in (3, 1, 2):
        judge.read([plain(number)])
    assert scorer.asked == together[4:] + together[:4]
    assert len(set(together)) > 2
    assert pixel_seed(plain(1), "size") != pixel_seed(plain(1), "age") != pixel_seed(plain(2), "age")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_turns_put_options_in_different_places(count: int) -> None:
    found = turns(["a", "b", "c", "d"], count, seed=3)
    assert len(found) == min(count, 4)
    for place in zip(*found, strict=True):
        assert len(set(place)) == len(found)


def test_probabilities_are_the_mean_over_orders() -> None:
    class Scores:
        def score(self, image: Image.Image, question: str, answers: Sequence[str]) -> list[float]:
            return [float(len(question.split(answer, maxsplit=1)[0])) / 9 for answer in answers]

    judge = VlmJudge(scorer=Scores(), questions=CHOICE, orders=3)
    expected = []
    for order in turns(["s", "m", "l"], 3, pixel_seed(plain(7), "size")):
        words = CHOICE["size"]["options"]
        question = "which: " + ", ".join(words[category] for category in order)
        odds = np.exp([len(question.split(word)[0]) / 9 for word in words.values()])
        expected.append(odds / odds.sum())
    assert judge.read([plain(7)])[0][0].probabilities == pytest.approx(tuple(np.mean(expected, axis=0)))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"questions": {}}, "at least one"),
        ({"questions": {"age": {"ask": "?", "options": {"old": "old"}}}}, "two options"),
        ({"questions": {"age": {"options": {"old": "old", "young": "young"}}}}, "ask, options"),
        ({"questions": {"age": {"ask": "?", "options": {"old": "grown", "young": "grown"}}}}, "same words"),
        ({"orders": 0}, "orders"),
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        VlmJudge(**{"scorer": FirstOption(1.0), "questions": CHOICE, **wrong})
