"""Encoders against the library called directly, one item at a time; and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image
from safetensors.numpy import load_file, save_file

from driftloop.core.weights import ModelError
from driftloop.encoders.image_text import ImageTextEncoder
from driftloop.encoders.sentence import SentenceEncoder

DUAL = ("clip", "siglip", "siglip2")
LONGEST = {"clip": 10, "siglip": 12, "siglip2": 12}


def unit(found: Any) -> Any:
    vector = getattr(found, "pooler_output", found)[0].detach().double().numpy()
    return vector / np.linalg.norm(vector)


def library(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoModel

    return AutoModel.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)


def told_directly(model: Any, tokenizer: Any, text: str, longest: int) -> Any:
    """Features of one text, not padded where the architecture has a mask, to full length where it has none."""
    padding = False if model.config.model_type == "clip" else "max_length"
    inputs = tokenizer(text, padding=padding, truncation=True, max_length=longest, return_tensors="pt")
    return unit(model.get_text_features(**inputs))


@pytest.mark.parametrize("name", DUAL)
def test_both_sides_are_the_librarys_features(name: str, pictures: list[Image], captions: list[str], request: Any) -> None:
    from transformers import AutoTokenizer

    folder = request.getfixturevalue(name)
    encoder = ImageTextEncoder(model=str(folder), device="cpu")
    encoder.check()
    assert encoder.embed_texts is not None
    model, processor = library(folder)
    seen, told = encoder.embed_images(pictures), encoder.embed_texts(captions)
    assert seen.dtype == told.vectors.dtype == np.float32
    assert seen.shape == told.vectors.shape
    for image, row in zip(pictures, seen, strict=True):
        np.testing.assert_allclose(
            row, unit(model.get_image_features(**processor(images=image, return_tensors="pt"))), atol=2e-5
        )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, row in zip(captions, told.vectors, strict=True):
        np.testing.assert_allclose(row, told_directly(model, tokenizer, text, LONGEST[name]), atol=2e-5)
    assert np.abs(seen - seen[0]).max(axis=1)[1:].min() > 1e-3
    assert list(told.cut) == [len(tokenizer(text)["input_ids"]) > LONGEST[name] for text in captions]
    assert {True, False} == set(told.cut)


def test_an_encoder_of_pictures_alone_has_no_text_side(dinov2: Path, pictures: list[Image]) -> None:
    encoder = ImageTextEncoder(model=str(dinov2), texts=False, device="cpu")
    encoder.check()
    assert encoder.embed_texts is None
    model, processor = library(dinov2)
    for image, row in zip(pictures, encoder.embed_images(pictures), strict=True):
        state = model(**processor(images=image, return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(row, unit(state[:, 0]), atol=2e-5)


def test_a_sentence_is_the_mean_over_its_own_tokens(bert: Path, captions: list[str]) -> None:
    from transformers import AutoModel, AutoTokenizer

    encoder = SentenceEncoder(model=str(bert), max_length=12, device="cpu")
    assert encoder.embed_images is None
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    told = encoder.embed_texts(captions)
    for text, row in zip(captions, told.vectors, strict=True):
        state = model(**tokenizer(text, truncation=True, max_length=12, return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(row, unit(state.mean(1)), atol=2e-5)
    assert list(told.cut) == [len(text.split()) + 2 > 12 for text in captions]


@pytest.mark.parametrize("name", DUAL)
def test_neighbours_change_no_bit(name: str, pictures: list[Image], captions: list[str], request: Any) -> None:
    encoder = ImageTextEncoder(model=str(request.getfixturevalue(name)), device="cpu")
    told, pictures, captions = encoder.embed_texts, pictures[:12], captions[:12]
    assert told is not None
    seen, vectors = encoder.embed_images(pictures), told(captions).vectors
    assert (encoder.embed_images(pictures[::-1]) == seen[::-1]).all()
    assert (told(captions[::-1]).vectors == vectors[::-1]).all()
    assert all((encoder.embed_images([one])[0] == row).all() for one, row in zip(pictures[:5], seen, strict=False))
    assert all((told([one]).vectors[0] == row).all() for one, row in zip(captions[:5], vectors, strict=False))
    encoder.unload()
    assert (encoder.embed_images(pictures) == seen).all()
    assert encoder.provenance()["network"].lower().startswith(name)


def test_a_shorter_length_cuts_earlier(clip: Path) -> None:
    whole, short = (ImageTextEncoder(model=str(clip), max_length=length, device="cpu") for length in (None, 5))
    texts = ["a photo of", "a photo of woman"]
    assert whole.embed_texts is not None
    assert short.embed_texts is not None
    assert list(whole.embed_texts(texts).cut) == [False, False]
    assert list(short.embed_texts(texts).cut) == [False, True]
    same, other = np.abs(whole.embed_texts(texts).vectors - short.embed_texts(texts).vectors).max(axis=1)
    assert same < 1e-5 < other


def test_a_text_side_that_is_not_there_is_told_without_loading(dinov2: Path) -> None:
    with pytest.raises(ModelError, match=r"dinov2.*no text side; say texts: false"):
        ImageTextEncoder(model=str(dinov2)).check()


def without(folder: Path, made: Path, part: str) -> Path:
    """A copy of a checkpoint that lacks the weights whose name has `part`."""
    shutil.copytree(folder, made)
    weights = load_file(made / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if part not in name}, made / "model.safetensors", {"format": "pt"}
    )
    return made


def test_weights_that_would_be_drawn_at_random_are_refused(clip: Path, tmp_path: Path, pictures: list[Image]) -> None:
    with pytest.raises(ModelError, match=r"lacks 1 weights of CLIPModel, such as visual_projection\.weight"):
        ImageTextEncoder(model=str(without(clip, tmp_path / "half", "visual_projection")), device="cpu").embed_images(pictures)


def test_the_pooler_that_a_sentence_encoder_lacks_is_not_missed(bert: Path, tmp_path: Path) -> None:
    assert not [name for name in load_file(bert / "model.safetensors") if name.startswith("pooler")]
    SentenceEncoder(model=str(bert), device="cpu").load()
    with pytest.raises(ModelError, match="lacks"):
        SentenceEncoder(model=str(without(bert, tmp_path / "half", "layer.1.output")), device="cpu").load()


@pytest.mark.parametrize("kind", [ImageTextEncoder, SentenceEncoder])
def test_pickles_code_and_wrong_settings_are_refused(kind: Any, clip: Path, bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(clip if kind is ImageTextEncoder else bert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "code.Model"}}))
    with pytest.raises(ModelError, match="remote_code: true"):
        kind(model=str(folder), device="cpu").load()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle checkpoint"):
        kind(model=str(folder), device="cpu").load()
    for wrong in ({"dtype": "int8"}, {"pad_to": 0}, {"batch_size": 0}, {"max_length": 2}):
        with pytest.raises(ValueError, match="must be"):
            kind(model="a/b", **wrong)
