"""MiVOLO v2 (Kuprashevich et al. 2024, arXiv 2403.02302): age in years and gender, from a face, a body, or what there is.

Its network and image processor are code that ships with the weights: nothing of it runs unless that is said by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from driftloop.classifiers.verdict import checked_bins, checked_thresholds, verdict, verdict_in_years
from driftloop.core.batches import padded
from driftloop.core.records import Reading
from driftloop.core.weights import (
    COMMIT,
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
    import numpy as np
    import torch
    from PIL.Image import Image


class MivoloV2:
    """Reads perceived gender and age from crops that are `shows`: faces or bodies; the other input stays empty.

    `labels` maps the checkpoint's gender labels to categories, `bins` categories to ages [from, to). Pictures go in as the
    network was trained: in BGR. `remote_code` must be true and, for a hub id, `revision` a full commit: what was read
    before it was trusted must be what runs.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        remote_code: bool,
        bins: Mapping[str, Sequence[float]],
        labels: Mapping[str, str],
        shows: Literal["face", "body"] = "face",
        threshold: float | Mapping[str, float] | None = None,
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 16,
        batch_size: int = 32,
    ) -> None:
        check_at_least(1, pad_to=pad_to, batch_size=batch_size)
        _check_asked(model, revision, remote_code)
        if shows not in ("face", "body"):
            raise ValueError(f"shows must be face or body, got {shows!r}")
        self.model, self.revision, self.shows = model, revision, shows
        self.bins, self.labels = checked_bins(bins), {str(label): str(category) for label, category in labels.items()}
        self.categories = {"gender": tuple(dict.fromkeys(self.labels.values())), "age": tuple(self.bins)}
        self.thresholds = checked_thresholds(threshold, ("gender",))
        self.dtype, self.device = check_dtype(dtype), device
        self.pad_to, self.batch_size = pad_to, batch_size

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        if not images:
            return []
        found = self._found(padded(images, self.pad_to))
        columns = (found.gender_class_idx, found.gender_probs, found.age_output)
        numbers, shares, years = (column.reshape(-1)[: len(images)].tolist() for column in columns)
        return [
            [self._gender(*row[:2]), verdict_in_years("age", row[2], self.bins)]
            for row in zip(numbers, shares, years, strict=True)
        ]

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self._loaded

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.__dict__.pop("_loaded", None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return {
            "model": self.model,
            "fingerprint": fingerprint(self.model, self.revision),
            "network": type(self._loaded[1]).__name__,
            "remote_code": True,
            "dtype": self.dtype,
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "transformers", "pillow"),
        }

    def _found(self, images: Sequence[Image]) -> Any:
        import torch

        network = self._loaded[1]
        shown, empty = self._pixels([_bgr(image) for image in images]), self._pixels([None] * len(images))
        faces, bodies = (shown, empty) if self.shows == "face" else (empty, shown)
        with torch.inference_mode():
            return network(faces_input=faces, body_input=bodies)

    def _pixels(self, images: Sequence[np.ndarray[Any, Any] | None]) -> torch.Tensor:
        processor, network = self._loaded
        pixels: torch.Tensor = processor(images=list(images))["pixel_values"]
        return pixels.to(device=network.device, dtype=network.dtype)

    def _gender(self, number: int, share: float) -> Reading:
        """`share` is that of the winning label; what is left belongs to the other one."""
        names = {int(key): self.labels[name] for key, name in self._loaded[1].config.gender_id2label.items()}
        shares = {category: share if category == names[number] else 1 - share for category in self.categories["gender"]}
        return verdict("gender", shares, self.thresholds["gender"])

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        place, commit = locate(self.model, self.revision)
        check_safe(place, remote_code=True)
        options = {"revision": commit or "main", "trust_remote_code": True}
        with loading(self.model):
            processor = AutoImageProcessor.from_pretrained(place, **options)
            network = AutoModelForImageClassification.from_pretrained(
                place, **options, dtype=getattr(torch, self.dtype), use_safetensors=True
            )
        _check_labels(self.model, self.labels, network.config.gender_id2label)
        return processor, network.eval().requires_grad_(False).to(device_of(self.device))


def _check_asked(model: str, revision: str | None, remote_code: bool) -> None:
    if remote_code is not True:
        raise ModelError(f'"{model}" runs code that ships with its weights: read it, then say remote_code=true')
    if not Path(model).expanduser().is_dir() and not COMMIT.fullmatch(revision or ""):
        raise ModelError(
            f'"{model}" runs code from a hub: revision must be the full commit (40 hex digits) that was read, got {revision}'
        )


def _check_labels(model: str, labels: Mapping[str, str], found: Mapping[Any, str]) -> None:
    if set(found.values()) != set(labels) or len(found) != 2:
        raise ModelError(
            f'the labels of "gender" do not fit "{model}": it has {sorted(found.values())}, the map {sorted(labels)}'
        )


def _bgr(image: Image) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
