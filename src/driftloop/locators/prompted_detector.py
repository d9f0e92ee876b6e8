"""One adapter for every detector of transformers that finds what a phrase names (OWLv2, Grounding DINO)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from driftloop.core.records import Kind
from driftloop.locators.transformers_detector import TransformersDetector

if TYPE_CHECKING:
    from PIL.Image import Image


class PromptedDetector(TransformersDetector):
    """As TransformersDetector, but `names` maps phrases, in plain words, to person or face ("a human face" -> face)."""

    def _kind(self, name: str) -> Kind | None:
        """Grounding DINO answers with the words of a phrase that it saw: they lead to a kind if to one only."""
        whole = {phrase.lower(): kind for phrase, kind in self.names.items()}
        parts = {kind for phrase, kind in whole.items() if name and name in phrase}
        return whole.get(name) or (parts.pop() if len(parts) == 1 else None)

    def _inputs(self, processor: Any, images: list[Image]) -> Any:
        return processor(images=images, text=[list(self.names)] * len(images), return_tensors="pt")

    def _named(self, processor: Any, outputs: Any, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
        phrases = [[phrase.lower() for phrase in self.names]] * len(sizes)
        rows = processor.post_process_grounded_object_detection(
            outputs, threshold=self.doubt, target_sizes=sizes, text_labels=phrases
        )
        return [{"names": row["text_labels"], "scores": row["scores"], "boxes": row["boxes"]} for row in rows]

    def _processor(self, place: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
        from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoProcessor

        processor = AutoProcessor.from_pretrained(place, **options)
        processor.image_processor = AutoImageProcessor.from_pretrained(place, backend="pil", **options)
        return processor, AutoModelForZeroShotObjectDetection

    def _check(self, config: Any) -> None:
        """Any phrase will do."""
