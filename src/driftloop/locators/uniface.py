"""RetinaFace (Deng et al. 2020) as the `uniface` package runs it on ONNX. Needs the extra `uniface`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from driftloop.core.records import Box, SubjectRule
from driftloop.core.weights import check_installed, library_versions, loading

if TYPE_CHECKING:
    from PIL.Image import Image


class UnifaceRetinaFace:
    """Finds faces. `choose`, `threshold`, `min_size` and `margin` say which is read (see SubjectRule).

    A picture in which nothing reaches `threshold`, but something `doubt`, is `low_confidence` instead of `no_face`.
    """

    def __init__(
        self,
        *,
        choose: Literal["largest", "centre", "only"] = "largest",
        threshold: float = 0.5,
        doubt: float = 0.3,
        min_size: float = 0.0,
        margin: float = 0.0,
    ) -> None:
        check_installed("uniface", "uniface")
        if not 0 <= doubt <= threshold:
            raise ValueError(f"doubt must be between 0 and threshold, got {doubt}")
        self.subject = SubjectRule("face", ("face",), choose, threshold, min_size, margin)
        self.doubt = doubt

    def locate(self, images: Sequence[Image]) -> list[list[Box]]:
        return [self._faces(image) for image in images]

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self._network

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.__dict__.pop("_network", None)

    def provenance(self) -> dict[str, Any]:
        """What is installed, for the record."""
        return {"network": "RetinaFace", "versions": library_versions("uniface", "onnxruntime")}

    def _faces(self, image: Image) -> list[Box]:
        import numpy as np

        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])  # the package takes BGR
        return [Box("face", *map(float, (*face.bbox[:4], face.confidence))) for face in self._network.detect(pixels)]

    @cached_property
    def _network(self) -> Any:
        with loading("uniface RetinaFace"):
            return importlib.import_module("uniface.detection").RetinaFace(confidence_threshold=self.doubt)
