"""Control arm: the generator never sees the caption, only the bare concept or nothing at all.

What it draws then is its own prior for the concept; whatever the readings show beyond that came through the captions. The
captions themselves are written and kept as ever.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from driftloop.core.records import Caption, Context, Describe, Generate, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

FIELDS = ("concept", "concept_kind")


class FixedPrompt:
    """Every picture is generated from `template`, in which {concept} and {concept_kind} are those of the chain's seed.

    An empty template is no prompt at all.
    """

    scope: Literal["chain"] = "chain"

    def __init__(self, *, template: str) -> None:
        try:
            named = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        except ValueError as error:
            raise ValueError(f"fixed_prompt.template is not a template: {error}; got {template!r}") from error
        if unknown := named - set(FIELDS):
            raise ValueError(f"fixed_prompt.template may name {', '.join(FIELDS)}; got {', '.join(sorted(unknown))}")
        self.template = template

    def describe(self, images: Sequence[Image], contexts: Sequence[Context], inner: Describe) -> list[Caption]:
        return inner(images, contexts)

    def generate(self, captions: Sequence[str], contexts: Sequence[Context], inner: Generate) -> list[Picture]:
        del captions
        seeds = [context.chain.seed for context in contexts]
        return inner([self.template.format(concept=seed.concept, concept_kind=seed.concept_kind) for seed in seeds], contexts)
