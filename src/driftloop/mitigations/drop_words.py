"""Leaves gender or age words out of captions with a stated probability.

As a mitigation it keeps the captioner's naming from the generator; as a calibration it plants an omission that is exact on
any captioner, since every (chain, round, attribute) is dropped by a draw of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from driftloop.core.records import Caption, Context, Describe, Generate, Picture
from driftloop.core.rng import generator
from driftloop.core.words import TABLES, neutral

if TYPE_CHECKING:
    from PIL.Image import Image


class DropWords:
    """Captions pass with the words of each of `attributes` dropped with `probability`, independently.

    `probability` is one number, or one a round (the last holds from then on).
    """

    scope: Literal["chain"] = "chain"

    def __init__(self, *, probability: float | Sequence[float], attributes: Sequence[str] = ("gender", "age")) -> None:
        self.probabilities = [probability] if isinstance(probability, int | float) else list(probability)
        self.attributes = tuple(attributes)
        if not self.probabilities or not all(0 <= value <= 1 for value in self.probabilities):
            raise ValueError(f"drop_words.probability must lie between 0 and 1, got {probability!r}")
        if unknown := set(self.attributes) - set(TABLES):
            raise ValueError(f"drop_words.attributes may be {', '.join(TABLES)}; got {', '.join(sorted(unknown))}")

    def describe(self, images: Sequence[Image], contexts: Sequence[Context], inner: Describe) -> list[Caption]:
        captions = inner(images, contexts)
        pairs = zip(captions, contexts, strict=True)
        # An item that failed stands as its exception in the caption's place.
        return [self._dropped(said, context) if isinstance(said, Caption) else said for said, context in pairs]

    def generate(self, captions: Sequence[str], contexts: Sequence[Context], inner: Generate) -> list[Picture]:
        return inner(captions, contexts)

    def _dropped(self, caption: Caption, context: Context) -> Caption:
        probability = self.probabilities[min(context.round, len(self.probabilities) - 1)]
        text = caption.text
        for attribute in self.attributes:
            if generator(context.draw(f"drop_words/{attribute}")).random() < probability:
                text = neutral(text, attribute)
        return replace(caption, text=text)
