"""One adapter for every image classification checkpoint of transformers, one checkpoint per attribute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftloop.classifiers.verdict import checked_bins, checked_thresholds, verdict, verdict_in_years
from driftloop.core.batches import padded
from driftloop.core.records import Reading
from driftloop.core.weights import (
    ModelError,
    check_at_least,
    check_dtype,
    check_safe,
    config_of,
    device_of,
    fingerprint,
    library_versions,
    loading,
    locate,
)

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class TransformersClassifier:
    """Reads one attribute per checkpoint.

    `models` maps an attribute, any attribute, to {model, revision (optional)} with `labels` or `bins`. `labels` maps
    **every** label of the checkpoint to a category: their order there is the declared order, and labels that share a
    category add up. `bins` is for a checkpoint with a single output, an age in years: category -> [from, to).
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
        self.categories = {name: _categories(entry) for name, entry in self.models.items()}
        self.thresholds = checked_thresholds(threshold, tuple(self.models))
        self.dtype, self.device = check_dtype(dtype), device
        self.pad_to, self.batch_size, self.remote_code = pad_to, batch_size, remote_code

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        columns = [self._column(attribute, images) for attribute in self.models]
        return [list(row) for row in zip(*columns, strict=True)]

    def check(self) -> None:
        """Raises ModelError for a checkpoint whose config says that its outputs are not what was declared."""
        for attribute, entry in self.models.items():
            found = config_of(entry["model"], entry.get("revision")).get("id2label")
            if found is not None:  # a config without it leaves the library's own names, which are known after loading
                check_outputs(attribute, entry, found)

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
        """Probabilities are summed in float64, in the checkpoint's own order."""
        logits = self._logits(attribute, images)
        bins = self.models[attribute].get("bins")
        if bins is not None:
            return [verdict_in_years(attribute, row[0], bins) for row in logits.tolist()]
        return [
            verdict(attribute, self._sums(attribute, row), self.thresholds[attribute]) for row in logits.softmax(-1).tolist()
        ]

    def _logits(self, attribute: str, images: Sequence[Image]) -> torch.Tensor:
        """Per image, the outputs of the checkpoint in float64."""
        import torch

        if not images:
            return torch.empty(0, 1, dtype=torch.float64)
        processor, network = self._checkpoints[attribute]
        inputs = processor(images=padded(images, self.pad_to), return_tensors="pt")
        with torch.inference_mode():
            logits: torch.Tensor = network(**inputs.to(device=network.device, dtype=network.dtype)).logits
        return logits[: len(images)].double()

    def _sums(self, attribute: str, row: Sequence[float]) -> dict[str, float]:
        labels, names = self.models[attribute]["labels"], self._checkpoints[attribute][1].config.id2label
        sums = dict.fromkeys(self.categories[attribute], 0.0)
        for index, probability in enumerate(row):
            sums[labels[names[index]]] += probability
        return sums

    @cached_property
    def _checkpoints(self) -> dict[str, tuple[Any, Any]]:
        return {attribute: self._checkpoint(attribute, entry) for attribute, entry in self.models.items()}

    def _checkpoint(self, attribute: str, entry: Mapping[str, Any]) -> tuple[Any, Any]:
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        model = entry["model"]
        place, commit = locate(model, entry.get("revision"))
        check_safe(place, remote_code=self.remote_code)
        options = {"revision": commit or "main", "trust_remote_code": self.remote_code}
        with loading(model):
            processor = AutoImageProcessor.from_pretrained(place, backend="pil", **options)
            network = AutoModelForImageClassification.from_pretrained(
                place, **options, dtype=getattr(torch, self.dtype), use_safetensors=True
            )
        check_outputs(attribute, entry, network.config.id2label)
        return processor, network.eval().requires_grad_(False).to(device_of(self.device))


def check_outputs(attribute: str, entry: Mapping[str, Any], found: Mapping[Any, str]) -> None:
    """The map names exactly the labels that the checkpoint has: a label order is never assumed. Years are one output."""
    if "labels" in entry:
        _check_labels(attribute, entry["model"], set(entry["labels"]), list(found.values()))
    elif len(found) != 1:
        raise ModelError(
            f'"{attribute}" is read in years, which takes one output; "{entry["model"]}" has {_listed(found.values())}. '
            "Give it labels instead of bins."
        )


def _check_labels(attribute: str, model: str, named: set[str], there: Sequence[str]) -> None:
    if set(there) != named:
        raise ModelError(
            f'the labels of "{attribute}" do not fit "{model}": the checkpoint has {_listed(there)}; '
            f"missing in the map: {_listed(sorted(set(there) - named))}; "
            f"not in the checkpoint: {_listed(sorted(named - set(there)))}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names) or "none"


def _checked(attribute: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    outputs = [name for name in ("labels", "bins") if entry.get(name)]
    if set(entry) - {"model", "revision", *outputs} or not entry.get("model") or len(outputs) != 1:
        raise ValueError(f"models.{attribute} must be {{model, labels or bins, revision (optional)}}, got {', '.join(entry)}")
    if "bins" in entry:
        return {**entry, "bins": checked_bins(entry["bins"])}
    return {**entry, "labels": {str(label): str(category) for label, category in entry["labels"].items()}}


def _categories(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(entry["bins"]) if "bins" in entry else tuple(dict.fromkeys(entry["labels"].values()))
