"""One adapter for every text-to-image pipeline of diffusers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.core.batches import padded
from driftloop.core.errors import nearest
from driftloop.core.records import Picture
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
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

OURS = frozenset({"prompt", "generator", "output_type", "num_images_per_prompt", "return_dict"})
NO_LIMIT = 1_000_000  # tokenizers without a limit of their own say 1e30


class DiffusersGenerator:
    """A diffusers pipeline as a Generator: one random generator per image, fixed batch shapes, 8-bit RGB out.

    `model` is a hub id, a folder, or `builtin:NAME`. `steps`, `guidance`, `size` (a side or [width, height]),
    `negative_prompt` and `max_sequence_length` left None mean the pipeline's own default; one that is set but that the
    pipeline does not take is refused when it loads, never dropped in silence. `extra` goes to the call as it is
    (Qwen-Image: {true_cfg_scale: 4}). `variant` names the weight files (`fp16`), `dtype` what they are computed in.
    `scheduler` ({name: LCMScheduler, timestep_spacing: trailing}) is the checkpoint's own with these settings changed.
    `parts` ({unet: {model: …, revision: …}}) takes components from elsewhere: whole ones, in files of a `variant`, or with
    `file` (one safetensors file) weights alone. `vae_tiling` decodes in overlapping tiles: less memory, slightly other pixels.
    Captions are not cleaned and sizes that are set are not binned and resampled, unless `extra` says so.
    `alone` gives each caption a call of its own, for pipelines whose pictures depend on their batch mates (CogView 4 pads to
    the longest caption without a mask). Otherwise rows are padded to a multiple of `pad_to`: 16, since torch's 1×1
    convolutions on one CPU thread take another path below 16 rows, and the last bits with it. `batch_size` is what the play
    stage slices by.

    A pipeline that draws from torch's global generator is refused at its first batch: its pictures would depend on each other.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        variant: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        size: int | Sequence[int] | None = None,
        negative_prompt: str | None = None,
        max_sequence_length: int | None = None,
        extra: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | None = None,
        parts: Mapping[str, Mapping[str, Any]] | None = None,
        vae_tiling: bool = False,
        alone: bool = False,
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 16,
        batch_size: int = 16,
        remote_code: bool = False,
    ) -> None:
        check_at_least(1, steps=steps, max_sequence_length=max_sequence_length, pad_to=pad_to, batch_size=batch_size)
        check_at_least(0, guidance=guidance)
        self.model, self.revision, self.variant = model, revision, variant
        self.width, self.height = _size(size)
        self.steps, self.guidance, self.negative_prompt = steps, guidance, negative_prompt
        self.max_sequence_length = max_sequence_length
        self.extra = _extra(extra)
        self.scheduler, self.parts, self.vae_tiling = _scheduler(scheduler), _parts(parts), vae_tiling
        self.alone = alone
        self.dtype, self.device = check_dtype(dtype), device
        self.pad_to, self.batch_size, self.remote_code = pad_to, batch_size, remote_code

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        if not captions:
            return []
        rows = self._rows(captions, seeds)
        cut = [self._cut(caption) for caption in captions]
        return [Picture(quantised(row), truncated) for row, truncated in zip(rows, cut, strict=True)]

    def load(self) -> None:
        """Loads the weights now instead of at the first call, and brings them to the device from where `offload` put them."""
        _ = self._arguments
        self._pipeline.to(device_of(self.device))

    def offload(self) -> None:
        """Puts loaded weights into the machine's memory; `load` brings them back. In 16 bit they cannot work there."""
        if "_pipeline" in self.__dict__:
            self._pipeline.to("cpu", silence_dtype_warnings=True)

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        for name in ("_pipeline", "_arguments", "_tokenizers"):
            self.__dict__.pop(name, None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record. Loads the weights if they are not there."""
        pipe = self._pipeline
        return {
            "model": self.model,
            "fingerprint": fingerprint(self.model, self.revision),
            "pipeline": type(pipe).__name__,
            "scheduler": type(getattr(pipe, "scheduler", None)).__name__,
            "dtype": self.dtype,
            "vae_dtype": _vae_dtype(pipe),
            "text_limits": {name: limit for name, (_, limit) in self._tokenizers.items()},
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "diffusers", "transformers"),
        }

    def _rows(self, captions: Sequence[str], seeds: Sequence[int]) -> Sequence[NDArray[np.float32]]:
        """A float image an item, from one call in padded rows or from a call each."""
        if self.alone:
            return [self._run([caption], [seed])[0] for caption, seed in zip(captions, seeds, strict=True)]
        return list(self._run(padded(captions, self.pad_to), padded(seeds, self.pad_to)))[: len(captions)]

    def _run(self, captions: list[str], seeds: list[int]) -> NDArray[np.float32]:
        """Float images (rows, height, width, 3) in [0, 1]. The list of captions is a copy: Z-Image overwrites it."""
        arguments = {**self._arguments, "prompt": list(captions), "generator": _generators(seeds), "output_type": "np"}
        if self.negative_prompt is not None:
            arguments["negative_prompt"] = [self.negative_prompt] * len(captions)
        with _no_global_noise(type(self._pipeline).__name__, device_of(self.device)):
            images: NDArray[np.float32] = self._pipeline(**arguments).images
        return images

    @cached_property
    def _pipeline(self) -> Any:
        import torch

        with loading(self.model):
            pipe = self._assembled(getattr(torch, self.dtype))
        _refuse_shared_noise(pipe)
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(False)
        return pipe.to(device_of(self.device))

    def _assembled(self, dtype: torch.dtype) -> Any:
        """The checkpoint's pipeline, with what the config changes of it."""
        place, revision = locate(self.model, self.revision)
        check_safe(place, remote_code=self.remote_code)
        options = {"revision": revision, "variant": self.variant, "dtype": dtype, "trust_remote_code": self.remote_code}
        whole = {name: _part(**part, dtype=dtype) for name, part in self.parts.items() if "file" not in part}
        pipe = _from_pretrained(place, **options, **whole, use_safetensors=True)
        for name, part in self.parts.items():
            if "file" in part:
                getattr(pipe, name).load_state_dict(_weights(**part))
        if self.scheduler:
            pipe.scheduler = _rescheduled(pipe.scheduler, **self.scheduler)
        if self.vae_tiling:
            pipe.vae.enable_tiling()
        return pipe

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        """The call's arguments that are the same for every batch: those that are set, each known to the pipeline."""
        asked = {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "width": self.width,
            "height": self.height,
            "max_sequence_length": self.max_sequence_length,
            **self.extra,
        }
        wanted = {name: value for name, value in asked.items() if value is not None}
        names = {*wanted, *(["negative_prompt"] if self.negative_prompt is not None else [])}
        taken = inspect.signature(type(self._pipeline).__call__).parameters
        plain = {"clean_caption": False} | ({"use_resolution_binning": False} if self.width else {})
        if names - set(taken):
            raise ModelError(
                f"{type(self._pipeline).__name__} does not take {', '.join(sorted(names - set(taken)))}; "
                f"it takes {', '.join(sorted(set(taken) - OURS - {'self'}))}"
            )
        return {name: value for name, value in plain.items() if name in taken} | wanted

    def _cut(self, caption: str) -> bool:
        """Whether any of the pipeline's text encoders sees less than the whole caption (special tokens count).

        Any, though another may see all of it: the one that was cut steers the picture too (in SD 3 and FLUX the CLIP encoders
        at 77, beside a T5 at 256 or 512). Which limits hold is in the provenance. Where a pipeline wraps the caption in a
        template of its own (Qwen-Image, Z-Image, Sana), the count is the caption's, a few tokens short.
        """
        limits = self._tokenizers.values()
        return any(len(tokenizer(text=caption, verbose=False).input_ids) > limit for tokenizer, limit in limits)

    @cached_property
    def _tokenizers(self) -> dict[str, tuple[Any, int]]:
        """Tokenizers with their limits: their own, or the pipeline's `max_sequence_length` where that is shorter.

        FLUX.2 keeps its tokenizer inside a processor.
        """
        default = inspect.signature(type(self._pipeline).__call__).parameters.get("max_sequence_length")
        length = self._arguments.get("max_sequence_length") or (default.default if default else None) or NO_LIMIT
        parts = {name: part for name, part in self._pipeline.components.items() if "tokenizer" in name and part is not None}
        named = {name: getattr(part, "tokenizer", part) for name, part in parts.items()}
        limits = {name: (part, min(length, part.model_max_length)) for name, part in named.items()}
        return {name: found for name, found in limits.items() if found[1] < NO_LIMIT}


def _size(size: int | Sequence[int] | None) -> tuple[int | None, int | None]:
    if size is None:
        return None, None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"size must be a number of pixels or [width, height], got {size}")
    return sides[0], sides[1]


def _extra(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    taken = OURS & set(extra or {})
    if taken:
        raise ValueError(f"extra must not set {', '.join(sorted(taken))}: the adapter does")
    return dict(extra or {})


def _scheduler(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    if settings and not isinstance(settings.get("name"), str):
        raise ValueError(f"scheduler must name a class of diffusers, such as {{name: LCMScheduler}}, got {dict(settings)}")
    return dict(settings or {})


def _parts(parts: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    for name, part in (parts or {}).items():
        if not part.get("model") or set(part) - {"model", "revision", "variant", "file"} or {"variant", "file"} <= set(part):
            raise ValueError(f"parts.{name} must have model, and may have revision and variant or file; got {dict(part)}")
    return {name: dict(part) for name, part in (parts or {}).items()}


def _generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per image, so that an image is the same on any device and in any batch."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def _from_pretrained(place: str, **options: Any) -> Any:
    """The text-to-image pipeline of a checkpoint; whatever pipeline it names where the library lists none."""
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    try:
        return AutoPipelineForText2Image.from_pretrained(place, **options)
    except ValueError:
        return DiffusionPipeline.from_pretrained(place, **options)


def _part(*, model: str, revision: str | None = None, variant: str | None = None, dtype: torch.dtype) -> Any:
    """A component from a folder or hub id of its own; its config says its class."""
    from diffusers import AutoModel

    place, commit = locate(model, revision)
    check_safe(place)
    return AutoModel.from_pretrained(place, revision=commit, variant=variant, dtype=dtype, use_safetensors=True)


def _weights(*, model: str, file: str, revision: str | None = None) -> dict[str, torch.Tensor]:
    """The tensors of one safetensors file of a folder or hub id, for a component of the checkpoint's own shape."""
    from huggingface_hub import hf_hub_download
    from safetensors.torch import load_file

    place, commit = locate(model, revision)
    return load_file(hf_hub_download(place, file, revision=commit) if commit else Path(place) / file)


def _rescheduled(scheduler: Any, *, name: str, **settings: Any) -> Any:
    import diffusers

    kind: Any = getattr(diffusers, name, None)
    if not hasattr(kind, "set_timesteps"):
        there = [found for found in dir(diffusers) if found.endswith("Scheduler")]
        raise ModelError(f"diffusers has no scheduler {name!r}.{nearest(name, there)} It has: {', '.join(there)}")
    unknown = set(settings) - set(inspect.signature(kind).parameters)
    if unknown:
        raise ModelError(f"{name} does not take {', '.join(sorted(unknown))}")
    return kind.from_config(scheduler.config, **settings)


def _refuse_shared_noise(pipe: Any) -> None:
    """A scheduler on a Brownian tree seeds it globally or once a batch, so an image would depend on others."""
    for part in pipe.components.values():
        if hasattr(sys.modules[type(part).__module__], "BrownianTreeNoiseSampler"):
            raise ModelError(
                f"{type(part).__name__} draws noise of its own that does not belong to one image; choose a scheduler that "
                "takes a generator, such as DPMSolverMultistepScheduler with algorithm_type sde-dpmsolver++"
            )


@contextmanager
def _no_global_noise(name: str, device: torch.device) -> Iterator[None]:
    """Raises ModelError when torch's global generators were drawn from: no item owns what they give."""
    import torch

    def states() -> list[torch.Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]

    before = states()
    yield
    if not all(map(torch.equal, before, states())):
        raise ModelError(
            f"{name} drew noise from torch's global generator, which belongs to no picture: with this scheduler it does not "
            "use the generators it is given. Choose another by generator.scheduler={name: …}"
        )


def _vae_dtype(pipe: Any) -> str:
    """What images are decoded in: SDXL's autoencoder goes up to float32 by itself when computing in 16 bit."""
    vae = getattr(pipe, "vae", None)
    if vae is None:
        return "none"
    upcast = str(vae.dtype) == "torch.float16" and getattr(vae.config, "force_upcast", False)
    return "float32" if upcast else str(vae.dtype).removeprefix("torch.")


def quantised(row: NDArray[np.float32]) -> Image:
    """A float image in [0, 1] as 8-bit RGB, rounded once.

    Not-a-number (an overflow in 16 bit) becomes black, which the play stage records.
    """
    import numpy as np
    from PIL import Image

    return Image.fromarray((np.nan_to_num(row.clip(0, 1)) * 255).round().astype(np.uint8))
