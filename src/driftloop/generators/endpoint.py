"""Pictures from a server that speaks the OpenAI images API: vLLM-Omni, SGLang, and hosted models."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from driftloop.core.endpoint import Endpoint
from driftloop.core.records import Picture
from driftloop.core.weights import check_at_least, library_versions

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "WEBP", "JPEG")
MOST_PIXELS = 4096 * 4096
SEED_RANGE = 2**31  # some servers hand the seed to numpy or to a signed 32-bit field


class EndpointGenerator:
    """`POST /v1/images/generations` of `endpoint`, one picture a request.

    `served_model` is the name the server knows the model by; it names the model in the run's identity, wherever it is served.
    `size` is what the server takes ("1024x1024"; None: its own). `response_format` None leaves the field out, for servers
    that always answer in base64 and refuse it. `seed_field` names the body field that carries the picture's seed (modulo
    2³¹); None where the server takes none: then a second play gives other pictures. `extra` goes into the body as it is.
    A picture that cannot be had is an exception in its place, so that it costs the others nothing.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        served_model: str,
        size: str | None = None,
        response_format: str | None = "b64_json",
        seed_field: str | None = "seed",
        extra: Mapping[str, Any] | None = None,
        batch_size: int = 64,
    ) -> None:
        check_at_least(1, batch_size=batch_size)
        if not served_model:
            raise ValueError("served_model must be the name that the server knows the model by")
        self.endpoint, self.served_model, self.seed_field = endpoint, served_model, seed_field
        asked = {"size": size, "response_format": response_format}
        self.asked = {name: value for name, value in asked.items() if value is not None}
        self.extra = _extra(extra, {"model", "prompt", "n", "size", "response_format", *([seed_field] if seed_field else [])})
        self.batch_size, self.device = batch_size, "endpoint"

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture | Exception]:
        return self.endpoint.map(self._one, list(zip(captions, seeds, strict=True)))

    def provenance(self) -> dict[str, Any]:
        """Where the pictures came from; the weights behind a server cannot be told."""
        return {
            "served_model": self.served_model,
            "base_url": self.endpoint.base_url,
            "versions": library_versions("openai"),
        }

    def _one(self, item: tuple[str, int]) -> Picture:
        caption, seed = item
        body = {**self.extra, **({self.seed_field: seed % SEED_RANGE} if self.seed_field else {})}
        answer = self.endpoint.client.images.generate(
            model=self.served_model, prompt=caption, n=1, extra_body=body, **self.asked
        )  # type: ignore[call-overload]
        return Picture(decoded(_content(answer)))


def decoded(content: bytes) -> Image:
    """The picture in a server's bytes, RGB. Raises ValueError for what is no picture or too large a one to unpack."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size  # from its header: nothing is unpacked yet
        if width * height > MOST_PIXELS:
            raise ValueError(f"the server's picture has {width} × {height} pixels, more than {MOST_PIXELS}")
        return image.convert("RGB")


def _content(answer: Any) -> bytes:
    data = getattr(answer, "data", None)
    text = getattr(data[0], "b64_json", None) if isinstance(data, list) and data else None
    if not isinstance(text, str):
        raise ValueError("the server's answer holds no b64_json picture; set response_format, or extra, so that it does")
    return base64.b64decode(text, validate=True)


def _extra(extra: Mapping[str, Any] | None, ours: set[str]) -> dict[str, Any]:
    taken = ours & set(extra or {})
    if taken:
        raise ValueError(f"extra must not set {', '.join(sorted(taken))}: options of their own do")
    return dict(extra or {})
