"""Asks a captioning model to choose among stated options, and reads how probable it finds each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from driftloop.classifiers.verdict import checked_thresholds, verdict
from driftloop.core.records import Reading
from driftloop.core.rng import derive, generator
from driftloop.core.weights import check_at_least

if TYPE_CHECKING:
    from PIL.Image import Image


class Scorer(Protocol):
    """log P(answer | image, question) of each answer."""

    def score(self, image: Image, question: str, answers: Sequence[str]) -> list[float]: ...


class VlmJudge:
    """A vision-language model as a Classifier; it writes nothing.

    `questions` maps an attribute to {ask, options}: `options` maps a category to the words of its answer, and `{options}`
    in `ask` becomes their list. Models prefer options by their place in that list, so it is shuffled per picture, by
    random numbers that the picture's pixels give, and probabilities (softmax of the answers' log-probabilities) are
    averaged over `orders` turns of it: with as many orders as options, each option has stood in each place once.
    """

    def __init__(
        self,
        *,
        scorer: Scorer,
        questions: Mapping[str, Mapping[str, Any]],
        orders: int = 2,
        threshold: float | Mapping[str, float] | None = None,
        batch_size: int = 8,
    ) -> None:
        check_at_least(1, orders=orders, batch_size=batch_size)
        self.scorer, self.orders, self.batch_size = scorer, orders, batch_size
        self.questions = {str(attribute): _checked(attribute, entry) for attribute, entry in questions.items()}
        if not self.questions:
            raise ValueError("questions must name at least one attribute")
        self.categories = {attribute: tuple(entry["options"]) for attribute, entry in self.questions.items()}
        self.thresholds = checked_thresholds(threshold, tuple(self.questions))

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        return [[self._reading(attribute, image) for attribute in self.questions] for image in images]

    def provenance(self) -> dict[str, Any]:
        """What the scorer says it loaded."""
        return dict(getattr(self.scorer, "provenance", dict)())

    def _reading(self, attribute: str, image: Image) -> Reading:
        options = self.questions[attribute]["options"]
        orders = turns(list(options), self.orders, pixel_seed(image, attribute))
        mean = np.mean([self._probabilities(attribute, image, order) for order in orders], axis=0)
        return verdict(attribute, dict(zip(options, mean.tolist(), strict=True)), self.thresholds[attribute])

    def _probabilities(self, attribute: str, image: Image, order: Sequence[str]) -> np.ndarray[Any, Any]:
        """In the declared order of categories, the options told in another."""
        entry = self.questions[attribute]
        told = ", ".join(entry["options"][category] for category in order)
        scores = np.array(self.scorer.score(image, entry["ask"].replace("{options}", told), list(entry["options"].values())))
        odds = np.exp(scores - scores.max())
        return np.asarray(odds / odds.sum())


def turns(options: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """At most `count` cyclic turns, evenly spaced, of one shuffled order of the options."""
    first = [options[index] for index in generator(seed).permutation(len(options))]
    count = min(count, len(first))
    starts = [len(first) * turn // count for turn in range(count)]
    return [[*first[start:], *first[:start]] for start in starts]


def pixel_seed(image: Image, attribute: str) -> int:
    """A random seed that belongs to these pixels and this attribute, whatever else is read with them."""
    pixels = hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
    return derive(0, "vlm_judge", attribute, pixels)


def _checked(attribute: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if set(entry) != {"ask", "options"} or len(entry["options"]) < 2:
        raise ValueError(f"questions.{attribute} must be {{ask, options}} with at least two options, got {dict(entry)}")
    options = {str(category): str(words) for category, words in entry["options"].items()}
    if len(set(options.values())) < len(options):
        raise ValueError(f"questions.{attribute}: two options have the same words: {options}")
    return {"ask": str(entry["ask"]), "options": options}
