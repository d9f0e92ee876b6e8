"""One adapter for every object detection checkpoint of transformers with labels for persons or faces (RT-DETR, YOLOS …)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from driftloop.core.batches import batches, padded
from driftloop.core.records import Box, Kind, SubjectRule
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
from driftloop.locators.overlap import distinct

if TYPE_CHECKING:
    from PIL.Image import Image


class TransformersDetector:
    """Finds what `names` lists: a label of the checkpoint -> person or face. Other labels are passed over.

    `subject`, `choose`, `threshold`, `min_size` and `margin` say which box is read (see SubjectRule). A picture in which
    nothing reaches `threshold`, but something `doubt`, is `low_confidence` instead of empty. Boxes of one kind that
    overlap by more than `overlap` are one. Pictures of one size go together, always `pad_to` rows at a time: neither
    their neighbours nor the batch size change what is found.
    """

    def __init__(
        self,
        *,
        model: str,
        names: Mapping[str, Kind],
        subject: Kind,
        revision: str | None = None,
        choose: Literal["largest", "centre", "only"] = "largest",
        threshold: float = 0.5,
        doubt: float = 0.3,
        min_size: float = 0.0,
        margin: float = 0.0,
        overlap: float = 0.5,
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 4,
        remote_code: bool = False,
    ) -> None:
        check_at_least(1, pad_to=pad_to)
        if not 0 <= doubt <= threshold or not 0 <= overlap <= 1:
            raise ValueError(f"doubt must be between 0 and threshold, overlap between 0 and 1; got {doubt}, {overlap}")
        self.names = {str(name): kind for name, kind in names.items()}
        if set(self.names.values()) - {"person", "face"} or subject not in self.names.values():
            raise ValueError(f"names must lead to person or face, and to the subject {subject!r}; got {self.names}")
        sought = tuple(dict.fromkeys(self.names.values()))
        self.subject = SubjectRule(subject, sought, choose, threshold, min_size, margin)
        self.model, self.revision, self.doubt, self.overlap = model, revision, doubt, overlap
        self.dtype, self.device = check_dtype(dtype), device
        self.pad_to, self.remote_code = pad_to, remote_code

    def locate(self, images: Sequence[Image]) -> list[list[Box]]:
        found: dict[int, list[Box]] = {}
        for places in same_size(images, self.pad_to):
            rows = self._found(padded([images[place] for place in places], self.pad_to))
            for place, row in zip(places, rows, strict=False):
                found[place] = distinct(list(self._boxes(row, images[place])), self.overlap)
        return [found[place] for place in range(len(images))]

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self._loaded

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.__dict__.pop("_loaded", None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        processor, network = self._loaded
        return {
            "model": self.model,
            "fingerprint": fingerprint(self.model, self.revision),
            "network": type(network).__name__,
            "processor": type(processor).__name__,
            "dtype": self.dtype,
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "transformers", "pillow"),
        }

    def _boxes(self, row: Mapping[str, Any], image: Image) -> Iterator[Box]:
        """What of one picture's detections is sought, cut at the picture's edges."""
        for name, score, corners in zip(row["names"], row["scores"].tolist(), row["boxes"].tolist(), strict=True):
            kind = self._kind(name)
            left, right = (min(max(edge, 0.0), image.width) for edge in corners[::2])
            top, bottom = (min(max(edge, 0.0), image.height) for edge in corners[1::2])
            if kind is not None and left < right and top < bottom:
                yield Box(kind, left, top, right, bottom, score)

    def _kind(self, name: str) -> Kind | None:
        return self.names.get(name)

    def _found(self, images: list[Image]) -> list[dict[str, Any]]:
        """Per picture: names, scores and boxes (left, top, right, bottom in pixels) of at least `doubt`."""
        import torch

        processor, network = self._loaded
        inputs = self._inputs(processor, images).to(device=network.device, dtype=network.dtype)
        with torch.inference_mode():
            outputs = network(**inputs)
        return self._named(processor, outputs, [(image.height, image.width) for image in images])

    def _inputs(self, processor: Any, images: list[Image]) -> Any:
        return processor(images=images, return_tensors="pt")

    def _named(self, processor: Any, outputs: Any, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
        known = self._loaded[1].config.id2label
        rows = processor.post_process_object_detection(outputs, threshold=self.doubt, target_sizes=sizes)
        return [{**row, "names": [known[number] for number in row["labels"].tolist()]} for row in rows]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch

        place, commit = locate(self.model, self.revision)
        check_safe(place, remote_code=self.remote_code)
        options = {"revision": commit or "main", "trust_remote_code": self.remote_code}
        with loading(self.model):
            processor, kind = self._processor(place, options)
            network = kind.from_pretrained(place, **options, dtype=getattr(torch, self.dtype), use_safetensors=True)
        self._check(network.config)
        return processor, network.eval().requires_grad_(False).to(device_of(self.device))

    def _processor(self, place: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
        """The processor, and the class that loads the network."""
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        return AutoImageProcessor.from_pretrained(place, backend="pil", **options), AutoModelForObjectDetection

    def _check(self, config: Any) -> None:
        there = sorted(set(config.id2label.values()))
        missing = sorted(set(self.names) - set(there))
        if missing:
            raise ModelError(f'"{self.model}" knows no {", ".join(missing)}; its labels are {", ".join(there)}')


def same_size(images: Sequence[Image], most: int) -> Iterator[Sequence[int]]:
    """The places of pictures of one size, at most so many at a time."""
    groups: dict[tuple[int, int], list[int]] = {}
    for place, image in enumerate(images):
        groups.setdefault(image.size, []).append(place)
    for places in groups.values():
        yield from batches(places, most)
