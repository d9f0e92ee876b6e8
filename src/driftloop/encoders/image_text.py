"""One adapter for the encoders of transformers that see pictures, with a text side or without: CLIP, SigLIP, DINOv2 …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from driftloop.core.embedding import Embedder
from driftloop.core.records import TextEmbeddings
from driftloop.core.weights import ModelError, check_at_least, config_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


class ImageTextEncoder:
    """Any `AutoModel` checkpoint that sees pictures, as an Encoder.

    `texts` says whether its text side is used too. With one, pictures have the projected features of the shared space
    (`get_image_features`); a checkpoint without is asked for its pooled output (DINOv2: the class token). `max_length` cuts
    texts earlier than the checkpoint does.
    """

    def __init__(
        self,
        *,
        model: str,
        texts: bool = True,
        revision: str | None = None,
        max_length: int | None = None,
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 16,
        batch_size: int = 64,
        remote_code: bool = False,
    ) -> None:
        check_at_least(1, batch_size=batch_size)
        self.embedder = Embedder(
            model=model,
            revision=revision,
            dtype=dtype,
            device=device,
            pad_to=pad_to,
            remote_code=remote_code,
            max_length=max_length,
        )
        self.batch_size = batch_size
        self.embed_texts: Callable[[Sequence[str]], TextEmbeddings] | None = self._told if texts else None

    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.embedder.seen(images).float().cpu().numpy()
        return found

    def check(self) -> None:
        """Raises ModelError for a checkpoint whose config says that it has no text side, where that was asked for."""
        config = config_of(self.embedder.model, self.embedder.revision)
        if self.embed_texts is not None and config and "text_config" not in config:
            raise ModelError(f'"{self.embedder.model}" ({config.get("model_type")}) has no text side; say texts: false')

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self.embedder.network

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.embedder.unload()

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return self.embedder.provenance() | {"image_processor": type(self.embedder.image_processor).__name__}

    def _told(self, texts: Sequence[str]) -> TextEmbeddings:
        return TextEmbeddings(self.embedder.told(texts).float().cpu().numpy(), self.embedder.cut(texts))
