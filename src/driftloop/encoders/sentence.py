"""Sentence encoders as transformers loads them: the mean of the last layer over the tokens (Reimers and Gurevych 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftloop.core.embedding import Embedder
from driftloop.core.records import TextEmbeddings
from driftloop.core.weights import check_at_least

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SentenceEncoder:
    """Any `AutoModel` checkpoint of texts that was trained to be pooled by the mean, as an Encoder without pictures.

    Every text is padded to `max_length` tokens, so it should be no larger than captions need. Checkpoints that are pooled
    otherwise (the class token, the last token) or want a prefix before a text are not for this adapter.
    """

    embed_images = None

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        max_length: int = 128,
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
            unused=("pooler.",),
        )
        self.batch_size = batch_size

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        vectors: NDArray[np.float32] = self.embedder.told_by_mean(texts).float().cpu().numpy()
        return TextEmbeddings(vectors, self.embedder.cut(texts))

    def load(self) -> None:
        """Loads the weights now instead of at the first call."""
        _ = self.embedder.network

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.embedder.unload()

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return self.embedder.provenance()
