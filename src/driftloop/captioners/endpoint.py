"""Captions from a server that speaks the OpenAI chat API with images: vLLM, SGLang, `transformers serve`, hosted models."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from driftloop.captioners.echoes import is_echo
from driftloop.core.endpoint import Endpoint
from driftloop.core.packs import encode, pixel_hash
from driftloop.core.prompts import rendered
from driftloop.core.records import Caption
from driftloop.core.weights import check_at_least, library_versions

if TYPE_CHECKING:
    from PIL.Image import Image

SEED_RANGE = 2**31  # some servers hand the seed to numpy or to a signed 32-bit field
LONGEST_TOKEN = 128  # characters; more of them than max_tokens allows is no caption but a flood
OURS = frozenset({"model", "messages", "max_tokens", "temperature", "top_p", "n", "stream"})
Key = tuple[str, int]


class UnansweredError(Exception):
    """A server did not describe a picture; its text says why. It belongs to the item: the run goes on."""


class EndpointCaptioner:
    """`POST /v1/chat/completions` of `endpoint`: the prompt and one picture, as lossless PNG in a data URL, a request.

    `served_model` is the name the server knows the model by; it names the model in the run's identity, wherever it is served.
    `temperature` 0 is greedy; it and `top_p` are always sent, None leaves them out for servers that refuse them.
    `seed_field` names the body field that carries the item's seed (modulo 2³¹); None where the server takes none. `extra`
    goes into the body as it is: a server may apply further settings of the checkpoint unless told otherwise.
    `prompt`, `prompt_file`, `words`, `concepts`, `concept_kind`: see `core.prompts`.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        served_model: str,
        prompt: str | None = None,
        prompt_file: str | None = None,
        words: int | None = None,
        concepts: Sequence[str] | None = None,
        concept_kind: str | None = None,
        max_tokens: int = 96,
        temperature: float | None = 0.0,
        top_p: float | None = 1.0,
        seed_field: str | None = "seed",
        extra: Mapping[str, Any] | None = None,
        batch_size: int = 64,
    ) -> None:
        check_at_least(1, max_tokens=max_tokens, batch_size=batch_size)
        check_at_least(0, temperature=temperature, top_p=top_p)
        if not served_model:
            raise ValueError("served_model must be the name that the server knows the model by")
        if taken := (OURS | {seed_field}) & set(extra or {}):
            raise ValueError(f"extra must not set {', '.join(sorted(map(str, taken)))}: options of their own do")
        self.prompt = rendered(prompt, prompt_file, words=words, concepts=concepts, concept_kind=concept_kind)
        if self.prompt is None:
            raise ValueError("a served model must be asked something: give a prompt or a prompt_file")
        self.endpoint, self.served_model, self.max_tokens = endpoint, served_model, max_tokens
        settings = {"temperature": temperature, "top_p": top_p}
        self.settings = {name: value for name, value in settings.items() if value is not None}
        self.seed_field, self.extra = seed_field, dict(extra or {})
        self.batch_size, self.device = batch_size, "endpoint"
        self._answers: dict[Key, Caption | Exception] = {}

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]:
        """Raises UnansweredError when any picture stays undescribed. What was said of the others is kept for the calls that
        leave it out: a caller that halves a batch until the culprit is alone asks for no picture twice."""
        keys = [(pixel_hash(image), seed) for image, seed in zip(images, seeds, strict=True)]
        asked = {key: image for key, image in zip(keys, images, strict=True) if key not in self._answers}
        told = self.endpoint.map(self._one, [(image, seed) for (_, seed), image in asked.items()])
        self._answers.update(zip(asked, told, strict=True))
        answers = [self._answers[key] for key in keys]
        failed = [answer for answer in answers if isinstance(answer, Exception)]
        if len(keys) == 1 or not failed:
            for key in set(keys):
                del self._answers[key]
        if failed:
            raise UnansweredError(str(failed[0]))
        return [answer for answer in answers if isinstance(answer, Caption)]

    def provenance(self) -> dict[str, Any]:
        """Where the captions came from; the weights behind a server cannot be told."""
        told = {"served_model": self.served_model, "base_url": self.endpoint.base_url, "prompt": self.prompt}
        return told | {"versions": library_versions("openai")}

    def _one(self, item: tuple[Image, int]) -> Caption:
        image, seed = item
        url = "data:image/png;base64," + base64.b64encode(encode(image)).decode()
        # The picture before the words, as TransformersCaptioner asks: models are taught it so, and the order changes answers.
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": self.prompt}]
        drawn = {self.seed_field: seed % SEED_RANGE} if self.seed_field else {}
        answer = self.endpoint.client.chat.completions.create(
            model=self.served_model,
            messages=[{"role": "user", "content": content}],
            max_tokens=self.max_tokens,
            extra_body=self.extra | drawn,
            **self.settings,
        )  # type: ignore[call-overload]
        return self._caption(answer)

    def _caption(self, answer: Any) -> Caption:
        """What a server said, which may be anything. Raises ValueError for what is no caption."""
        choices = getattr(answer, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        text, refusal = getattr(message, "content", None), getattr(message, "refusal", None)
        if refusal:
            raise ValueError(f"the model refused: {str(refusal)[:200]}")
        if message is None or not isinstance(text, str | None):
            raise ValueError("the server's answer holds no message of text")
        if len(text or "") > LONGEST_TOKEN * self.max_tokens:
            raise ValueError(f"the server's answer has {len(text or '')} characters, far more than max_tokens allows")
        said = " ".join((text or "").split())
        tokens = getattr(getattr(answer, "usage", None), "completion_tokens", None)
        return Caption(
            said,
            tokens=tokens if isinstance(tokens, int) and 0 <= tokens < SEED_RANGE else 0,
            truncated=getattr(choice, "finish_reason", None) == "length",
            echo=is_echo(said, self.prompt),
        )
