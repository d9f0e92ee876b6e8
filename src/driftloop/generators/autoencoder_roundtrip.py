"""The control arm of a generator: its autoencoder alone redraws the picture of the round before, without any caption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from driftloop.core.batches import padded
from driftloop.core.records import Picture
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
from driftloop.generators.diffusion import quantised

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

MULTIPLE = 64  # every autoencoder in use divides sides by a divisor of this


class AutoencoderRoundtrip:
    """What drifts by encoding and decoding alone, round after round: nothing of it is the captioner's or the prompt's doing.

    `model` is a generator as its own adapter takes it, `subfolder` where its autoencoder lies (null: `model` is one itself);
    any autoencoder of diffusers will do, those for video too. Pictures are encoded to the mode of their latents, so seeds do
    not matter. `size` (a side) first resizes a picture that is not of that size, as round 0 seldom is (Lanczos); None keeps
    sizes, filling edges up to what the autoencoder can halve and cutting them off again. An autoencoder that overflows in
    float16 works in float32, as in its pipeline. Rows are padded as in `DiffusersGenerator`.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        variant: str | None = None,
        subfolder: str | None = "vae",
        size: int | None = None,
        dtype: str = "float32",
        device: str = "auto",
        pad_to: int = 16,
        batch_size: int = 16,
    ) -> None:
        check_at_least(1, size=size, pad_to=pad_to, batch_size=batch_size)
        self.model, self.revision, self.variant, self.subfolder = model, revision, variant, subfolder
        self.size, self.dtype, self.device = size, check_dtype(dtype), device
        self.pad_to, self.batch_size = pad_to, batch_size

    def redraw(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Picture]:  # noqa: ARG002 (the contract's)
        """The pictures in order; those of one size share a batch. `seeds` are not used."""
        sized = [self._resized(image) for image in images]
        order = sorted(range(len(sized)), key=lambda index: sized[index].size)
        made: dict[int, Picture] = {}
        for _, group in groupby(order, key=lambda index: sized[index].size):
            indices = list(group)
            made |= zip(indices, self._redrawn([sized[index] for index in indices]), strict=True)
        return [made[index] for index in range(len(images))]

    def unload(self) -> None:
        """Lets go of the weights; the next call loads them again."""
        self.__dict__.pop("_autoencoder", None)

    def provenance(self) -> dict[str, Any]:
        """What was loaded, for the record."""
        return {
            "model": self.model,
            "fingerprint": fingerprint(self.model, self.revision),
            "autoencoder": type(self._autoencoder).__name__,
            "vae_dtype": str(self._autoencoder.dtype).removeprefix("torch."),
            "device": str(device_of(self.device)),
            "versions": library_versions("torch", "diffusers"),
        }

    def _resized(self, image: Image) -> Image:
        from PIL.Image import Resampling

        wanted = (self.size, self.size) if self.size else image.size
        return image if image.size == wanted else image.resize(wanted, Resampling.LANCZOS)

    def _redrawn(self, images: Sequence[Image]) -> Iterator[Picture]:
        """Pictures of one size."""
        import torch

        pixels = torch.stack([_pixels(image) for image in padded(images, self.pad_to)])
        with torch.no_grad():
            decoded = self._through(pixels.to(self._autoencoder.device, self._autoencoder.dtype))
        rows = (decoded / 2 + 0.5).clamp(0, 1).float().cpu().permute(0, 2, 3, 1).numpy()
        for row, _ in zip(rows, images, strict=False):
            yield Picture(quantised(row))

    def _through(self, pixels: torch.Tensor) -> torch.Tensor:
        """Batch × 3 × height × width in [-1, 1], encoded and decoded; a video autoencoder sees a film of one frame."""
        import torch
        from torch.nn.functional import pad

        height, width = pixels.shape[-2:]
        filled = pad(pixels, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        film = any(isinstance(part, torch.nn.Conv3d) for part in self._autoencoder.modules())
        latents = _latents(self._autoencoder.encode(filled.unsqueeze(2) if film else filled))
        decoded = self._autoencoder.decode(latents).sample
        redrawn: torch.Tensor = (decoded[:, :, 0] if film else decoded)[..., :height, :width]
        return redrawn

    @cached_property
    def _autoencoder(self) -> Any:
        import torch
        from diffusers import AutoModel

        place, revision = locate(self.model, self.revision)
        check_safe(place)
        options = {"subfolder": self.subfolder, "revision": revision, "variant": self.variant}
        with loading(self.model):
            found = AutoModel.from_pretrained(place, dtype=getattr(torch, self.dtype), use_safetensors=True, **options)
        if self.dtype == "float16" and getattr(found.config, "force_upcast", False):
            found = found.float()
        return found.eval().requires_grad_(False).to(device_of(self.device))


def _pixels(image: Image) -> torch.Tensor:
    """3 × height × width in [-1, 1], as the pipelines' image processors make it."""
    import numpy as np
    import torch

    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1) * 2 - 1


def _latents(encoded: Any) -> torch.Tensor:
    """Each kind of autoencoder names them otherwise."""
    found = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else getattr(encoded, "latents", None)
    latents: torch.Tensor = encoded.latent if found is None else found
    return latents
