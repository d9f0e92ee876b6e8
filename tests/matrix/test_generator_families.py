"""Every family plays two rounds through the command's machinery with only the model changed, and equals the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_generators import BUILDERS

from driftloop.generators.diffusion import DiffusersGenerator
from playing import composed_toy, played

QUICK = ("sd15", "flux_schnell", "z_image")
FAMILIES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in BUILDERS]
NOT_BITWISE = ("qwen_image", "lumina2")  # text as long as the longest caption, masked: the last bit of a float may differ
ALONE = ("cogview4",)  # pads to the longest caption of a call, without a mask: one caption a call
SHORT, LONG = "a man", "an elderly woman in room 815 and a young man reading in the photo of the happy girl and boy"
pytestmark = [
    pytest.mark.parametrize("family", FAMILIES),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of the library about itself
]
Folder = Callable[[str], Path]


@pytest.fixture
def generator(toy_generator: Folder, family: str) -> DiffusersGenerator:
    return DiffusersGenerator(model=str(toy_generator(family)), steps=2, size=32, pad_to=4, device="cpu", alone=family in ALONE)


def library(folder: Path) -> Callable[[str, int], np.ndarray]:
    """The pipeline as its users call it: one caption, one seed, floats out."""
    import inspect

    import torch
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    plain = {"clean_caption": False, "use_resolution_binning": False}
    options = {name: value for name, value in plain.items() if name in inspect.signature(pipe.__call__).parameters}

    def call(caption: str, seed: int) -> np.ndarray:
        noise = torch.Generator("cpu").manual_seed(seed)
        made = pipe(prompt=caption, num_inference_steps=2, width=32, height=32, generator=noise, output_type="np", **options)
        return np.asarray(made.images[0])

    return call


def test_two_rounds_are_what_the_library_makes(family: str, toy_generator: Folder, tmp_path: Path) -> None:
    run = played(composed_toy(
        tmp_path / "results", "generator=diffusers", f"generator.model={toy_generator(family)}", "generator.size=32",
        "generator.steps=2", "generator.pad_to=4", f"generator.alone={family in ALONE}", "dataset.n=3", "stages=[play]",
    ))  # fmt: skip
    assert (run.rounds["status"] == "ok").all()
    assert sorted(run.rounds["round"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    call = library(toy_generator(family))
    told = run.rounds.set_index(["chain", "round"])
    for (chain, number), row in told.drop(index=0, level="round").iterrows():
        expected = call(told.loc[(chain, number - 1), "caption"], int(row["generator_seed"]))
        assert np.abs(np.asarray(run.image(row["image"]), float) - 255 * expected).max() <= 0.51


def test_the_caption_and_the_seed_matter(family: str, generator: DiffusersGenerator) -> None:
    first, other, reseeded = (generator._rows([caption], [seed])[0] for caption, seed in ((SHORT, 1), (LONG, 1), (SHORT, 2)))
    assert np.abs(first - other).max() > 0
    assert np.abs(first - reseeded).max() > 0.01
    assert first.std() > 0.02


def test_no_picture_depends_on_its_batch_mates(family: str, generator: DiffusersGenerator) -> None:
    captions = [SHORT, LONG, "a happy girl", LONG]
    together = generator._rows(captions, [1, 2, 3, 4])
    for index in (0, 1):
        alone = generator._rows(captions[index : index + 1], [index + 1])[0]
        assert np.abs(together[index] - alone).max() < 1e-4
        assert np.array_equal(together[index], alone) or family in NOT_BITWISE
