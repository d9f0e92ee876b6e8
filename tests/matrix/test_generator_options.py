"""What the diffusers adapter can be told, against the library told the same; and what no setting may change."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_generators import stable_diffusion

import doubles
from driftloop.core.packs import pixel_hash
from driftloop.core.weights import ModelError
from driftloop.generators.diffusion import DiffusersGenerator
from playing import composed_toy, played

CAPTIONS, SEEDS = ["an elderly woman", "a man in room 815"], [3, 2**62]
Folder = Callable[[str], Path]


def made(folder: Path, **options: Any) -> DiffusersGenerator:
    settings = {"steps": 3, "guidance": 2.0, "size": 32, "pad_to": 1, "device": "cpu", **options}
    return DiffusersGenerator(model=str(folder), **settings)


def directly(pipe: Any, size: int = 32, **options: Any) -> np.ndarray:
    import torch

    pipe.set_progress_bar_config(disable=True)
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    settings = {"num_inference_steps": 3, "guidance_scale": 2.0, "width": size, "height": size, **options}
    return np.asarray(pipe(prompt=list(CAPTIONS), generator=noise, output_type="np", **settings).images)


def loaded(folder: Path, **options: Any) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(folder, **options)


def equal(generator: DiffusersGenerator, expected: np.ndarray) -> bool:
    """Up to the last bits of a float: the adapter's weights want no gradients, which takes other kernels."""
    return bool(np.abs(np.stack(generator._rows(CAPTIONS, SEEDS)) - expected).max() < 1e-5)


# Schedulers, parts, tiles --------------------------------------------------------------------------------------------


def test_a_scheduler_is_the_checkpoints_own_with_settings_changed(toy_generator: Folder) -> None:
    from diffusers import EulerDiscreteScheduler, LCMScheduler

    pipe = loaded(toy_generator("sd15"))
    plain = directly(pipe)
    for name, kind, settings in (
        ("LCMScheduler", LCMScheduler, {}),
        ("EulerDiscreteScheduler", EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    ):
        pipe.scheduler = kind.from_config(pipe.scheduler.config, **settings)
        expected = directly(pipe)
        assert np.abs(expected - plain).max() > 0.01
        assert equal(made(toy_generator("sd15"), scheduler={"name": name, **settings}), expected)


@pytest.mark.parametrize(
    ("scheduler", "word"),
    [
        ({"name": "LCMSchedular"}, 'Did you mean "LCMScheduler"'),
        ({"name": "UNet2DConditionModel"}, "no scheduler 'UNet2DConditionModel'"),
        ({"name": "DDIMScheduler", "timestep_spacings": "trailing"}, "does not take timestep_spacings"),
        ({"name": "CosineDPMSolverMultistepScheduler"}, "draws noise of its own|torchsde"),
    ],
)
def test_a_scheduler_that_will_not_do_is_refused(scheduler: dict[str, Any], word: str, toy_generator: Folder) -> None:
    with pytest.raises(ModelError, match=word):
        made(toy_generator("sd15"), scheduler=scheduler).load()


def test_noise_of_the_global_generator_is_refused(toy_generator: Folder) -> None:
    """FLUX hands its generators to no scheduler: one that draws noise draws it from everybody's."""
    stochastic = {"name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": True}
    with pytest.raises(ModelError, match="global generator, which belongs to no picture"):
        made(toy_generator("flux_schnell"), scheduler=stochastic).generate(CAPTIONS, SEEDS)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another Stable Diffusion of the same shape."""
    import torch

    folder = tmp_path_factory.mktemp("other")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        stable_diffusion().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("file", [None, pytest.param("diffusion_pytorch_model.safetensors", marks=pytest.mark.slow)])
def test_a_part_comes_from_elsewhere(file: str | None, toy_generator: Folder, other: Path) -> None:
    from diffusers import UNet2DConditionModel

    part = {"model": str(other / "unet")} | ({"file": file} if file else {})
    expected = directly(loaded(toy_generator("sd15"), unet=UNet2DConditionModel.from_pretrained(other / "unet")))
    assert equal(made(toy_generator("sd15"), parts={"unet": part}), expected)
    assert not equal(made(toy_generator("sd15")), expected)


@pytest.mark.parametrize(
    "wrong", [{"parts": {"unet": {"file": "x"}}}, {"parts": {"unet": {"model": "x", "folder": "y"}}}, {"scheduler": {"x": 1}}]
)
def test_wrong_parts_and_schedulers_are_refused_before_anything_loads(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        DiffusersGenerator(model="nobody/nothing", **wrong)


def test_another_part_is_another_run(toy_generator: Folder, other: Path, tmp_path: Path) -> None:
    words = ("generator=diffusers", f"generator.model={toy_generator('sd15')}")
    part = f"+generator.parts.unet.model={other / 'unet'}"
    assert composed_toy(tmp_path, *words).run_id != composed_toy(tmp_path, *words, part).run_id
    (copy := tmp_path / "unet").mkdir()
    shutil.copytree(other / "unet", copy, dirs_exist_ok=True)
    assert (
        composed_toy(tmp_path, *words, part).run_id
        == composed_toy(tmp_path, *words, f"+generator.parts.unet.model={copy}").run_id
    )


def test_tiles_are_the_librarys(toy_generator: Folder) -> None:
    pipe = loaded(toy_generator("sd15"))
    plain = directly(pipe, size=64)
    pipe.vae.enable_tiling()
    tiled = directly(pipe, size=64)
    assert np.abs(tiled - plain).max() > 1e-4
    assert equal(made(toy_generator("sd15"), size=64, vae_tiling=True), tiled)


@pytest.mark.slow
def test_weights_of_a_variant(toy_generator: Folder, tmp_path: Path) -> None:
    loaded(toy_generator("sd15")).save_pretrained(tmp_path / "model", variant="fp16")
    assert equal(made(tmp_path / "model", variant="fp16"), directly(loaded(toy_generator("sd15"))))
    with pytest.raises(ModelError):
        made(tmp_path / "model").load()


# What a call is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guidance", "rows"), [(0.0, {2}), (1.0, {2}), (2.0, {4})])
def test_guidance_of_one_or_less_costs_no_second_pass(guidance: float, rows: set[int], toy_generator: Folder) -> None:
    generator, seen = made(toy_generator("sd15"), guidance=guidance), set[int]()
    generator._pipeline.unet.register_forward_pre_hook(lambda _, sample: seen.add(len(sample[0])))
    generator.generate(CAPTIONS, SEEDS)
    assert seen == rows


def test_the_list_of_captions_is_nobodys_to_write_to(toy_generator: Folder) -> None:
    captions = list(CAPTIONS)
    made(toy_generator("z_image")).generate(captions, SEEDS)
    assert captions == CAPTIONS


@pytest.mark.slow
def test_every_text_encoder_has_its_limit(toy_generator: Folder) -> None:
    generator = made(toy_generator("sd3"), max_sequence_length=100)
    assert generator.provenance()["text_limits"] == {"tokenizer": 77, "tokenizer_2": 77, "tokenizer_3": 100}
    captions = ["man " * 20, "man " * 50, "man " * 120]  # a CLIP token a letter, a T5 token a word
    assert [picture.prompt_truncated for picture in generator.generate(captions, [1, 2, 3])] == [False, True, True]


def test_captions_are_not_cleaned_and_asked_sizes_not_resampled(toy_generator: Folder) -> None:
    generator = made(toy_generator("pixart_sigma"))
    assert generator._arguments["clean_caption"] is False
    assert generator._arguments["use_resolution_binning"] is False
    assert made(toy_generator("pixart_sigma"), extra={"use_resolution_binning": True})._arguments["use_resolution_binning"]
    assert "use_resolution_binning" not in made(toy_generator("pixart_sigma"), size=None)._arguments


# What is saved is what is described and read -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "tiling"),
    [
        ("float32", True),
        ("bfloat16", False),
        *[pytest.param(*other, marks=pytest.mark.slow) for other in
          (("float32", False), ("bfloat16", True), ("float16", False), ("float16", True))],
    ],
)  # fmt: skip
def test_the_picture_made_is_the_picture_saved_described_and_read(
    dtype: str, tiling: bool, toy_generator: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = defaultdict[str, list[str]](list)

    def note(event: str, images: Sequence[Image.Image]) -> None:
        seen[event] += map(pixel_hash, images)

    spy(monkeypatch, DiffusersGenerator, "generate", lambda answers: note("made", [one.image for one in answers]), after=True)
    spy(monkeypatch, doubles.ToyCaptioner, "describe", lambda images: note("described", images))
    spy(monkeypatch, doubles.ToyClassifier, "read", lambda images: note("read", images))
    run = played(composed_toy(
        tmp_path, "generator=diffusers", f"generator.model={toy_generator('sd15')}", "generator.size=64", "generator.steps=2",
        f"generator.dtype={dtype}", f"generator.vae_tiling={tiling}", "generator.pad_to=1", "dataset.n=2", "rounds=2",
    ))  # fmt: skip
    assert (run.rounds["status"] == "ok").all()
    rows = sorted(run.rounds["image_sha256"])
    assert sorted(pixel_hash(run.image(key)) for key in run.rounds["image"]) == rows
    assert sorted(seen["described"]) == sorted(seen["read"]) == rows
    assert sorted(seen["made"]) == sorted(run.rounds.query("round > 0")["image_sha256"])


def spy(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, told: Callable[[Any], None], after: bool = False) -> None:
    before = getattr(owner, name)

    def method(self: Any, items: Any, *words: Any) -> Any:
        answers = before(self, items, *words)
        told(answers if after else items)
        return answers

    monkeypatch.setattr(owner, name, method)


# Black pictures ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def censored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion whose safety checker finds fault with every picture."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "projection_dim": 16}
    vision = {**tower, "image_size": 32, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=tower, vision_config=vision, projection_dim=16))
    checker.concept_embeds_weights.data.fill_(-2.0)
    pipe = stable_diffusion()
    size = {"height": 32, "width": 32}
    pipe.register_modules(
        safety_checker=checker, feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)
    )
    folder = tmp_path_factory.mktemp("censored")
    pipe.save_pretrained(folder)
    return folder


def test_a_picture_that_a_safety_checker_painted_black_is_not_described(censored: Path, tmp_path: Path) -> None:
    run = played(composed_toy(
        tmp_path, "generator=diffusers", f"generator.model={censored}", "generator.size=32", "generator.steps=1",
        "generator.pad_to=1", "dataset.n=2", "rounds=2", "on_failure.max_share=1", "stages=[play]",
    ))  # fmt: skip
    told = run.rounds.set_index("round")["status"]
    assert set(told[1]) == {"black_image"}
    assert set(told[2]) == {"parent_failed"}


def test_not_a_number_is_a_black_picture(toy_generator: Folder) -> None:
    generator = made(toy_generator("sd15"))
    generator._pipeline.vae.post_quant_conv.bias.fill_(float("nan"))
    assert [picture.image.getextrema() for picture in generator.generate(CAPTIONS, SEEDS)] == [((0, 0),) * 3] * 2


def test_the_toys_are_written_as_a_hub_folder_is(toy_generator: Folder) -> None:
    index = json.loads((toy_generator("sd15") / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert not list(toy_generator("sd15").rglob("*.bin"))
