"""Control arm without a loop: every round is generated afresh from the caption of round 0.

A generator alone, asked again and again, shows what one step does and how it varies; what the loop adds is the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from driftloop.core.records import Caption, Context, Describe, Generate, Picture

if TYPE_CHECKING:
    from PIL.Image import Image


class FirstCaption:
    """Round r is generated from the caption of round 0 instead of that of round r − 1; round 1 is that of the loop itself."""

    scope: Literal["chain"] = "chain"

    def describe(self, images: Sequence[Image], contexts: Sequence[Context], inner: Describe) -> list[Caption]:
        return inner(images, contexts)

    def generate(self, captions: Sequence[str], contexts: Sequence[Context], inner: Generate) -> list[Picture]:
        firsts = [context.first_caption for context in contexts]
        return inner([caption if first is None else first for caption, first in zip(captions, firsts, strict=True)], contexts)
