"""FairFace (Kärkkäinen & Joo 2021) as the `uniface` package runs it on ONNX. Needs the extra `uniface`.

Weights are what the installed version of the package fetches and checks by SHA-256; the package gives labels without
probabilities, so there is no threshold, and corrections that need probabilities leave this instrument out.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftloop.core.records import Reading
from driftloop.core.weights import check_installed, library_versions, loading

if TYPE_CHECKING:
    from PIL.Image import Image

GENDERS = ("female", "male")  # the package's own order, the reverse of the original FairFace's
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
RACES = ("White", "Black", "Latino Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
CATEGORIES = {"gender": GENDERS, "age": AGES, "race": RACES}


class UnifaceFairFace:
    """Reads perceived gender, age group and race from face crops; `attributes` says which of them."""

    def __init__(self, *, attributes: Sequence[str] = tuple(CATEGORIES), batch_size: int = 32) -> None:
        check_installed("uniface", "uniface")
        unknown = [name for name in attributes if name not in CATEGORIES]
        if unknown or not attributes:
            raise ValueError(f"attributes must be among {', '.join(CATEGORIES)}, got {', '.join(unknown) or 'none'}")
        self.categories = {name: CATEGORIES[name] for name in attributes}
        self.batch_size = batch_size

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        return [self._readings(self._network.predict(_bgr(image), None)) for image in images]

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self._network

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.__dict__.pop("_network", None)

    def provenance(self) -> dict[str, Any]:
        """What is installed, for the record."""
        return {"network": "FairFace", "versions": library_versions("uniface", "onnxruntime")}

    def _readings(self, found: Any) -> list[Reading]:
        labels = {"gender": GENDERS[found.gender], "age": found.age_group, "race": found.race}
        return [self._reading(name, labels[name]) for name in self.categories]

    def _reading(self, attribute: str, label: str) -> Reading:
        if label not in self.categories[attribute]:
            raise ValueError(f"uniface names a {attribute} that is not declared: {label!r}")
        return Reading(attribute, "ok", label=label)

    @cached_property
    def _network(self) -> Any:
        with loading("uniface FairFace"):
            return importlib.import_module("uniface").FairFace()


def _bgr(image: Image) -> Any:
    import numpy as np

    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
