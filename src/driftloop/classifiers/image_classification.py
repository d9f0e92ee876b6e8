"""One adapter for every image classification checkpoint of transformers, one checkpoint per attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftloop.core.batches import padded
from driftloop.core.records import Reading
from driftloop.core.weights import (
    ModelError,
    check_at_least,
    check_dtype,
    check_safe,
    device_of,
    fingerprint,
    library_versions,
    loading,
    locate,
)

if TYPE_CHECKING:
    from PIL.Image import Image


class TransformersClassifier:
    """Reads one attribute per checkpoint.

    `models` maps an attribute to {model, revision (optional), labels}, and `labels` maps **every** label of the
    checkpoint to a category: their order there is the declared order, and labels that share a category add up.
    A reading whose best probability is below `threshold` (one number, or one per attribute) is `low_confidence`.
    Rows are padded to a multiple of `pad_to` (why 16: see DiffusersGenerator).
    """

    def __init__(
        self,
        *,
        models: Mapping[str, Mapping[str, Any]],
        threshold: float | Mapping[str, float] | None = None,
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 16,
        batch_size: int = 32,
        remote_code: bool = False,
    ) -> None:
        check_at_least(1, pad_to=pad_to, batch_size=batch_size)
        self.models = {attribute: _checked(attribute, entry) for attribute, entry in models.items()}
        if not self.models:
            raise ValueError("models must name at least one attribute")
        self.categories = {name: tuple(dict.fromkeys(entry["labels"].values())) for name, entry in self.models.items()}
        self.thresholds = _thresholds(threshold, tuple(self.models))
        self.dtype, self.device = check_dtype(dtype), device
        self.pad_to, self.batch_size, self.remote_code = pad_to, batch_size, remote_code

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        columns = [self._column(attribute, images) for attribute in self.models]
        return [list(row) for row in zip(*columns, strict=True)]

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self._checkpoints

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.__dict__.pop("_checkpoints", None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return {
            "models": {attribute: self._origin(attribute) for attribute in self.models},
            "dtype": self.dtype,
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "transformers", "pillow"),
        }

    def _origin(self, attribute: str) -> dict[str, str]:
        model, revision = self.models[attribute]["model"], self.models[attribute].get("revision")
        processor, network = self._checkpoints[attribute]
        return {
            "model": model,
            "fingerprint": fingerprint(model, revision),
            "network": type(network).__name__,
            "image_processor": type(processor).__name__,
        }

    def _column(self, attribute: str, images: Sequence[Image]) -> list[Reading]:
        return [self._reading(attribute, row) for row in self._probabilities(attribute, images)]

    def _probabilities(self, attribute: str, images: Sequence[Image]) -> list[list[float]]:
        """Per image, the probabilities of the checkpoint's own labels in its own order; summed in float64."""
        import torch

        if not images:
            return []
        processor, network = self._checkpoints[attribute]
        inputs = processor(images=padded(images, self.pad_to), return_tensors="pt")
        with torch.inference_mode():
            logits = network(**inputs.to(device=network.device, dtype=network.dtype)).logits
        rows: list[list[float]] = logits[: len(images)].double().softmax(-1).tolist()
        return rows

    def _reading(self, attribute: str, row: Sequence[float]) -> Reading:
        labels, names = self.models[attribute]["labels"], self._checkpoints[attribute][1].config.id2label
        sums = dict.fromkeys(self.categories[attribute], 0.0)
        for index, probability in enumerate(row):
            sums[labels[names[index]]] += probability
        best = max(sums, key=lambda category: sums[category])
        sure = sums[best] >= self.thresholds[attribute]
        return Reading(
            attribute,
            "ok" if sure else "low_confidence",
            label=best if sure else None,
            probability=sums[best],
            probabilities=tuple(sums.values()),
        )

    @cached_property
    def _checkpoints(self) -> dict[str, tuple[Any, Any]]:
        return {attribute: self._checkpoint(attribute, **entry) for attribute, entry in self.models.items()}

    def _checkpoint(
        self, attribute: str, *, model: str, labels: Mapping[str, str], revision: str | None = None
    ) -> tuple[Any, Any]:
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        place, commit = locate(model, revision)
        check_safe(place, remote_code=self.remote_code)
        options = {"revision": commit or "main", "trust_remote_code": self.remote_code}
        with loading(model):
            processor = AutoImageProcessor.from_pretrained(place, backend="pil", **options)
            network = AutoModelForImageClassification.from_pretrained(
                place, **options, dtype=getattr(torch, self.dtype), use_safetensors=True
            )
        check_labels(attribute, model, labels, network.config.id2label)
        return processor, network.eval().requires_grad_(False).to(device_of(self.device))


def check_labels(attribute: str, model: str, labels: Mapping[str, str], found: Mapping[int, str]) -> None:
    """The map names exactly the labels that the checkpoint has. A label order is never assumed."""
    there, named = set(found.values()), set(labels)
    if there != named:
        raise ModelError(
            f'the labels of "{attribute}" do not fit "{model}": the checkpoint has {_listed(found.values())}; '
            f"missing in the map: {_listed(sorted(there - named))}; "
            f"not in the checkpoint: {_listed(sorted(named - there))}"
        )


def _listed(names: Any) -> str:
    return ", ".join(f'"{name}"' for name in names) or "none"


def _checked(attribute: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if set(entry) - {"model", "revision", "labels"} or not entry.get("model") or not entry.get("labels"):
        raise ValueError(f"models.{attribute} must be {{model, labels, revision (optional)}}, got {', '.join(entry)}")
    return {**entry, "labels": {str(label): str(category) for label, category in entry["labels"].items()}}


def _thresholds(threshold: float | Mapping[str, float] | None, attributes: tuple[str, ...]) -> dict[str, float]:
    given = threshold if isinstance(threshold, Mapping) else dict.fromkeys(attributes, threshold or 0.0)
    if set(given) - set(attributes):
        raise ValueError(f"threshold names {', '.join(given)}; the attributes are {', '.join(attributes)}")
    wrong = {name: value for name, value in given.items() if not 0 <= value <= 1}
    if wrong:
        raise ValueError(f"threshold must be between 0 and 1, got {wrong}")
    return {attribute: given.get(attribute, 0.0) for attribute in attributes}
