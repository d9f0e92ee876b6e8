"""The locator for images that are a face or a person already, such as aligned crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from driftloop.core.records import Box, SubjectRule

if TYPE_CHECKING:
    from PIL.Image import Image


class WholeImage:
    """Finds the image itself, once in every image: nothing is looked for, so nobody is ever missing."""

    subject = SubjectRule("whole")

    def locate(self, images: Sequence[Image]) -> list[list[Box]]:
        return [[Box("whole", 0, 0, image.width, image.height)] for image in images]
