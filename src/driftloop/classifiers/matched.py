"""The same instrument under the same conditions: every picture brought to one size and one JPEG quality before it is read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from driftloop.core.errors import ConfigError
from driftloop.core.records import Checked, Classifier, Reading
from driftloop.core.weights import check_at_least

if TYPE_CHECKING:
    from PIL.Image import Image


class Matched:
    """Reads with `classifier` (one instrument under its name) what every picture is after the same treatment.

    Whole pictures, seeds too, are resized (Lanczos) until their shorter side is that of their seed, or `shorter_side`
    pixels, proportions kept; then they go once through JPEG at `jpeg_quality` (4:2:0), if one is stated. Only then is
    somebody located in them. What a seed lost before it came to the data set it is not given back: give a size and a
    quality that no round exceeds. A sensitivity to stand beside the plain reading, not in its place.
    """

    def __init__(
        self,
        *,
        classifier: Mapping[str, Classifier],
        shorter_side: int | Literal["seed"] = "seed",
        jpeg_quality: int | None = 90,
        batch_size: int = 32,
    ) -> None:
        if len(classifier) != 1:
            raise ValueError(f"classifier must be one instrument under its name, got {', '.join(classifier) or 'none'}")
        if isinstance(shorter_side, str) and shorter_side != "seed":
            raise ValueError(f'shorter_side must be "seed" or a number of pixels, got {shorter_side!r}')
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality must be between 1 and 100, or null, got {jpeg_quality}")
        check_at_least(1, batch_size=batch_size, shorter_side=None if shorter_side == "seed" else shorter_side)
        (self.classifier,) = classifier.values()
        self.shorter_side, self.jpeg_quality, self.batch_size = shorter_side, jpeg_quality, batch_size
        self.categories = self.classifier.categories

    def prepare(self, images: Sequence[Image], seeds: Sequence[tuple[int, int]]) -> list[Image]:
        """`seeds` are the sizes of the pictures' seeds (width, height); (0, 0) for a text, which has none to match."""
        return [self._prepared(image, self._side(seed)) for image, seed in zip(images, seeds, strict=True)]

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        return self.classifier.read(images)

    def check(self) -> None:
        """What can be known of the instrument inside before its weights are loaded."""
        if isinstance(self.classifier, Checked):
            self.classifier.check()

    def provenance(self) -> dict[str, Any]:
        """What the instrument inside says it loaded."""
        return dict(getattr(self.classifier, "provenance", dict)())

    def _side(self, seed: tuple[int, int]) -> int:
        if self.shorter_side != "seed":
            return self.shorter_side
        if min(seed) < 1:
            raise ConfigError("a seed without a picture has no size to match: give classifier.matched.shorter_side in pixels")
        return min(seed)

    def _prepared(self, image: Image, side: int) -> Image:
        resized = scaled(image, side)
        return resized if self.jpeg_quality is None else recompressed(resized, self.jpeg_quality)


def scaled(image: Image, side: int) -> Image:
    """The picture with a shorter side of `side` pixels."""
    from PIL.Image import Resampling

    scale = side / min(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Resampling.LANCZOS)


def recompressed(image: Image, quality: int) -> Image:
    """What is left of the picture after it was saved as JPEG."""
    import PIL.Image

    with io.BytesIO() as file:
        image.save(file, format="JPEG", quality=quality, subsampling="4:2:0")
        file.seek(0)
        with PIL.Image.open(file) as saved:
            return saved.convert("RGB")
