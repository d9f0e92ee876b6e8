"""Control arm: the generator sees the caption's words in a random order.

The same words without their grammar: what of a drift stays is carried by single words ("woman", "kitchen"), what goes away
by what the sentence said of whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from driftloop.core.records import Caption, Context, Describe, Generate, Picture
from driftloop.core.rng import generator

if TYPE_CHECKING:
    from PIL.Image import Image


class ShuffledWords:
    """Each prompt is a permutation of the caption's words, drawn for its chain and round; captions are kept as they are."""

    scope: Literal["chain"] = "chain"

    def describe(self, images: Sequence[Image], contexts: Sequence[Context], inner: Describe) -> list[Caption]:
        return inner(images, contexts)

    def generate(self, captions: Sequence[str], contexts: Sequence[Context], inner: Generate) -> list[Picture]:
        return inner([_shuffled(caption, context) for caption, context in zip(captions, contexts, strict=True)], contexts)


def _shuffled(caption: str, context: Context) -> str:
    words = caption.split()
    order = generator(context.draw("shuffled_words")).permutation(len(words))
    return " ".join(words[place] for place in order)
