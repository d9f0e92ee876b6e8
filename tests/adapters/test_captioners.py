"""The transformers adapter against the library called directly, one image at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image

from driftloop.captioners.echoes import is_echo
from driftloop.captioners.vision_language import Choice, TransformersCaptioner

FAMILIES = ["blip", "git", "llava", "qwen"]
SEEDS = [3 + 2**60 * (index % 5) + index for index in range(16)]
Build = Callable[..., TransformersCaptioner]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest) -> Build:
    """One adapter per family and options, so that weights load once."""
    known: dict[str, TransformersCaptioner] = {}

    def make(family: str, **options: Any) -> TransformersCaptioner:
        folder, key = request.getfixturevalue(family), f"{family} {options}"
        settings = {"prompt": "describe this", "max_new_tokens": 10, "device": "cpu", **options}
        return known.setdefault(key, TransformersCaptioner(model=str(folder), **settings))

    return make


@pytest.fixture
def mixed(pictures: list[Image]) -> list[Image]:
    """Shapes that differ, so that prompts of models that see them in tiles have different lengths."""
    return [image.resize([(32, 32), (16, 32), (32, 16)][index % 3]) for index, image in enumerate(pictures)]


def texts(captioner: TransformersCaptioner, images: Sequence[Image], seeds: Sequence[int] = SEEDS) -> list[str]:
    return [caption.text for caption in captioner.describe(images, seeds[: len(images)])]


def directly(folder: Path, image: Image, prompt: str) -> str:
    """As the model's own page does it: one image, no padding; the prompt is cut off by its length."""
    from transformers import AutoModelForImageTextToText

    from driftloop.captioners.vision_language import load_processor

    model, processor = AutoModelForImageTextToText.from_pretrained(folder).eval(), load_processor(str(folder))
    text = prompt
    if processor.chat_template:
        parts = [{"type": "image"}, {"type": "text", "text": prompt}]
        text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    inputs = processor(images=image, text=text, return_tensors="pt")
    if "Git" in type(model).__name__:  # its tokenizer closes the prompt, and its page opens it again by hand
        inputs = {"pixel_values": inputs["pixel_values"], "input_ids": inputs["input_ids"][:, :-1]}
    rest = {"suppress_tokens": [model.config.image_token_id]} if hasattr(model.config, "image_token_id") else {}
    row = model.generate(**inputs, max_new_tokens=10, do_sample=False, **rest)[0]
    length = inputs["input_ids"].shape[1] - ("Blip" in type(model).__name__)
    return " ".join(processor.tokenizer.decode(row[length:], skip_special_tokens=True).split())


def test_equals_the_library_called_directly(
    family: str, build: Build, mixed: list[Image], request: pytest.FixtureRequest, untouched_global_rng: None
) -> None:
    said = texts(build(family), mixed[:5])
    assert said == [directly(request.getfixturevalue(family), image, "describe this") for image in mixed[:5]]
    assert len(set(said)) > 1


def test_image_and_prompt_matter(family: str, build: Build, pictures: list[Image]) -> None:
    assert len(set(texts(build(family), pictures))) > 3
    assert texts(build(family, prompt="what is the person"), pictures) != texts(build(family), pictures)


@pytest.mark.parametrize("sampling", ["greedy", {"temperature": 1.5, "top_p": 0.9}], ids=["greedy", "sampled"])
def test_batch_size_and_order_change_nothing(
    family: str, sampling: Any, build: Build, mixed: list[Image], untouched_global_rng: None
) -> None:
    captioner = build(family, sampling=sampling)
    whole = captioner.describe(mixed, SEEDS)
    assert captioner.describe(mixed, SEEDS) == whole
    order = np.random.default_rng(1).permutation(16)
    shuffled = captioner.describe([mixed[index] for index in order], [SEEDS[index] for index in order])
    assert shuffled == [whole[index] for index in order]
    for size in (1, 5):
        parts = [captioner.describe(mixed[at : at + size], SEEDS[at : at + size]) for at in range(0, 16, size)]
        assert [caption for part in parts for caption in part] == whole


def test_sampling_follows_the_seed(build: Build, pictures: list[Image]) -> None:
    captioner = build("blip", sampling={"temperature": 1.5})
    same = [pictures[0]] * 8
    assert len(set(texts(captioner, same))) > 1
    assert len(set(texts(captioner, same, [4] * 8))) == 1


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.8)])
def test_drawn_frequencies_are_the_models_probabilities(temperature: float, top_p: float, untouched_global_rng: None) -> None:
    import torch

    logits = torch.tensor([1.5, 0.2, -0.4, 0.9, -3.0])
    rows = 20_000
    choice = Choice(range(rows), temperature=temperature, top_p=top_p)
    drawn = choice(torch.empty(rows, 0), logits.repeat(rows, 1)).argmax(-1).bincount(minlength=5) / rows
    expected = (logits / temperature).softmax(-1)
    if top_p < 1:  # .52 + .28 = .80 does not quite reach it
        kept = expected * (torch.arange(5).unsqueeze(0) == torch.tensor([[0], [1], [3]])).any(0)
        expected = kept / kept.sum()
    assert (drawn - expected).abs().max() < 0.012


def test_a_forbidden_token_is_never_chosen() -> None:
    import torch

    scores = torch.tensor([[0.0, 9.0, 1.0]])
    assert Choice([1], forbidden=[1, 99])(torch.empty(1, 0), scores).argmax(-1).item() == 2
    assert scores[0, 1] == 9.0


def test_tokens_and_truncation(build: Build, pictures: list[Image]) -> None:
    short = build("llava", max_new_tokens=3).describe(pictures, SEEDS)
    assert all(caption.tokens == 3 for caption in short if caption.truncated)
    long = build("llava", max_new_tokens=40).describe(pictures, SEEDS)
    ended = [caption for caption in long if not caption.truncated]
    assert ended
    assert all(caption.tokens < 40 and caption.tokens >= len(caption.text.split()) for caption in ended)


def test_without_a_prompt_a_captioning_model_speaks_by_itself(build: Build, pictures: list[Image]) -> None:
    for family in ("blip", "git"):
        assert len(set(texts(build(family, prompt=None), pictures))) > 1


def test_a_checkpoints_own_sampling_is_not_used(
    blip: Path, llava: Path, tmp_path: Path, build: Build, pictures: list[Image], untouched_global_rng: None
) -> None:
    folder = shutil.copytree(llava, tmp_path / "model")
    path = folder / "generation_config.json"
    hidden = {"do_sample": True, "temperature": 3.0, "top_k": 9, "repetition_penalty": 1.8, "num_beams": 1}
    path.write_text(json.dumps({**json.loads(path.read_text()), **hidden}))
    captioner = TransformersCaptioner(model=str(folder), prompt="describe this", max_new_tokens=10, device="cpu")
    assert texts(captioner, pictures) == texts(build("llava"), pictures)


def test_padding_is_on_the_left_whatever_was_saved(llava: Path, tmp_path: Path, build: Build, mixed: list[Image]) -> None:
    folder = shutil.copytree(llava, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding_side": "right"}))
    captioner = TransformersCaptioner(model=str(folder), prompt="describe this", max_new_tokens=10, device="cpu")
    assert texts(captioner, mixed) == texts(build("llava"), mixed)


def test_echo_is_the_prompt_and_nothing_else() -> None:
    assert is_echo("A photo of.", "a photo of")
    assert is_echo("a photo of a photo of a photo", "a photo of")
    assert not is_echo("a photo of a dog", "a photo of")
    assert not is_echo("a photo", "a photo of")
    assert not is_echo("", "a photo of")
    assert not is_echo("a photo", None)


def test_provenance_says_what_was_loaded(build: Build) -> None:
    told = build("qwen").provenance()
    assert told["processor"] == "Qwen2_5_VLProcessor"
    assert told["image_processor"].endswith("Pil")
    assert told["chat_template"]


def test_offloaded_weights_come_back_as_they_were(qwen: Path, pictures: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = TransformersCaptioner(model=str(qwen), prompt="describe this", max_new_tokens=10, device="cpu")
    captioner.offload()
    assert "_network" not in vars(captioner)  # nothing is loaded only to be put away
    first, network = texts(captioner, pictures[:2]), captioner._network
    moved: list[str] = []
    there = network.to

    def spied(device: Any) -> Any:
        moved.append(str(device))
        return there(device)

    monkeypatch.setattr(network, "to", spied)
    captioner.offload()
    captioner.load()
    assert moved == ["cpu", "cpu"]
    assert captioner._network is network
    assert texts(captioner, pictures[:2]) == first


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"sampling": "beam"}, "greedy"),
        ({"sampling": {"top_p": 0.9}}, "temperature"),
        ({"sampling": {"temperature": 0.0}}, "above 0"),
        ({"sampling": {"temperature": 1.0, "top_p": 0.0}}, "top_p"),
        ({"dtype": "int8"}, "float32, bfloat16, float16"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_loads(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TransformersCaptioner(model="nobody/nothing", **wrong)
