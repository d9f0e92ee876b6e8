"""One adapter for every image-to-text model of transformers."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftloop.captioners.echoes import is_echo
from driftloop.core.batches import padded
from driftloop.core.prompts import rendered
from driftloop.core.records import Caption
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

# What of a checkpoint's generation config is format; the rest (beams, temperature, penalties) is decoding, and ours.
FORMAT = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
          "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids")  # fmt: skip
PLACEHOLDERS = ("image_token_id", "image_token_index", "video_token_id")


class TransformersCaptioner:
    """A transformers image-to-text model as a Captioner.

    `model` is a hub id, a folder, or `builtin:NAME`. The prompt (`prompt` or `prompt_file`, its fields `words`, `concepts`
    and `concept_kind`: see `core.prompts`) goes through the chat template where the processor has one, and before the
    caption otherwise; captions are the new tokens only. `sampling` is "greedy" or {temperature, top_p}; a checkpoint's own
    sampling settings, beams and penalties are never used. Rows are padded to a multiple of `pad_to`; `batch_size` is what
    the play stage slices by.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        prompt: str | None = None,
        prompt_file: str | None = None,
        words: int | None = None,
        concepts: Sequence[str] | None = None,
        concept_kind: str | None = None,
        max_new_tokens: int = 96,
        sampling: str | Mapping[str, float] = "greedy",
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 8,
        batch_size: int = 8,
        remote_code: bool = False,
    ) -> None:
        check_at_least(1, max_new_tokens=max_new_tokens, pad_to=pad_to, batch_size=batch_size)
        self.model, self.revision = model, revision
        self.prompt = rendered(prompt, prompt_file, words=words, concepts=concepts, concept_kind=concept_kind)
        self.max_new_tokens, self.sampling = max_new_tokens, _sampling(sampling)
        self.dtype, self.device = check_dtype(dtype), device
        self.pad_to, self.batch_size, self.remote_code = pad_to, batch_size, remote_code

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]:
        import torch

        if not images:
            return []
        choice = Choice(padded(seeds, self.pad_to), self._forbidden, **self.sampling)
        with torch.inference_mode():
            rows = self._network.generate(
                **self._inputs(padded(images, self.pad_to)),
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                logits_processor=[choice],
            )
        # Some models return the prompt too, some cut of it, some not: what is new is what was chosen.
        return [self._caption(row[len(row) - choice.steps :]) for row in rows[: len(images)].tolist()]

    def load(self) -> None:
        """Loads the weights now instead of at the first call, and brings them to the device from where `offload` put them."""
        self._network.to(device_of(self.device))

    def offload(self) -> None:
        """Puts loaded weights into the machine's memory; `load` brings them back."""
        if "_network" in self.__dict__:
            self._network.to("cpu")

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        for name in ("_network", "_processor", "_stops", "_forbidden"):
            self.__dict__.pop(name, None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        return {
            "model": self.model,
            "prompt": self.prompt,
            "fingerprint": fingerprint(self.model, self.revision),
            "network": type(self._network).__name__,
            "processor": type(self._processor).__name__,
            "image_processor": type(getattr(self._processor, "image_processor", None)).__name__,
            "chat_template": self._chats,
            "dtype": self.dtype,
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "transformers", "tokenizers", "pillow"),
        }

    @cached_property
    def _network(self) -> Any:
        import torch
        from transformers import AutoModelForImageTextToText

        place, options = self._place
        with loading(self.model):
            network = AutoModelForImageTextToText.from_pretrained(
                place, **options, dtype=getattr(torch, self.dtype), use_safetensors=True
            )
        _decode_plainly(network)
        return network.eval().requires_grad_(False).to(device_of(self.device))

    @cached_property
    def _processor(self) -> Any:
        place, options = self._place
        with loading(self.model):
            processor = load_processor(place, **options)
        if not self._network.config.is_encoder_decoder:  # after loading: the side given to a constructor is not kept
            processor.tokenizer.padding_side = "left"
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        return processor

    @property
    def _place(self) -> tuple[str, dict[str, Any]]:
        place, revision = locate(self.model, self.revision)
        check_safe(place, remote_code=self.remote_code)
        return place, {"revision": revision or "main", "trust_remote_code": self.remote_code}

    @property
    def _chats(self) -> bool:
        return getattr(self._processor, "chat_template", None) is not None

    def _inputs(self, images: list[Image]) -> Any:
        inputs = self._chat_inputs(images) if self._chats else self._plain_inputs(images)
        for name in _surplus(self._network) & set(inputs):
            del inputs[name]
        return inputs.to(device=self._network.device, dtype=self._network.dtype)

    def _chat_inputs(self, images: list[Image]) -> Any:
        words = [] if self.prompt is None else [{"type": "text", "text": self.prompt}]
        chats = [[{"role": "user", "content": [{"type": "image", "image": image}, *words]}] for image in images]
        return self._processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )

    def _plain_inputs(self, images: list[Image]) -> Any:
        if self.prompt is None:
            return self._processor(images=images, return_tensors="pt")
        inputs = self._processor(images=images, text=[self.prompt] * len(images), padding=True, return_tensors="pt")
        return _left_open(inputs, self._processor.tokenizer) if _stock_generate(self._network) else inputs

    @cached_property
    def _stops(self) -> frozenset[int]:
        """Tokens that end a caption. BLIP ends at its separator whatever its generation config says."""
        separator = getattr(self._network.config.get_text_config(), "sep_token_id", None)
        if separator is not None:
            return frozenset({separator})
        ends = [module.generation_config.eos_token_id for module in _generating(self._network)]
        lists = [end if isinstance(end, list) else [end] for end in ends if end is not None]
        return frozenset(itertools.chain.from_iterable(lists))

    @cached_property
    def _forbidden(self) -> tuple[int, ...]:
        """Placeholders that stand for an image or a video in a prompt: no words of a caption."""
        numbers = {getattr(self._network.config, name, None) for name in PLACEHOLDERS}
        return tuple(sorted(number for number in numbers if number is not None))

    def _caption(self, new: list[int]) -> Caption:
        tokenizer = self._processor.tokenizer
        end = next((index for index, token in enumerate(new) if token in self._stops), len(new))
        text = " ".join(tokenizer.decode(new[:end], skip_special_tokens=True).split())
        cut = end == len(new) == self.max_new_tokens
        return Caption(text, tokens=end, truncated=cut, echo=is_echo(text, self.prompt))


class Choice:
    """Decides each row's next token inside greedy decoding: greedily, or by sampling with the row's own numbers.

    The arg-max of log-probabilities plus Gumbel noise is an exact draw from the distribution (Gumbel-max trick), so no
    global generator is touched and a caption does not depend on which rows share its batch. Counts its calls: `steps`.
    """

    def __init__(
        self, seeds: Sequence[int], forbidden: Sequence[int] = (), temperature: float | None = None, top_p: float = 1.0
    ) -> None:
        import torch

        self.steps = 0
        self.forbidden, self.temperature, self.top_p = forbidden, temperature, top_p
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 (the library's signature)
        self.steps += 1
        scores = scores.clone()
        scores[:, [number for number in self.forbidden if number < scores.shape[1]]] = -math.inf
        if self.temperature is None:
            return scores
        return _nucleus(scores.double() / self.temperature, self.top_p) + self._noise(scores)

    def _noise(self, scores: torch.Tensor) -> torch.Tensor:
        import torch

        noise = torch.empty(scores.shape, dtype=torch.float64)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return noise.log_().neg_().to(scores.device)


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logits outside the smallest set of tokens whose probabilities reach `top_p` become −∞."""
    if top_p >= 1:
        return logits
    ordered, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    outside = (before >= top_p).scatter(-1, order, before >= top_p)
    return logits.masked_fill(outside, -math.inf)


def load_processor(place: str, **options: Any) -> Any:
    """The processor of a checkpoint, able to read images; its video part is left out where it cannot be loaded.

    Images are resized by PIL whether or not torchvision is there, so that every arm and machine resizes alike.
    """
    from transformers import AutoImageProcessor, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(place, **options)
    except (ImportError, OSError, ValueError) as error:
        processor = _without_video(place, error, **options)
    if hasattr(processor, "image_processor"):
        processor.image_processor = AutoImageProcessor.from_pretrained(place, backend="pil", **options)
    return processor


def _without_video(place: str, reason: Exception, **options: Any) -> Any:
    from transformers import AutoConfig, ProcessorMixin
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    known = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(place, **options)), None)
    if known is None or "video_processor" not in known.get_attributes():
        raise reason
    parts = [name for name in known.get_attributes() if name != "video_processor"]
    # A chat template of its own would ask the video part for frame rates (SmolVLM).
    other = {"get_attributes": classmethod(lambda _: parts), "apply_chat_template": ProcessorMixin.apply_chat_template}
    images_only: Any = type(known.__name__, (known,), other)
    return images_only.from_pretrained(place, video_processor=None, **options)


def _sampling(sampling: str | Mapping[str, float]) -> dict[str, float]:
    if sampling == "greedy":
        return {}
    if isinstance(sampling, str) or set(sampling) - {"temperature", "top_p"} or "temperature" not in sampling:
        raise ValueError(f'sampling must be "greedy" or {{temperature: …, top_p: …}}, got {sampling}')
    values = {name: float(value) for name, value in sampling.items()}
    if not (values["temperature"] > 0 and 0 < values.get("top_p", 1.0) <= 1):
        raise ValueError(f"temperature must be above 0 and top_p in (0, 1], got {values}")
    return values


def _generating(network: Any) -> list[Any]:
    return [module for module in network.modules() if getattr(module, "generation_config", None) is not None]


def _decode_plainly(network: Any) -> None:
    """Leaves of every generation config what is format, at any depth (BLIP and BLIP-2 generate with an inner model)."""
    from transformers import GenerationConfig

    for module in _generating(network):
        kept = {name: getattr(module.generation_config, name, None) for name in FORMAT}
        module.generation_config = GenerationConfig(**kept)


def _stock_generate(network: Any) -> bool:
    from transformers import GenerationMixin

    return type(network).generate is GenerationMixin.generate and not network.config.is_encoder_decoder


def _surplus(network: Any) -> set[str]:
    """What processors may add and generation refuses: targets (PaliGemma), token types a model has no use for (GIT)."""
    taken = inspect.signature(network.forward).parameters
    return {"labels"} | ({"token_type_ids"} - set(taken))


def _left_open(inputs: Any, tokenizer: Any) -> Any:
    """Takes a closing token off the prompt, so that the caption goes on from it (BLIP's own `generate` does so)."""
    closing = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    if all(number in closing for number in inputs["input_ids"][:, -1].tolist()):
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            if name in inputs:
                inputs[name] = inputs[name][:, :-1]
    return inputs
