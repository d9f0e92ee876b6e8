"""Pictures and texts as directions: an encoder of transformers with its processors, loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftloop.core.batches import padded
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
    import torch
    from PIL.Image import Image


class Embedder:
    """Any `AutoModel` of transformers, of a hub id or a folder.

    Rows are padded to a multiple of `pad_to`, texts always to `max_length` tokens (None: as many as the text side takes), so
    that neighbours change nothing. Weights that the checkpoint lacks would be drawn at random: such a checkpoint is
    refused, but for parts whose name begins with one of `unused`.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        dtype: str,
        device: str,
        pad_to: int,
        remote_code: bool,
        max_length: int | None = None,
        unused: tuple[str, ...] = (),
    ) -> None:
        check_at_least(1, pad_to=pad_to)
        check_at_least(3, max_length=max_length)
        self.model, self.revision, self.dtype, self.device = model, revision, check_dtype(dtype), device
        self.pad_to, self.remote_code = pad_to, remote_code
        self.max_length, self.unused = max_length, unused

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        for name in ("network", "image_processor", "tokenizer"):
            self.__dict__.pop(name, None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return {
            "model": self.model,
            "fingerprint": fingerprint(self.model, self.revision),
            "network": type(self.network).__name__,
            "dtype": self.dtype,
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "transformers", "tokenizers", "pillow"),
        }

    def seen(self, images: Sequence[Image]) -> torch.Tensor:
        """Unit embeddings of pictures (images, width), in float64.

        A network with a text side has features for pictures; of one without, its own pooled output is taken.
        """
        inputs = self.image_processor(images=padded(images, self.pad_to), return_tensors="pt")
        call = getattr(self.network, "get_image_features", self.network)
        inputs = inputs.to(device=self.network.device, dtype=self.network.dtype)
        return self._units(lambda: call(**inputs))[: len(images)]

    def told(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings of texts (texts, width), in float64; what is too long is cut (see `cut`)."""
        inputs = self.tokens(texts)
        return self._units(lambda: self.network.get_text_features(**inputs))[: len(texts)]

    def told_by_mean(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings of texts (texts, width), in float64: the mean of the last layer over the tokens of each."""
        inputs = self.tokens(texts)
        mask = inputs["attention_mask"][:, :, None]

        def mean() -> torch.Tensor:
            found: torch.Tensor = self.network(**inputs).last_hidden_state.double()
            summed: torch.Tensor = (found * mask).sum(1)
            return summed.div(mask.sum(1))

        return self._units(mean)[: len(texts)]

    def tokens(self, texts: Sequence[str]) -> Any:
        """Token ids on the network's device, padded in both directions."""
        rows = padded(texts, self.pad_to)
        inputs = self.tokenizer(rows, padding="max_length", truncation=True, max_length=self.longest, return_tensors="pt")
        return inputs.to(self.network.device)

    def cut(self, texts: Sequence[str]) -> list[bool]:
        """Of which texts not all is seen."""
        return [len(ids) > self.longest for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    @property
    def longest(self) -> int:
        """In tokens, those that begin and end a text included."""
        config = self.network.config
        takes = int(getattr(config, "text_config", config).max_position_embeddings)
        return takes if self.max_length is None else min(takes, self.max_length)

    def _units(self, call: Any) -> torch.Tensor:
        import torch
        from torch.nn.functional import normalize

        with torch.inference_mode():
            found = call()
            units: torch.Tensor = normalize(getattr(found, "pooler_output", found).double(), dim=-1)
        return units

    @property
    def _place(self) -> tuple[str, dict[str, Any]]:
        place, revision = locate(self.model, self.revision)
        check_safe(place, remote_code=self.remote_code)
        return place, {"revision": revision or "main", "trust_remote_code": self.remote_code}

    @cached_property
    def image_processor(self) -> Any:
        from transformers import AutoImageProcessor

        place, options = self._place
        with loading(self.model):
            return AutoImageProcessor.from_pretrained(place, backend="pil", **options)

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        place, options = self._place
        with loading(self.model):
            return AutoTokenizer.from_pretrained(place, **options)

    @cached_property
    def network(self) -> Any:
        import torch
        from transformers import AutoModel

        place, options = self._place
        options |= {"dtype": getattr(torch, self.dtype), "use_safetensors": True, "output_loading_info": True}
        with loading(self.model):
            network, told = AutoModel.from_pretrained(place, **options)
        if lacking := sorted(key for key in told["missing_keys"] if not key.startswith(self.unused)):
            raise ModelError(
                f'"{self.model}" lacks {len(lacking)} weights of {type(network).__name__}, such as {lacking[0]}, which would '
                "be drawn at random; it is no whole encoder"
            )
        return network.eval().requires_grad_(False).to(device_of(self.device))
