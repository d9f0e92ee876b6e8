"""The diffusers adapter against the library called directly, one image at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftloop.core.weights import ModelError
from driftloop.generators.diffusion import DiffusersGenerator

SEEDS = [7 + 2**61 * (index % 3) + index for index in range(16)]
CALLS: dict[str, dict[str, Any]] = {
    "stable_diffusion": {},
    "sd3": {"max_sequence_length": 32},
    "pixart": {"use_resolution_binning": False, "clean_caption": False},
}
Build = Callable[..., DiffusersGenerator]


@pytest.fixture(params=list(CALLS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest) -> Build:
    """One adapter per family and options, so that weights load once."""
    known: dict[str, DiffusersGenerator] = {}

    def make(family: str, **options: Any) -> DiffusersGenerator:
        folder, key = request.getfixturevalue(family), f"{family} {options}"
        settings = {"steps": 3, "guidance": 2.0, "size": 32, "device": "cpu", "extra": CALLS[family], **options}
        return known.setdefault(key, DiffusersGenerator(model=str(folder), **settings))

    return make


def pixels(generator: DiffusersGenerator, captions: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    return np.stack([np.asarray(picture.image) for picture in generator.generate(captions, seeds)])


def test_equals_the_library_called_directly(
    family: str, build: Build, captions: list[str], request: pytest.FixtureRequest
) -> None:
    import torch
    from diffusers import AutoPipelineForText2Image

    made = pixels(build(family), captions[:4], SEEDS[:4])
    pipe = AutoPipelineForText2Image.from_pretrained(request.getfixturevalue(family))
    pipe.set_progress_bar_config(disable=True)
    for image, caption, seed in zip(made, captions, SEEDS, strict=False):
        alone = pipe(
            caption, num_inference_steps=3, guidance_scale=2.0, width=32, height=32,
            generator=torch.Generator("cpu").manual_seed(seed), **CALLS[family],
        ).images[0]  # fmt: skip
        assert np.abs(np.asarray(alone).astype(int) - image).max() <= 1


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_batch_size_and_order_change_no_bit(
    family: str, guidance: float, build: Build, captions: list[str], untouched_global_rng: None
) -> None:
    generator = build(family, guidance=guidance)
    whole = pixels(generator, captions, SEEDS)
    shuffled = np.random.default_rng(0).permutation(16)
    backwards = pixels(generator, [captions[index] for index in shuffled], [SEEDS[index] for index in shuffled])
    assert np.array_equal(backwards, whole[shuffled])
    for rows in (slice(3, 4), slice(2, 7)):
        assert np.array_equal(pixels(generator, captions[rows], SEEDS[rows]), whole[rows])
    assert np.array_equal(pixels(generator, captions * 2, SEEDS * 2), np.concatenate([whole, whole]))


def test_caption_seed_and_guidance_matter(family: str, build: Build, captions: list[str]) -> None:
    made = pixels(build(family), captions[:2], SEEDS[:2])
    assert (pixels(build(family), captions[2:4], SEEDS[:2]) != made).any()
    assert (pixels(build(family), captions[:2], SEEDS[2:4]) != made).any()
    assert (pixels(build(family, guidance=5.0), captions[:2], SEEDS[:2]) != made).any()
    assert (pixels(build(family, negative_prompt="a sad dog"), captions[:2], SEEDS[:2]) != made).any()
    assert len({image.tobytes() for image in made}) == 2


def test_captions_are_not_written_to_and_none_gives_none(build: Build) -> None:
    captions = ["a dog", "a hat"]
    pictures = build("stable_diffusion").generate(captions, [1, 2])
    assert captions == ["a dog", "a hat"]
    assert [(picture.image.mode, picture.image.size) for picture in pictures] == [("RGB", (32, 32))] * 2
    assert build("stable_diffusion").generate([], []) == []


def test_a_prompt_longer_than_the_text_encoder_is_marked(build: Build) -> None:
    fits, cut = "a " * 75, "a " * 76  # the limit is 77 with both special tokens; every letter is a token here
    pictures = build("stable_diffusion").generate([fits, cut, "a dog"], [1, 2, 3])
    assert [picture.prompt_truncated for picture in pictures] == [False, True, False]


def test_a_prompt_that_one_of_several_text_encoders_cuts_is_marked(build: Build) -> None:
    pictures = build("sd3", steps=1, extra={}).generate(["a " * 75, "a " * 76], [1, 2])  # the T5 encoder sees 256
    assert [picture.prompt_truncated for picture in pictures] == [False, True]


def test_max_sequence_length_is_the_limit_where_the_pipeline_has_one(build: Build) -> None:
    generator = build("pixart", max_sequence_length=6)
    pictures = generator.generate(["dog hat book", "dog hat book red blue green old"], [1, 2])
    assert [picture.prompt_truncated for picture in pictures] == [False, True]


def test_size_may_be_width_and_height(build: Build) -> None:
    assert build("stable_diffusion", size=[48, 32]).generate(["a dog"], [1])[0].image.size == (48, 32)


def test_an_argument_the_pipeline_does_not_take_is_refused(build: Build) -> None:
    with pytest.raises(ModelError, match=r"StableDiffusionPipeline does not take max_sequence_length"):
        build("stable_diffusion", max_sequence_length=64).load()


def test_a_scheduler_with_noise_of_its_own_is_refused(stable_diffusion: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stable_diffusion, tmp_path / "model")
    for path in (folder / "model_index.json", folder / "scheduler" / "scheduler_config.json"):
        path.write_text(path.read_text().replace("DDIMScheduler", "CosineDPMSolverMultistepScheduler"))
    with pytest.raises(ModelError, match=r"Cosine.* draws noise of its own|torchsde"):
        DiffusersGenerator(model=str(folder)).load()


def test_provenance_says_what_was_loaded(build: Build) -> None:
    told = build("stable_diffusion").provenance()
    assert told["pipeline"] == "StableDiffusionPipeline"
    assert (told["dtype"], told["vae_dtype"], told["scheduler"]) == ("float32", "float32", "DDIMScheduler")
    assert len(told["fingerprint"]) == 64


def test_half_precision_runs(build: Build) -> None:
    generator = build("stable_diffusion", dtype="bfloat16")
    assert len(generator.generate(["a dog"], [1])) == 1
    assert generator.provenance()["vae_dtype"] == "bfloat16"


def test_unload_lets_go_and_the_next_call_loads_again(pixart: Path, untouched_global_rng: None) -> None:
    extra = CALLS["pixart"]
    generator = DiffusersGenerator(model=str(pixart), steps=2, size=32, device="cpu", extra=extra)
    first = pixels(generator, ["a dog"], [1])
    generator.unload()
    assert not {"_pipeline", "_arguments"} & set(vars(generator))
    assert np.array_equal(pixels(generator, ["a dog"], [1]), first)


def test_offloaded_weights_come_back_as_they_were(
    stable_diffusion: Path, monkeypatch: pytest.MonkeyPatch, untouched_global_rng: None
) -> None:
    generator = DiffusersGenerator(model=str(stable_diffusion), steps=2, size=32, device="cpu")
    generator.offload()
    assert "_pipeline" not in vars(generator)  # nothing is loaded only to be put away
    first, pipeline = pixels(generator, ["a dog"], [1]), generator._pipeline
    moved: list[str] = []
    there = pipeline.to

    def spied(device: Any, **how: Any) -> Any:
        moved.append(str(device))
        return there(device, **how)

    monkeypatch.setattr(pipeline, "to", spied)
    generator.offload()
    generator.load()
    assert moved == ["cpu", "cpu"]
    assert generator._pipeline is pipeline
    assert np.array_equal(pixels(generator, ["a dog"], [1]), first)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"dtype": "int4"}, "float32, bfloat16, float16"),
        ({"guidance": -1.0}, "guidance must be at least 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"size": [64]}, "width, height"),
        ({"pad_to": 0}, "pad_to"),
        ({"extra": {"generator": 1}}, "generator"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_loads(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        DiffusersGenerator(model="nobody/nothing", **wrong)
