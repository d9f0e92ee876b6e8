"""Reads attributes with an image–text encoder: a picture is what the prompts say that it resembles most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftloop.classifiers.verdict import checked_thresholds, verdict
from driftloop.core.batches import padded
from driftloop.core.records import Reading
from driftloop.core.weights import (
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
    import torch
    from PIL.Image import Image

Prompts = Mapping[str, Mapping[str, Sequence[str]]]


class ZeroShot:
    """CLIP, SigLIP or another dual encoder of transformers as a Classifier.

    `prompts` maps an attribute to its categories in order, and a category to one or several prompts, whose normalised
    embeddings are averaged and normalised again (Radford et al. 2021, section 3.1.4). CLIP's probabilities are the
    softmax of its scaled similarities. SigLIP's are the sigmoid of each, which need not sum to 1, divided by their sum:
    the categories are taken as exclusive and complete. Rows are padded to a multiple of `pad_to`.
    """

    def __init__(
        self,
        *,
        model: str,
        prompts: Prompts,
        revision: str | None = None,
        threshold: float | Mapping[str, float] | None = None,
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 16,
        batch_size: int = 32,
        remote_code: bool = False,
    ) -> None:
        check_at_least(1, pad_to=pad_to, batch_size=batch_size)
        self.model, self.revision, self.prompts = model, revision, _checked(prompts)
        self.categories = {attribute: tuple(categories) for attribute, categories in self.prompts.items()}
        self.thresholds = checked_thresholds(threshold, tuple(self.prompts))
        self.dtype, self.device = check_dtype(dtype), device
        self.pad_to, self.batch_size, self.remote_code = pad_to, batch_size, remote_code

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        if not images:
            return []
        seen = self._seen(images)
        columns = [self._column(attribute, seen) for attribute in self.prompts]
        return [list(row) for row in zip(*columns, strict=True)]

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self._told

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        for name in ("_network", "_image_processor", "_told"):
            self.__dict__.pop(name, None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return {
            "model": self.model,
            "fingerprint": fingerprint(self.model, self.revision),
            "network": type(self._network).__name__,
            "image_processor": type(self._image_processor).__name__,
            "dtype": self.dtype,
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "transformers", "tokenizers", "pillow"),
        }

    def _column(self, attribute: str, seen: torch.Tensor) -> list[Reading]:
        rows = self._probabilities(seen, self._told[attribute]).tolist()
        named = [dict(zip(self.categories[attribute], row, strict=True)) for row in rows]
        return [verdict(attribute, row, self.thresholds[attribute]) for row in named]

    def _probabilities(self, seen: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """(images, categories), in float64."""
        from torch.nn.functional import logsigmoid

        similarities = (seen[:, None] * told).sum(-1)  # not a matrix product, whose last bit depends on how many rows there are
        logits: torch.Tensor = similarities * math.exp(self._network.logit_scale.item())
        if not self._sigmoid:
            return logits.softmax(-1)
        # In logarithms: all the sigmoids of a picture may be too small to add up.
        return logsigmoid(logits + self._network.logit_bias.item()).softmax(-1)

    def _seen(self, images: Sequence[Image]) -> torch.Tensor:
        """Normalised embeddings of pictures (images, width), in float64."""
        import torch

        inputs = self._image_processor(images=padded(images, self.pad_to), return_tensors="pt")
        with torch.inference_mode():
            found = self._network.get_image_features(**inputs.to(device=self._network.device, dtype=self._network.dtype))
        return _normalised(found)[: len(images)]

    @cached_property
    def _told(self) -> dict[str, torch.Tensor]:
        """Per attribute, the normalised mean embedding of each category's prompts (categories, width), in float64."""
        import torch
        from torch.nn.functional import normalize

        told = {}
        for attribute, categories in self.prompts.items():
            means = [self._embedded(prompts).mean(0) for prompts in categories.values()]
            told[attribute] = normalize(torch.stack(means), dim=-1)
        return told

    def _embedded(self, texts: Sequence[str]) -> torch.Tensor:
        import torch
        from transformers import AutoTokenizer

        place, options = self._place
        with loading(self.model):
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
        padding = "max_length" if self._sigmoid else True  # SigLIP was trained on full length, without a mask
        inputs = tokenizer(list(texts), padding=padding, truncation=True, max_length=self._longest, return_tensors="pt")
        with torch.inference_mode():
            return _normalised(self._network.get_text_features(**inputs.to(self._network.device)))

    @property
    def _sigmoid(self) -> bool:
        return hasattr(self._network, "logit_bias")

    @property
    def _longest(self) -> int:
        return int(self._network.config.text_config.max_position_embeddings)

    @property
    def _place(self) -> tuple[str, dict[str, Any]]:
        place, revision = locate(self.model, self.revision)
        check_safe(place, remote_code=self.remote_code)
        return place, {"revision": revision or "main", "trust_remote_code": self.remote_code}

    @cached_property
    def _image_processor(self) -> Any:
        from transformers import AutoImageProcessor

        place, options = self._place
        with loading(self.model):
            return AutoImageProcessor.from_pretrained(place, backend="pil", **options)

    @cached_property
    def _network(self) -> Any:
        import torch
        from transformers import AutoModel

        place, options = self._place
        with loading(self.model):
            network = AutoModel.from_pretrained(place, **options, dtype=getattr(torch, self.dtype), use_safetensors=True)
        return network.eval().requires_grad_(False).to(device_of(self.device))


def _normalised(found: Any) -> torch.Tensor:
    from torch.nn.functional import normalize

    return normalize(getattr(found, "pooler_output", found).double(), dim=-1)


def _checked(prompts: Prompts) -> dict[str, dict[str, list[str]]]:
    found = {}
    for attribute, categories in prompts.items():
        listed = {str(name): [said] if isinstance(said, str) else list(said) for name, said in categories.items()}
        if len(listed) < 2 or not all(listed.values()):
            raise ValueError(f"prompts.{attribute} must give at least two categories, each with at least one prompt")
        found[str(attribute)] = listed
    if not found:
        raise ValueError("prompts must name at least one attribute")
    return found
