"""Every family of image-to-text models plays in the loop by its folder alone, and says what the library says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_captioners
from PIL import Image

from comparing import check_whole
from driftloop.captioners.vision_language import TransformersCaptioner, load_processor
from driftloop.runs import Run
from playing import composed_toy, played

PROMPT, NEW = "describe this", 8
QUICK = {"florence2", "smolvlm", "qwen3_vl"}  # an encoder-decoder, and two that load without their video part
SEEDS = [3 + 2**60 * (index % 5) + index for index in range(9)]
EVERY = [
    pytest.param(build, id=build.__name__, marks=[] if build.__name__ in QUICK else [pytest.mark.slow])
    for build in (*toy_captioners.NAMED, *toy_captioners.UNNAMED)
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=EVERY)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of one family, as `save_pretrained` wrote it."""
    return toy_captioners.saved(request.param, tmp_path_factory.mktemp("toy") / request.param.__name__)


@pytest.fixture(scope="module")
def captioner(folder: Path) -> TransformersCaptioner:
    return asked(folder)


def asked(folder: Path, **options: Any) -> TransformersCaptioner:
    settings: dict[str, Any] = {"prompt": PROMPT, "max_new_tokens": NEW, "device": "cpu", **options}
    return TransformersCaptioner(model=str(folder), **settings)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Nine patchworks of three shapes, so that models that see tiles get prompts of different lengths."""
    draw = np.random.default_rng(5)
    patches = [draw.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1) for _ in SEEDS]
    shapes = [(32, 32), (16, 32), (32, 16)]
    return [Image.fromarray(patch).resize(shapes[index % 3]) for index, patch in enumerate(patches)]


@pytest.fixture
def untouched() -> Iterator[None]:
    """Fails the test if it moves torch's global generator."""
    import torch

    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state())


def said(captioner: TransformersCaptioner, images: Sequence[Image.Image]) -> list[str]:
    return [caption.text for caption in captioner.describe(images, SEEDS[: len(images)])]


def directly(folder: Path) -> Callable[[Image.Image], str]:
    """As the model's own page does it: one image, no padding, the prompt cut off by its length."""
    from transformers import AutoModelForImageTextToText

    model, processor = AutoModelForImageTextToText.from_pretrained(folder).eval(), load_processor(str(folder))
    text, family = PROMPT, type(model).__name__
    if processor.chat_template:
        parts = [{"type": "image"}, {"type": "text", "text": PROMPT}]
        text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    places = [getattr(model.config, name, None) for name in ("image_token_id", "image_token_index", "video_token_id")]
    rest = {"suppress_tokens": found} if (found := sorted({place for place in places if place})) else {}

    def one(image: Image.Image) -> str:
        inputs = processor(images=image, text=text, return_tensors="pt")
        wanted = {name: value for name, value in inputs.items() if name != "labels"}  # PaliGemma's are for training
        if family.startswith("Git"):  # its tokenizer closes the prompt, and its page opens it again by hand
            wanted = {"pixel_values": inputs["pixel_values"], "input_ids": inputs["input_ids"][:, :-1]}
        row = model.generate(**wanted, max_new_tokens=NEW, do_sample=False, **rest)[0]
        start = 1 if model.config.is_encoder_decoder else wanted["input_ids"].shape[1]
        start -= family == "BlipForConditionalGeneration"
        return " ".join(processor.tokenizer.decode(row[start:], skip_special_tokens=True).split())

    return one


def test_two_rounds_with_nothing_changed_but_the_folder(folder: Path, tmp_path: Path, untouched: None) -> None:
    """Every caption of the run is what the library says of that picture alone."""
    words = (f"captioner.model={folder}", f"captioner.prompt={PROMPT}", f"captioner.max_new_tokens={NEW}")
    run = played(composed_toy(tmp_path, "captioner=transformers", *words, "dataset.n=4", "generator.size=32", "stages=[play]",
                              "on_failure.max_share=1"))  # fmt: skip
    check_whole(run, 4, 2)
    spoke = run.rounds[run.rounds["caption"].fillna("") != ""]
    assert len(spoke) >= 6
    assert set(run.rounds["status"]) <= {"ok", "empty_caption", "parent_failed"}
    check_against(run, spoke, directly(folder))


def check_against(run: Run, rows: Any, library: Callable[[Image.Image], str]) -> None:
    for row in rows.to_dict("records"):
        assert row["caption"] == library(run.image(row["image"]))
        assert row["caption_tokens"] <= NEW
        assert row["caption_truncated"] == (row["caption_tokens"] == NEW)


def test_patchworks_are_described_as_by_the_library(
    folder: Path, captioner: TransformersCaptioner, pictures: list[Image.Image]
) -> None:
    library = directly(folder)
    assert said(captioner, pictures) == [library(picture) for picture in pictures]


def test_image_and_prompt_matter(folder: Path, captioner: TransformersCaptioner, pictures: list[Image.Image]) -> None:
    assert len(set(said(captioner, pictures))) > 2
    assert said(asked(folder, prompt="what is the person"), pictures) != said(captioner, pictures)


def test_company_changes_nothing(folder: Path, captioner: TransformersCaptioner, pictures: list[Image.Image]) -> None:
    """Alone, in another order and in an unpadded batch: the same captions."""
    whole = said(captioner, pictures)
    assert [said(captioner, [picture])[0] for picture in pictures] == whole
    assert said(captioner, pictures[::-1]) == whole[::-1]
    assert said(asked(folder, pad_to=1), pictures) == whole


def test_a_draw_belongs_to_its_item(folder: Path, pictures: list[Image.Image], untouched: None) -> None:
    sampler = asked(folder, sampling={"temperature": 1.3, "top_p": 0.95})
    whole = sampler.describe(pictures, SEEDS)
    alone = [sampler.describe([picture], [seed])[0] for picture, seed in zip(pictures, SEEDS, strict=True)]
    assert alone == whole
    assert sampler.describe(pictures, [seed + 1 for seed in SEEDS]) != whole


def test_what_a_checkpoint_would_rather_do_is_not_done(
    folder: Path, captioner: TransformersCaptioner, pictures: list[Image.Image], tmp_path: Path, untouched: None
) -> None:
    """Beams, penalties and sampling in its generation config are decoding, and that is ours."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    file = copy / "generation_config.json"
    own = json.loads(file.read_text()) if file.exists() else {}
    hidden = {"do_sample": True, "temperature": 4.0, "top_k": 7, "repetition_penalty": 1.9, "no_repeat_ngram_size": 1,
              "num_beams": 3, "length_penalty": 2.0, "min_new_tokens": NEW}  # fmt: skip
    file.write_text(json.dumps(own | hidden))
    assert said(asked(copy), pictures) == said(captioner, pictures)


@pytest.mark.slow
@pytest.mark.parametrize("build", [toy_captioners.blip, toy_captioners.blip2, toy_captioners.git], ids=lambda one: one.__name__)
def test_captioning_models_speak_without_a_prompt(build: Any, tmp_path: Path, pictures: list[Image.Image]) -> None:
    from transformers import AutoModelForImageTextToText

    folder = toy_captioners.saved(build, tmp_path / "toy")
    model, processor = AutoModelForImageTextToText.from_pretrained(folder).eval(), load_processor(str(folder))
    texts = said(asked(folder, prompt=None), pictures)
    assert len(set(texts)) > 2
    places = {"suppress_tokens": [place]} if (place := getattr(model.config, "image_token_index", None)) else {}
    for picture, text in zip(pictures, texts, strict=True):
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
        row = model.generate(pixel_values=pixels, max_new_tokens=NEW, do_sample=False, **places)[0]
        words = processor.tokenizer.decode(row, skip_special_tokens=True).split()
        assert text.split() == words[-len(text.split()) :]
