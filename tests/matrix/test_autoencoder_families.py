"""The control arm redraws pictures as each family's autoencoder does when the library is called directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_generators import saved_autoencoder

from driftloop.generators.autoencoder_roundtrip import AutoencoderRoundtrip

FOLDERS = {"sd15": "vae", "sd3": "vae", "flux2_klein": "vae", "sana": "vae", "qwen_image": "vae", "kandinsky22": "movq"}
Folder = Callable[[str], Path]


def pictures(*sizes: tuple[int, int]) -> list[Image.Image]:
    draw = np.random.default_rng(5)
    patches = [draw.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in sizes]
    return [Image.fromarray(patch).resize(size) for patch, size in zip(patches, sizes, strict=True)]


def directly(autoencoder: Any, image: Image.Image) -> np.ndarray:
    """One picture through the library's own image processor and autoencoder."""
    import torch
    from diffusers.image_processor import VaeImageProcessor

    processor = VaeImageProcessor(vae_scale_factor=8)
    pixels = processor.preprocess(image)
    film = "QwenImage" in type(autoencoder).__name__
    with torch.no_grad():
        encoded = autoencoder.encode(pixels[:, :, None] if film else pixels)
        latents = encoded.latent_dist.mode() if "latent_dist" in encoded else next(iter(encoded.values()))
        decoded = autoencoder.decode(latents).sample
    return np.asarray(processor.postprocess(decoded[:, :, 0] if film else decoded, output_type="np")[0])


@pytest.mark.parametrize("family", [pytest.param(name, marks=() if name == "sd15" else pytest.mark.slow) for name in FOLDERS])
def test_equals_the_library(family: str, toy_generator: Folder) -> None:
    from diffusers import AutoModel

    model = AutoencoderRoundtrip(model=str(toy_generator(family)), subfolder=FOLDERS[family], pad_to=2, device="cpu")
    images = pictures((64, 64), (128, 64), (64, 64), (64, 64))
    autoencoder = AutoModel.from_pretrained(str(toy_generator(family)), subfolder=FOLDERS[family]).eval()
    for image, made in zip(images, model.redraw(images, [1, 2, 3, 4]), strict=True):
        assert made.image.size == image.size
        assert np.abs(np.asarray(made.image, float) - 255 * directly(autoencoder, image)).max() <= 0.51


@pytest.mark.parametrize("kind", ["AutoencoderTiny", "AutoencoderKL"])
def test_an_autoencoder_of_its_own_will_do(kind: str, tmp_path: Path) -> None:
    from diffusers import AutoModel

    folder = saved_autoencoder(kind, tmp_path / kind)
    model = AutoencoderRoundtrip(model=str(folder), subfolder=None, device="cpu")
    image = pictures((64, 64))[0]
    expected = 255 * directly(AutoModel.from_pretrained(str(folder)).eval(), image)
    assert np.abs(np.asarray(model.redraw([image], [1])[0].image, float) - expected).max() <= 0.51
    assert model.provenance()["autoencoder"] == kind


def test_batch_mates_and_order_change_no_bit(toy_generator: Folder) -> None:
    model = AutoencoderRoundtrip(model=str(toy_generator("sd15")), device="cpu")
    images = pictures((64, 64), (32, 64), (64, 64), (64, 64), (32, 64))
    together = [made.image.tobytes() for made in model.redraw(images, [0] * 5)]
    assert [made.image.tobytes() for made in model.redraw(images[::-1], [1] * 5)] == together[::-1]
    assert [model.redraw([image], [2])[0].image.tobytes() for image in images] == together
    assert model.redraw([], []) == []


def test_sizes_that_cannot_be_halved_are_kept_and_a_size_is_made(toy_generator: Folder) -> None:
    image = pictures((61, 35))[0]
    for size, expected in ((None, (61, 35)), (48, (48, 48))):
        model = AutoencoderRoundtrip(model=str(toy_generator("sd15")), size=size, device="cpu")
        assert model.redraw([image], [1])[0].image.size == expected


def test_an_autoencoder_that_overflows_in_16_bit_works_in_32(toy_generator: Folder) -> None:
    told = AutoencoderRoundtrip(model=str(toy_generator("sd15")), dtype="float16", device="cpu").provenance()
    assert told["vae_dtype"] == "float32"
    told = AutoencoderRoundtrip(model=str(toy_generator("sd15")), dtype="bfloat16", device="cpu").provenance()
    assert told["vae_dtype"] == "bfloat16"
