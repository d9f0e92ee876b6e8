"""Reads attributes with an image–text encoder: a picture is what the prompts say that it resembles most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftloop.classifiers.verdict import checked_thresholds, verdict
from driftloop.core.embedding import Embedder
from driftloop.core.records import Reading
from driftloop.core.weights import check_at_least

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
        check_at_least(1, batch_size=batch_size)
        self.embedder = Embedder(
            model=model, revision=revision, dtype=dtype, device=device, pad_to=pad_to, remote_code=remote_code
        )
        self.prompts, self.batch_size = _checked(prompts), batch_size
        self.categories = {attribute: tuple(categories) for attribute, categories in self.prompts.items()}
        self.thresholds = checked_thresholds(threshold, tuple(self.prompts))

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        if not images:
            return []
        seen = self.embedder.seen(images)
        columns = [self._column(attribute, seen) for attribute in self.prompts]
        return [list(row) for row in zip(*columns, strict=True)]

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self._told

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.embedder.unload()
        self.__dict__.pop("_told", None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return self.embedder.provenance() | {"image_processor": type(self.embedder.image_processor).__name__}

    def _column(self, attribute: str, seen: torch.Tensor) -> list[Reading]:
        rows = self._probabilities(seen, self._told[attribute]).tolist()
        named = [dict(zip(self.categories[attribute], row, strict=True)) for row in rows]
        return [verdict(attribute, row, self.thresholds[attribute]) for row in named]

    def _probabilities(self, seen: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """(images, categories), in float64."""
        from torch.nn.functional import logsigmoid

        network = self.embedder.network
        similarities = (seen[:, None] * told).sum(-1)  # not a matrix product, whose last bit depends on how many rows there are
        logits: torch.Tensor = similarities * math.exp(network.logit_scale.item())
        if not hasattr(network, "logit_bias"):
            return logits.softmax(-1)
        # In logarithms: all the sigmoids of a picture may be too small to add up.
        return logsigmoid(logits + network.logit_bias.item()).softmax(-1)

    @cached_property
    def _told(self) -> dict[str, torch.Tensor]:
        """Per attribute, the normalised mean embedding of each category's prompts (categories, width), in float64."""
        import torch
        from torch.nn.functional import normalize

        told = {}
        for attribute, categories in self.prompts.items():
            means = [self.embedder.told(prompts).mean(0) for prompts in categories.values()]
            told[attribute] = normalize(torch.stack(means), dim=-1)
        return told


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
